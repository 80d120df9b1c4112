#include "moesif/body.h"

#include <errno.h>
#include <stdlib.h>

#include "capture/record.h"
#include "moesif/decode.h"
#include "moesif/json_scan.h"
#include "moesif/mask_json.h"
#include "moesif/mask_multipart.h"
#include "moesif/uri.h"

struct body_maker {
	struct decoder *decoder;
	struct buf masked, pairs; /* JSON and parts; forms, which may be JSON as well */
};

struct body_maker *body_maker__new(size_t decoded_limit)
{
	struct body_maker *b = calloc(1, sizeof(*b));

	if (!b)
		return NULL;
	b->decoder = decoder__new(decoded_limit);
	if (!b->decoder) {
		free(b);
		return NULL;
	}
	return b;
}

void body_maker__set_limit(struct body_maker *b, size_t decoded_limit)
{
	decoder__set_limit(b->decoder, decoded_limit);
}

void body_maker__free(struct body_maker *b)
{
	if (!b)
		return;
	decoder__free(b->decoder);
	buf__free(&b->masked);
	buf__free(&b->pairs);
	free(b);
}

static bool contains_ci(struct span text, struct span what)
{
	for (size_t i = 0; text.n >= what.n && i <= text.n - what.n; i++)
		if (span_ieq(span_of(text.p + i, what.n), what))
			return true;
	return false;
}

/* Why this body cannot be shown as a whole, or NULL. */
static const char *not_whole(const struct message *m, uint64_t limit)
{
	if (m->body_len > limit || (m->has_length && m->content_length > limit))
		return "limit";
	/* Not even a first byte was to be kept: bodies were given up to spend less. */
	if (!m->body.max)
		return "overhead";
	if (m->body_gap)
		return m->gap_causes == 1U << GAP_LIMIT ? "limit" : "gap";
	if (m->end != MSG_COMPLETE)
		return "incomplete";
	return m->body_truncated || m->body.n != m->body_len ? "memory" : NULL;
}

static struct span without_bom(struct span s)
{
	return span_starts(s, SPAN_LIT("\xef\xbb\xbf")) ? span_skip(s, 3) : s;
}

static bool looks_json(struct span s)
{
	s = without_bom(s);
	while (s.n && strchr(" \t\r\n", s.p[0]) && s.p[0])
		s = span_skip(s, 1);
	return s.n && (s.p[0] == '{' || s.p[0] == '[');
}

/* True when `plain` is JSON; *ret is what remains of it after the masks. */
static bool take_json(struct body_maker *b, struct span plain, const struct names *masks, struct body *ret)
{
	bool masked = false;

	plain = without_bom(plain);
	ret->line_break = false;
	if (!masks->n) {
		ret->data = plain;
		return json_valid(plain, &ret->line_break);
	}
	buf__clear(&b->masked);
	b->masked.max = plain.n;
	if (mask_json(&b->masked, plain, masks, &masked, &ret->line_break) < 0)
		return false;
	ret->data = masked ? buf_span(&b->masked) : plain;
	return true;
}

/* Much JSON is called a form, since curl does so: what can be read as both is masked as both. */
static int mask_form(struct body_maker *b, struct span plain, const struct names *masks, struct span *ret)
{
	const struct uri_masks m = {.exact = masks};
	struct body json = {.data = plain};
	bool masked = false;
	int r;

	if (looks_json(plain) && !take_json(b, plain, masks, &json))
		json.data = plain;
	buf__clear(&b->pairs);
	/* A star run of five may stand for a single byte, behind a name and '='. */
	b->pairs.max = json.data.n > SIZE_MAX / 5 ? SIZE_MAX : json.data.n * 5;
	r = uri_mask_pairs(&b->pairs, json.data, &m, &masked);
	if (r == 0)
		*ret = masked ? buf_span(&b->pairs) : json.data;
	return r;
}

/* What the Content-Type fields, which may contradict each other, say that the body is. */
struct kind {
	bool json, form;
	struct span parts; /* the type that says so, n 0: none */
};

static void add_kind(struct kind *k, struct span type)
{
	k->json |= contains_ci(type, SPAN_LIT("json"));
	k->form |= contains_ci(type, SPAN_LIT("x-www-form-urlencoded"));
	if (!k->parts.n && contains_ci(type, SPAN_LIT("multipart/form-data")))
		k->parts = type;
}

static struct kind kind_of(const struct known_index *x)
{
	struct kind k = {0};

	for (int at = x->first[KNOWN_CONTENT_TYPE]; at >= 0; at = known_next(x, KNOWN_CONTENT_TYPE, at))
		add_kind(&k, headers__value_at(x->h, (uint32_t)at));
	return k;
}

/* Several fields are one list (RFC 9110, 5.3). A list that does not fit is as good as an unknown coding. */
static struct span codings_of(const struct known_index *x, char *store, size_t size)
{
	struct buf b = {store, 0, size, size};

	if (x->count[KNOWN_CONTENT_ENCODING] < 2)
		return known_get(x, KNOWN_CONTENT_ENCODING);
	for (int at = x->first[KNOWN_CONTENT_ENCODING]; at >= 0; at = known_next(x, KNOWN_CONTENT_ENCODING, at)) {
		struct span value = headers__value_at(x->h, (uint32_t)at);

		if (value.n >= size - b.n)
			return SPAN_LIT("too many");
		buf__append_span(&b, value);
		buf__append_char(&b, ',');
	}
	return buf_span(&b);
}

static int mask_parts(
	struct body_maker *b, struct span plain, struct span type, const struct names *masks, struct span *ret)
{
	bool masked = false;
	int r;

	buf__clear(&b->masked);
	/* As in a form; a part has a head that is longer. */
	b->masked.max = plain.n > SIZE_MAX / 5 ? SIZE_MAX : plain.n * 5;
	r = mask_multipart(&b->masked, plain, type, masks, &masked);
	if (r == 0)
		*ret = masked ? buf_span(&b->masked) : plain;
	return r;
}

static void omit(struct body *ret, const char *why)
{
	*ret = (struct body){.omitted = why, .truncated = true};
}

/* Masks that cannot be applied to a body which claims to be of a kind that has masks: left out, rather than shown. */
static void decide(struct body_maker *b, struct span plain, bool readable, bool decoded, const struct kind *kind,
	const struct names *masks, struct body *ret)
{
	bool looks = looks_json(plain);

	ret->form = BODY_BASE64;
	ret->data = plain;
	/* Also under the name of a coding that was never applied: the plugin looks at what stands there. */
	if (kind->json ? readable || looks : decoded && looks) {
		if (take_json(b, plain, masks, ret)) {
			ret->form = BODY_JSON;
			return;
		}
		ret->data = plain;
		if (masks->n)
			omit(ret, "unmaskable");
		return;
	}
	if (!masks->n)
		return;
	if (!readable && (kind->json || kind->form || kind->parts.n)) {
		omit(ret, "unmaskable");
	} else if (kind->parts.n) {
		if (mask_parts(b, plain, kind->parts, masks, &ret->data) < 0)
			omit(ret, "unmaskable");
	} else if (kind->form) {
		if (mask_form(b, plain, masks, &ret->data) < 0)
			omit(ret, "unmaskable");
	} else if (looks && !take_json(b, plain, masks, ret)) {
		/* JSON in no one's words, and not even that: as the plugin has it. */
		ret->data = plain;
	}
}

void body_maker__make(struct body_maker *b, const struct message *m, const struct known_index *x,
	const struct body_rules *rules, struct body *ret)
{
	char store[256];
	struct span plain = buf_span(&m->body), encoding = codings_of(x, store, sizeof(store));
	const struct kind kind = kind_of(x);
	bool encoded = decode_is_encoded(encoding), decoded = false;
	const char *why;

	*ret = (struct body){0};
	if (!m->body_len)
		return;
	if (!rules->capture) {
		ret->omitted = "disabled";
		return;
	}
	if (m->body_excluded) {
		ret->omitted = "content_type";
		return;
	}
	why = not_whole(m, rules->limit);
	if (why) {
		omit(ret, why);
		return;
	}
	if (encoded && rules->decode)
		decoded = decoder__run(b->decoder, encoding, plain, &plain) == 0;
	if (!plain.n)
		return;
	decide(b, plain, decoded || !encoded, decoded, &kind, rules->masks, ret);
	if (ret->form == BODY_BASE64 && !ret->data.n)
		ret->form = BODY_NONE;
}
