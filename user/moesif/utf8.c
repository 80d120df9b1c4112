#include "moesif/utf8.h"

static bool tail(unsigned char c)
{
	return (c & 0xc0) == 0x80;
}

size_t utf8_char(const unsigned char *p, size_t n)
{
	if (n == 0)
		return 0;
	if (p[0] < 0x80)
		return 1;
	if (p[0] < 0xc2)
		return 0;
	if (p[0] < 0xe0)
		return n >= 2 && tail(p[1]) ? 2 : 0;
	if (p[0] < 0xf0) {
		if (n < 3 || !tail(p[1]) || !tail(p[2]))
			return 0;
		if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f))
			return 0;
		return 3;
	}
	if (p[0] > 0xf4 || n < 4 || !tail(p[1]) || !tail(p[2]) || !tail(p[3]))
		return 0;
	if ((p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] > 0x8f))
		return 0;
	return 4;
}

bool utf8_valid(struct span s)
{
	const uint64_t beyond_ascii = ~0ULL / 255 * 128;
	size_t i = 0;

	while (i < s.n) {
		size_t n;

		if (s.n - i >= 8 && !(span_word(s.p + i) & beyond_ascii)) {
			i += 8;
			continue;
		}
		n = utf8_char((const unsigned char *)s.p + i, s.n - i);
		if (!n)
			return false;
		i += n;
	}
	return true;
}

size_t utf8_encode(uint32_t c, char out[4])
{
	if (c < 0x80) {
		out[0] = (char)c;
		return 1;
	}
	if (c < 0x800) {
		out[0] = (char)(0xc0 | c >> 6);
		out[1] = (char)(0x80 | (c & 0x3f));
		return 2;
	}
	if (c < 0x10000) {
		out[0] = (char)(0xe0 | c >> 12);
		out[1] = (char)(0x80 | (c >> 6 & 0x3f));
		out[2] = (char)(0x80 | (c & 0x3f));
		return 3;
	}
	out[0] = (char)(0xf0 | c >> 18);
	out[1] = (char)(0x80 | (c >> 12 & 0x3f));
	out[2] = (char)(0x80 | (c >> 6 & 0x3f));
	out[3] = (char)(0x80 | (c & 0x3f));
	return 4;
}

int utf8_append_text(struct buf *out, struct span s)
{
	size_t mark = out->n;

	if (utf8_valid(s))
		return buf__append_span(out, s);
	for (size_t i = 0; i < s.n; i++) {
		char c[4];
		int r = buf__append(out, c, utf8_encode((unsigned char)s.p[i], c));

		if (r < 0) {
			out->n = mark;
			return r;
		}
	}
	return 0;
}
