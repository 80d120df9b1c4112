/* render: the event's JSON. Everything handed in is masked already, except headers, whose masks are applied here on the
 * way into their view.
 */
#ifndef KT_MOESIF_RENDER_H
#define KT_MOESIF_RENDER_H

#include "moesif/body.h"
#include "moesif/call.h"
#include "moesif/header_view.h"
#include "moesif/identify.h"
#include "moesif/settings.h"
#include "moesif/txn_id.h"

/* Kong's own figures, -1 where a header is absent. */
struct kong_latency {
	int64_t proxy_ms, upstream_ms, response_ms;
};

struct event_parts {
	const struct call *call;
	const struct settings *settings;
	const struct identity *who;
	const struct body *req_body, *resp_body;
	const struct header_view *req_headers, *resp_headers;
	struct span uri, ip, request_id;
	const char *transaction_id;
	struct kong_latency latency;
	uint32_t weight;
};

void kong_latency_of(const struct call *c, struct kong_latency *ret);
/* Why a message is not whole: "complete", "closed", … */
const char *completeness_text(const struct message *m);
/* Appends the event as one JSON object. 0, -ENOSPC (out->max), -ENOMEM. */
int render_event(const struct event_parts *p, struct buf *out);

#endif
