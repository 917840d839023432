// SPDX-License-Identifier: BSD-3-Clause
/*
 * vsock-peer listen PORT: takes connections one after the other, and gives back whatever comes on each, until it is ended.
 * vsock-peer connect CID PORT N BYTES: N connections, one after the other, each with BYTES there and back, compared.
 *
 * Runs in the host and, from an archive behind the initramfs, in the guest.
 */
#include <sys/socket.h> /* before the next but one, which wants it */

#include <errno.h>
#include <linux/vm_sockets.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
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

static void echo(int fd)
{
	static char buf[CHUNK];
	ssize_t n;

	while ((n = read(fd, buf, sizeof(buf))) > 0)
		for (ssize_t at = 0, w; at < n; at += w) {
			w = write(fd, buf + at, (size_t)(n - at));
			if (w <= 0)
				return;
		}
}

static void listen_on(unsigned port)
{
	struct sockaddr_vm a = { .svm_family = AF_VSOCK, .svm_port = port, .svm_cid = VMADDR_CID_ANY };
	int fd = new_socket();

	if (bind(fd, (struct sockaddr *)&a, sizeof(a)) || listen(fd, 8))
		die("listen");
	puts("listening");
	fflush(stdout);
	for (;;) {
		int c = accept(fd, NULL, NULL);

		if (c < 0)
			die("accept");
		echo(c);
		close(c);
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
}

static void connect_to(unsigned cid, unsigned port, unsigned n, uint64_t bytes)
{
	struct sockaddr_vm a = { .svm_family = AF_VSOCK, .svm_port = port, .svm_cid = cid };
	struct timespec begin, end;
	double ms;

	clock_gettime(CLOCK_MONOTONIC, &begin);
	for (unsigned i = 0; i < n; i++) {
		int fd = new_socket();

		if (connect(fd, (struct sockaddr *)&a, sizeof(a)))
			die("connect");
		there_and_back(fd, bytes);
		close(fd);
	}
	clock_gettime(CLOCK_MONOTONIC, &end);
	ms = (double)(end.tv_sec - begin.tv_sec) * 1e3 + (double)(end.tv_nsec - begin.tv_nsec) / 1e6;
	printf("vsock-peer: %u connections, %llu bytes each way in each, %.0f ms\n", n, (unsigned long long)bytes, ms);
}

int main(int argc, char *argv[])
{
	if (argc == 3 && !strcmp(argv[1], "listen"))
		listen_on((unsigned)atoi(argv[2]));
	else if (argc == 6 && !strcmp(argv[1], "connect"))
		connect_to((unsigned)atoi(argv[2]), (unsigned)atoi(argv[3]), (unsigned)atoi(argv[4]), strtoull(argv[5], NULL, 10));
	else
		return 2;
	return 0;
}
