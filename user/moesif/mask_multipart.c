#include "moesif/mask_multipart.h"

#include <errno.h>

#include "moesif/mask_json.h"

#define BOUNDARY_MAX 70 /* RFC 2046, 5.1.1 */

struct form {
	char delimiter[BOUNDARY_MAX + 3]; /* LF, two dashes, boundary: what stands before each part but for a CR */
	size_t delimiter_n;
	const struct names *masks;
	struct buf *out;
	bool masked;
};

/* Where `what` stands in s, or n of s. */
static size_t find(struct span s, struct span what)
{
	const char *at = s.n ? memmem(s.p, s.n, what.p, what.n) : NULL;

	return at ? (size_t)(at - s.p) : s.n;
}

static size_t find_ci(struct span s, struct span what)
{
	for (size_t i = 0; s.n >= what.n && i <= s.n - what.n; i++)
		if (span_ieq(span_of(s.p + i, what.n), what))
			return i;
	return s.n;
}

/* The text up to the next semicolon outside of quotes; *rest goes behind it. */
static struct span take_parameter(struct span *rest)
{
	struct span all = *rest;
	bool quoted = false;
	size_t n = 0;

	for (; n < all.n && (quoted || all.p[n] != ';'); n++) {
		if (all.p[n] == '"')
			quoted = !quoted;
		else if (quoted && all.p[n] == '\\' && n + 1 < all.n)
			n++;
	}
	*rest = span_skip(all, n < all.n ? n + 1 : n);
	return span_trim(span_of(all.p, n));
}

/* The value of a parameter such as ;name="x" in a header's value, without quotes; n 0: none, or more than one. */
static struct span parameter(struct span value, struct span name)
{
	struct span found = {NULL, 0};

	take_parameter(&value); /* form-data, multipart/form-data */
	while (value.n) {
		struct span one = take_parameter(&value), got;
		size_t eq = find(one, SPAN_LIT("="));

		if (!span_ieq(span_trim(span_of(one.p, eq)), name))
			continue;
		got = span_trim(span_skip(one, eq < one.n ? eq + 1 : eq));
		if (got.n >= 2 && got.p[0] == '"' && got.p[got.n - 1] == '"')
			got = span_of(got.p + 1, got.n - 2);
		if (found.n)
			return (struct span){NULL, 0};
		found = got;
	}
	return found;
}

/* One line without its end; *rest goes behind it. */
static struct span take_line(struct span *rest)
{
	size_t n = find(*rest, SPAN_LIT("\n"));
	struct span line = span_of(rest->p, n);

	*rest = span_skip(*rest, n < rest->n ? n + 1 : n);
	if (line.n && line.p[line.n - 1] == '\r')
		line.n--;
	return line;
}

static bool plain_line(struct span line)
{
	for (size_t i = 0; i < line.n; i++)
		if ((unsigned char)line.p[i] < ' ' && line.p[i] != '\t')
			return false;
	return true;
}

/* The header lines of a part, up to the empty one: its name, and whether it says that it is JSON. -EINVAL: anything
 * that two readers could take for two things, since one of them may be the service. */
static int part_head(struct span *rest, struct span *ret_name, bool *ret_json)
{
	*ret_name = (struct span){NULL, 0};
	*ret_json = false;
	while (rest->n) {
		struct span line = take_line(rest), field;
		size_t colon = find(line, SPAN_LIT(":"));

		if (!line.n)
			return ret_name->n ? 0 : -EINVAL;
		field = span_of(line.p, colon);
		if (colon == line.n || !name_is_token(field) || !plain_line(line))
			return -EINVAL;
		if (span_ieq(field, SPAN_LIT("content-disposition"))) {
			if (ret_name->n)
				return -EINVAL;
			*ret_name = parameter(span_skip(line, colon), SPAN_LIT("name"));
		} else if (span_ieq(field, SPAN_LIT("content-type"))) {
			*ret_json |= find_ci(line, SPAN_LIT("json")) < line.n;
		}
	}
	return -EINVAL;
}

static int put_content(struct form *f, struct span content, struct span name, bool json)
{
	bool masked = false, breaks;
	int r;

	if (name.n && names__has(f->masks, name)) {
		f->masked |= content.n > 0;
		return content.n ? buf__append_str(f->out, "*****") : 0;
	}
	if (!json || !content.n)
		return buf__append_span(f->out, content);
	r = mask_json(f->out, content, f->masks, &masked, &breaks);
	f->masked |= masked;
	return r;
}

static bool only_space(struct span s)
{
	for (size_t i = 0; i < s.n; i++)
		if (!strchr(" \t\r\n", s.p[i]) || !s.p[i])
			return false;
	return true;
}

/* Behind a delimiter: the rest of its line, a head, the content, the next delimiter. 1: that was the last. */
static int part(struct form *f, struct span *rest)
{
	const struct span delimiter = span_of(f->delimiter, f->delimiter_n);
	struct span from = *rest, name, content;
	bool json;
	size_t n;
	int r;

	if (span_starts(*rest, SPAN_LIT("--")))
		return only_space(span_skip(*rest, 2)) ? 1 : -EINVAL;
	if (take_line(rest).n || part_head(rest, &name, &json) < 0)
		return -EINVAL;
	n = find(*rest, delimiter);
	/* Without even the line feed that would stand before it, a delimiter may be one to some and content to others.
	 */
	if (n == rest->n || span_starts(*rest, span_skip(delimiter, 1)))
		return -EINVAL;
	content = span_of(rest->p, n && rest->p[n - 1] == '\r' ? n - 1 : n);
	r = buf__append(f->out, from.p, (size_t)(rest->p - from.p));
	if (r == 0)
		r = put_content(f, content, name, json);
	n += delimiter.n;
	if (r == 0)
		r = buf__append(f->out, rest->p + content.n, n - content.n);
	*rest = span_skip(*rest, n);
	return r;
}

static int begin(struct form *f, struct span type, struct span *rest)
{
	struct span boundary = parameter(type, SPAN_LIT("boundary")), first;

	if (!boundary.n || boundary.n > BOUNDARY_MAX)
		return -EINVAL;
	memcpy(f->delimiter, "\n--", 3);
	memcpy(f->delimiter + 3, boundary.p, boundary.n);
	f->delimiter_n = boundary.n + 3;
	first = span_of(f->delimiter + 1, f->delimiter_n - 1);
	/* A preamble is allowed and nobody sends one: then nothing is known of what stands in it. */
	if (!span_starts(*rest, first))
		return -EINVAL;
	*rest = span_skip(*rest, first.n);
	return buf__append_span(f->out, first);
}

int mask_multipart(struct buf *out, struct span body, struct span type, const struct names *masks, bool *ret_masked)
{
	struct form f = {.masks = masks, .out = out};
	size_t mark = out->n;
	int r = begin(&f, type, &body);

	while (r == 0)
		r = part(&f, &body);
	if (r == 1)
		r = buf__append_str(out, "--\r\n");
	if (r < 0) {
		out->n = mark;
		return r;
	}
	*ret_masked = f.masked;
	return 0;
}
