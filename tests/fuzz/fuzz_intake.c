/* Raw records on two rings, any bytes: what comes out is well-formed, in order where order is promised, and bounded.
 * Input: pieces of {which ring (1 byte), length (1 byte), bytes}; a piece of ring 2 settles.
 */
#include <linux/types.h>

#include <stdlib.h>

#include "capture.h"
#include "capture/intake.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct intake *in;
static uint64_t given;
static volatile char payload; /* every byte of it is read */

static void check(bool ok)
{
	if (!ok)
		abort();
}

static void on_record(void *ctx, const struct record *r)
{
	(void)ctx;
	given++;
	switch (r->kind) {
	case REC_DATA:
		check(r->data.dir <= DIR_OUT && r->data.cause <= GAP_FAULT && r->data.key.tls <= 1);
		check(r->data.pos + r->data.data.n >= r->data.pos);
		check(r->data.pos + r->data.data.n + r->data.gap >= r->data.gap);
		for (size_t i = 0; i < r->data.data.n; i++)
			payload ^= r->data.data.p[i];
		break;
	case REC_OPEN:
		check(r->open.origin <= CONN_CONNECTED);
		check(r->open.local.family == ADDR_NONE || r->open.local.family == ADDR_IP4 ||
			r->open.local.family == ADDR_IP6);
		break;
	default:
		check(r->kind == REC_CLOSE);
		break;
	}
}

static void on_proc(void *ctx, const struct proc_event *e)
{
	(void)ctx;
	check(e->what >= PROC_FORK && e->what <= PROC_EXIT);
}

static void on_drain(void *ctx)
{
	(void)ctx;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct intake_sink sink = {.record = {on_record, NULL}, .proc = on_proc, .drain = on_drain};

	in = intake__new(&sink);
	check(in != NULL);
	given = 0;
	while (size >= 2) {
		uint8_t ring = data[0] % 3;
		size_t n = data[1];
		uint64_t aligned[32] = {0};

		data += 2;
		size -= 2;
		if (n > size)
			n = size;
		memcpy(aligned, data, n);
		if (ring == 0)
			intake__control(in, aligned, n);
		else if (ring == 1)
			intake__data(in, aligned, n);
		else
			intake__settle(in, intake__mark(in));
		data += n;
		size -= n;
	}
	check(intake__count(in) == given);
	intake__free(in);
	return 0;
}
