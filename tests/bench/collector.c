/* collector: a collector for benchmarks. Takes batches of events as fast as one thread of libmicrohttpd can, counts the
 * events and adds up their transaction ids, so that the set of calls that came can be held against the access log's.
 * Checks nothing else: that is what tests/gateway/collector.py is for.
 *
 * GET /count: {"events":N,"batches":N,"bytes":N,"id_sum":N}, the sum modulo 2^64 of the first half of each id.
 * Prints "collector: ready PORT", ends at SIGTERM or SIGINT.
 */
#include <microhttpd.h>

#include <inttypes.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

#define ID_KEY "transaction_id"
#define BLOCK 64
/* libmicrohttpd clears this much after each request, and reads as much at a time. */
#define POOL (64 << 10)

/* Only the daemon's one thread touches these. */
struct totals {
	uint64_t events, batches, bytes, id_sum;
	char *spare; /* of a batch that is over: for the next one */
	size_t spare_cap;
};

/* A JSON array of objects: gathered whole, then looked through in one pass, as in reality others would do elsewhere. */
struct batch {
	char *p;
	size_t n, cap;
};

static uint64_t id_half(const char *s, size_t n)
{
	uint64_t v = 0;
	unsigned digits = 0;

	for (size_t i = 0; i < n && digits < 16; i++) {
		if (s[i] == '-')
			continue;
		v = v << 4 | (uint64_t)(s[i] <= '9' ? s[i] - '0' : (s[i] | 0x20) - 'a' + 10);
		digits++;
	}
	return v;
}

/* Where in 64 bytes the characters are that matter, a bit for each. */
struct marks {
	uint64_t quote, slash, bracket;
};

#ifdef __SSE2__
static uint64_t equal(const __m128i v[4], char c)
{
	uint64_t found = 0;

	for (int i = 0; i < 4; i++)
		found |= (uint64_t)(unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(v[i], _mm_set1_epi8(c))) << 16 * i;
	return found;
}

static struct marks look(const char *p)
{
	__m128i v[4], small[4];
	struct marks m;

	for (int i = 0; i < 4; i++) {
		v[i] = _mm_loadu_si128((const __m128i *)(p + 16 * i));
		small[i] = _mm_or_si128(v[i], _mm_set1_epi8(0x20));
	}
	m.quote = equal(v, '"');
	m.slash = equal(v, '\\');
	m.bracket = equal(small, '{') | equal(small, '}');
	return m;
}
#else
static struct marks look(const char *p)
{
	struct marks m = {0};

	for (int i = 0; i < BLOCK; i++) {
		m.quote |= (uint64_t)(p[i] == '"') << i;
		m.slash |= (uint64_t)(p[i] == '\\') << i;
		m.bracket |= (uint64_t)((p[i] | 0x20) == '{' || (p[i] | 0x20) == '}') << i;
	}
	return m;
}
#endif

struct scan {
	const char *p, *end;
	uint64_t in_string; /* all ones: the next block begins inside a string */
	bool escaped;	    /* its first character is */
	unsigned depth;
	const char *string; /* beginning of the last string among an event's members */
	bool is_id;	    /* the last name of a member is that of the id */
	uint64_t events, id_sum;
};

static uint64_t escaped_ones(struct scan *s, uint64_t slash)
{
	uint64_t escaped = s->escaped;

	slash &= ~escaped;
	s->escaped = false;
	while (slash) {
		int i = __builtin_ctzll(slash);

		if (i == BLOCK - 1)
			s->escaped = true;
		else
			escaped |= 2ull << i;
		slash &= ~(3ull << i);
	}
	return escaped;
}

/* A string among an event's members ends at `close`. */
static void member_string(struct scan *s, const char *close)
{
	const char *after = close + 1;
	size_t n = (size_t)(close - s->string);

	while (after < s->end && (*after == ' ' || *after == '\t' || *after == '\n' || *after == '\r'))
		after++;
	if (after < s->end && *after == ':')
		s->is_id = n == sizeof(ID_KEY) - 1 && memcmp(s->string, ID_KEY, n) == 0;
	else if (s->is_id)
		s->id_sum += id_half(s->string, n);
}

static void bracket(struct scan *s, char c)
{
	if ((c | 0x20) == '{') {
		s->events += s->depth == 1;
		s->depth++;
	} else {
		s->depth -= s->depth > 0;
	}
}

static void block(struct scan *s, const char *bytes, const char *at)
{
	struct marks m = look(bytes);
	uint64_t quote = m.quote, inside, brackets, todo;

	if (m.slash || s->escaped)
		quote &= ~escaped_ones(s, m.slash);
	/* Each quote turns what follows it over. */
	inside = quote;
	for (int by = 1; by < BLOCK; by *= 2)
		inside ^= inside << by;
	inside ^= s->in_string;
	s->in_string = 0 - (inside >> (BLOCK - 1));
	brackets = m.bracket & ~inside;
	/* Strings matter only among an event's members. */
	for (todo = brackets | quote; todo; todo &= todo - 1) {
		uint64_t bit;

		if (s->depth != 2)
			todo &= brackets;
		if (!todo)
			break;
		bit = todo & -todo;
		if (bit & brackets) {
			bracket(s, bytes[__builtin_ctzll(bit)]);
			todo = (brackets | quote) & ~(bit - 1);
		} else if (bit & inside) {
			s->string = at + __builtin_ctzll(bit) + 1;
		} else {
			member_string(s, at + __builtin_ctzll(bit));
		}
	}
}

/* False: this is no array of objects. */
static bool scan(const struct batch *b, struct totals *t)
{
	struct scan s = {.p = b->p, .end = b->p + b->n};
	char last[BLOCK] = {0};

	for (; s.end - s.p >= BLOCK; s.p += BLOCK)
		block(&s, s.p, s.p);
	if (s.p < s.end) {
		memcpy(last, s.p, (size_t)(s.end - s.p));
		block(&s, last, s.p);
	}
	if (s.depth || s.in_string || !b->n || b->p[0] != '[')
		return false;
	t->batches++;
	t->events += s.events;
	t->bytes += b->n;
	t->id_sum += s.id_sum;
	return true;
}

static bool gather(struct batch *b, struct totals *t, const char *data, size_t n)
{
	size_t cap = b->cap ? b->cap : 1 << 18;
	char *p;

	if (!b->p && t->spare) {
		b->p = t->spare;
		b->cap = cap = t->spare_cap;
		t->spare = NULL;
	}
	while (cap < b->n + n)
		cap *= 2;
	if (!b->p || cap > b->cap) {
		p = realloc(b->p, cap);
		if (!p)
			return false;
		b->p = p;
		b->cap = cap;
	}
	memcpy(b->p + b->n, data, n);
	b->n += n;
	return true;
}

static enum MHD_Result answer(struct MHD_Connection *c, unsigned status, const char *text)
{
	struct MHD_Response *r = MHD_create_response_from_buffer(strlen(text), (void *)text, MHD_RESPMEM_MUST_COPY);
	enum MHD_Result ok;

	if (!r)
		return MHD_NO;
	MHD_add_response_header(r, "Content-Type", "application/json");
	ok = MHD_queue_response(c, status, r);
	MHD_destroy_response(r);
	return ok;
}

static enum MHD_Result on_get(struct MHD_Connection *c, const char *url, const struct totals *t)
{
	char text[160];

	if (strcmp(url, "/v1/config") == 0)
		return answer(c, MHD_HTTP_OK, "{\"sample_rate\":100}");
	if (strcmp(url, "/v1/rules") == 0)
		return answer(c, MHD_HTTP_OK, "[]");
	if (strcmp(url, "/count") != 0)
		return answer(c, MHD_HTTP_NOT_FOUND, "{}");
	snprintf(text, sizeof(text),
		"{\"events\":%" PRIu64 ",\"batches\":%" PRIu64 ",\"bytes\":%" PRIu64 ",\"id_sum\":%" PRIu64 "}",
		t->events, t->batches, t->bytes, t->id_sum);
	return answer(c, MHD_HTTP_OK, text);
}

static enum MHD_Result on_post(
	struct MHD_Connection *c, struct batch **b, struct totals *t, const char *data, size_t *n)
{
	const char *encoding = MHD_lookup_connection_value(c, MHD_HEADER_KIND, "Content-Encoding");

	if (*n) {
		if (!gather(*b, t, data, *n))
			return MHD_NO;
		*n = 0;
		return MHD_YES;
	}
	if ((encoding && strcmp(encoding, "identity") != 0) || !scan(*b, t))
		return answer(c, MHD_HTTP_BAD_REQUEST, "{}");
	return answer(c, MHD_HTTP_CREATED, "{}");
}

static enum MHD_Result on_request(void *ctx, struct MHD_Connection *c, const char *url, const char *method,
	const char *version, const char *data, size_t *n, void **state)
{
	struct batch **b = (struct batch **)state;

	(void)version;
	if (!*b) {
		*b = calloc(1, sizeof(**b));
		return *b ? MHD_YES : MHD_NO;
	}
	return strcmp(method, "POST") == 0 ? on_post(c, b, ctx, data, n) : on_get(c, url, ctx);
}

static void on_end(void *ctx, struct MHD_Connection *c, void **state, enum MHD_RequestTerminationCode why)
{
	struct totals *t = ctx;
	struct batch *b = *state;

	(void)c;
	(void)why;
	if (b && b->p && !t->spare) {
		t->spare = b->p;
		t->spare_cap = b->cap;
	} else if (b) {
		free(b->p);
	}
	free(b);
	*state = NULL;
}

int main(void)
{
	struct totals totals = {0};
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
	struct MHD_Daemon *d;
	const union MHD_DaemonInfo *port;
	sigset_t set;
	int sig;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigprocmask(SIG_BLOCK, &set, NULL);
	d = MHD_start_daemon(MHD_USE_EPOLL_INTERNAL_THREAD | MHD_USE_ERROR_LOG, 0, NULL, NULL, on_request, &totals,
		MHD_OPTION_SOCK_ADDR, (struct sockaddr *)&at, MHD_OPTION_NOTIFY_COMPLETED, on_end, &totals,
		MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)POOL, MHD_OPTION_END);
	port = d ? MHD_get_daemon_info(d, MHD_DAEMON_INFO_BIND_PORT) : NULL;
	if (!port) {
		fprintf(stderr, "collector: cannot listen\n");
		return 1;
	}
	printf("collector: ready %u\n", port->port);
	fflush(stdout);
	sigwait(&set, &sig);
	MHD_stop_daemon(d);
	free(totals.spare);
	return 0;
}
