/* fuzz_wire: records made of the input's bytes, some of them pieces of HTTP, on a few connections that are opened, cut,
 * reused, closed and left alone. Aborts when an exchange is begun or handed on twice or never, when a body is not what
 * its counts say, or when memory is held at the end.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hmap.h"
#include "wire/conns.h"

#define OBJECTS 4
#define OPEN_MAX 4096

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

struct world {
	struct conns *c;
	struct wire_limits limits;
	uint64_t gen[OBJECTS], pos[OBJECTS][2];
	uint64_t t_ns;
	uint64_t open[OPEN_MAX];
	size_t nopen;
	uint64_t last_id;
};

static const char *const pieces[] = {
	"GET /a HTTP/1.1\r\nHost: h\r\n\r\n",
	"POST /b HTTP/1.1\r\nContent-Length: 10\r\n\r\n",
	"POST /c HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n",
	"HEAD /d HTTP/1.1\r\n\r\n",
	"PUT /e HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n",
	"CONNECT h:1 HTTP/1.1\r\n\r\n",
	"GET /ws HTTP/1.1\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n",
	"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n",
	"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
	"HTTP/1.1 200 OK\r\n\r\n",
	"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n",
	"HTTP/1.1 100 Continue\r\n\r\n",
	"HTTP/1.1 101 Switching Protocols\r\n\r\n",
	"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
	"5;x=y\r\nhello\r\n",
	"0\r\n\r\n",
	"0\r\nT: 1\r\n\r\n",
	"0123456789",
	"\r\n",
	"Content-Length: 3\r\n",
	"X(: 1\r\n",
	" folded\r\n",
	"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
	"\0\0\0\4\0\0\0\0\0",
	"PROXY TCP4 1.2.3.4 5.6.7.8 9 10\r\n",
	"GET /x\r\n",
	"Content-Type: image/png\r\n",
	"Content-Type: text/html; a=\"b,\\\"\", Image/GIF\r\n",
	"POST /t HTTP/1.1\r\nContent-Type: image/png\r\nContent-Length: 10\r\n\r\n",
	"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\nContent-Length: 10\r\n\r\n",
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

static void on_begun(void *ctx, const struct exchange *x)
{
	struct world *w = ctx;

	must(x->req.head_done);
	for (size_t i = 0; i < w->nopen; i++)
		must(w->open[i] != x->id);
	must(w->nopen < OPEN_MAX);
	w->open[w->nopen++] = x->id;
}

static char *excluded[] = {"image/*", "text/csv"};

static void check_message(const struct message *m, uint32_t limit, bool http1, bool may_exclude)
{
	struct span type = headers__get(&m->headers, SPAN_LIT("content-type"));

	must(!m->body_excluded || (may_exclude && m->head_done && !m->body.n));
	must(!may_exclude || !m->head_done || !span_eq(type, SPAN_LIT("image/png")) || m->body_excluded);
	must(m->end <= MSG_BAD);
	must(m->body.n <= m->body_len && m->body_gap <= m->body_len);
	must(m->body.n <= limit);
	must(m->body_truncated || m->body.n == m->body_len);
	must(!m->body_gap || m->body_truncated);
	must(!http1 || m->wire_bytes >= m->body_len);
	must(m->end != MSG_NONE || (!m->headers.count && !m->body_len && !m->head_done));
	must(!http1 || m->end != MSG_COMPLETE || m->head_done || m->major == 0);
	must(m->t_first_ns <= m->t_last_ns || m->end == MSG_OPEN || m->interim);
	must(!m->headers.open);
	for (uint32_t i = 0; i < m->headers.count; i++)
		must(headers__find(&m->headers, headers__name_at(&m->headers, i), 0) <= (int)i);
}

static void on_done(void *ctx, struct exchange *x)
{
	struct world *w = ctx;
	bool http1 = x->conn.proto == PROTO_HTTP1, was_open = false;
	bool up = x->conn.leg == LEG_UPSTREAM;

	for (size_t i = 0; i < w->nopen && !was_open; i++) {
		if (w->open[i] != x->id)
			continue;
		w->open[i] = w->open[--w->nopen];
		was_open = true;
	}
	must(!http1 || was_open == x->req.head_done);
	must(x->conn.leg != LEG_UNKNOWN);
	must(x->id && x->stream + (uint64_t)!http1);
	must(x->req.end != MSG_NONE || x->resp.end != MSG_NONE);
	check_message(&x->req, up ? 0 : w->limits.request_body, http1, !up && w->limits.exclude_types.n);
	check_message(&x->resp, up ? 0 : w->limits.response_body, http1, !up && w->limits.exclude_types.n);
	exchange__free(x);
}

static void send(struct world *w, struct record *rec)
{
	rec->t_ns = w->t_ns;
	conns__on_record(w->c, rec);
	must(conns__count(w->c) <= w->limits.conns);
}

static struct conn_key key_of(const struct world *w, unsigned obj)
{
	return (struct conn_key){.gen = w->gen[obj], .obj = obj, .pid = 1 + (obj & 1), .tls = obj >> 1};
}

static void open_conn(struct world *w, struct input *in, unsigned obj)
{
	uint8_t how = byte(in);
	struct record rec = {.kind = REC_OPEN};

	if (how & 0x40) {
		w->gen[obj]++;
		w->pos[obj][0] = w->pos[obj][1] = 0;
	}
	rec.open = (struct rec_open){.key = key_of(w, obj), .fd = (how & 0x80) ? -1 : (int)obj, .origin = how % 3};
	if (how & 0x20)
		rec.open.local = (struct endpoint){.family = ADDR_IP4, .port = (how & 0x10) ? 8000 : 9};
	send(w, &rec);
}

static void send_data(struct world *w, struct input *in, unsigned obj, enum direction dir)
{
	uint8_t what = byte(in), how = byte(in);
	struct record rec = {.kind = REC_DATA};
	struct span s;
	char *copy;

	if (what < 0x80) {
		s = span_str(pieces[what % (sizeof(pieces) / sizeof(pieces[0]))]);
		if (how & 0x80)
			s = span_skip(s, how & 0x3f);
		else if (how & 0x40)
			s.n = s.n < (how & 0x3fu) ? s.n : (how & 0x3fu);
	} else {
		s = span_of(in->p, (what & 0x7fu) < in->n ? (what & 0x7fu) : in->n);
		in->p += s.n;
		in->n -= s.n;
	}
	copy = malloc(s.n + 1);
	must(copy);
	memcpy(copy, s.p ? s.p : "", s.n);
	rec.data = (struct rec_data){.key = key_of(w, obj), .dir = dir, .pos = w->pos[obj][dir], .data = {copy, s.n}};
	if ((how & 3) == 3) {
		rec.data.gap = byte(in);
		rec.data.cause = rec.data.gap % 6;
	}
	send(w, &rec);
	w->pos[obj][dir] += s.n + rec.data.gap;
	free(copy);
}

/* A jump, a step back, or a position from nowhere. */
static void move(struct world *w, struct input *in, unsigned obj, enum direction dir)
{
	uint8_t how = byte(in);
	uint64_t by = byte(in);

	if (how < 100)
		w->pos[obj][dir] += by;
	else if (how < 200)
		w->pos[obj][dir] -= w->pos[obj][dir] < by ? w->pos[obj][dir] : by;
	else
		w->pos[obj][dir] = how < 250 ? by << 56 : UINT64_MAX - by;
}

static void other(struct world *w, struct input *in, unsigned obj)
{
	struct record rec = {.kind = REC_TICK};

	switch (byte(in) % 5) {
	case 0:
		rec.kind = REC_CLOSE;
		rec.close = (struct rec_close){key_of(w, obj), w->pos[obj][0], w->pos[obj][1]};
		break;
	case 1:
		rec.kind = REC_EXIT;
		rec.exit.pid = 1 + (obj & 1);
		break;
	case 2:
		rec.kind = REC_WORKER;
		rec.worker = (struct rec_worker){.pid = 1 + (obj & 1), .nports = byte(in), .ports = {{.port = 8000}}};
		memset(rec.worker.prefix, 'x', sizeof(rec.worker.prefix));
		break;
	default:
		w->t_ns += (uint64_t)byte(in) * 1000000000ull;
	}
	send(w, &rec);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = {data, size};
	struct world *w = calloc(1, sizeof(*w));
	uint8_t how;

	must(w);
	hash_set_seed(1);
	wire_limits_default(&w->limits);
	how = byte(&in);
	w->limits.request_body = w->limits.response_body = (how & 1) ? 8 : 100000;
	w->limits.header_bytes = (how & 2) ? 64 : 65536;
	w->limits.header_count = (how & 4) ? 2 : 4096;
	w->limits.pipeline = (how & 8) ? 2 : 64;
	w->limits.total_bytes = (how & 16) ? 20000 : 48u << 20;
	w->limits.conn_bytes = (how & 32) ? 3000 : 4u << 20;
	w->limits.conns = (how & 64) ? 2 : 65536;
	w->limits.exclude_types = (struct media_types){.v = excluded, .n = (how & 128) ? 2 : 0};
	w->t_ns = 1;
	w->c = conns__new(&w->limits, (struct exchange_sink){on_begun, on_done, w}, (struct conn_ignore_sink){0});
	must(w->c);
	while (in.n) {
		uint8_t op = byte(&in);
		unsigned obj = op & (OBJECTS - 1);
		enum direction dir = (op >> 2) & 1;

		w->t_ns += 1000000;
		if (op >> 3 < 20)
			send_data(w, &in, obj, dir);
		else if (op >> 3 < 24)
			open_conn(w, &in, obj);
		else if (op >> 3 < 28)
			move(w, &in, obj, dir);
		else
			other(w, &in, obj);
	}
	conns__flush(w->c, w->t_ns);
	must(conns__count(w->c) == 0 && conns__memory(w->c) == 0);
	must(w->nopen == 0);
	conns__free(w->c);
	free(w);
	return 0;
}
