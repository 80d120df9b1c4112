#include "ship/pretty.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/clock.h"

/* Columns other than path and user: "HH:MM:SS.mmm VERB___ 200  …  1.2K   12.3ms   10ms TI". */
#define FIXED_COLUMNS 56

static void put_cell(struct buf *out, struct span text, unsigned width)
{
	unsigned at = 0;

	for (size_t i = 0; i < text.n && at < width; i++) {
		unsigned char c = (unsigned char)text.p[i];

		/* UTF-8 continuation bytes take no column. The rest of the C0 and C1 controls would drive a terminal. */
		if (c < 0x20 || c == 0x7f)
			c = '?';
		if (at + 1 == width && i + 1 < text.n && (c & 0xc0) != 0x80)
			c = '>';
		if ((c & 0xc0) != 0x80)
			at++;
		buf__append_char(out, (char)c);
	}
	for (; at < width; at++)
		buf__append_char(out, ' ');
}

static void size_text(char *out, size_t size, uint64_t n)
{
	static const char unit[] = "BKMGT";
	double v = (double)n;
	unsigned u = 0;

	for (; v >= 1000 && u < 4; u++)
		v /= 1024;
	snprintf(out, size, u && v < 10 ? "%.1f%c" : "%.0f%c", v, unit[u]);
}

static const char *status_colour(int status)
{
	return status >= 500 ? "\x1b[31m" : status >= 400 ? "\x1b[33m" : status >= 300 ? "\x1b[36m" : "\x1b[32m";
}

int pretty_header(struct buf *out, unsigned width)
{
	unsigned rest = width > FIXED_COLUMNS + 24 ? width - FIXED_COLUMNS : 24;
	unsigned user = rest / 3 > 24 ? 24 : rest / 3;

	return buf__printf(out, "%-12s %-7s %-3s %-*s %-*s %6s %9s %8s\n", "TIME", "METHOD", "ST", (int)(rest - user), "PATH",
		(int)user, "USER", "SIZE", "TOTAL", "UPSTR");
}

int pretty_line(struct buf *out, const struct event *e, bool colour, unsigned width)
{
	unsigned rest = width > FIXED_COLUMNS + 24 ? width - FIXED_COLUMNS : 24;
	unsigned user = rest / 3 > 24 ? 24 : rest / 3;
	char when[CLOCK_ISO_LEN + 1], size[16], upstream[32] = "-";
	int err;

	err = buf__reserve(out, 512 + 4 * (size_t)rest);
	if (err)
		return err;
	clock_iso(e->wall_ns, when);
	buf__append(out, when + 11, 12);
	buf__append_char(out, ' ');
	put_cell(out, e->verb, 7);
	buf__printf(out, " %s%3d%s ", colour ? status_colour(e->status) : "", e->status, colour ? "\x1b[0m" : "");
	put_cell(out, e->path, rest - user);
	buf__append_char(out, ' ');
	put_cell(out, e->user.n ? e->user : SPAN_LIT("-"), user);
	size_text(size, sizeof(size), e->response_bytes);
	if (e->upstream_ms >= 0)
		snprintf(upstream, sizeof(upstream), "%" PRId64 "ms", e->upstream_ms);
	buf__printf(out, " %6s %7.1fms %8s%s%s\n", size, (double)e->total_ns / 1e6, upstream, e->truncated ? " T" : "",
		e->incomplete ? " I" : "");
	return 0;
}
