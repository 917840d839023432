// SPDX-License-Identifier: BSD-3-Clause
#include "tests/fake/kvm_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "vmm/base/checked.h"

static struct {
	int open_err;
	unsigned max_ipa_bits, max_vcpus;
} host = { 0, 40, 8 };

/* Book-keeping */

void fake_complain(struct hyp *h, const char *what)
{
	if (!h->complaint)
		h->complaint = what;
}

/* Most tests make few calls, and fuzzers very many VMs. */
static void grow_log(struct hyp *h)
{
	unsigned n = h->log_size ? 2 * h->log_size : 64;
	struct fake_call *log = realloc(h->log, n * sizeof(*log));

	if (!log)
		abort();
	h->log = log;
	h->log_size = n;
}

int fake_log_call(struct hyp *h, struct fake_call call)
{
	if (h->logged >= h->log_size && h->log_size < LOG_SIZE)
		grow_log(h);
	h->log[h->logged++ % LOG_SIZE] = call;
	h->counts[call.op]++;
	return call.result;
}

/* Is this call to fail? Counts down, so it is asked once a call. */
int fake_failure(struct hyp *h, enum fake_op op)
{
	unsigned i;
	int err = 0;

	for (i = 0; i < h->nr_fails; i++)
		if (h->fails[i].op == op && h->fails[i].nth && !--h->fails[i].nth)
			err = h->fails[i].err;
	while (h->nr_fails && !h->fails[h->nr_fails - 1].nth)
		h->nr_fails--;
	return err;
}

void fake_kvm_fail(struct hyp *h, enum fake_op op, unsigned nth, int err)
{
	pthread_mutex_lock(&h->lock);
	if (h->nr_fails == MAX_FAILS || !nth)
		abort();
	h->fails[h->nr_fails].op = op;
	h->fails[h->nr_fails].nth = nth;
	h->fails[h->nr_fails++].err = err;
	pthread_mutex_unlock(&h->lock);
}

unsigned fake_kvm_calls(struct hyp *h)
{
	unsigned n;

	pthread_mutex_lock(&h->lock);
	n = h->logged < LOG_SIZE ? (unsigned)h->logged : LOG_SIZE;
	pthread_mutex_unlock(&h->lock);
	return n;
}

struct fake_call fake_kvm_call(struct hyp *h, unsigned i)
{
	struct fake_call call;

	pthread_mutex_lock(&h->lock);
	call = h->log[(h->logged < LOG_SIZE ? i : h->logged + i) % LOG_SIZE];
	pthread_mutex_unlock(&h->lock);
	return call;
}

uint64_t fake_kvm_count(struct hyp *h, enum fake_op op)
{
	uint64_t n;

	pthread_mutex_lock(&h->lock);
	n = h->counts[op];
	pthread_mutex_unlock(&h->lock);
	return n;
}

void fake_kvm_forget_calls(struct hyp *h)
{
	pthread_mutex_lock(&h->lock);
	h->logged = 0;
	memset(h->counts, 0, sizeof(h->counts));
	pthread_mutex_unlock(&h->lock);
}

/* The VM */

void fake_kvm_host(int open_err, unsigned max_ipa_bits, unsigned max_vcpus)
{
	host.open_err = open_err;
	host.max_ipa_bits = max_ipa_bits;
	host.max_vcpus = max_vcpus;
}

int hyp_open_dev(int *ret_fd, struct err *err)
{
	int fd;

	if (host.open_err)
		return err_set(err, host.open_err, "/dev/kvm: %s", strerror(-host.open_err));
	fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return err_set(err, -errno, "/dev/null: %s", strerror(errno));
	*ret_fd = fd;
	return 0;
}

static struct hyp *new_vm(int kvm_fd)
{
	struct hyp *h = calloc(1, sizeof(*h));

	if (!h)
		abort();
	pthread_mutex_init(&h->lock, NULL);
	h->kvm_fd = kvm_fd;
	h->vm_fd = -1;
	h->has_its = true;
	h->max_routes = FAKE_KVM_MAX_GSI;
	return h;
}

struct hyp *fake_kvm_new(void)
{
	return new_vm(-1);
}

int hyp_new(int kvm_fd, unsigned ipa_bits, struct hyp **ret_h, struct err *err)
{
	if (ipa_bits < 32 || ipa_bits > host.max_ipa_bits) {
		close(kvm_fd);
		return err_set(err, -EINVAL, "KVM: %u address bits", ipa_bits);
	}
	*ret_h = new_vm(kvm_fd);
	return 0;
}

void hyp_free(struct hyp *h)
{
	unsigned i;

	if (!h)
		return;
	fake_kvm_stop_thread(h);
	for (i = 0; i < h->nr_irqfds; i++)
		close(h->irqfds[i].dup);
	if (h->kvm_fd >= 0)
		close(h->kvm_fd);
	pthread_mutex_destroy(&h->lock);
	free(h->log);
	free(h);
}

int hyp_kvm_fd(const struct hyp *h)
{
	return h->kvm_fd;
}

int hyp_vm_fd(const struct hyp *h)
{
	return h->vm_fd;
}

unsigned hyp_max_ipa_bits(int kvm_fd)
{
	(void)kvm_fd;
	return host.max_ipa_bits;
}

int hyp_max_vcpus(int kvm_fd)
{
	(void)kvm_fd;
	return (int)host.max_vcpus;
}

void fake_kvm_set_cap(struct hyp *h, long cap, int value)
{
	if (h->nr_caps == MAX_CAPS)
		abort();
	h->caps[h->nr_caps].cap = cap;
	h->caps[h->nr_caps++].value = value;
}

int hyp_check(const struct hyp *h, long cap)
{
	unsigned i;

	for (i = h->nr_caps; i--;)
		if (h->caps[i].cap == cap)
			return h->caps[i].value;
	return 0;
}

void fake_kvm_set_max_routes(struct hyp *h, unsigned max)
{
	if (max > FAKE_KVM_MAX_GSI)
		abort();
	h->max_routes = max;
}

unsigned hyp_max_routes(const struct hyp *h)
{
	return h->max_routes;
}

void fake_kvm_set_its(struct hyp *h, bool has_its)
{
	h->has_its = has_its;
}

bool hyp_needs_devid(const struct hyp *h)
{
	return h->has_its;
}

/* Memory slots */

static bool slot_fits(const struct hyp *h, uint32_t slot, gpa_t gpa, uint64_t size)
{
	unsigned i;

	for (i = 0; i < h->nr_slots; i++)
		if (h->slots[i].slot != slot &&
		    ranges_overlap(gpa, size, h->slots[i].gpa, h->slots[i].size))
			return false;
	return true;
}

static int set_memory_locked(struct hyp *h, uint32_t slot, gpa_t gpa, uint64_t size, void *hva, bool readonly)
{
	unsigned i;

	if (!is_aligned(gpa | size, 4096))
		return -EINVAL;
	if (!slot_fits(h, slot, gpa, size))
		return -EEXIST;
	for (i = 0; i < h->nr_slots && h->slots[i].slot != slot; i++)
		;
	if (i == h->nr_slots && !size)
		return -EINVAL;
	if (i == MAX_SLOTS)
		return -ENOMEM;
	if (!size)
		h->slots[i] = h->slots[--h->nr_slots];
	else
		h->slots[i] = (struct fake_slot){ slot, gpa, size, hva, readonly };
	h->nr_slots += size && i == h->nr_slots;
	return 0;
}

int hyp_set_memory(struct hyp *h, uint32_t slot, gpa_t gpa, uint64_t size, void *hva, bool readonly)
{
	int err;

	pthread_mutex_lock(&h->lock);
	err = fake_failure(h, FAKE_SET_MEMORY);
	if (!err)
		err = set_memory_locked(h, slot, gpa, size, hva, readonly);
	fake_log_call(h, (struct fake_call){ .op = FAKE_SET_MEMORY, .result = err, .n = slot, .value = gpa });
	pthread_mutex_unlock(&h->lock);
	return err;
}

/* A byte at a time, as a guest's access is not ordered with the stores of the program's threads. */
static uint64_t load_bytes(const char *p, unsigned len)
{
	uint64_t val = 0;

	for (unsigned i = 0; i < len; i++)
		val |= (uint64_t)(uint8_t)__atomic_load_n(p + i, __ATOMIC_RELAXED) << (8 * i);
	return val;
}

bool fake_kvm_guest_read(struct hyp *h, gpa_t gpa, unsigned len, uint64_t *ret_value)
{
	bool found = false;

	pthread_mutex_lock(&h->lock);
	for (unsigned i = 0; i < h->nr_slots && !found; i++) {
		const struct fake_slot *s = &h->slots[i];

		found = s->readonly && range_within(gpa, len, s->gpa, s->size);
		if (found)
			*ret_value = load_bytes(s->hva + (gpa - s->gpa), len);
	}
	pthread_mutex_unlock(&h->lock);
	return found;
}

unsigned fake_kvm_nr_slots(struct hyp *h)
{
	unsigned n;

	pthread_mutex_lock(&h->lock);
	n = h->nr_slots;
	pthread_mutex_unlock(&h->lock);
	return n;
}

bool fake_kvm_slot(struct hyp *h, uint32_t slot, gpa_t *ret_gpa, uint64_t *ret_size, void **ret_hva)
{
	bool found = false;

	pthread_mutex_lock(&h->lock);
	for (unsigned i = 0; i < h->nr_slots && !found; i++) {
		found = h->slots[i].slot == slot;
		if (!found)
			continue;
		*ret_gpa = h->slots[i].gpa;
		*ret_size = h->slots[i].size;
		*ret_hva = h->slots[i].hva;
	}
	pthread_mutex_unlock(&h->lock);
	return found;
}

/* ioeventfds */

/* Two of them collide where one write could mean both. */
static bool ioeventfds_collide(const struct fake_ioeventfd *a, const struct fake_ioeventfd *b)
{
	return a->gpa == b->gpa && a->len == b->len &&
	       (a->match < 0 || b->match < 0 || a->match == b->match);
}

static int ioeventfd_attach_locked(struct hyp *h, const struct fake_ioeventfd *e)
{
	unsigned i;

	if (fcntl(e->fd, F_GETFD) < 0)
		return -EBADF;
	if (e->len != 1 && e->len != 2 && e->len != 4 && e->len != 8)
		return -EINVAL;
	for (i = 0; i < h->nr_ioeventfds; i++)
		if (ioeventfds_collide(e, &h->ioeventfds[i]))
			return -EEXIST;
	if (i == MAX_IOEVENTFDS)
		return -ENOSPC;
	h->ioeventfds[h->nr_ioeventfds++] = *e;
	return 0;
}

static int ioeventfd_detach_locked(struct hyp *h, const struct fake_ioeventfd *e)
{
	unsigned i;

	for (i = 0; i < h->nr_ioeventfds; i++) {
		const struct fake_ioeventfd *have = &h->ioeventfds[i];

		if (have->fd == e->fd && have->gpa == e->gpa && have->len == e->len &&
		    have->match == e->match) {
			h->ioeventfds[i] = h->ioeventfds[--h->nr_ioeventfds];
			return 0;
		}
	}
	return -ENOENT;
}

static int ioeventfd(struct hyp *h, enum fake_op op, struct fake_ioeventfd e)
{
	int err;

	pthread_mutex_lock(&h->lock);
	err = fake_failure(h, op);
	if (!err)
		err = op == FAKE_IOEVENTFD_ATTACH ? ioeventfd_attach_locked(h, &e) :
						    ioeventfd_detach_locked(h, &e);
	fake_log_call(h, (struct fake_call){ .op = op, .result = err, .fd = e.fd, .n = e.len,
					     .value = e.gpa, .match = e.match });
	pthread_mutex_unlock(&h->lock);
	return err;
}

int hyp_ioeventfd_attach(struct hyp *h, int fd, gpa_t gpa, unsigned len, int64_t match)
{
	return ioeventfd(h, FAKE_IOEVENTFD_ATTACH, (struct fake_ioeventfd){ fd, gpa, len, match });
}

int hyp_ioeventfd_detach(struct hyp *h, int fd, gpa_t gpa, unsigned len, int64_t match)
{
	return ioeventfd(h, FAKE_IOEVENTFD_DETACH, (struct fake_ioeventfd){ fd, gpa, len, match });
}

bool fake_kvm_guest_write(struct hyp *h, gpa_t gpa, unsigned len, uint64_t value)
{
	const uint64_t one = 1;
	bool taken = false;
	unsigned i;

	pthread_mutex_lock(&h->lock);
	for (i = 0; i < h->nr_ioeventfds && !taken; i++) {
		const struct fake_ioeventfd *e = &h->ioeventfds[i];

		taken = e->gpa == gpa && e->len == len && (e->match < 0 || (uint64_t)e->match == value);
		if (taken && write(e->fd, &one, sizeof(one)) != (ssize_t)sizeof(one))
			abort();
	}
	pthread_mutex_unlock(&h->lock);
	return taken;
}

unsigned fake_kvm_nr_ioeventfds(struct hyp *h)
{
	unsigned n;

	pthread_mutex_lock(&h->lock);
	n = h->nr_ioeventfds;
	pthread_mutex_unlock(&h->lock);
	return n;
}

/* The filters of system calls are looked at without KVM's own rows. */
const struct right hyp_rights[] = { { 0 } }, vcpu_rights[] = { { 0 } };
