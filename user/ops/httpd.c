#include "ops/httpd.h"

#include <errno.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "capture/record.h"

/* A page and a scraper or two need a handful. */
#define CONNECTIONS 32u
#define CONNECTIONS_OF_ONE 24u
#define IDLE_S 10u
#define REQUEST_BYTES 16384u

struct httpd {
	struct MHD_Daemon *daemon;
	struct httpd_sink sink;
	uint16_t port;
};

static struct span header(struct MHD_Connection *c, const char *name)
{
	return span_str(MHD_lookup_connection_value(c, MHD_HEADER_KIND, name));
}

/* Nothing here is to be kept, framed, sniffed, or read by another site's page. */
static bool add_headers(struct MHD_Response *r, const char *type, const char *policy)
{
	const char *const headers[][2] = {
		{"Content-Type", type},
		{"Content-Security-Policy", policy},
		{"Cache-Control", "no-store"},
		{"X-Content-Type-Options", "nosniff"},
		{"X-Frame-Options", "DENY"},
		{"Referrer-Policy", "no-referrer"},
		{"Cross-Origin-Resource-Policy", "same-origin"},
	};

	for (size_t i = 0; i < sizeof(headers) / sizeof(headers[0]); i++)
		if (MHD_add_response_header(r, headers[i][0], headers[i][1]) != MHD_YES)
			return false;
	return true;
}

static enum MHD_Result send_answer(
	struct MHD_Connection *c, struct httpd_answer *a, const char *extra, const char *value)
{
	const char *policy = a->policy ? a->policy : "default-src 'none'; frame-ancestors 'none'";
	struct MHD_Response *r = MHD_create_response_from_buffer(
		a->body.n, a->body.p, a->body.p ? MHD_RESPMEM_MUST_FREE : MHD_RESPMEM_PERSISTENT);
	enum MHD_Result done = MHD_NO;

	if (!r) {
		buf__free(&a->body);
		return MHD_NO;
	}
	if (add_headers(r, a->type, policy) && (!extra || MHD_add_response_header(r, extra, value) == MHD_YES))
		done = MHD_queue_response(c, a->status, r);
	MHD_destroy_response(r);
	return done;
}

static enum MHD_Result send_text(
	struct MHD_Connection *c, unsigned status, const char *text, const char *extra, const char *value)
{
	struct httpd_answer a = {.status = status, .type = "text/plain; charset=utf-8"};

	buf__init(&a.body, HTTPD_ANSWER_MAX);
	buf__append_str(&a.body, text);
	return send_answer(c, &a, extra, value);
}

static enum MHD_Result on_request(void *ctx, struct MHD_Connection *c, const char *url, const char *method,
	const char *version, const char *upload, size_t *upload_size, void **state)
{
	struct httpd *h = ctx;
	struct httpd_request req = {.path = span_str(url)};
	struct httpd_answer a = {.status = MHD_HTTP_INTERNAL_SERVER_ERROR, .type = "text/plain; charset=utf-8"};

	(void)version;
	(void)upload;
	if (strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0)
		return send_text(
			c, MHD_HTTP_METHOD_NOT_ALLOWED, "only GET and HEAD are answered here\n", "Allow", "GET, HEAD");
	/* The first call is for the head alone, a body, if there is one, comes after it and is passed over. */
	if (!*state) {
		*state = h;
		return MHD_YES;
	}
	if (*upload_size) {
		*upload_size = 0;
		return MHD_YES;
	}
	req.accept = header(c, "Accept");
	req.host = header(c, "Host");
	buf__init(&a.body, HTTPD_ANSWER_MAX);
	h->sink.fn(h->sink.ctx, &req, &a);
	return send_answer(c, &a, NULL, NULL);
}

__attribute__((format(printf, 2, 0))) static void on_log(void *ctx, const char *fmt, va_list ap)
{
	char text[256];
	int n = vsnprintf(text, sizeof(text), fmt, ap);

	(void)ctx;
	while (n > 0 && (size_t)n < sizeof(text) && text[n - 1] == '\n')
		text[--n] = '\0';
	/* Mostly what clients do wrong: not the agent's news. */
	log_debug("http", "%s", text);
}

static socklen_t to_sockaddr(const struct endpoint *e, struct sockaddr_storage *ret)
{
	struct sockaddr_in *v4 = (struct sockaddr_in *)ret;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)ret;

	memset(ret, 0, sizeof(*ret));
	if (e->family == ADDR_IP4) {
		v4->sin_family = AF_INET;
		v4->sin_port = htons(e->port);
		memcpy(&v4->sin_addr, e->addr, 4);
		return sizeof(*v4);
	}
	v6->sin6_family = AF_INET6;
	v6->sin6_port = htons(e->port);
	memcpy(&v6->sin6_addr, e->addr, 16);
	return sizeof(*v6);
}

/* A listening socket, or negative errno. Made here, so that what goes wrong has a name. */
static int open_socket(const struct endpoint *e, uint16_t *ret_port)
{
	struct sockaddr_storage addr;
	socklen_t len = to_sockaddr(e, &addr);
	int fd = socket(addr.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), one = 1, err;

	if (fd < 0)
		return -errno;
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) || bind(fd, (struct sockaddr *)&addr, len) ||
		listen(fd, (int)CONNECTIONS) || getsockname(fd, (struct sockaddr *)&addr, &len)) {
		err = -errno;
		close(fd);
		return err;
	}
	*ret_port = ntohs(addr.ss_family == AF_INET ? ((struct sockaddr_in *)&addr)->sin_port
						    : ((struct sockaddr_in6 *)&addr)->sin6_port);
	return fd;
}

struct httpd *httpd__new(const char *listen, struct httpd_sink sink)
{
	struct httpd *h = calloc(1, sizeof(*h));
	struct endpoint e;
	int fd, err;

	if (!h)
		return NULL;
	h->sink = sink;
	if (endpoint_parse(span_str(listen), &e) || (e.family != ADDR_IP4 && e.family != ADDR_IP6)) {
		free(h);
		errno = EINVAL;
		return NULL;
	}
	fd = open_socket(&e, &h->port);
	if (fd < 0) {
		free(h);
		errno = -fd;
		return NULL;
	}
	h->daemon = MHD_start_daemon(MHD_USE_EPOLL_INTERNAL_THREAD | MHD_USE_ERROR_LOG, 0, NULL, NULL, on_request, h,
		MHD_OPTION_EXTERNAL_LOGGER, on_log, h, MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_CONNECTION_LIMIT,
		CONNECTIONS, MHD_OPTION_PER_IP_CONNECTION_LIMIT, CONNECTIONS_OF_ONE, MHD_OPTION_CONNECTION_TIMEOUT,
		IDLE_S, MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)REQUEST_BYTES, MHD_OPTION_END);
	if (h->daemon)
		return h;
	err = errno ? errno : ENOMEM;
	close(fd);
	free(h);
	errno = err;
	return NULL;
}

uint16_t httpd__port(const struct httpd *h)
{
	return h->port;
}

void httpd__free(struct httpd *h)
{
	if (!h)
		return;
	/* Closes the listening socket too. */
	MHD_stop_daemon(h->daemon);
	free(h);
}
