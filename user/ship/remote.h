/* remote: when to fetch the collector's configuration and rules: at the start, at an interval, and soon after an answer
 * carried a version tag that is new. The nodes of the collector can disagree for a while, so two tags are remembered.
 */
#ifndef KT_SHIP_REMOTE_H
#define KT_SHIP_REMOTE_H

#include "ship/http.h"

enum remote_kind { REMOTE_CONFIG = 0, REMOTE_RULES, REMOTE_KINDS };

struct remote_doc {
	char tags[2][HTTP_TAG_MAX]; /* newest first */
	uint64_t next_ns;	    /* when to fetch */
	uint64_t last_ns;	    /* when it was fetched last; 0: never */
	unsigned failures;
	unsigned long logged;
	bool under_way;
};

struct remote {
	const struct ship_options *o;
	struct remote_sink sink;
	struct remote_doc docs[REMOTE_KINDS];
};

void remote__init(struct remote *r, const struct ship_options *o, struct remote_sink sink, uint64_t now_ns);
/* The tags of any answer. */
void remote__on_tags(struct remote *r, uint64_t now_ns, const struct http_answer *a);
/* Starts the fetches that are due. Tokens are &docs[i]. */
void remote__run(struct remote *r, struct http *h, uint64_t now_ns);
uint64_t remote__due(const struct remote *r);
/* Is this token one of ours? */
bool remote__owns(const struct remote *r, const void *token);
void remote__on_answer(struct remote *r, uint64_t now_ns, void *token, const struct http_answer *a);

#endif
