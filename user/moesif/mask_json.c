#include "moesif/mask_json.h"

#include <errno.h>

#include "moesif/json_scan.h"

struct editor {
	struct json_scan scan;
	const struct names *masks;
	struct buf *out;
	struct buf name;    /* of a key with escapes in it */
	const char *copied; /* everything before it has been copied or taken out */
	bool masked;
	/* Bit per depth: a member of the object open there has been kept, so the next one wants its comma. */
	uint64_t kept[JSON_DEPTH_MAX / 64 + 1];
};

static bool kept(const struct editor *e)
{
	return e->kept[e->scan.depth / 64] >> (e->scan.depth % 64) & 1;
}

static void set_kept(struct editor *e, bool on)
{
	uint64_t bit = 1ULL << (e->scan.depth % 64);

	if (on)
		e->kept[e->scan.depth / 64] |= bit;
	else
		e->kept[e->scan.depth / 64] &= ~bit;
}

static int copy_to(struct editor *e, const char *to)
{
	int r = buf__append(e->out, e->copied, (size_t)(to - e->copied));

	e->copied = to;
	return r;
}

/* 1 masked, 0 not, -ENOMEM. */
static int is_masked(struct editor *e)
{
	struct span name = e->scan.text;
	int r;

	if (e->scan.escaped) {
		buf__clear(&e->name);
		e->name.max = name.n;
		r = json_unescape(&e->name, name);
		if (r < 0)
			return r;
		name = buf_span(&e->name);
	}
	return names__has(e->masks, name);
}

/* A key was read. Between `copied` and its quote stand white space and, unless it is the first in its object, a comma:
 * taken over when a member was kept before, else left out together with the members that stood there. */
static int on_key(struct editor *e)
{
	const char *quote = e->scan.text.p - 1, *comma;
	int r = is_masked(e);

	if (r < 0)
		return r;
	if (r) {
		e->masked = true;
		r = json_scan__skip(&e->scan, JT_KEY);
		e->copied = e->scan.p;
		return r;
	}
	if (!kept(e)) {
		comma = memchr(e->copied, ',', (size_t)(quote - e->copied));
		if (comma)
			e->copied = comma + 1;
		set_kept(e, true);
	}
	return copy_to(e, quote);
}

static int on_token(struct editor *e, enum json_token t)
{
	switch (t) {
	case JT_BAD:
		return -EINVAL;
	case JT_OBJECT:
		set_kept(e, false);
		return copy_to(e, e->scan.p);
	case JT_KEY:
		return on_key(e);
	default:
		return copy_to(e, e->scan.p);
	}
}

int mask_json(struct buf *out, struct span text, const struct names *masks, bool *ret_masked, bool *ret_line_break)
{
	struct editor e = {.masks = masks, .out = out, .copied = text.p};
	size_t mark = out->n;
	enum json_token t;
	int r;

	json_scan__init(&e.scan, text);
	do {
		t = json_scan__next(&e.scan);
		r = on_token(&e, t);
	} while (r == 0 && t != JT_DONE);
	buf__free(&e.name);
	if (r < 0) {
		out->n = mark;
		return r;
	}
	*ret_masked = e.masked;
	*ret_line_break = e.scan.line_break;
	return 0;
}
