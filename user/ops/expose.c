#include "ops/expose.h"

#include <inttypes.h>
#include <stdio.h>

#include "moesif/utf8.h"

static void put(struct expose *x, const char *text)
{
	if (!x->err)
		x->err = buf__append_str(x->b, text);
}

static bool ends_with(struct span s, const char *suffix)
{
	struct span end = span_str(suffix);

	return s.n >= end.n && span_eq(span_skip(s, s.n - end.n), end);
}

/* The unit of a family is the last part of its name, in both formats; only OpenMetrics says so. */
static void put_unit(struct expose *x, struct span family)
{
	static const char *const units[] = {"seconds", "bytes"};

	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]) && !x->err; i++)
		if (ends_with(family, units[i]))
			x->err = buf__printf(x->b, "# UNIT %.*s %s\n", (int)family.n, family.p, units[i]);
}

void expose__family(struct expose *x, const char *name, enum metric_type type, const char *help)
{
	static const char *const types[] = {"counter", "gauge", "histogram", "summary"};
	struct span family = span_str(name);

	/* OpenMetrics names a counter's family without the suffix of its sample. */
	if (x->open_metrics && type == METRIC_COUNTER && ends_with(family, "_total"))
		family.n -= strlen("_total");
	if (!x->err)
		x->err = buf__printf(x->b, "# HELP %.*s %s\n# TYPE %.*s %s\n", (int)family.n, family.p, help,
			(int)family.n, family.p, types[type]);
	if (x->open_metrics)
		put_unit(x, family);
}

static void put_name(struct expose *x, const char *name, const char *labels)
{
	put(x, name);
	if (labels) {
		put(x, "{");
		put(x, labels);
		put(x, "}");
	}
	put(x, " ");
}

void expose__u64(struct expose *x, const char *name, const char *labels, uint64_t v)
{
	put_name(x, name, labels);
	if (!x->err)
		x->err = buf__printf(x->b, "%" PRIu64 "\n", v);
}

void expose__double(struct expose *x, const char *name, const char *labels, double v)
{
	put_name(x, name, labels);
	if (!x->err)
		x->err = buf__printf(x->b, "%.9g\n", v);
}

void expose__seconds(struct expose *x, const char *name, const char *labels, uint64_t ns)
{
	put_name(x, name, labels);
	if (!x->err)
		x->err = buf__printf(x->b, "%" PRIu64 ".%09" PRIu64 "\n", ns / 1000000000u, ns % 1000000000u);
}

void expose__end(struct expose *x)
{
	if (x->open_metrics)
		put(x, "# EOF\n");
}

void expose_label(char *out, size_t size, const char *name, struct span value)
{
	int start = snprintf(out, size, "%s=\"", name);
	size_t at = start > 0 && (size_t)start < size ? (size_t)start : 0;

	/* Room for a character of four bytes, the quote and the NUL. */
	while (value.n && at + 6 < size) {
		size_t n = utf8_char((const unsigned char *)value.p, value.n);
		char c = n ? value.p[0] : '?';

		if (c == '\\' || c == '"' || c == '\n') {
			out[at++] = '\\';
			out[at++] = c == '\n' ? 'n' : c;
		} else if (n > 1) {
			memcpy(out + at, value.p, n);
			at += n;
		} else {
			out[at++] = (unsigned char)c < 0x20 ? '?' : c;
		}
		value = span_skip(value, n ? n : 1);
	}
	snprintf(out + at, size - at, "\"");
}
