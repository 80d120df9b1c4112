#include "moesif/header_view.h"

#include <errno.h>
#include <stdlib.h>

#include "moesif/uri.h"

static int add(struct header_view *w, const struct hname *n, enum known k, struct span value)
{
	if (w->n == w->cap) {
		uint32_t cap = w->cap ? w->cap * 2 : 32;
		struct header_item *v = realloc(w->v, cap * sizeof(*v));

		if (!v)
			return -ENOMEM;
		w->v = v;
		w->cap = cap;
	}
	w->v[w->n++] = (struct header_item){.name = n->name, .value = value, .hash = n->hash, .known = (uint8_t)k};
	return 0;
}

/* Fields of h that are not masked and that `keep` lets pass. */
static int add_fields(struct header_view *w, const struct known_index *x, const struct names *masks,
	const struct call *c, bool (*keep)(const struct call *c, enum known k))
{
	const struct headers *h = x->h;
	int r = 0;

	for (uint32_t i = 0; i < h->count && r == 0; i++) {
		const struct hname n = {headers__name_at(h, i), h->fields[i].hash};
		enum known k = known_at(x, i);

		if (masks->n && names__has_header(masks, n.name, n.hash))
			continue;
		if (keep && !keep(c, k))
			continue;
		r = add(w, &n, k, headers__value_at(h, i));
	}
	return r;
}

/* Not a claim of the client's that Kong has answered with its own word, or cleared. */
static bool keep_from_client(const struct call *c, enum known k)
{
	if (k == KNOWN_NONE || !known_by_kong(k))
		return true;
	if (c->authenticated && k <= KNOWN_X_ANONYMOUS_CONSUMER)
		return false;
	return !c->ureq.count[k] || span_eq(known_get(&c->ureq, k), known_get(&c->creq, k));
}

static bool keep_from_upstream(const struct call *c, enum known k)
{
	(void)c;
	return !call_nginx_sets(k);
}

static int add_one(
	struct header_view *w, const struct hname *n, enum known k, struct span value, const struct settings *s)
{
	if (!value.p || names__has_header(&s->request_headers, n->name, n->hash))
		return 0;
	return add(w, n, k, value);
}

static int add_host(struct header_view *w, struct span host, const struct settings *s)
{
	const struct hname name = known_hname(KNOWN_HOST);

	return add_one(w, &name, KNOWN_HOST, host.n ? host : (struct span){NULL, 0}, s);
}

/* What Kong's plugins put on the upstream leg and the client did not send. */
static int add_from_kong(struct header_view *w, const struct call *c, const struct settings *s)
{
	const struct hname *ids[] = {&s->user_header, &s->company_header};
	int r = 0;

	for (enum known k = KNOWN_X_CONSUMER_ID; k < KNOWN_COUNT_ && r == 0; k++) {
		struct hname n;

		if (!c->ureq.count[k] || (c->creq.count[k] && keep_from_client(c, k)))
			continue;
		n = known_hname(k);
		r = add_one(w, &n, k, known_get(&c->ureq, k), s);
	}
	for (int i = 0; i < 2 && r == 0; i++) {
		enum known k = known_of(ids[i]->name, ids[i]->hash);

		if (!ids[i]->name.n || (k != KNOWN_NONE && (known_by_kong(k) || call_nginx_sets(k))))
			continue;
		if (i == 1 && ids[0]->name.n && span_ieq(ids[0]->name, ids[1]->name))
			continue;
		if (hname_find(c->creq.h, ids[i], 0) < 0)
			r = add_one(w, ids[i], k, header_unique(c->ureq.h, ids[i]), s);
	}
	return r;
}

/* Links the items of one name: linear, however many there are. */
static int group(struct header_view *w)
{
	uint32_t want = 64, mask;

	while (want < w->n * 2)
		want *= 2;
	if (want > w->slot_cap) {
		uint32_t *slots = realloc(w->slots, want * sizeof(*slots));

		if (!slots)
			return -ENOMEM;
		w->slots = slots;
		w->slot_cap = want;
	}
	memset(w->slots, 0, want * sizeof(*w->slots));
	mask = want - 1;
	for (uint32_t i = 0; i < w->n; i++) {
		struct header_item *it = &w->v[i], *first;
		uint32_t at = it->hash & mask;

		while (w->slots[at] &&
			(w->v[w->slots[at] - 1].hash != it->hash || !span_ieq(w->v[w->slots[at] - 1].name, it->name)))
			at = (at + 1) & mask;
		if (!w->slots[at]) {
			w->slots[at] = i + 1;
			it->last = i;
			continue;
		}
		first = &w->v[w->slots[at] - 1];
		w->v[first->last].next = i + 1;
		first->last = i;
		it->repeats = true;
	}
	return 0;
}

int header_view__request(struct header_view *w, const struct call *c, const struct settings *s)
{
	int r;

	w->n = 0;
	if (c->rebuilt) {
		r = add_host(w, known_get(&c->ureq, KNOWN_X_FORWARDED_HOST), s);
		if (r == 0)
			r = add_fields(w, &c->ureq, &s->request_headers, c, keep_from_upstream);
		return r < 0 ? r : group(w);
	}
	r = c->creq.count[KNOWN_HOST] ? 0 : add_host(w, message__authority(c->req), s);
	if (r == 0)
		r = add_fields(w, &c->creq, &s->request_headers, c, keep_from_client);
	if (r == 0 && c->up)
		r = add_from_kong(w, c, s);
	return r < 0 ? r : group(w);
}

int header_view__response(struct header_view *w, const struct call *c, const struct settings *s)
{
	int r = 0;

	w->n = 0;
	if (c->cresp.h)
		r = add_fields(w, &c->cresp, &s->response_headers, c, NULL);
	return r < 0 ? r : group(w);
}

static void write_cookies(const struct header_view *w, const struct header_item *it, struct json_out *o)
{
	struct buf all;

	buf__init(&all, SIZE_MAX);
	for (;;) {
		if (o->err == 0)
			o->err = buf__append_span(&all, it->value);
		if (!it->next)
			break;
		it = &w->v[it->next - 1];
		if (o->err == 0)
			o->err = buf__append(&all, "; ", 2);
	}
	json_put_string(o, buf_span(&all));
	buf__free(&all);
}

/* Addresses in headers carry the same parameters as the URI, behind a '?' or, from OAuth, behind a '#'. */
static bool holds_address(const struct header_item *it, const struct settings *s)
{
	enum known k = (enum known)it->known;

	if (!s->query.n && !s->credential_query.n)
		return false;
	return k == KNOWN_REFERER || k == KNOWN_LOCATION || k == KNOWN_CONTENT_LOCATION;
}

static void write_address(struct span url, const struct settings *s, struct json_out *o)
{
	const struct uri_masks masks = {&s->query, &s->credential_query};
	struct buf out;

	buf__init(&out, SIZE_MAX);
	while (url.n && o->err == 0) {
		size_t n = 0;

		while (n < url.n && url.p[n] != '?' && url.p[n] != '#')
			n++;
		o->err = out.n ? uri_mask_pairs(&out, span_of(url.p, n), &masks, NULL) : buf__append(&out, url.p, n);
		if (o->err == 0 && n < url.n)
			o->err = buf__append_char(&out, url.p[n]);
		url = span_skip(url, n < url.n ? n + 1 : n);
	}
	json_put_string(o, buf_span(&out));
	buf__free(&out);
}

static void write_values(const struct header_view *w, const struct header_item *it, bool redact,
	const struct settings *s, struct json_out *o)
{
	bool address = holds_address(it, s);
	bool list = it->next != 0;

	if (list)
		json_put_lit(o, "[");
	for (;;) {
		if (address && !redact)
			write_address(it->value, s, o);
		else
			json_put_string(o, redact ? SPAN_LIT("*****") : it->value);
		if (!it->next)
			break;
		json_put_lit(o, ",");
		it = &w->v[it->next - 1];
	}
	if (list)
		json_put_lit(o, "]");
}

void header_view__write(const struct header_view *w, const struct settings *s, bool join_cookies, struct json_out *o)
{
	const struct names *redacted = &s->credential_headers;
	bool first = true;

	json_put_lit(o, "{");
	for (uint32_t i = 0; i < w->n; i++) {
		const struct header_item *it = &w->v[i];
		bool redact = redacted->n && names__has_header(redacted, it->name, it->hash);

		if (it->repeats)
			continue;
		if (!first)
			json_put_lit(o, ",");
		first = false;
		json_put_string_lower(o, it->name);
		json_put_lit(o, ":");
		if (join_cookies && it->next && it->known == KNOWN_COOKIE && !redact)
			write_cookies(w, it, o);
		else
			write_values(w, it, redact, s, o);
	}
	json_put_lit(o, "}");
}

void header_view__free(struct header_view *w)
{
	if (!w)
		return;
	free(w->v);
	free(w->slots);
	*w = (struct header_view){0};
}
