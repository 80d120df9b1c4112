/* A collector that answers anything. The first byte chooses the request, the rest is sent back, over a socket that the
 * request is made on; the client must come back with an answer, within its bounds, and live on.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "ship/http.h"
#include "ship/verdict.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define BODY_MAX 4096

static struct {
	int listener;
	struct ship_options options;
	pthread_mutex_t lock;
	const uint8_t *data;
	size_t size;
} server = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void *serve(void *ctx)
{
	char request[4096];
	int fd;

	while ((fd = accept(server.listener, NULL, NULL)) >= 0) {
		pthread_mutex_lock(&server.lock);
		if (recv(fd, request, sizeof(request), 0) > 0)
			(void)!send(fd, server.data, server.size, MSG_NOSIGNAL);
		pthread_mutex_unlock(&server.lock);
		shutdown(fd, SHUT_WR);
		while (recv(fd, request, sizeof(request), 0) > 0)
			;
		close(fd);
	}
	return ctx;
}

static void start_server(void)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(a);
	char url[64];
	pthread_t t;

	signal(SIGPIPE, SIG_IGN);
	server.listener = socket(AF_INET, SOCK_STREAM, 0);
	if (bind(server.listener, (struct sockaddr *)&a, sizeof(a)) || listen(server.listener, 16) ||
		getsockname(server.listener, (struct sockaddr *)&a, &len))
		abort();
	ship_options_default(&server.options);
	snprintf(url, sizeof(url), "http://127.0.0.1:%d", ntohs(a.sin_port));
	free(server.options.api_endpoint);
	server.options.api_endpoint = strdup(url);
	server.options.application_id = strdup("id");
	server.options.send_timeout = 500;
	server.options.keepalive = 0;
	pthread_create(&t, NULL, serve, NULL);
	pthread_detach(t);
}

static void on_answer(void *ctx, void *token, const struct http_answer *a)
{
	char text[64];

	verdict_text(a, text, sizeof(text));
	if (token != &server || strlen(a->config_tag) >= HTTP_TAG_MAX || strlen(a->rules_tag) >= HTTP_TAG_MAX ||
		a->body.n > BODY_MAX || (a->status == 0 && !a->error) || !text[0] ||
		(verdict_of(a) == VERDICT_DELIVERED && (a->status < 200 || a->status > 299)))
		abort();
	*(bool *)ctx = true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	bool over = false;
	struct http *h;

	if (size == 0)
		return 0;
	if (!server.listener)
		start_server();
	pthread_mutex_lock(&server.lock);
	server.data = data + 1;
	server.size = size - 1;
	pthread_mutex_unlock(&server.lock);
	h = http__new(&server.options, 1, (struct http_sink){on_answer, &over});
	if (!h)
		abort();
	if (data[0] & 1 ? http__post(h, SPAN_LIT("[{}]"), &server) : http__get(h, "/v1/config", BODY_MAX, &server))
		abort();
	while (!over)
		http__run(h, 100);
	http__free(h);
	/* The server must be done with the input before it goes. */
	pthread_mutex_lock(&server.lock);
	server.size = 0;
	pthread_mutex_unlock(&server.lock);
	return 0;
}
