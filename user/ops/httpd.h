/* httpd: a small HTTP server for operators: GET and HEAD only, answers made in memory, few connections. The door to
 * libmicrohttpd. It has one thread.
 */
#ifndef KT_OPS_HTTPD_H
#define KT_OPS_HTTPD_H

#include "base/buf.h"

#define HTTPD_ANSWER_MAX (4u << 20)

/* All of it is the client's word. Borrowed during the callback; n 0: not given. */
struct httpd_request {
	struct span path; /* decoded, without query */
	struct span accept, host;
};

struct httpd_answer {
	unsigned status;    /* 500 before the callback */
	const char *type;   /* content type; static */
	const char *policy; /* Content-Security-Policy; NULL: nothing may be loaded */
	struct buf body;    /* empty, maximum HTTPD_ANSWER_MAX; taken over */
};

struct httpd_sink {
	void (*fn)(void *ctx, const struct httpd_request *req, struct httpd_answer *ret); /* in httpd's thread */
	void *ctx;
};

struct httpd;

/* `listen`: "127.0.0.1:9464", "[::1]:9464", port 0 for any. NULL and errno: EINVAL (that is no address), ENOMEM, what
 * bind(2) gives. */
struct httpd *httpd__new(const char *listen, struct httpd_sink sink);
uint16_t httpd__port(const struct httpd *h);
/* Ends the thread; answers under way are cut off. NULL is fine. */
void httpd__free(struct httpd *h);

#endif
