#include "capture/intake.h"

#include <linux/types.h>

#include <errno.h>
#include <stdlib.h>

#include "base/stats.h"
#include "capture.h"

/* More than two readings of the control ring can bring (256 KiB of at least 48 bytes each, with the ring's own 8): what
 * one of them left, and the next. */
#define QUEUE_MAX 16384

union control {
	struct kt_head head;
	struct kt_open open;
	struct kt_close close;
	struct kt_proc proc;
};

struct waiting {
	uint64_t serial;
	union control raw;
};

struct intake {
	struct intake_sink sink;
	struct waiting *queue; /* by time */
	size_t first, n, cap;
	uint64_t serial, count;
	uint64_t seen_ns; /* the latest time on the control ring so far */
	uint64_t data_ns; /* time of the latest data record */
};

struct intake *intake__new(const struct intake_sink *sink)
{
	struct intake *in = calloc(1, sizeof(*in));

	if (in)
		in->sink = *sink;
	return in;
}

static void hand_on(struct intake *in, const struct record *rec)
{
	in->count++;
	in->sink.record.fn(in->sink.record.ctx, rec);
}

static struct endpoint endpoint_of(uint8_t family, uint16_t port, const uint8_t addr[KT_ADDR_LEN])
{
	static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
	struct endpoint e = {.family = ADDR_NONE};

	if (family == 6 && memcmp(addr, mapped, sizeof(mapped)) == 0) {
		e.family = ADDR_IP4;
		memcpy(e.addr, addr + 12, 4);
	} else if (family == 6) {
		e.family = ADDR_IP6;
		memcpy(e.addr, addr, 16);
	} else if (family == 4) {
		e.family = ADDR_IP4;
		memcpy(e.addr, addr, 4);
	}
	if (e.family != ADDR_NONE)
		e.port = port;
	return e;
}

static void give_open(struct intake *in, const struct kt_open *o)
{
	struct record rec = {
		.kind = REC_OPEN,
		.t_ns = o->head.t_ns,
		.open =
			{
				.key = {.gen = o->gen, .obj = o->obj, .pid = o->head.pid, .tls = o->tls},
				.fd = o->fd,
				.origin = o->origin <= CONN_CONNECTED ? (enum conn_origin)o->origin : CONN_UNKNOWN,
				.late = o->late != 0,
				.local = endpoint_of(o->family, o->local_port, o->local),
				.peer = endpoint_of(o->family, o->peer_port, o->peer),
			},
	};

	hand_on(in, &rec);
}

static void give_close(struct intake *in, const struct kt_close *c)
{
	struct record rec = {
		.kind = REC_CLOSE,
		.t_ns = c->head.t_ns,
		.close =
			{
				.key = {.gen = c->gen, .obj = c->obj, .pid = c->head.pid, .tls = c->tls},
				.in_pos = c->pos[KT_IN],
				.out_pos = c->pos[KT_OUT],
				.limited = c->limited != 0,
			},
	};

	hand_on(in, &rec);
}

static void give_proc(struct intake *in, const struct kt_proc *p)
{
	struct proc_event e = {
		.what = p->head.kind == KT_FORK	  ? PROC_FORK
			: p->head.kind == KT_EXEC ? PROC_EXEC
						  : PROC_EXIT,
		.t_ns = p->head.t_ns,
		.pid = p->head.pid,
		.other = p->other,
		.watched = p->flags != 0,
	};

	in->sink.proc(in->sink.ctx, &e);
}

static void give_control(struct intake *in, const union control *raw)
{
	switch (raw->head.kind) {
	case KT_OPEN:
		give_open(in, &raw->open);
		break;
	case KT_CLOSE:
		give_close(in, &raw->close);
		break;
	default:
		give_proc(in, &raw->proc);
		break;
	}
}

/* The size that a control record of this kind has, 0 for what is none. */
static size_t control_size(uint32_t kind)
{
	switch (kind) {
	case KT_OPEN:
		return sizeof(struct kt_open);
	case KT_CLOSE:
		return sizeof(struct kt_close);
	case KT_FORK:
	case KT_EXEC:
	case KT_EXIT:
		return sizeof(struct kt_proc);
	default:
		return 0;
	}
}

/* Copies it out of the ring, whose memory the kernel may write to again. 0 or -EBADMSG. */
static int take_control(union control *c, const void *raw, size_t len)
{
	size_t size;

	if (len < sizeof(struct kt_head))
		return -EBADMSG;
	memcpy(&c->head, raw, sizeof(c->head));
	size = control_size(c->head.kind);
	if (!size || len < size)
		return -EBADMSG;
	memcpy(c, raw, size);
	return 0;
}

/* Room for one more, or false. */
static bool queue_room(struct intake *in)
{
	struct waiting *q;
	size_t cap;

	if (in->first + in->n < in->cap)
		return true;
	if (in->first) {
		memmove(in->queue, in->queue + in->first, in->n * sizeof(*in->queue));
		in->first = 0;
		return true;
	}
	cap = in->cap ? 2 * in->cap : 64;
	if (cap > QUEUE_MAX)
		return false;
	q = realloc(in->queue, cap * sizeof(*q));
	if (!q)
		return false;
	in->queue = q;
	in->cap = cap;
	return true;
}

static void give_first(struct intake *in)
{
	union control raw = in->queue[in->first].raw;

	/* Out of the queue before it is handed on: the sink may well come back here through a drain. */
	in->first++;
	if (--in->n == 0)
		in->first = 0;
	give_control(in, &raw);
}

void intake__control(struct intake *in, const void *raw, size_t len)
{
	union control c;
	size_t i;

	if (take_control(&c, raw, len)) {
		stats_inc(STAT_capture_bad_records);
		return;
	}
	if (c.head.t_ns > in->seen_ns)
		in->seen_ns = c.head.t_ns;
	/* Early is better than never: order between workers is not promised, and within one it still holds. */
	while (!queue_room(in) && in->n)
		give_first(in);
	if (!queue_room(in)) {
		stats_inc(STAT_capture_lost_control);
		return;
	}
	/* CPUs may have reserved in another order than they read the clock in: never far apart. */
	for (i = in->first + in->n; i > in->first && in->queue[i - 1].raw.head.t_ns > c.head.t_ns; i--)
		in->queue[i] = in->queue[i - 1];
	in->queue[i] = (struct waiting){.serial = ++in->serial, .raw = c};
	in->n++;
}

static void give_before(struct intake *in, uint64_t t_ns)
{
	while (in->n && in->queue[in->first].raw.head.t_ns <= t_ns)
		give_first(in);
}

static bool data_good(const struct kt_data *d, size_t len)
{
	return len >= sizeof(*d) && d->len <= len - sizeof(*d) && d->dir <= KT_OUT && d->tls <= 1 &&
	       d->cause <= KT_CAUSE_FAULT && d->pos + d->len >= d->pos && d->pos + d->len + d->gap >= d->gap;
}

void intake__data(struct intake *in, const void *raw, size_t len)
{
	const struct kt_data *d = raw;
	struct record rec;
	union control c;

	if (len < sizeof(struct kt_head)) {
		stats_inc(STAT_capture_bad_records);
		return;
	}
	if (d->head.kind != KT_DATA) {
		/* A control record that found no room in its own ring. */
		if (take_control(&c, raw, len)) {
			stats_inc(STAT_capture_bad_records);
			return;
		}
		give_before(in, c.head.t_ns);
		give_control(in, &c);
		return;
	}
	if (!data_good(d, len)) {
		stats_inc(STAT_capture_bad_records);
		return;
	}
	/* Its OPEN was there before its own time: what is later on the control ring was put there after it. So where
	 * the data ring lags behind the control ring is not read ahead of it, however many connections come and go
	 * meanwhile; what finds no room there goes to the data ring, where it belongs. */
	if ((d->flags & KT_FIRST) && in->seen_ns <= d->head.t_ns)
		in->sink.drain(in->sink.ctx);
	give_before(in, d->head.t_ns);
	/* Not the whole of it: the largest kind of record takes nearly a kilobyte. */
	rec.kind = REC_DATA;
	rec.t_ns = in->data_ns = d->head.t_ns;
	rec.data = (struct rec_data){
		.key = {.gen = d->gen, .obj = d->obj, .pid = d->head.pid, .tls = d->tls},
		.dir = (enum direction)d->dir,
		.pos = d->pos,
		.data = span_of(d + 1, d->len),
		.gap = d->gap,
		.cause = (enum gap_cause)d->cause,
	};
	hand_on(in, &rec);
}

void intake__lost(struct intake *in)
{
	const struct record rec = {.kind = REC_LOSS, .t_ns = in->data_ns};

	hand_on(in, &rec);
}

uint64_t intake__mark(const struct intake *in)
{
	return in->serial;
}

void intake__settle(struct intake *in, uint64_t mark)
{
	/* Later arrivals may stand before earlier ones in time: then the rest waits for the next round, in order. */
	while (in->n && in->queue[in->first].serial <= mark)
		give_first(in);
}

uint64_t intake__count(const struct intake *in)
{
	return in->count;
}

void intake__free(struct intake *in)
{
	if (!in)
		return;
	free(in->queue);
	free(in);
}
