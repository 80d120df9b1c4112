/* The endpoint: bytes as a client sends them over a socket, and requests as they reach the routes. What is answered as
 * JSON is JSON, whatever names the wire brought into it.
 */
#include <arpa/inet.h>
#include <poll.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <jansson.h>

#include "base/log.h"
#include "ops/ops.h"
#include "ops/routes.h"

static struct ops *ops;
static struct routes routes;
static struct ops_snapshot snap;

static void quiet(void *ctx, enum log_level level, const char *module, const char *text)
{
	(void)ctx, (void)level, (void)module, (void)text;
}

static void look(void *ctx, bool whole, struct ops_view *ret)
{
	(void)ctx;
	if (whole)
		ret->snap = snap;
}

static void start(void)
{
	struct ops_options o = {.listen = "127.0.0.1:0", .last_calls = 3};

	log_set_sink(quiet, NULL);
	routes.look = look;
	ops = ops__new(&o);
	if (!ops || !ops__port(ops) || routes__init(&routes))
		abort();
}

/* Up to the next line break. */
static struct span take_line(struct span *s)
{
	const char *end = s->n ? memchr(s->p, '\n', s->n) : NULL;
	struct span line = span_of(s->p, end ? (size_t)(end - s->p) : s->n);

	*s = span_skip(*s, line.n + 1);
	return line;
}

static void fill(struct span text)
{
	struct record rec = {.kind = REC_WORKER, .worker = {.pid = 1}};
	struct event e = {.verb = text, .path = text, .user = text, .status = (int)text.n};

	memset(&snap, 0, sizeof(snap));
	memcpy(rec.worker.prefix, text.p, text.n < WORKER_TEXT_MAX ? text.n : WORKER_TEXT_MAX);
	worker_table__on_record(&snap.workers, &rec);
	snap.recent.want = 2;
	recent__event(&snap.recent, &e);
	snap.gauges.ntls = 1;
	snap.gauges.tls[0].pid = 1;
	memcpy(snap.gauges.tls[0].library, text.p, text.n < OPS_TLS_TEXT ? text.n : OPS_TLS_TEXT - 1);
}

static void ask_routes(struct span input)
{
	struct httpd_request req = {.path = take_line(&input), .host = take_line(&input), .accept = take_line(&input)};
	struct httpd_answer a = {.status = 500, .type = ""};
	json_t *v;

	fill(input);
	buf__init(&a.body, HTTPD_ANSWER_MAX);
	routes.answers = 0;
	routes__answer(&routes, &req, &a);
	if (a.status != 200 && a.status != 404 && a.status != 421 && a.status != 503)
		abort();
	if (a.status == 200 && !strcmp(a.type, "application/json")) {
		v = json_loadb(a.body.p, a.body.n, JSON_ALLOW_NUL, NULL);
		if (!v)
			abort();
		json_decref(v);
	}
	buf__free(&a.body);
}

static void ask_server(struct span input)
{
	struct sockaddr_in to = {
		.sin_family = AF_INET, .sin_port = htons(ops__port(ops)), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct linger at_once = {.l_onoff = 1};
	struct pollfd p = {.fd = fd, .events = POLLIN};
	char answer[4096];

	/* No trace of a connection stays behind: thousands a second are made. */
	setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
	if (connect(fd, (struct sockaddr *)&to, sizeof(to)) == 0 && send(fd, input.p, input.n, MSG_NOSIGNAL) >= 0 &&
		poll(&p, 1, 2) == 1) {
		ssize_t n = read(fd, answer, sizeof(answer));

		if (n > 0 && strncmp(answer, "HTTP/1.", n < 7 ? (size_t)n : 7) != 0)
			abort();
	}
	close(fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span input = span_of(data, size);

	if (!ops)
		start();
	if (!size)
		return 0;
	ops__tick(ops);
	if (data[0] == '!')
		ask_server(span_skip(input, 1));
	else
		ask_routes(input);
	return 0;
}
