/* http: requests to the collector. The door to libcurl. One thread drives it; any thread may wake it.
 */
#ifndef KT_SHIP_HTTP_H
#define KT_SHIP_HTTP_H

#include "ship/shipper.h"

#define HTTP_TAG_MAX 96

/* All of it is the collector's word, so it is bounded and of no particular form. Borrowed during the callback. */
struct http_answer {
	long status;		       /* 0: no answer, see error */
	uint32_t retry_after_s;	       /* 0: not given */
	char config_tag[HTTP_TAG_MAX]; /* X-Moesif-Config-ETag; empty: none */
	char rules_tag[HTTP_TAG_MAX];  /* X-Moesif-Rules-Tag */
	struct span body;	       /* of a GET */
	bool compressed;	       /* the request was */
	bool broke_off;		       /* status 0: it failed after some of the request had been sent */
	bool body_too_large;	       /* body is not complete */
	const char *error;	       /* status 0: what happened, in words */
};

struct http_sink {
	void (*fn)(void *ctx, void *token, const struct http_answer *answer);
	void *ctx;
};

struct http;

/* Options are borrowed. `slots`: most requests at once. NULL and errno: ENOMEM, EINVAL (endpoint, application id or
 * compression that cannot be used). */
struct http *http__new(const struct ship_options *o, unsigned slots, struct http_sink sink);
/* Requests under way are given up without a callback. NULL is fine. */
void http__free(struct http *h);

/* Starts POST /v1/events/batch. The body is borrowed until the callback for token, or http__cancel. 0; -EBUSY: no slot;
 * -ENOMEM. */
int http__post(struct http *h, struct span body, void *token);
/* Starts GET of a path such as /v1/config, with an answer of at most max_body bytes. Errors as http__post. */
int http__get(struct http *h, const char *path, size_t max_body, void *token);
/* Gives a request up, without a callback. */
void http__cancel(struct http *h, void *token);
/* Moves things on, calling back for what has ended, then waits at most timeout_ms for more or for http__wake. */
void http__run(struct http *h, int timeout_ms);
/* Ends the wait of http__run, now or the next one. Any thread. */
void http__wake(struct http *h);
/* The collector does not understand compressed requests: plain from now on. */
void http__plain(struct http *h);

#endif
