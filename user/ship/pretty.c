#include "ship/pretty.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/clock.h"
#include "ship/cell.h"

#define VERB_COLUMNS 7

struct layout {
	unsigned time, path, user; /* columns; user 0: not shown */
	bool latencies;		   /* Kong's and the upstream's */
};

static struct layout layout_of(unsigned width)
{
	struct layout l = {.time = width < 100 ? 8 : 12, .latencies = width >= 80};
	unsigned rest, fixed;

	if (width < PRETTY_MIN_WIDTH)
		width = PRETTY_MIN_WIDTH;
	/* Each column but the first brings a space: verb, status, total, marks. */
	fixed = l.time + (1 + VERB_COLUMNS) + (1 + 3) + (1 + 6) + (1 + 2);
	if (width < 60) {
		l.path = width - fixed - 1;
		return l;
	}
	fixed += 1 + 5;
	if (l.latencies)
		fixed += (1 + 6) + (1 + 6);
	rest = width - fixed - 2;
	l.user = rest * 3 / 8 < 32 ? rest * 3 / 8 : 32;
	l.path = rest - l.user;
	return l;
}

void pretty_size(char out[PRETTY_NUMBER_LEN], uint64_t bytes)
{
	static const char unit[] = "BKMGTPE";
	uint64_t tenths = 0;
	unsigned u = 0;

	for (; bytes >= 1000 && u < 6; u++) {
		tenths = bytes % 1024 * 10 / 1024;
		bytes /= 1024;
	}
	if (u && bytes < 10)
		snprintf(out, PRETTY_NUMBER_LEN, "%" PRIu64 ".%" PRIu64 "%c", bytes, tenths, unit[u]);
	else
		snprintf(out, PRETTY_NUMBER_LEN, "%" PRIu64 "%c", bytes, unit[u]);
}

void pretty_duration(char out[PRETTY_NUMBER_LEN], uint64_t ns)
{
	uint64_t ms = ns / 1000000, s = ms / 1000;

	if (ms < 10)
		snprintf(out, PRETTY_NUMBER_LEN, "%" PRIu64 ".%" PRIu64 "ms", ms, ns / 100000 % 10);
	else if (s < 1)
		snprintf(out, PRETTY_NUMBER_LEN, "%" PRIu64 "ms", ms);
	else if (s < 100)
		snprintf(out, PRETTY_NUMBER_LEN, "%" PRIu64 ".%" PRIu64 "s", s, ms / 100 % 10);
	else if (s < 6000)
		snprintf(out, PRETTY_NUMBER_LEN, "%" PRIu64 "m%02" PRIu64 "s", s / 60, s % 60);
	else if (s < 100000 * 3600ull)
		snprintf(out, PRETTY_NUMBER_LEN, "%" PRIu64 "h", s / 3600);
	else
		snprintf(out, PRETTY_NUMBER_LEN, "%" PRIu64 "d", s / 86400 < 99999 ? s / 86400 : 99999);
}

static const char *status_colour(int status)
{
	return status >= 500 ? "\x1b[31m" : status >= 400 ? "\x1b[33m" : status >= 300 ? "\x1b[36m" : "\x1b[32m";
}

/* Errors stick: the whole line is taken back at its end. */
struct line {
	struct buf *out;
	int err;
};

static void put(struct line *l, struct span text, unsigned width)
{
	if (!l->err)
		l->err = cell_put(l->out, text, width);
}

static void put_text(struct line *l, const char *text)
{
	if (!l->err)
		l->err = buf__append_str(l->out, text);
}

/* A space and the text at the right edge of its column. */
static void put_right(struct line *l, const char *text, unsigned width)
{
	if (!l->err)
		l->err = buf__printf(l->out, " %*s", (int)width, text);
}

static int end_line(struct line *l, size_t mark)
{
	if (!l->err) {
		while (l->out->n > mark && l->out->p[l->out->n - 1] == ' ')
			l->out->n--;
		l->err = buf__append_char(l->out, '\n');
	}
	if (l->err)
		l->out->n = mark;
	return l->err;
}

int pretty_header(struct buf *out, unsigned width)
{
	struct layout lay = layout_of(width);
	struct line l = {out, 0};
	size_t mark = out->n;

	put(&l, SPAN_LIT("TIME"), lay.time);
	put_text(&l, " ");
	put(&l, SPAN_LIT("METHOD"), VERB_COLUMNS);
	put_text(&l, " ");
	put(&l, SPAN_LIT("ST"), 3);
	put_text(&l, " ");
	put(&l, SPAN_LIT("PATH"), lay.path);
	if (lay.user) {
		put_text(&l, " ");
		put(&l, SPAN_LIT("USER"), lay.user);
		put_right(&l, "SIZE", 5);
	}
	put_right(&l, "TOTAL", 6);
	if (lay.latencies) {
		put_right(&l, "KONG", 6);
		put_right(&l, "UPSTR", 6);
	}
	return end_line(&l, mark);
}

static void put_time(struct line *l, const struct event *e, unsigned width)
{
	char when[CLOCK_ISO_LEN + 1];

	clock_iso(e->wall_ns, when);
	put(l, span_of(when + 11, width), width);
	put_text(l, " ");
}

static void put_status(struct line *l, int status, bool colour)
{
	char text[PRETTY_NUMBER_LEN];

	snprintf(text, sizeof(text), "%3d", status % 1000);
	put_text(l, " ");
	if (colour && status)
		put_text(l, status_colour(status));
	put_text(l, status ? text : "  -");
	if (colour && status)
		put_text(l, "\x1b[0m");
	put_text(l, " ");
}

/* Kong's own figures are whole milliseconds. */
static void put_ms(struct line *l, int64_t ms)
{
	char text[PRETTY_NUMBER_LEN];

	if (ms < 0 || ms > INT64_MAX / 1000000)
		snprintf(text, sizeof(text), "-");
	else if (ms < 10)
		snprintf(text, sizeof(text), "%dms", (int)ms);
	else
		pretty_duration(text, (uint64_t)ms * 1000000);
	put_right(l, text, 6);
}

int pretty_line(struct buf *out, const struct event *e, bool colour, unsigned width)
{
	struct layout lay = layout_of(width);
	struct line l = {out, 0};
	char text[PRETTY_NUMBER_LEN];
	size_t mark = out->n;

	put_time(&l, e, lay.time);
	put(&l, e->verb, VERB_COLUMNS);
	put_status(&l, e->status, colour);
	put(&l, e->path, lay.path);
	if (lay.user) {
		put_text(&l, " ");
		put(&l, e->user.n ? e->user : SPAN_LIT("-"), lay.user);
		pretty_size(text, e->response_bytes);
		put_right(&l, text, 5);
	}
	pretty_duration(text, e->total_ns);
	put_right(&l, text, 6);
	if (lay.latencies) {
		put_ms(&l, e->kong_ms);
		put_ms(&l, e->upstream_ms);
	}
	put_text(&l, " ");
	if (e->truncated)
		put_text(&l, "T");
	if (e->incomplete)
		put_text(&l, "I");
	return end_line(&l, mark);
}
