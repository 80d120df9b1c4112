#include "ship/har.h"

#include <errno.h>
#include <stdlib.h>

#include "base/base64.h"
#include "base/clock.h"
#include "moesif/utf8.h"
#include "ship/har_lists.h"
#include "ship/json_view.h"

/* The event's JSON taken apart. Spans of it, and so JSON text. */
struct parts {
	const struct event *e;
	struct span request, response, kong;
	struct span req_headers, resp_headers;
	struct span protocol;
};

static struct span http_version(struct span protocol)
{
	if (span_eq(protocol, SPAN_LIT("http/1.0")))
		return SPAN_LIT("HTTP/1.0");
	return protocol.n && protocol.p[0] == 'h' && protocol.n > 1 && protocol.p[1] == '2' ? SPAN_LIT("HTTP/2")
											    : SPAN_LIT("HTTP/1.1");
}

static void put_common(struct json_out *o, const struct parts *p, struct span headers)
{
	json_put_lit(o, ",\"httpVersion\":");
	json_put_string(o, http_version(p->protocol));
	json_put_lit(o, ",\"headers\":");
	har_headers(o, headers);
	json_put_lit(o, ",\"headersSize\":-1,\"bodySize\":");
}

/* A body as the "text" member of postData or content: JSON as it stands, base64 unpacked when it is text after all.
 * `marker` says that it stayed base64. */
static void put_text(struct json_out *o, struct span message, const char *marker)
{
	struct span body = view_member(message, "body"), text = view_inside(body);
	bool base64 = span_eq(view_inside(view_member(message, "transfer_encoding")), SPAN_LIT("base64"));
	char *raw = NULL;
	long n = -1;

	json_put_lit(o, ",\"text\":");
	if (!base64) {
		json_put_string(o, body);
		return;
	}
	raw = malloc(base64_decoded_max(text.n));
	if (raw)
		n = base64_decode(text, raw);
	if (n >= 0 && utf8_valid(span_of(raw, (size_t)n))) {
		json_put_string(o, span_of(raw, (size_t)n));
	} else {
		json_put_lit(o, "\"");
		json_put_raw(o, text);
		json_put_lit(o, "\",\"");
		json_put_raw(o, span_str(marker));
		json_put_lit(o, "\":\"base64\"");
	}
	free(raw);
}

static void put_mime(struct json_out *o, struct span headers)
{
	json_put_lit(o, "\"mimeType\":\"");
	json_put_raw(o, har_header(headers, "content-type"));
	json_put_lit(o, "\"");
}

static void put_request(struct json_out *o, const struct parts *p)
{
	json_put_lit(o, "\"request\":{\"method\":");
	json_put_string(o, p->e->verb);
	json_put_lit(o, ",\"url\":");
	json_put_string(o, p->e->uri);
	put_common(o, p, p->req_headers);
	json_put_u64(o, p->e->request_bytes);
	json_put_lit(o, ",\"queryString\":");
	har_query(o, p->e->uri);
	json_put_lit(o, ",\"cookies\":");
	har_request_cookies(o, p->req_headers);
	if (view_member(p->request, "body").n) {
		json_put_lit(o, ",\"postData\":{");
		put_mime(o, p->req_headers);
		/* HAR 1.2 knows base64 for responses only. */
		put_text(o, p->request, "_encoding");
		json_put_lit(o, "}");
	}
	json_put_lit(o, "}");
}

static void put_content(struct json_out *o, const struct parts *p)
{
	struct span body = view_member(p->response, "body");

	json_put_lit(o, ",\"content\":{");
	put_mime(o, p->resp_headers);
	json_put_lit(o, ",\"size\":");
	json_put_u64(o, p->e->response_bytes);
	if (body.n)
		put_text(o, p->response, "encoding");
	json_put_lit(o, "}");
}

static void put_response(struct json_out *o, const struct parts *p)
{
	json_put_lit(o, ",\"response\":{\"status\":");
	json_put_i64(o, p->e->status);
	json_put_lit(o, ",\"statusText\":\"\"");
	put_common(o, p, p->resp_headers);
	json_put_u64(o, p->e->response_bytes);
	json_put_lit(o, ",\"cookies\":");
	har_response_cookies(o, p->resp_headers);
	put_content(o, p);
	json_put_lit(o, ",\"redirectURL\":\"");
	json_put_raw(o, har_header(p->resp_headers, "location"));
	json_put_lit(o, "\"}");
}

/* "12.345" milliseconds as microseconds; -1: none. */
static int64_t micros(struct span ms)
{
	int64_t whole = view_integer(ms), frac = 0;
	const char *dot = ms.n ? memchr(ms.p, '.', ms.n) : NULL;

	if (whole < 0 || whole > INT64_MAX / 2000)
		return -1;
	if (dot)
		for (size_t i = 1; i <= 3; i++) {
			size_t at = (size_t)(dot - ms.p) + i;

			frac = frac * 10 + (at < ms.n && ms.p[at] >= '0' && ms.p[at] <= '9' ? ms.p[at] - '0' : 0);
		}
	return whole * 1000 + frac;
}

/* An agent at Kong's side sees the first byte of the request and the first and last one of the answer. */
static void put_timings(struct json_out *o, const struct parts *p)
{
	uint64_t total = p->e->total_ns / 1000;
	int64_t first = micros(view_at(p->kong, "latency.first_byte"));
	uint64_t wait = first >= 0 && (uint64_t)first <= total ? (uint64_t)first : total;

	json_put_lit(o, ",\"time\":");
	json_put_ms(o, total * 1000);
	json_put_lit(o,
		",\"cache\":{},\"timings\":{\"blocked\":-1,\"dns\":-1,\"connect\":-1,\"ssl\":-1,\"send\":0,\"wait\":");
	json_put_ms(o, wait * 1000);
	json_put_lit(o, ",\"receive\":");
	json_put_ms(o, (total - wait) * 1000);
	json_put_lit(o, "}");
}

static void put_own(struct json_out *o, const struct parts *p)
{
	struct span service = view_at(p->kong, "service.address");

	if (view_is_string(service)) {
		json_put_lit(o, ",\"serverIPAddress\":");
		json_put_raw(o, service);
	}
	/* Without it developer tools guess, and call a call a script. */
	json_put_lit(o, ",\"_resourceType\":\"fetch\"");
	if (p->e->user.n) {
		json_put_lit(o, ",\"_user\":");
		json_put_string(o, p->e->user);
	}
	if (p->e->company.n) {
		json_put_lit(o, ",\"_company\":");
		json_put_string(o, p->e->company);
	}
	if (p->kong.n) {
		json_put_lit(o, ",\"_kong\":");
		json_put_raw(o, p->kong);
	}
	if (p->e->truncated || p->e->incomplete) {
		json_put_lit(o, ",\"comment\":");
		json_put_string(o, p->e->incomplete ? SPAN_LIT("incomplete") : SPAN_LIT("a body is truncated"));
	}
}

int har_entry(struct buf *out, const struct event *e)
{
	struct json_out o = {out, 0};
	struct parts p = {.e = e};
	char when[CLOCK_ISO_LEN + 1];
	size_t mark = out->n;

	p.request = view_member(e->json, "request");
	p.response = view_member(e->json, "response");
	p.kong = view_at(e->json, "metadata.kong");
	p.req_headers = view_member(p.request, "headers");
	p.resp_headers = view_member(p.response, "headers");
	p.protocol = view_inside(view_member(p.kong, "protocol"));
	clock_iso(e->wall_ns, when);
	json_put_lit(&o, "\n{\"startedDateTime\":");
	json_put_string(&o, span_of(when, CLOCK_ISO_LEN));
	json_put_lit(&o, ",");
	put_request(&o, &p);
	put_response(&o, &p);
	put_timings(&o, &p);
	put_own(&o, &p);
	json_put_lit(&o, "}");
	if (o.err)
		out->n = mark;
	return o.err;
}
