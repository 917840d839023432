// SPDX-License-Identifier: BSD-3-Clause
/*
 * vsock-peer listen PORT: takes connections, many at a time, and gives back whatever comes on each, until it is ended.
 * vsock-peer connect CID PORT N BYTES: N connections, one after the other, each with BYTES there and back, compared; half of
 * each is closed when its bytes are sent, and then the other end's is awaited.
 * vsock-peer hold CID PORT N, hold-unix PATH PORT N: N connections at a time, with a few bytes in each; status 0 when all were ended
 * by the other end.
 * vsock-peer listen-unix PATH, vsock-peer connect-unix PATH PORT N BYTES: the same by Unix sockets, the latter with a line first.
 *
 * Runs in the host and, from an archive behind the initramfs, in the guest.
 */
#include <sys/socket.h> /* before the next but one, which wants it */

#include <errno.h>
#include <linux/vm_sockets.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define CHUNK 65536

static void die(const char *what)
{
	fprintf(stderr, "vsock-peer: %s: %s\n", what, strerror(errno));
	exit(1);
}

static int new_socket(void)
{
	int fd = socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		die("socket");
	return fd;
}

/* One that is served: what it sent and has not got back yet. */
struct client {
	char *buf; /* CHUNK */
	size_t at, len;
	bool ended; /* it sends no more */
};

#define MAX_CLIENTS 1100

/* False: it is over. */
static bool echo(struct client *c, struct pollfd *p)
{
	ssize_t n;

	if (p->revents & (POLLERR | POLLNVAL))
		return false;
	if (c->len) {
		n = send(p->fd, c->buf + c->at, c->len, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n < 0 && errno != EAGAIN)
			return false;
		c->at += n > 0 ? (size_t)n : 0;
		c->len -= n > 0 ? (size_t)n : 0;
	} else if (p->revents & (POLLIN | POLLHUP)) {
		n = recv(p->fd, c->buf, CHUNK, MSG_DONTWAIT);
		if (n < 0 && errno != EAGAIN)
			return false;
		c->ended = !n;
		c->at = 0;
		c->len = n > 0 ? (size_t)n : 0;
	}
	p->events = c->len ? POLLOUT : POLLIN;
	return c->len || !c->ended;
}

static int new_unix(const char *path, struct sockaddr_un *ret_a)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		die("socket");
	*ret_a = (struct sockaddr_un){ .sun_family = AF_UNIX };
	snprintf(ret_a->sun_path, sizeof(ret_a->sun_path), "%s", path);
	return fd;
}

static int bound(unsigned port)
{
	struct sockaddr_vm a = { .svm_family = AF_VSOCK, .svm_port = port, .svm_cid = VMADDR_CID_ANY };
	int fd = new_socket();

	if (bind(fd, (struct sockaddr *)&a, sizeof(a)))
		die("bind");
	return fd;
}

static int bound_unix(const char *path)
{
	struct sockaddr_un a;
	int fd = new_unix(path, &a);

	if (bind(fd, (struct sockaddr *)&a, sizeof(a)))
		die("bind");
	return fd;
}

static void serve(int fd)
{
	static struct pollfd p[1 + MAX_CLIENTS];
	static struct client c[1 + MAX_CLIENTS];
	unsigned n = 1;

	if (listen(fd, 128))
		die("listen");
	puts("listening");
	fflush(stdout);
	p[0].fd = fd;
	for (;;) {
		p[0].events = n <= MAX_CLIENTS ? POLLIN : 0;
		if (poll(p, n, -1) < 0)
			die("poll");
		for (unsigned i = 1; i < n; i++) {
			struct client last;

			if (!p[i].revents || echo(&c[i], &p[i]))
				continue;
			close(p[i].fd);
			last = c[i];
			p[i] = p[--n];
			c[i] = c[n];
			c[n] = (struct client){ .buf = last.buf };
			i--;
		}
		if (!(p[0].revents & POLLIN))
			continue;
		if (!c[n].buf)
			c[n].buf = malloc(CHUNK);
		p[n] = (struct pollfd){ .fd = accept(fd, NULL, NULL), .events = POLLIN };
		if (p[n].fd < 0 || !c[n].buf)
			die("accept");
		n++;
	}
}

static char byte_at(uint64_t i)
{
	return (char)(i * 31 + i / 251);
}

/* Writes and reads as each has room, so that neither end waits for the other. */
static void there_and_back(int fd, uint64_t bytes)
{
	static char out[CHUNK], in[CHUNK];
	uint64_t sent = 0, got = 0;

	while (got < bytes) {
		struct pollfd p = { .fd = fd, .events = (short)(POLLIN | (sent < bytes ? POLLOUT : 0)) };
		ssize_t n;

		if (poll(&p, 1, 20000) <= 0)
			die("nothing for 20 s");
		if (p.revents & POLLOUT && sent < bytes) {
			size_t len = bytes - sent < CHUNK ? (size_t)(bytes - sent) : CHUNK;

			for (size_t i = 0; i < len; i++)
				out[i] = byte_at(sent + i);
			n = send(fd, out, len, MSG_DONTWAIT | MSG_NOSIGNAL);
			if (n < 0 && errno != EAGAIN)
				die("send");
			sent += n > 0 ? (uint64_t)n : 0;
		}
		if (p.revents & (POLLIN | POLLHUP)) {
			n = recv(fd, in, sizeof(in), MSG_DONTWAIT);
			if (n <= 0 && errno != EAGAIN)
				die("recv");
			for (ssize_t i = 0; i < n; i++)
				if (in[i] != byte_at(got + (uint64_t)i)) {
					errno = EILSEQ;
					die("what came back");
				}
			got += n > 0 ? (uint64_t)n : 0;
		}
	}
	if (shutdown(fd, SHUT_WR) || read(fd, in, sizeof(in)) != 0)
		die("the end");
}

static int connected(unsigned cid, unsigned port)
{
	struct sockaddr_vm a = { .svm_family = AF_VSOCK, .svm_port = port, .svm_cid = cid };
	int fd = new_socket();

	if (connect(fd, (struct sockaddr *)&a, sizeof(a)))
		die("connect");
	return fd;
}

/* The answer is read by the byte: what follows is the guest's. */
static int connected_unix(const char *path, unsigned port)
{
	struct sockaddr_un a;
	int fd = new_unix(path, &a), n;
	char line[40];

	if (connect(fd, (struct sockaddr *)&a, sizeof(a)))
		die("connect");
	n = snprintf(line, sizeof(line), "CONNECT %u\n", port);
	if (write(fd, line, (size_t)n) != n)
		die("write");
	for (n = 0; n < (int)sizeof(line) - 1 && read(fd, line + n, 1) == 1 && line[n] != '\n'; n++)
		;
	if (strncmp(line, "OK ", 3) || line[n] != '\n') {
		errno = ECONNREFUSED;
		die("the guest's answer");
	}
	return fd;
}

static void connect_to(const char *path, unsigned cid, unsigned port, unsigned n, uint64_t bytes)
{
	struct timespec begin, end;
	double ms;

	clock_gettime(CLOCK_MONOTONIC, &begin);
	for (unsigned i = 0; i < n; i++) {
		int fd = path ? connected_unix(path, port) : connected(cid, port);

		there_and_back(fd, bytes);
		close(fd);
	}
	clock_gettime(CLOCK_MONOTONIC, &end);
	ms = (double)(end.tv_sec - begin.tv_sec) * 1e3 + (double)(end.tv_nsec - begin.tv_nsec) / 1e6;
	printf("vsock-peer: %u connections, %llu bytes each way in each, %.0f ms\n", n, (unsigned long long)bytes, ms);
}

static void hold(const char *path, unsigned cid, unsigned port, unsigned n)
{
	char buf[512];

	for (unsigned i = 0; i < n; i++) {
		int fd = path ? connected_unix(path, port) : connected(cid, port);

		if (write(fd, "held", 4) != 4 || dup2(fd, 100 + (int)i) < 0)
			die("write");
		close(fd);
	}
	puts("holding");
	fflush(stdout);
	/* an error is an end as well */
	for (unsigned i = 0; i < n; i++)
		while (read(100 + (int)i, buf, sizeof(buf)) > 0)
			;
	puts("all were ended");
}

int main(int argc, char *argv[])
{
	struct rlimit fds = { .rlim_cur = 100 + MAX_CLIENTS, .rlim_max = 100 + MAX_CLIENTS };

	setrlimit(RLIMIT_NOFILE, &fds); /* who has no right to so many has few connections */
	signal(SIGPIPE, SIG_IGN); /* one that leaves is no reason to leave the others */
	if (argc == 3 && !strcmp(argv[1], "listen"))
		serve(bound((unsigned)atoi(argv[2])));
	else if (argc == 3 && !strcmp(argv[1], "listen-unix"))
		serve(bound_unix(argv[2]));
	else if (argc == 6 && (!strcmp(argv[1], "connect") || !strcmp(argv[1], "connect-unix")))
		connect_to(argv[1][7] ? argv[2] : NULL, (unsigned)atoi(argv[2]), (unsigned)atoi(argv[3]), (unsigned)atoi(argv[4]),
			   strtoull(argv[5], NULL, 10));
	else if (argc == 5 && (!strcmp(argv[1], "hold") || !strcmp(argv[1], "hold-unix")))
		hold(argv[1][4] ? argv[2] : NULL, (unsigned)atoi(argv[2]), (unsigned)atoi(argv[3]), (unsigned)atoi(argv[4]));
	else
		return 2;
	return 0;
}
