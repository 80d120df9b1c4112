/* Lines for a terminal and the filter: no byte of the wire drives the terminal, and the line keeps within its width. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "moesif/utf8.h"
#include "ship/cell.h"
#include "ship/filter.h"
#include "ship/pretty.h"

static void check(bool good)
{
	if (!good)
		abort();
}

static struct span take(struct span *s)
{
	const char *end = s->n ? memchr(s->p, '\0', s->n) : NULL;
	struct span part = span_of(s->p, end ? (size_t)(end - s->p) : s->n);

	*s = span_skip(*s, part.n + 1);
	return part;
}

static void check_line(struct span line, unsigned width)
{
	unsigned columns = 0;

	check(line.n && line.p[line.n - 1] == '\n');
	line.n--;
	while (line.n) {
		const unsigned char *p = (const unsigned char *)line.p;
		size_t n = utf8_char(p, line.n);
		uint32_t c = n == 1 ? p[0] : 0;

		check(n > 0);
		if (n > 1) {
			c = p[0] & (n == 2 ? 0x1f : n == 3 ? 0x0f : 0x07);
			for (size_t i = 1; i < n; i++)
				c = c << 6 | (p[i] & 0x3f);
		}
		check(cell_width(c) >= 0);
		columns += (unsigned)cell_width(c);
		line = span_skip(line, n);
	}
	check(columns <= width);
}

static void try_filter(struct span text, const struct event *e)
{
	char error[FILTER_ERROR_LEN] = "", *copy = malloc(text.n + 1);
	struct filter *f;

	if (text.n)
		memcpy(copy, text.p, text.n);
	copy[text.n] = '\0';
	f = filter__new(copy, error);
	if (f)
		filter__pass(f, e);
	else
		check(error[0]);
	filter__free(f);
	free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span rest = span_of(data, size);
	unsigned width = PRETTY_MIN_WIDTH;
	struct event e = {.kong_ms = -1};
	struct span filter;
	struct buf b;

	if (size < 20)
		return 0;
	width += data[0];
	memcpy(&e.total_ns, data + 1, 8);
	memcpy(&e.upstream_ms, data + 9, 8);
	e.wall_ns = e.total_ns;
	e.response_bytes = (uint64_t)e.upstream_ms;
	e.status = (int)(data[17] << 4);
	rest = span_skip(rest, 18);
	filter = take(&rest);
	e.verb = take(&rest);
	e.user = take(&rest);
	e.path = rest;
	buf__init(&b, 1 << 20);
	check(pretty_line(&b, &e, false, width) == 0);
	check_line(buf_span(&b), width);
	buf__free(&b);
	try_filter(filter, &e);
	return 0;
}
