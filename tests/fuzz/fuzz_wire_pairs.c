/* fuzz_wire_pairs: a client and a server that do what the input says, call after call, as nginx would move their bytes
 * (a request is read when the one before it was answered; what is pipelined may come with it), and a capture that loses
 * what the input says, and of bodies leaves out what the kernel may (bpf/turn.bpf.h). Every message carries the number
 * of its call. Aborts when an exchange that came out holds parts of two calls, or a body that is not its own; and, when
 * nothing was lost, when any call is missing or not whole.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hmap.h"
#include "wire/conns.h"

#define CALLS_MAX 24
#define BYTES_MAX (1u << 20)

#define must(cond)                                                                                                     \
	do {                                                                                                           \
		if (!(cond)) {                                                                                         \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #cond);                                     \
			abort();                                                                                       \
		}                                                                                                      \
	} while (0)

struct input {
	const uint8_t *p;
	size_t n;
};

struct side {
	struct buf bytes;
	size_t sent, head[CALLS_MAX], end[CALLS_MAX]; /* where each call's message has its body, and its end */
	uint64_t pos;
	bool leaving;	       /* the rest of this message is left out */
	bool plain[CALLS_MAX]; /* the body's length is known */
};

struct world {
	struct conns *c;
	struct side req, resp;
	unsigned calls, whole;
	bool upstream, lossy, late;
	uint64_t t_ns;
};

static uint8_t byte(struct input *in)
{
	uint8_t b = in->n ? in->p[0] : 0;

	if (in->n) {
		in->p++;
		in->n--;
	}
	return b;
}

/* The end of a head and a body; where that begins. */
static size_t put_body(struct buf *b, unsigned id, char side, unsigned kind, unsigned n)
{
	char text[2048];
	size_t head;

	for (unsigned i = 0; i < n; i++)
		text[i] = (char)(i % 3 == 0 ? side : i % 3 == 1 ? 'A' + (char)(id % 26) : 'a' + (char)(i % 26));
	if (kind == 0) {
		must(!buf__printf(b, "Content-Length: %u\r\n\r\n", n));
		head = b->n;
		must(!buf__append(b, text, n));
		return head;
	}
	must(!buf__append_str(b, "Transfer-Encoding: chunked\r\n\r\n"));
	head = b->n;
	for (unsigned at = 0, k; at < n; at += k) {
		k = 1 + (at * 7 + kind) % 40;
		k = k < n - at ? k : n - at;
		must(!buf__printf(b, "%x%s\r\n", k, kind & 2 ? ";e=1" : ""));
		must(!buf__append(b, text + at, k) && !buf__append_str(b, "\r\n"));
	}
	must(!buf__append_str(b, kind & 4 ? "0\r\nT: 1\r\n\r\n" : "0\r\n\r\n"));
	return head;
}

/* The body a call's message has: what put_body made, to be compared with. */
static void check_body(const struct message *m, unsigned id, char side)
{
	for (size_t i = 0; i < m->body.n; i++) {
		char want = (char)(i % 3 == 0 ? side : i % 3 == 1 ? 'A' + (char)(id % 26) : 'a' + (char)(i % 26));

		must(m->body.p[i] == want);
	}
}

static void make_call(struct world *w, struct input *in)
{
	static const char *const methods[] = {"GET", "POST", "PUT", "HEAD", "DELETE"};
	unsigned id = w->calls, m = byte(in) % 5, how = byte(in);
	struct buf *q = &w->req.bytes, *s = &w->resp.bytes;

	must(!buf__printf(q, "%s /%u HTTP/1.1\r\nX-Id: %u\r\nPadding: %.*s\r\n", methods[m], id, id, byte(in),
		"xxxxxxxxxxxxxxx"));
	w->req.plain[id] = (m == 1 || m == 2) && !(how & 7);
	if (m == 1 || m == 2)
		w->req.head[id] = put_body(q, id, 'q', how & 7, byte(in) * 3u);
	else
		must(!buf__append_str(q, "\r\n"));
	if (!w->req.head[id])
		w->req.head[id] = q->n;
	w->req.end[id] = q->n;
	if (how & 8)
		must(!buf__append_str(s, "HTTP/1.1 100 Continue\r\n\r\n"));
	must(!buf__printf(s, "HTTP/1.1 %s\r\nX-Id: %u\r\n", (how >> 4) == 1 ? "204 No" : "200 OK", id));
	if (m == 3)
		must(!buf__append_str(s, "Content-Length: 77\r\n\r\n"));
	else if ((how >> 4) == 1)
		must(!buf__append_str(s, "\r\n"));
	else
		w->resp.head[id] = put_body(s, id, 's', (how >> 4) & 7, byte(in) * 7u);
	if (!w->resp.head[id])
		w->resp.head[id] = s->n;
	w->resp.end[id] = s->n;
	w->calls++;
}

static void tell(struct world *w, struct record *rec)
{
	/* A copy of its own size: a read beyond it is seen by the sanitizer. */
	char *copy = malloc(rec->data.data.n + 1);

	must(copy);
	memcpy(copy, rec->data.data.p, rec->data.data.n);
	rec->data.data.p = copy;
	conns__on_record(w->c, rec);
	free(copy);
}

/* The kernel leaves the call out, and shows the end of a chunked body. */
static void leave_out(struct world *w, struct side *s, struct record *rec)
{
	struct span call = rec->data.data, end = span_skip(call, call.n >= 5 ? call.n - 5 : call.n);
	bool ends = span_eq(end, SPAN_LIT("0\r\n\r\n"));

	rec->data.data.n = 0;
	rec->data.gap = ends ? call.n - 5 : call.n;
	rec->data.cause = GAP_LIMIT;
	if (rec->data.gap)
		tell(w, rec);
	if (!ends)
		return;
	rec->data.pos = s->pos - 5;
	rec->data.data = end;
	rec->data.gap = 0;
	tell(w, rec);
}

/* The kernel leaves a body of known length out of a call that has other bytes, too: but for its last byte where others
 * follow. False: there is none in these n bytes. */
static bool leave_hole(struct world *w, struct side *s, struct record *rec, size_t n)
{
	struct span call = rec->data.data;
	size_t begin = s->sent - n;

	for (unsigned id = 0; id < w->calls; id++) {
		size_t from = s->head[id] > begin ? s->head[id] - begin : 0,
		       to = s->end[id] > begin ? s->end[id] - begin : 0;

		if (to >= n)
			to = n;
		else if (to)
			to--;
		if (!s->plain[id] || from >= to)
			continue;
		rec->data.data = span_of(call.p, from);
		rec->data.gap = to - from;
		rec->data.cause = GAP_LIMIT;
		tell(w, rec);
		if (to == n)
			return true;
		rec->data.pos += to;
		rec->data.data = span_skip(call, to);
		rec->data.gap = 0;
		tell(w, rec);
		return true;
	}
	return false;
}

static void emit(struct world *w, struct side *s, size_t n, size_t left, bool in_body, struct input *in)
{
	struct record rec = {.kind = REC_DATA, .t_ns = w->t_ns += 1000000};
	uint8_t loss = w->lossy ? byte(in) : 0;

	rec.data = (struct rec_data){.key = {.gen = 1, .obj = 5, .pid = 2},
		.dir = (s == &w->req) != w->upstream ? DIR_IN : DIR_OUT,
		.pos = s->pos,
		.data = {s->bytes.p + s->sent, n}};
	s->sent += n;
	s->pos += n;
	if (loss < 40)
		rec.data.gap = 0;
	else if (loss < 60)
		return;
	else if (loss < 80)
		rec.data.gap = n;
	else if (loss < 100)
		rec.data.gap = loss % n;
	else if (loss < 160 && in_body)
		s->leaving = true;
	else if (loss < 200 && s == &w->req && leave_hole(w, s, &rec, n))
		return;
	if (s->leaving && (loss < 40 || loss >= 100)) {
		/* Of responses short calls are copied, but for the end. */
		if (s == &w->req || n == left || loss < 200) {
			leave_out(w, s, &rec);
			return;
		}
	}
	rec.data.data.n -= rec.data.gap;
	rec.data.cause = GAP_FAULT;
	tell(w, &rec);
}

/* Move bytes of one side until its message of this call is out; `beyond`: a read may take what follows, too. */
static void move(struct world *w, struct side *s, unsigned id, bool beyond, struct input *in)
{
	s->leaving = false;
	while (s->sent < s->end[id]) {
		size_t left = s->end[id] - s->sent, most = beyond && !s->leaving ? s->bytes.n - s->sent : left;
		size_t n = in->n ? 1 + byte(in) * 5u : most;

		if (n > most)
			n = most;
		emit(w, s, n, left, s->sent >= s->head[id] && n <= left, in);
	}
}

static void on_done(void *ctx, struct exchange *x)
{
	struct world *w = ctx;
	struct span q = headers__get(&x->req.headers, SPAN_LIT("x-id"));
	struct span s = headers__get(&x->resp.headers, SPAN_LIT("x-id"));

	must(!x->req.head_done || !x->resp.head_done || span_eq(q, s));
	if (x->req.head_done)
		must(q.n && x->req.target.n == q.n + 1);
	if (q.n && x->req.head_done)
		check_body(&x->req, (unsigned)strtoul(q.p, NULL, 10), 'q');
	if (s.n && x->resp.head_done)
		check_body(&x->resp, (unsigned)strtoul(s.p, NULL, 10), 's');
	w->whole += x->req.end == MSG_COMPLETE && x->resp.end == MSG_COMPLETE && x->req.head_done && x->resp.head_done;
	exchange__free(x);
}

static void open_conn(struct world *w)
{
	struct record rec = {.kind = REC_OPEN, .t_ns = w->t_ns};

	rec.open = (struct rec_open){.key = {.gen = 1, .obj = 5, .pid = 2}, .fd = 5};
	rec.open.origin = w->late ? CONN_UNKNOWN : w->upstream ? CONN_CONNECTED : CONN_ACCEPTED;
	conns__on_record(w->c, &rec);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = {data, size};
	struct world w = {.t_ns = 1};
	struct wire_limits l;
	struct record rec = {.kind = REC_CLOSE};
	uint8_t how = byte(&in);

	w.upstream = how & 1;
	w.lossy = how & 2;
	w.late = how & 4;
	hash_set_seed(1);
	wire_limits_default(&l);
	w.c = conns__new(&l, (struct exchange_sink){.done = on_done, .ctx = &w}, (struct conn_ignore_sink){0});
	must(w.c);
	buf__init(&w.req.bytes, BYTES_MAX);
	buf__init(&w.resp.bytes, BYTES_MAX);
	open_conn(&w);
	while (in.n && w.calls < CALLS_MAX - 8) {
		unsigned from = w.calls, n = how & 8 ? 1 + byte(&in) % 4 : 1;

		while (w.calls < from + n)
			make_call(&w, &in);
		for (unsigned id = from; id < from + n; id++) {
			move(&w, &w.req, id, true, &in);
			move(&w, &w.resp, id, false, &in);
		}
	}
	rec.t_ns = w.t_ns;
	rec.close = (struct rec_close){.key = {.gen = 1, .obj = 5, .pid = 2}};
	rec.close.in_pos = w.upstream ? w.resp.pos : w.req.pos;
	rec.close.out_pos = w.upstream ? w.req.pos : w.resp.pos;
	conns__on_record(w.c, &rec);
	must(conns__count(w.c) == 0 && conns__memory(w.c) == 0);
	must(w.lossy ? w.whole <= w.calls : w.whole == w.calls);
	conns__free(w.c);
	buf__free(&w.req.bytes);
	buf__free(&w.resp.bytes);
	return 0;
}
