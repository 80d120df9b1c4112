/* What a real Kong moved, with fragments lost at random: an exchange that comes out is one that was there, with its own
 * method, target, status and body. Which response belongs to which request is told by Kong's request id, which is on
 * the client leg's responses and on the upstream leg's requests.
 */
#include "wire_rig.h"

#include "capture/source.h"

#define RECORDINGS "tests/replay/kong-3.9.1"
#define TRIALS 150
#define KNOWN_MAX 4096

struct known {
	char id[80];
	char line[512]; /* method, target, status */
	struct buf req_body, resp_body;
};

struct tape {
	struct record *v;
	size_t n, cap;
};

struct run {
	struct known *known;
	unsigned nknown, whole, wrong;
	bool learn;
	enum leg leg;
};

static void on_record(void *ctx, const struct record *rec)
{
	struct tape *t = ctx;

	if (t->n == t->cap) {
		t->cap = t->cap ? t->cap * 2 : 1024;
		t->v = realloc(t->v, t->cap * sizeof(*t->v));
		assert_non_null(t->v);
	}
	t->v[t->n] = *rec;
	if (rec->kind == REC_DATA && rec->data.data.n) {
		char *copy = malloc(rec->data.data.n);

		assert_non_null(copy);
		memcpy(copy, rec->data.data.p, rec->data.data.n);
		t->v[t->n].data.data.p = copy;
	}
	t->n++;
}

static bool is_whole(const struct message *m)
{
	return m->end == MSG_COMPLETE && m->head_done;
}

static void describe(const struct exchange *x, char *out, size_t n)
{
	snprintf(out, n, "%.*s %.*s %u", (int)x->req.method.n, message__method(&x->req).p, (int)x->req.target.n,
		message__target(&x->req).p, x->resp.status);
}

static struct known *find(struct run *r, const char *id)
{
	for (unsigned i = 0; i < r->nknown; i++)
		if (strcmp(r->known[i].id, id) == 0)
			return &r->known[i];
	return NULL;
}

static void learn(struct run *r, const struct exchange *x, const char *id)
{
	struct known *k;

	assert_true(r->nknown < KNOWN_MAX);
	assert_null(find(r, id));
	k = &r->known[r->nknown++];
	snprintf(k->id, sizeof(k->id), "%s", id);
	describe(x, k->line, sizeof(k->line));
	buf__init(&k->req_body, 1u << 20);
	buf__init(&k->resp_body, 1u << 20);
	buf__append_span(&k->req_body, buf_span(&x->req.body));
	buf__append_span(&k->resp_body, buf_span(&x->resp.body));
}

static bool body_fits(const struct message *m, const struct buf *was)
{
	if (!span_starts(buf_span(was), buf_span(&m->body)))
		return false;
	return m->end != MSG_COMPLETE || m->body_truncated || m->body.n == was->n;
}

static void check(struct run *r, const struct exchange *x, const char *id)
{
	const struct known *k = find(r, id);
	char line[512];

	describe(x, line, sizeof(line));
	if (!k) {
		r->wrong++;
		print_error("nobody made %s: %s\n", id, line);
		return;
	}
	if (x->req.head_done && x->resp.head_done && strcmp(line, k->line) != 0) {
		r->wrong++;
		print_error("%s was %s\n", line, k->line);
	}
	if ((x->req.head_done && !body_fits(&x->req, &k->req_body)) ||
		(x->resp.head_done && !body_fits(&x->resp, &k->resp_body))) {
		r->wrong++;
		print_error("%s: not its body\n", line);
	}
	if (is_whole(&x->req) && is_whole(&x->resp))
		r->whole++;
}

static void on_done(void *ctx, struct exchange *x)
{
	struct run *r = ctx;
	const struct message *m = r->leg == LEG_CLIENT ? &x->resp : &x->req;
	struct span id = headers__get(&m->headers, SPAN_LIT("x-kong-request-id"));
	char text[80];

	if (x->conn.leg == r->leg && m->head_done && id.n && id.n < sizeof(text)) {
		snprintf(text, sizeof(text), "%.*s", (int)id.n, id.p);
		if (r->learn)
			learn(r, x, text);
		else
			check(r, x, text);
	}
	exchange__free(x);
}

static uint32_t dice(uint32_t *seed)
{
	*seed = *seed * 1664525u + 1013904223u;
	return *seed >> 8;
}

/* How a fragment gets lost: without a word, with one, or from somewhere in it. */
static bool damage(struct record *rec, uint32_t *seed)
{
	size_t keep;

	switch (dice(seed) % 3) {
	case 0:
		return false;
	case 1:
		keep = 0;
		break;
	default:
		keep = dice(seed) % (rec->data.data.n + 1);
	}
	rec->data.gap = rec->data.data.n - keep;
	rec->data.data.n = keep;
	rec->data.cause = GAP_LIMIT;
	return true;
}

static void play(const struct tape *t, struct run *r, uint32_t seed)
{
	struct wire_limits l;
	struct conns *c;
	uint32_t odds = 5 + dice(&seed) % 200, burst = 0, longest = 1 + dice(&seed) % 12;
	size_t from = seed % 3 ? 0 : dice(&seed) % (t->n / 2);

	wire_limits_default(&l);
	l.request_body = l.response_body = 1u << 20;
	c = conns__new(&l, (struct exchange_sink){.done = on_done, .ctx = r}, (struct conn_ignore_sink){0});
	assert_non_null(c);
	for (size_t i = r->learn ? 0 : from; i < t->n; i++) {
		struct record rec = t->v[i];

		if (!r->learn && rec.kind == REC_DATA) {
			if (!burst && dice(&seed) % odds == 0)
				burst = 1 + dice(&seed) % longest;
			if (burst) {
				burst--;
				if (!damage(&rec, &seed))
					continue;
			}
		}
		conns__on_record(c, &rec);
	}
	conns__flush(c, t->n ? t->v[t->n - 1].t_ns : 0);
	assert_int_equal(conns__memory(c), 0);
	conns__free(c);
}

static void one_leg(const struct tape *t, enum leg leg, const char *name)
{
	struct run r = {.learn = true, .leg = leg};

	r.known = calloc(KNOWN_MAX, sizeof(*r.known));
	assert_non_null(r.known);
	play(t, &r, 1);
	assert_true(r.nknown > 0);
	r.learn = false;
	for (uint32_t i = 0; i < TRIALS; i++)
		play(t, &r, i * 2654435761u);
	print_message("%s, leg %d: %u calls, with losses %.1f %% of them whole\n", name, leg, r.nknown,
		100.0 * r.whole / TRIALS / r.nknown);
	assert_int_equal(r.wrong, 0);
	for (unsigned i = 0; i < r.nknown; i++) {
		buf__free(&r.known[i].req_body);
		buf__free(&r.known[i].resp_body);
	}
	free(r.known);
}

static void recording(const char *name)
{
	struct tape t = {0};
	struct source *s;
	char path[256];

	snprintf(path, sizeof(path), "%s/%s.calls.jsonl.gz", RECORDINGS, name);
	s = source_replay__open(path, (struct record_sink){on_record, &t});
	assert_non_null(s);
	while (source__poll(s, 0) >= 0)
		continue;
	source__close(s);
	assert_true(t.n > 0);
	one_leg(&t, LEG_CLIENT, name);
	one_leg(&t, LEG_UPSTREAM, name);
	for (size_t i = 0; i < t.n; i++)
		if (t.v[i].kind == REC_DATA && t.v[i].data.data.n)
			free((void *)t.v[i].data.data.p);
	free(t.v);
}

static void test_cases(void **state)
{
	(void)state;
	recording("cases");
}

static void test_h1_concurrent(void **state)
{
	(void)state;
	recording("h1-concurrent");
}

static void test_ws_grpc_sse(void **state)
{
	(void)state;
	recording("ws-grpc-sse");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cases),
		cmocka_unit_test(test_h1_concurrent),
		cmocka_unit_test(test_ws_grpc_sse),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
