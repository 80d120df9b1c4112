/* ring: reads a BPF ring buffer. libbpf's own reader hides the two things that the order of records depends on: how far
 * the ring had been filled when reading began, and whether reading came that far or met a record still being written.
 */
#ifndef KT_CAPTURE_RING_H
#define KT_CAPTURE_RING_H

#include <stddef.h>
#include <stdint.h>

struct ring;

/* size: of the map's data area, a power of two. The descriptor is borrowed. NULL and errno. */
struct ring *ring__open(int map_fd, size_t size);

typedef void (*ring_fn)(void *ctx, const void *record, size_t len);

enum ring_end {
	RING_DONE,    /* everything that was in the ring at the time of the call has been handed on */
	RING_UNREADY, /* a record is still being written; what lies behind it waits for it */
};

/* Hands on what is there. The record is valid during the call of fn only. */
enum ring_end ring__read(struct ring *r, ring_fn fn, void *ctx);
/* Bytes waiting. */
size_t ring__pending(const struct ring *r);
void ring__close(struct ring *r); /* NULL is fine */

#endif
