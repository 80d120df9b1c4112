#include "capture/ring.h"

#include <linux/bpf.h>

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define CACHE_LINE 64
#define FETCH_BYTES 448

struct ring {
	unsigned long *consumer; /* ours to write */
	unsigned long *producer; /* the kernel's */
	const char *data;	 /* mapped twice in a row: no record is ever split */
	size_t size, page;
};

struct ring *ring__open(int map_fd, size_t size)
{
	struct ring *r = calloc(1, sizeof(*r));
	char *p;
	int err;

	if (!r)
		return NULL;
	r->size = size;
	r->page = (size_t)sysconf(_SC_PAGESIZE);
	p = mmap(NULL, r->page, PROT_READ | PROT_WRITE, MAP_SHARED, map_fd, 0);
	if (p == MAP_FAILED)
		goto fail;
	r->consumer = (void *)p;
	p = mmap(NULL, r->page + 2 * size, PROT_READ, MAP_SHARED, map_fd, (off_t)r->page);
	if (p == MAP_FAILED)
		goto fail;
	r->producer = (void *)p;
	r->data = p + r->page;
	return r;
fail:
	err = errno;
	ring__close(r);
	errno = err;
	return NULL;
}

/* A record's head and the beginning of its data: as much as most of them have. The memory is mapped twice, so there is
 * always something behind. */
static void fetch(const char *p)
{
	for (size_t i = 0; i < FETCH_BYTES; i += CACHE_LINE)
		__builtin_prefetch(p + i);
}

enum ring_end ring__read(struct ring *r, ring_fn fn, void *ctx)
{
	unsigned long at = __atomic_load_n(r->consumer, __ATOMIC_RELAXED);
	/* Pairs with the kernel's release: the headers of what lies before it are valid. */
	unsigned long end = __atomic_load_n(r->producer, __ATOMIC_ACQUIRE);

	while (at < end) {
		const char *head = r->data + (at & (r->size - 1));
		unsigned long next;
		uint32_t len = __atomic_load_n((const uint32_t *)head, __ATOMIC_ACQUIRE);

		if (len & BPF_RINGBUF_BUSY_BIT)
			return RING_UNREADY;
		next = at + (((len & ~BPF_RINGBUF_DISCARD_BIT) + BPF_RINGBUF_HDR_SZ + 7ul) & ~7ul);
		/* Another CPU wrote it: it is on its way here while this record is being worked on. */
		fetch(r->data + (next & (r->size - 1)));
		if (!(len & BPF_RINGBUF_DISCARD_BIT))
			fn(ctx, head + BPF_RINGBUF_HDR_SZ, len);
		at = next;
		/* Each record's room is given back at once: a burst needs it. */
		__atomic_store_n(r->consumer, at, __ATOMIC_RELEASE);
	}
	return RING_DONE;
}

size_t ring__pending(const struct ring *r)
{
	return __atomic_load_n(r->producer, __ATOMIC_ACQUIRE) - __atomic_load_n(r->consumer, __ATOMIC_RELAXED);
}

void ring__close(struct ring *r)
{
	if (!r)
		return;
	if (r->consumer)
		munmap(r->consumer, r->page);
	if (r->producer)
		munmap(r->producer, r->page + 2 * r->size);
	free(r);
}
