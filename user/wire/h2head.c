#include "wire/h2head.h"

#define COOKIE SPAN_LIT("cookie")

void h2head__init(struct h2head *h, const struct wire_limits *limits)
{
	*h = (struct h2head){0};
	headers__init(&h->fields, limits->header_bytes, limits->header_count);
}

static void set_status(struct h2head *h, struct span value)
{
	unsigned int status = 0;

	if (h->has_status || value.n != 3)
		return;
	for (size_t i = 0; i < 3; i++) {
		if (value.p[i] < '0' || value.p[i] > '9')
			return;
		status = status * 10 + (unsigned int)(value.p[i] - '0');
	}
	h->status = (uint16_t)status;
	h->has_status = true;
}

/* The first one counts; one that comes again is refused by nginx. */
static void set_once(struct h2head *h, struct kept *k, struct span value)
{
	if (!k->n && headers__keep(&h->fields, value, k))
		h->fields.overflow = true;
}

static void pseudo(struct h2head *h, struct span name, struct span value)
{
	h->pseudo = true;
	if (span_eq(name, SPAN_LIT(":path")))
		set_once(h, &h->target, value);
	else if (span_eq(name, SPAN_LIT(":method")))
		set_once(h, &h->method, value);
	else if (span_eq(name, SPAN_LIT(":authority")))
		set_once(h, &h->authority, value);
	else if (span_eq(name, SPAN_LIT(":scheme")))
		set_once(h, &h->scheme, value);
	else if (span_eq(name, SPAN_LIT(":status")))
		set_status(h, value);
}

void h2head__field(struct h2head *h, const struct h2field *f)
{
	if (!f) {
		h->unknown = true;
		return;
	}
	if (f->name.n && f->name.p[0] == ':') {
		pseudo(h, f->name, f->value);
		return;
	}
	if (span_eq(f->name, COOKIE))
		h->cookies++;
	/* What does not fit is left out, and the list says so. */
	(void)headers__add(&h->fields, f->name, f->value);
}

static struct span all_crumbs(const struct headers *from, struct buf *b)
{
	struct span sep = SPAN_LIT("");

	for (uint32_t i = 0; i < from->count; i++) {
		if (!span_eq(headers__name_at(from, i), COOKIE))
			continue;
		/* Both fit: the buffer's maximum is that of the list, and a separator is shorter than a name. */
		(void)buf__append_span(b, sep);
		(void)buf__append_span(b, headers__value_at(from, i));
		sep = SPAN_LIT("; ");
	}
	return buf_span(b);
}

static void rebuild(struct h2head *h, const struct wire_limits *limits, bool keep_cookie)
{
	struct kept *const parts[] = {&h->method, &h->target, &h->authority, &h->scheme};
	struct headers from = h->fields;
	struct buf crumbs;
	bool done = !keep_cookie;

	buf__init(&crumbs, limits->header_bytes);
	headers__init(&h->fields, limits->header_bytes, limits->header_count);
	h->fields.overflow = from.overflow;
	for (size_t i = 0; i < sizeof(parts) / sizeof(*parts); i++) {
		struct span s = headers__kept(&from, *parts[i]);

		*parts[i] = (struct kept){0};
		set_once(h, parts[i], s);
	}
	for (uint32_t i = 0; i < from.count; i++) {
		struct span name = headers__name_at(&from, i);

		if (!span_eq(name, COOKIE)) {
			(void)headers__add(&h->fields, name, headers__value_at(&from, i));
		} else if (!done) {
			(void)headers__add(&h->fields, name, all_crumbs(&from, &crumbs));
			done = true;
		}
	}
	buf__free(&crumbs);
	headers__free(&from);
}

void h2head__end(struct h2head *h, const struct wire_limits *limits)
{
	/* A crumb that is not known, or did not fit, would leave a cookie that nobody sent. */
	bool whole = !h->unknown && !h->fields.overflow;

	if (h->cookies > 1 || (h->cookies && !whole))
		rebuild(h, limits, whole);
}

void h2head__free(struct h2head *h)
{
	headers__free(&h->fields);
}

static void move_headers(struct headers *to, struct headers *from)
{
	headers__free(to);
	headers__fit(from);
	*to = *from;
	headers__init(from, from->max_bytes, from->max_count);
}

void h2head__into_request(struct h2head *h, struct message *m)
{
	m->method = h->method;
	m->target = h->target;
	m->authority = h->authority;
	m->scheme = h->scheme;
	move_headers(&m->headers, &h->fields);
	m->head_partial = h->unknown;
}

void h2head__into_response(struct h2head *h, struct message *m)
{
	move_headers(&m->headers, &h->fields);
	m->status = h->status;
	m->head_partial = h->unknown;
}

void h2head__into_trailers(struct h2head *h, struct message *m)
{
	move_headers(&m->trailers, &h->fields);
	m->head_partial |= h->unknown;
}
