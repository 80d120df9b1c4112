/* routes: which answer belongs to which request. */
#ifndef KT_OPS_ROUTES_H
#define KT_OPS_ROUTES_H

#include "ops/httpd.h"
#include "ops/view.h"

#define HOST_NAME_LEN 256

struct routes {
	/* Fills the view, which is zeroed. `whole`: the snapshot too, else of it the number of workers alone. */
	void (*look)(void *ctx, bool whole, struct ops_view *ret);
	void *ctx;
	/* Answers in this second. */
	uint64_t second_ns;
	unsigned answers;
	char policy[320];
	char host[HOST_NAME_LEN]; /* this machine's name */
};

/* 0; -EBADMSG: the page is not what it should be. */
int routes__init(struct routes *r);
/* An httpd_sink.fn; ctx: struct routes. */
void routes__answer(void *ctx, const struct httpd_request *req, struct httpd_answer *ret);

#endif
