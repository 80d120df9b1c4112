/* What a running agent takes over from a configuration that was read again, and what it does not. */
#include <stdlib.h>

#include "config_option.h"

static bool within(const struct option *o, size_t from, size_t size)
{
	return o->off >= from && o->off - from < size;
}

/* Ring, queue, endpoints and files are open already; what an event is made of and by is not. */
static bool is_live(const struct option *o)
{
	return within(o, offsetof(struct config, moesif), sizeof(struct moesif_options)) ||
	       within(o, offsetof(struct config, filter), sizeof(struct config_filter)) ||
	       within(o, offsetof(struct config, log_level), sizeof(enum log_level)) ||
	       within(o, offsetof(struct config, debug), sizeof(bool));
}

/* Two secrets look alike when they are printed. */
static bool same_text(const struct config *a, const struct config *b, const struct option *o)
{
	const char *x = *(char **)option_field(a, o->off), *y = *(char **)option_field(b, o->off);

	return x && y ? strcmp(x, y) == 0 : x == y;
}

static bool same(const struct config *a, const struct config *b, const struct option *o)
{
	struct buf x, y;
	bool r;

	if (o->type == OPT_STRING)
		return same_text(a, b, o);
	buf__init(&x, 1 << 20);
	buf__init(&y, 1 << 20);
	r = !option_format(a, o, &x) && !option_format(b, o, &y) && span_eq(buf_span(&x), buf_span(&y));
	buf__free(&x);
	buf__free(&y);
	return r;
}

size_t config__needs_restart(const struct config *old, const struct config *fresh, char *ret, size_t size)
{
	size_t found = 0, n = 0;

	*ret = '\0';
	for (size_t i = 0; i < option_count; i++) {
		const struct option *o = &option_table[i];

		if (o->flags & OPTION_UNUSED || is_live(o) || same(old, fresh, o))
			continue;
		n += (size_t)snprintf(ret + n, size - n, "%s%s", found ? ", " : "", o->name);
		if (n >= size)
			n = size - 1;
		found++;
	}
	return found;
}

/* The old options go to `fresh`, and are freed with it: the caller lets nobody borrow them any more. */
void config__take_live(struct config *c, struct config *fresh)
{
	struct moesif_options moesif = c->moesif;
	struct config_filter filter = c->filter;

	c->moesif = fresh->moesif;
	c->filter = fresh->filter;
	fresh->moesif = moesif;
	fresh->filter = filter;
	c->wire.request_body = fresh->wire.request_body;
	c->wire.response_body = fresh->wire.response_body;
	/* Either borrows from its own moesif options. */
	c->wire.exclude_types = config_exclude_types(c);
	fresh->wire.exclude_types = config_exclude_types(fresh);
	c->log_level = fresh->log_level;
	c->debug = fresh->debug;
}
