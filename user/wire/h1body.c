#include "wire/h1body.h"

#include <errno.h>

/* nginx keeps lengths in an off_t. */
#define LENGTH_MAX ((uint64_t)INT64_MAX)

static int parse_length(struct span s, uint64_t *ret)
{
	uint64_t v = 0;

	s = span_trim(s);
	if (!s.n)
		return -EBADMSG;
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] < '0' || s.p[i] > '9' || v > (LENGTH_MAX - 9) / 10)
			return -EBADMSG;
		v = v * 10 + (uint64_t)(s.p[i] - '0');
	}
	*ret = v;
	return 0;
}

static bool icontains(struct span s, struct span word)
{
	for (; s.n >= word.n; s = span_skip(s, 1))
		if (span_ieq(span_of(s.p, word.n), word))
			return true;
	return false;
}

/* Requests: two lengths, a length beside a coding, a coding in HTTP/1.0 and any coding but "chunked" are answered with
 * 400 or 501 and a closed connection (nginx >= 1.21). Responses: a coding beats a length, "chunked" may be anywhere in
 * it, and where neither is given the body ends with the connection. */
int h1body_kind(struct message *m, bool is_request, enum h1body_kind *ret)
{
	const struct span te = SPAN_LIT("transfer-encoding"), cl = SPAN_LIT("content-length");
	struct span coding = headers__get(&m->headers, te);
	int length = headers__find(&m->headers, cl, 0);

	if (length >= 0) {
		if (parse_length(headers__value_at(&m->headers, (uint32_t)length), &m->content_length))
			return -EBADMSG;
		m->has_length = true;
		if (is_request && headers__find(&m->headers, cl, (uint32_t)length + 1) >= 0)
			return -EBADMSG;
	}
	if (coding.p && is_request) {
		if (m->has_length || m->major < 1 || (m->major == 1 && m->minor < 1) ||
			headers__count_of(&m->headers, te) > 1 || !span_ieq(coding, SPAN_LIT("chunked")))
			return -EBADMSG;
		*ret = H1BODY_CHUNKED;
	} else if (coding.p && icontains(coding, SPAN_LIT("chunked"))) {
		*ret = H1BODY_CHUNKED;
	} else if (m->has_length) {
		*ret = m->content_length ? H1BODY_LENGTH : H1BODY_NONE;
	} else {
		*ret = is_request ? H1BODY_NONE : H1BODY_CLOSE;
	}
	return 0;
}

static int hex(char c)
{
	unsigned char l = ascii_lower((unsigned char)c);

	if (c >= '0' && c <= '9')
		return c - '0';
	return l >= 'a' && l <= 'f' ? l - 'a' + 10 : -1;
}

static bool line_over(struct h1chunk *c)
{
	if (!c->left)
		return true;
	c->at = H1CHUNK_DATA;
	return false;
}

static enum h1chunk_step on_size(struct h1chunk *c, char ch)
{
	int d = hex(ch);

	if (d >= 0) {
		if (c->at == H1CHUNK_START)
			c->left = 0;
		if (c->left > (LENGTH_MAX - 15) / 16)
			return H1CHUNK_BAD;
		c->left = c->left * 16 + (unsigned)d;
		c->at = H1CHUNK_SIZE;
		return H1CHUNK_MORE;
	}
	if (c->at == H1CHUNK_START)
		return H1CHUNK_BAD;
	switch (ch) {
	case '\r':
		c->at = H1CHUNK_SIZE_LF;
		return H1CHUNK_MORE;
	case '\n':
		return line_over(c) ? H1CHUNK_LAST : H1CHUNK_MORE;
	case ';':
	case ' ':
	case '\t':
		c->at = H1CHUNK_EXTENSION;
		return H1CHUNK_MORE;
	default:
		return H1CHUNK_BAD;
	}
}

/* One byte of framing, in the states of ngx_http_parse_chunked: a bare LF ends a line too. */
static enum h1chunk_step on_framing(struct h1chunk *c, char ch)
{
	switch (c->at) {
	case H1CHUNK_START:
	case H1CHUNK_SIZE:
		return on_size(c, ch);
	case H1CHUNK_EXTENSION:
		if (ch == '\r')
			c->at = H1CHUNK_SIZE_LF;
		else if (ch == '\n')
			return line_over(c) ? H1CHUNK_LAST : H1CHUNK_MORE;
		return H1CHUNK_MORE;
	case H1CHUNK_SIZE_LF:
		if (ch != '\n')
			return H1CHUNK_BAD;
		return line_over(c) ? H1CHUNK_LAST : H1CHUNK_MORE;
	case H1CHUNK_DATA_END:
		c->at = ch == '\r' ? H1CHUNK_DATA_LF : H1CHUNK_START;
		return ch == '\r' || ch == '\n' ? H1CHUNK_MORE : H1CHUNK_BAD;
	case H1CHUNK_DATA_LF:
		c->at = H1CHUNK_START;
		return ch == '\n' ? H1CHUNK_MORE : H1CHUNK_BAD;
	case H1CHUNK_DATA:
		break;
	}
	return H1CHUNK_BAD;
}

enum h1chunk_step h1chunk__next(struct h1chunk *c, struct span *in, struct span *body)
{
	while (in->n) {
		enum h1chunk_step step;

		if (c->at == H1CHUNK_DATA) {
			size_t n = c->left < in->n ? (size_t)c->left : in->n;

			*body = span_of(in->p, n);
			*in = span_skip(*in, n);
			h1chunk__gap(c, n);
			return H1CHUNK_BODY;
		}
		step = on_framing(c, in->p[0]);
		*in = span_skip(*in, 1);
		if (step != H1CHUNK_MORE)
			return step;
	}
	return H1CHUNK_MORE;
}

#define SIZE_DIGITS_MAX 8 /* of a size that is believed without more evidence */
#define SIZE_LINE_MAX 64

/* A size line at the front of *in, with CR LF as all but the oddest senders write it: cut off. */
static bool cut_size_line(struct span *in, uint64_t *size)
{
	const char *lf = memchr(in->p, '\n', in->n < SIZE_LINE_MAX ? in->n : SIZE_LINE_MAX);
	size_t n = 0;

	*size = 0;
	while (n < in->n && hex(in->p[n]) >= 0)
		*size = *size * 16 + (uint64_t)hex(in->p[n++]);
	if (!lf || !n || n > SIZE_DIGITS_MAX || lf == in->p || lf[-1] != '\r')
		return false;
	if (in->p[n] != '\r' && in->p[n] != ';' && in->p[n] != ' ')
		return false;
	*in = span_skip(*in, (size_t)(lf - in->p) + 1);
	return true;
}

bool h1chunk_looks(struct span in)
{
	uint64_t size;

	if (!in.n)
		return false;
	while (in.n) {
		if (!cut_size_line(&in, &size))
			return false;
		if (!size || in.n < size + 2)
			return true;
		in = span_skip(in, (size_t)size);
		if (in.p[0] != '\r' || in.p[1] != '\n')
			return false;
		in = span_skip(in, 2);
	}
	return true;
}

uint64_t h1chunk__gap(struct h1chunk *c, uint64_t n)
{
	if (c->at != H1CHUNK_DATA)
		return 0;
	if (n > c->left)
		n = c->left;
	c->left -= n;
	if (!c->left)
		c->at = H1CHUNK_DATA_END;
	return n;
}
