/* fake_collector: an HTTP/1.1 server of a few lines in threads of this process, whose answers the test decides.
 *
 * Its batches hold events {"id":N,…}. `answer` is asked for every request and says what to do; ids of batches answered
 * 2xx are remembered in the order of arrival.
 */
#ifndef KT_TESTS_FAKE_COLLECTOR_H
#define KT_TESTS_FAKE_COLLECTOR_H

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define FAKE_IDS_MAX 200000
#define FAKE_BODY_MAX (8u << 20)

enum { FAKE_RESET = -1, FAKE_SILENCE = -2, FAKE_GARBAGE = -3 };

struct fake_request {
	bool post;
	char head[4096]; /* NUL-terminated */
	char path[256];
	const char *body;
	size_t body_len;
	unsigned nids;
	unsigned ids[20000];
	unsigned number; /* of this request, from 0 */
};

struct fake_reply {
	int status;	     /* or FAKE_… */
	const char *headers; /* "Name: value\r\n…" or NULL */
	const char *body;    /* or NULL */
};

struct fake_collector {
	struct fake_reply (*answer)(void *ctx, const struct fake_request *r);
	void *ctx;
	int listener;
	char url[64];
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	size_t cut_above; /* a request with a longer body: reset in the middle of it; 0: never */
	/* Under the lock. */
	bool down;
	int conns[64];
	unsigned nconns, threads;
	unsigned requests, posts, accepted_posts, accepted_conns;
	unsigned nids;
	unsigned ids[FAKE_IDS_MAX];
};

struct fake_conn {
	struct fake_collector *c;
	int fd;
};

static inline void fake_ids(struct fake_request *r)
{
	const char *p = r->body, *end = r->body + r->body_len;

	r->nids = 0;
	while (p && p < end && (p = memmem(p, (size_t)(end - p), "\"id\":", 5))) {
		p += 5;
		if (r->nids < sizeof(r->ids) / sizeof(r->ids[0]))
			r->ids[r->nids++] = (unsigned)strtoul(p, NULL, 10);
	}
}

/* One request from the buffer; bytes used, 0 more is needed. */
static inline size_t fake_parse(struct fake_request *r, const char *p, size_t n)
{
	const char *end = memmem(p, n, "\r\n\r\n", 4), *len;
	size_t head = end ? (size_t)(end - p) + 4 : 0;

	if (!end || head >= sizeof(r->head))
		return 0;
	memcpy(r->head, p, head);
	r->head[head] = '\0';
	r->post = strncmp(r->head, "POST ", 5) == 0;
	r->path[0] = '\0';
	(void)!sscanf(r->head, "%*s %255s", r->path);
	len = strcasestr(r->head, "\r\ncontent-length:");
	r->body_len = len ? strtoul(len + 17, NULL, 10) : 0;
	r->body = p + head;
	return n - head >= r->body_len ? head + r->body_len : 0;
}

static inline void fake_reset_on_close(int fd)
{
	struct linger now = {1, 0};

	setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
}

static inline bool fake_is_too_long(const struct fake_collector *c, char *p, size_t n)
{
	const char *len = memmem(p, n, "Content-Length: ", 16);

	return c->cut_above && len && memmem(p, n, "\r\n\r\n", 4) && strtoul(len + 16, NULL, 10) > c->cut_above;
}

static inline bool fake_reply(struct fake_conn *k, const struct fake_request *r)
{
	struct fake_collector *c = k->c;
	struct fake_reply a = c->answer(c->ctx, r);
	char out[256 << 10];
	int n;

	pthread_mutex_lock(&c->lock);
	if (r->post && a.status >= 200 && a.status < 300) {
		c->accepted_posts++;
		for (unsigned i = 0; i < r->nids && c->nids < FAKE_IDS_MAX; i++)
			c->ids[c->nids++] = r->ids[i];
	}
	pthread_cond_broadcast(&c->changed);
	pthread_mutex_unlock(&c->lock);
	if (a.status == FAKE_RESET) {
		fake_reset_on_close(k->fd);
		return false;
	}
	if (a.status == FAKE_SILENCE)
		return true;
	if (a.status == FAKE_GARBAGE)
		n = snprintf(out, sizeof(out), "\x16\x03 these are not the bytes\n\n\n");
	else
		n = snprintf(out, sizeof(out), "HTTP/1.1 %d x\r\n%sContent-Length: %zu\r\n\r\n%s", a.status,
			a.headers ? a.headers : "", a.body ? strlen(a.body) : 0, a.body ? a.body : "");
	return send(k->fd, out, (size_t)n, MSG_NOSIGNAL) == n && a.status != FAKE_GARBAGE;
}

static inline void *fake_serve(void *ctx)
{
	struct fake_conn *k = ctx;
	struct fake_collector *c = k->c;
	struct fake_request *r = calloc(1, sizeof(*r));
	char *buf = malloc(FAKE_BODY_MAX);
	size_t have = 0, used;
	bool open = r && buf;

	while (open) {
		ssize_t n = recv(k->fd, buf + have, FAKE_BODY_MAX - have, 0);

		if (n <= 0)
			break;
		have += (size_t)n;
		if (fake_is_too_long(c, buf, have)) {
			fake_reset_on_close(k->fd);
			break;
		}
		while (open && (used = fake_parse(r, buf, have))) {
			fake_ids(r);
			pthread_mutex_lock(&c->lock);
			r->number = c->requests++;
			c->posts += r->post;
			pthread_mutex_unlock(&c->lock);
			open = fake_reply(k, r);
			memmove(buf, buf + used, have - used);
			have -= used;
		}
	}
	pthread_mutex_lock(&c->lock);
	for (unsigned i = 0; i < c->nconns; i++)
		if (c->conns[i] == k->fd)
			c->conns[i] = c->conns[--c->nconns];
	close(k->fd);
	c->threads--;
	pthread_cond_broadcast(&c->changed);
	pthread_mutex_unlock(&c->lock);
	free(buf);
	free(r);
	free(k);
	return NULL;
}

static inline void *fake_accept(void *ctx)
{
	struct fake_collector *c = ctx;
	int fd;

	while ((fd = accept(c->listener, NULL, NULL)) >= 0) {
		struct fake_conn *k = malloc(sizeof(*k));
		pthread_t t;

		pthread_mutex_lock(&c->lock);
		if (!k || c->down || c->nconns == 64) {
			pthread_mutex_unlock(&c->lock);
			close(fd);
			free(k);
			continue;
		}
		*k = (struct fake_conn){c, fd};
		c->conns[c->nconns++] = fd;
		c->threads++;
		c->accepted_conns++;
		pthread_mutex_unlock(&c->lock);
		pthread_create(&t, NULL, fake_serve, k);
		pthread_detach(t);
	}
	return NULL;
}

static inline struct fake_collector *fake_start(
	struct fake_reply (*answer)(void *, const struct fake_request *), void *ctx)
{
	struct fake_collector *c = calloc(1, sizeof(*c));
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(a);

	c->answer = answer;
	c->ctx = ctx;
	pthread_mutex_init(&c->lock, NULL);
	pthread_cond_init(&c->changed, NULL);
	c->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (bind(c->listener, (struct sockaddr *)&a, sizeof(a)) || listen(c->listener, 64) ||
		getsockname(c->listener, (struct sockaddr *)&a, &len))
		abort();
	snprintf(c->url, sizeof(c->url), "http://127.0.0.1:%d/collector", ntohs(a.sin_port));
	pthread_create(&c->thread, NULL, fake_accept, c);
	return c;
}

/* down: connections are closed at once, open ones too. */
static inline void fake_set_down(struct fake_collector *c, bool down)
{
	pthread_mutex_lock(&c->lock);
	c->down = down;
	for (unsigned i = 0; down && i < c->nconns; i++)
		shutdown(c->conns[i], SHUT_RDWR);
	pthread_mutex_unlock(&c->lock);
}

static inline void fake_stop(struct fake_collector *c)
{
	fake_set_down(c, true);
	shutdown(c->listener, SHUT_RDWR);
	pthread_join(c->thread, NULL);
	pthread_mutex_lock(&c->lock);
	while (c->threads)
		pthread_cond_wait(&c->changed, &c->lock);
	pthread_mutex_unlock(&c->lock);
	close(c->listener);
	free(c);
}

/* Waits until `n` counts at least `want`, at most a minute: machines are slow at times. */
static inline bool fake_wait(struct fake_collector *c, const unsigned *n, unsigned want)
{
	struct timespec until;
	int err = 0;
	bool there;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += 60;
	pthread_mutex_lock(&c->lock);
	while (*n < want && !err)
		err = pthread_cond_timedwait(&c->changed, &c->lock, &until);
	there = *n >= want;
	pthread_mutex_unlock(&c->lock);
	return there;
}

#endif
