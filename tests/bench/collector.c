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

#define ID_KEY "transaction_id"

/* Only the daemon's one thread touches these. */
struct totals {
	uint64_t events, batches, bytes, id_sum;
};

/* A JSON array of objects, as it comes in pieces. */
struct batch {
	struct totals sum;
	unsigned depth;
	bool in_string, escaped, is_value, is_id;
	size_t n;
	char text[40]; /* beginning of the string at hand, where it is a member's name or value of an event */
};

static uint64_t id_half(const char *s)
{
	uint64_t v = 0;
	unsigned digits = 0;

	for (; *s && digits < 16; s++) {
		if (*s == '-')
			continue;
		v = v << 4 | (uint64_t)(*s <= '9' ? *s - '0' : (*s | 0x20) - 'a' + 10);
		digits++;
	}
	return v;
}

static void string_ends(struct batch *b)
{
	b->text[b->n] = '\0';
	if (b->is_value && b->is_id)
		b->sum.id_sum += id_half(b->text);
	b->is_id = !b->is_value && strcmp(b->text, ID_KEY) == 0;
}

static void in_string(struct batch *b, char c)
{
	if (b->escaped) {
		b->escaped = false;
	} else if (c == '\\') {
		b->escaped = true;
	} else if (c == '"') {
		b->in_string = false;
		if (b->depth == 2)
			string_ends(b);
		return;
	}
	if (b->depth == 2 && b->n < sizeof(b->text) - 1)
		b->text[b->n++] = c;
}

static void scan(struct batch *b, const char *p, size_t n)
{
	const char *end = p + n;

	b->sum.bytes += n;
	while (p < end) {
		char c = *p++;

		if (b->in_string) {
			/* Most bytes are the inside of a body: two characters end that. */
			while (b->depth > 2 && !b->escaped && c != '"' && c != '\\' && p < end)
				c = *p++;
			in_string(b, c);
			continue;
		}
		switch (c) {
		case '"':
			b->in_string = true;
			b->n = 0;
			break;
		case '{':
		case '[':
			b->sum.events += b->depth == 1;
			b->depth++;
			b->is_value = false;
			break;
		case '}':
		case ']':
			b->depth -= b->depth > 0;
			break;
		case ':':
		case ',':
			b->is_value = c == ':';
			break;
		default:
			break;
		}
	}
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
		scan(*b, data, *n);
		*n = 0;
		return MHD_YES;
	}
	if ((encoding && strcmp(encoding, "identity") != 0) || (*b)->depth)
		return answer(c, MHD_HTTP_BAD_REQUEST, "{}");
	t->batches++;
	t->events += (*b)->sum.events;
	t->bytes += (*b)->sum.bytes;
	t->id_sum += (*b)->sum.id_sum;
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
	(void)ctx;
	(void)c;
	(void)why;
	free(*state);
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
		MHD_OPTION_SOCK_ADDR, (struct sockaddr *)&at, MHD_OPTION_NOTIFY_COMPLETED, on_end, NULL,
		MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)(512 << 10), MHD_OPTION_END);
	port = d ? MHD_get_daemon_info(d, MHD_DAEMON_INFO_BIND_PORT) : NULL;
	if (!port) {
		fprintf(stderr, "collector: cannot listen\n");
		return 1;
	}
	printf("collector: ready %u\n", port->port);
	fflush(stdout);
	sigwait(&set, &sig);
	MHD_stop_daemon(d);
	return 0;
}
