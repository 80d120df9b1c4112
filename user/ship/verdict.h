/* verdict: what an answer of the collector means for the batch that it answers. */
#ifndef KT_SHIP_VERDICT_H
#define KT_SHIP_VERDICT_H

#include "ship/http.h"

enum verdict {
	VERDICT_DELIVERED, /* 2xx */
	VERDICT_RETRY,	   /* no answer, 408, 429, 5xx: the same again, later */
	VERDICT_TOO_LARGE, /* 413: the same in smaller pieces */
	VERDICT_POISON,	   /* 400, 422: something in it is not acceptable */
	VERDICT_PLAIN,	   /* 415 to a compressed request: the same without compression */
	VERDICT_REFUSED,   /* anything else: not for any batch, so do not hammer */
};

enum verdict verdict_of(const struct http_answer *a);
/* The outcome in words for logs and status, never longer than size; no byte of it comes from the collector. */
void verdict_text(const struct http_answer *a, char *out, size_t size);

#endif
