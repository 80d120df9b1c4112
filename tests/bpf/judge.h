/* judge: keeps what the source says of each connection and compares it with what really happened. Every byte that is
 * moved in these tests is known by its direction and position, so a record shows by itself whether it is right.
 */
#ifndef KT_TEST_JUDGE_H
#define KT_TEST_JUDGE_H

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "capture/source.h"

#define CONNS_MAX 4096

struct seen_stream {
	uint64_t end;	  /* next position expected */
	uint64_t bytes;	  /* that came and are right */
	uint64_t gaps[5]; /* by cause */
	uint64_t records;
	bool bad; /* a wrong byte, or a position that goes back */
};

struct seen {
	struct conn_key key;
	struct rec_open open;
	unsigned opens;
	struct seen_stream stream[2];
	bool closed, after_close, data_before_open;
	uint64_t close_pos[2];
};

static struct seen seen[CONNS_MAX];
static size_t nseen, stray;
static unsigned workers_seen, exits_seen;
static unsigned passed, failed;

static inline unsigned char pattern(int dir, uint64_t pos)
{
	return (unsigned char)(pos * 31 + (pos >> 8) * 7 + (uint64_t)dir * 101 + 'A');
}

static inline void check(bool good, const char *name, const char *why)
{
	if (good)
		printf("ok - %s\n", name);
	else
		printf("FAIL - %s: %s\n", name, why);
	fflush(stdout);
	*(good ? &passed : &failed) += 1;
}

static struct seen *seen_of(const struct conn_key *key)
{
	for (size_t i = nseen; i-- > 0;)
		if (conn_key_eq(&seen[i].key, key))
			return &seen[i];
	return NULL;
}

static void judge_data(const struct rec_data *d)
{
	struct seen *c = seen_of(&d->key);
	struct seen_stream *s;

	if (!c) {
		stray++;
		return;
	}
	s = &c->stream[d->dir];
	s->records++;
	c->after_close |= c->closed;
	if (d->pos < s->end)
		s->bad = true;
	else
		s->gaps[GAP_LOST] += d->pos - s->end;
	for (size_t i = 0; i < d->data.n; i++)
		s->bad |= (unsigned char)d->data.p[i] != pattern(d->dir, d->pos + i);
	s->bytes += d->data.n;
	s->gaps[d->cause] += d->gap;
	s->end = d->pos + d->data.n + d->gap;
}

static void on_record(void *ctx, const struct record *r)
{
	struct seen *c;

	(void)ctx;
	switch (r->kind) {
	case REC_OPEN:
		c = seen_of(&r->open.key);
		if (!c && nseen < CONNS_MAX) {
			c = &seen[nseen++];
			memset(c, 0, sizeof(*c));
			c->key = r->open.key;
		}
		if (c) {
			c->opens++;
			c->open = r->open;
		}
		break;
	case REC_DATA:
		judge_data(&r->data);
		break;
	case REC_CLOSE:
		c = seen_of(&r->close.key);
		if (c) {
			c->closed = true;
			c->close_pos[0] = r->close.in_pos;
			c->close_pos[1] = r->close.out_pos;
		} else {
			stray++;
		}
		break;
	case REC_WORKER:
		workers_seen++;
		break;
	case REC_EXIT:
		exits_seen++;
		break;
	default:
		break;
	}
}

static inline void forget_all(void)
{
	nseen = 0;
	stray = 0;
}

/* The connection with this local port, the n-th of them. */
static struct seen *seen_port(uint16_t port, unsigned nth)
{
	for (size_t i = 0; i < nseen; i++)
		if (seen[i].open.local.port == port && nth-- == 0)
			return &seen[i];
	return NULL;
}

/* What should have been seen. A position of UINT64_MAX is not looked at. */
struct want {
	uint64_t pos[2];     /* final positions */
	uint64_t gaps[2][5]; /* of these, bytes that are missing, by cause */
	enum conn_origin origin;
	bool late;
	bool open; /* not closed yet */
};

static void explain_seen(const struct seen *c, const struct want *w, char *why, size_t size)
{
	snprintf(why, size,
		"in %" PRIu64 "/%" PRIu64 " (bytes %" PRIu64 ", gaps %" PRIu64 " %" PRIu64 " %" PRIu64 "), out %" PRIu64
		"/%" PRIu64 " (bytes %" PRIu64 ", gaps %" PRIu64 " %" PRIu64 " %" PRIu64
		"), origin %d/%d, late %d/%d, closed %d, bad %d %d, opens %u",
		c->stream[0].end, w->pos[0], c->stream[0].bytes, c->stream[0].gaps[1], c->stream[0].gaps[2],
		c->stream[0].gaps[3], c->stream[1].end, w->pos[1], c->stream[1].bytes, c->stream[1].gaps[1],
		c->stream[1].gaps[2], c->stream[1].gaps[3], c->open.origin, w->origin, c->open.late, w->late, c->closed,
		c->stream[0].bad, c->stream[1].bad, c->opens);
}

static bool stream_as_wanted(const struct seen *c, const struct want *w, int dir)
{
	const struct seen_stream *s = &c->stream[dir];
	uint64_t missing = 0;

	for (int cause = 0; cause < 5; cause++) {
		missing += w->gaps[dir][cause];
		if (s->gaps[cause] != w->gaps[dir][cause])
			return false;
	}
	if (!w->open && c->close_pos[dir] != w->pos[dir])
		return false;
	return !s->bad && s->end == w->pos[dir] && s->bytes == w->pos[dir] - missing;
}

static void judge(const char *name, const struct seen *c, const struct want *w)
{
	char why[512] = "no such connection was opened";
	bool good;

	if (!c) {
		check(false, name, why);
		return;
	}
	good = stream_as_wanted(c, w, 0) && stream_as_wanted(c, w, 1) && c->closed != w->open && !c->after_close &&
	       c->open.origin == w->origin && c->open.late == w->late;
	explain_seen(c, w, why, sizeof(why));
	check(good, name, why);
}

#endif
