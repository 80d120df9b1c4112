/* Values back into text: YAML, with secrets hidden. */
#include <inttypes.h>

#include "config_option.h"

/* Double quotes and the two escapes that matter: control characters were refused on the way in. */
static int format_text(struct buf *out, struct span text)
{
	int err = buf__append_char(out, '"');

	for (size_t i = 0; i < text.n && !err; i++) {
		if (text.p[i] == '"' || text.p[i] == '\\')
			err = buf__append_char(out, '\\');
		if (!err)
			err = buf__append_char(out, text.p[i]);
	}
	return err ? err : buf__append_char(out, '"');
}

/* The user name and password of a URL are shown as three stars, also where characters stand in them that would have to
 * be escaped. */
static int format_url(struct buf *out, const char *url)
{
	const char *sep = strstr(url, "://"), *host = sep ? sep + 3 : url;
	const char *at = strrchr(host, '@');
	struct buf b;
	int err;

	if (!at)
		return format_text(out, span_str(url));
	buf__init(&b, 65536);
	err = buf__append(&b, url, (size_t)(host - url));
	err = err ? err : buf__append_str(&b, "***");
	err = err ? err : buf__append_str(&b, at);
	err = err ? err : format_text(out, buf_span(&b));
	buf__free(&b);
	return err;
}

static int format_string(const struct option *o, const char *s, bool given, struct buf *out)
{
	/* null would be read back as the default. */
	if (!s)
		return buf__append_str(out, given ? "\"\"" : "null");
	if (o->flags & OPTION_SECRET)
		return buf__append_str(out, "\"***\"");
	if (o->flags & OPTION_URL)
		return format_url(out, s);
	return format_text(out, span_str(s));
}

static int format_list(const struct config *c, const struct option *o, struct buf *out)
{
	size_t n = *(size_t *)option_field(c, o->off_n);
	int err = buf__append_char(out, '[');

	for (size_t i = 0; i < n && !err; i++) {
		if (i)
			err = buf__append_str(out, ", ");
		if (err)
			break;
		if (o->type == OPT_STRINGS)
			err = format_text(out, span_str((*(char ***)option_field(c, o->off))[i]));
		else
			err = buf__printf(out, "%" PRIu32, (*(uint32_t **)option_field(c, o->off))[i]);
	}
	return err ? err : buf__append_char(out, ']');
}

int option_format(const struct config *c, const struct option *o, struct buf *out)
{
	uint64_t n;

	if (o->flags & OPTION_UNUSED)
		return buf__append_str(out, o->unused_default ? o->unused_default : "null");
	switch (o->type) {
	case OPT_BOOL:
		return buf__append_str(out, *(bool *)option_field(c, o->off) ? "true" : "false");
	case OPT_U32:
	case OPT_U64:
		n = o->type == OPT_U32 ? *(uint32_t *)option_field(c, o->off) : *(uint64_t *)option_field(c, o->off);
		return buf__printf(out, "%" PRIu64, o->scale ? n / o->scale : n);
	case OPT_STRING:
		return format_string(o, *(char **)option_field(c, o->off), c->layer[option_index(o)], out);
	case OPT_CHOICE:
		for (const struct option_choice *ch = o->choices; ch->name; ch++)
			if (ch->value == *(int *)option_field(c, o->off))
				return buf__append_str(out, ch->name);
		return buf__append_str(out, "null");
	case OPT_STRINGS:
	case OPT_NUMBERS:
		break;
	}
	return format_list(c, o, out);
}
