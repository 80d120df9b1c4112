#include "ship/cell.h"

#include "moesif/utf8.h"

struct range {
	uint32_t from, to;
};

/* C1 controls; format characters: soft hyphen, Arabic letter mark, zero-width and directional ones, tags. */
static const struct range hidden[] = {
	{0x00, 0x1f},
	{0x7f, 0x9f},
	{0xad, 0xad},
	{0x61c, 0x61c},
	{0x180b, 0x180f},
	{0x200b, 0x200f},
	{0x2028, 0x202e},
	{0x2060, 0x206f},
	{0xfeff, 0xfeff},
	{0xfff0, 0xfffb},
	{0xe0000, 0xe0fff},
};

static const struct range combining[] = {
	{0x300, 0x36f},
	{0x483, 0x489},
	{0x591, 0x5bd},
	{0x610, 0x61a},
	{0x64b, 0x65f},
	{0x6d6, 0x6dc},
	{0x93c, 0x93c},
	{0x941, 0x948},
	{0x94d, 0x94d},
	{0xe31, 0xe31},
	{0xe34, 0xe3a},
	{0xe47, 0xe4e},
	{0x1ab0, 0x1aff},
	{0x1dc0, 0x1dff},
	{0x20d0, 0x20ff},
	{0xfe00, 0xfe0f},
	{0xfe20, 0xfe2f},
};

static const struct range wide[] = {
	{0x1100, 0x115f},
	{0x2e80, 0x303e},
	{0x3041, 0xa4cf},
	{0xac00, 0xd7a3},
	{0xf900, 0xfaff},
	{0xfe30, 0xfe6f},
	{0xff01, 0xff60},
	{0xffe0, 0xffe6},
	{0x1f300, 0x1f64f},
	{0x1f680, 0x1f6ff},
	{0x1f900, 0x1f9ff},
	{0x20000, 0x3fffd},
};

static bool in(const struct range *r, size_t n, uint32_t c)
{
	for (size_t i = 0; i < n; i++)
		if (c >= r[i].from && c <= r[i].to)
			return true;
	return false;
}

#define IN(table, c) in(table, sizeof(table) / sizeof((table)[0]), c)

int cell_width(uint32_t c)
{
	if (c >= 0x20 && c < 0x7f)
		return 1;
	if (IN(hidden, c))
		return -1;
	if (IN(combining, c))
		return 0;
	return IN(wide, c) ? 2 : 1;
}

static uint32_t decode(const unsigned char *p, size_t n)
{
	static const unsigned char first[] = {0, 0x7f, 0x1f, 0x0f, 0x07};
	uint32_t c = p[0] & first[n];

	for (size_t i = 1; i < n; i++)
		c = c << 6 | (p[i] & 0x3f);
	return c;
}

/* The next thing to show: what is taken from the text, what stands for it, and its columns. */
static size_t next(struct span text, struct span *shown, int *columns)
{
	const unsigned char *p = (const unsigned char *)text.p;
	size_t n = utf8_char(p, text.n);

	*columns = n ? cell_width(decode(p, n)) : -1;
	*shown = span_of(text.p, n);
	if (*columns < 0) {
		*shown = SPAN_LIT("?");
		*columns = 1;
	}
	return n ? n : 1;
}

/* How much of the text fits, with one column kept for the mark of a cut unless all of it fits. */
static size_t fitting(struct span text, unsigned width)
{
	size_t at = 0, last = 0;
	unsigned used = 0;

	while (at < text.n) {
		struct span shown;
		int columns;
		size_t n = next(span_skip(text, at), &shown, &columns);

		if (used + (unsigned)columns > width)
			return last;
		at += n;
		used += (unsigned)columns;
		if (used < width)
			last = at;
	}
	return at;
}

int cell_put(struct buf *out, struct span text, unsigned width)
{
	size_t end = fitting(text, width), at = 0;
	unsigned used = 0;
	bool marked = true; /* one mark on each character, none without one */
	int err = 0;

	while (at < end && !err) {
		struct span shown;
		int columns;

		at += next(span_skip(text, at), &shown, &columns);
		if (columns || !marked)
			err = buf__append_span(out, shown);
		marked = columns == 0;
		used += (unsigned)columns;
	}
	if (!err && end < text.n && used < width) {
		err = buf__append_char(out, '>');
		used++;
	}
	for (; !err && used < width; used++)
		err = buf__append_char(out, ' ');
	return err;
}
