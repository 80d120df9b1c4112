/* Values: from text or a node of a file into the field of an option. */
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>

#include "config_option.h"
#include "moesif/settings.h"

#define LIST_MAX 4096

void report__error(struct report *r, const char *fmt, ...)
{
	char text[1024];
	va_list ap;

	r->errors++;
	if (r->errors > REPORT_MAX)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (r->to_log)
		log_err("config", "%s", text);
	else
		fprintf(stderr, "kongtap: %s\n", text);
}

static const char *unit_words(enum option_unit unit)
{
	switch (unit) {
	case UNIT_MS:
		return "a number of milliseconds";
	case UNIT_SECONDS:
		return "a number of seconds";
	case UNIT_BYTES:
		return "a number of bytes";
	case UNIT_EVENTS:
		return "a number of events";
	case UNIT_NONE:
		break;
	}
	return "a number";
}

static void choice_words(const struct option *o, char *out, size_t size)
{
	size_t n = (size_t)snprintf(out, size, "one of");

	for (const struct option_choice *ch = o->choices; ch->name && n < size; ch++)
		n += (size_t)snprintf(out + n, size - n, "%s %s", ch == o->choices ? "" : ",", ch->name);
}

void option_expects(const struct option *o, char *out, size_t size)
{
	switch (o->type) {
	case OPT_BOOL:
		snprintf(out, size, "true or false");
		break;
	case OPT_U32:
	case OPT_U64:
		snprintf(out, size, "%s%s from %" PRIu64 " to %" PRIu64, unit_words(o->unit),
			o->flags & OPTION_POW2 ? " that is a power of two," : "", o->min, o->max);
		break;
	case OPT_STRING:
		if (o->choices)
			choice_words(o, out, size);
		else
			snprintf(out, size, "%s",
				o->flags & OPTION_HEADERS  ? "header names, comma between them"
				: o->flags & OPTION_HEADER ? "a header name"
							   : "a text");
		break;
	case OPT_STRINGS:
		if (o->flags & OPTION_MEDIA)
			snprintf(out, size, "a list of type/subtype or type/*, at most %d of at most %d characters",
				MEDIA_TYPES_MAX, MEDIA_TYPE_LEN_MAX);
		else
			snprintf(out, size, "a list of %s", o->flags & OPTION_HEADER ? "header names" : "texts");
		break;
	case OPT_NUMBERS:
		snprintf(out, size, "a list of numbers from %" PRIu64 " to %" PRIu64, o->min, o->max);
		break;
	case OPT_CHOICE:
		choice_words(o, out, size);
		break;
	}
}

static const char *kind_words(enum value_kind kind)
{
	switch (kind) {
	case VALUE_NULL:
		return "nothing";
	case VALUE_BOOL:
		return "the truth value";
	case VALUE_NUMBER:
		return "the number";
	case VALUE_LIST:
		return "a list";
	case VALUE_MAP:
		return "a map";
	case VALUE_STRING:
	case VALUE_TEXT:
		break;
	}
	return "the text";
}

/* What somebody wrote, fit for one line on a terminal. */
static void quote(struct span text, char *out, size_t size)
{
	size_t n = 0;

	for (size_t i = 0; i < text.n && n + 4 < size; i++)
		out[n++] = isprint((unsigned char)text.p[i]) ? text.p[i] : '?';
	if (n < text.n && size > 3) {
		memcpy(out + (n < size - 4 ? n : size - 4), "...", 3);
		n = (n < size - 4 ? n : size - 4) + 3;
	}
	out[n] = '\0';
}

/* A secret is not quoted. What it ends with, made with echo, is what is most often wrong with it. */
static const char *secret_words(struct span text)
{
	for (size_t i = 0; i < text.n; i++)
		if (iscntrl((unsigned char)text.p[i]))
			return "a line break or another control character in it";
	return "something else";
}

static int wrong(const struct option *o, const struct value *v, const char *place, struct report *r)
{
	char expects[256], found[64] = "", at[32] = "";
	bool scalar = v->kind != VALUE_LIST && v->kind != VALUE_MAP && v->kind != VALUE_NULL;

	option_expects(o, expects, sizeof(expects));
	if (v->line)
		snprintf(at, sizeof(at), "%u: ", v->line);
	quote(v->text, found, sizeof(found));
	if (!scalar || (o->flags & OPTION_SECRET))
		report__error(r, "%s:%s%s%s: expected %s, found %s", place, v->line ? "" : " ", at, o->name, expects,
			scalar ? secret_words(v->text) : kind_words(v->kind));
	else
		report__error(r, "%s:%s%s%s: expected %s, found %s \"%s\"", place, v->line ? "" : " ", at, o->name,
			expects, kind_words(v->kind), found);
	return -EINVAL;
}

static int oom(const char *place, struct report *r)
{
	report__error(r, "%s: out of memory", place);
	return -ENOMEM;
}

static bool text_is(struct span t, const char *const *words)
{
	for (; *words; words++)
		if (span_ieq(t, span_str(*words)))
			return true;
	return false;
}

static int parse_bool(const struct value *v, bool *ret)
{
	static const char *const yes[] = {"true", "yes", "on", NULL}, *const no[] = {"false", "no", "off", NULL};
	bool text = v->kind == VALUE_TEXT;

	if (!text && v->kind != VALUE_BOOL)
		return -EINVAL;
	if (text_is(v->text, yes) || (text && span_eq(v->text, SPAN_LIT("1")))) {
		*ret = true;
		return 0;
	}
	if (text_is(v->text, no) || (text && span_eq(v->text, SPAN_LIT("0")))) {
		*ret = false;
		return 0;
	}
	return -EINVAL;
}

/* A suffix gives another unit than the option's own: 5s for 5000 ms, 16MiB for bytes. */
static bool unit_factor(enum option_unit unit, struct span suffix, uint64_t *ret)
{
	static const struct {
		enum option_unit unit;
		const char *suffix;
		uint64_t factor;
	} known[] = {
		{UNIT_MS, "ms", 1},
		{UNIT_MS, "s", 1000},
		{UNIT_MS, "m", 60000},
		{UNIT_MS, "h", 3600000},
		{UNIT_SECONDS, "s", 1},
		{UNIT_SECONDS, "m", 60},
		{UNIT_SECONDS, "h", 3600},
		{UNIT_SECONDS, "d", 86400},
		{UNIT_BYTES, "b", 1},
		{UNIT_BYTES, "kb", 1000},
		{UNIT_BYTES, "mb", 1000000},
		{UNIT_BYTES, "gb", 1000000000},
		{UNIT_BYTES, "kib", 1 << 10},
		{UNIT_BYTES, "mib", 1 << 20},
		{UNIT_BYTES, "gib", 1 << 30},
	};

	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		if (known[i].unit == unit && span_ieq(suffix, span_str(known[i].suffix))) {
			*ret = known[i].factor;
			return true;
		}
	}
	return false;
}

static int parse_number(const struct option *o, const struct value *v, uint64_t *ret)
{
	struct span t = v->text;
	uint64_t n = 0, factor = 1;
	size_t i = 0;

	if (v->kind != VALUE_TEXT && v->kind != VALUE_NUMBER && v->kind != VALUE_STRING)
		return -EINVAL;
	for (; i < t.n && t.p[i] >= '0' && t.p[i] <= '9'; i++)
		if (__builtin_mul_overflow(n, 10, &n) || __builtin_add_overflow(n, (uint64_t)(t.p[i] - '0'), &n))
			return -EINVAL;
	if (i == 0)
		return -EINVAL;
	t = span_trim(span_skip(t, i));
	/* JSON and Lua write whole numbers as 1000.0, too. */
	if (t.n > 1 && t.p[0] == '.') {
		for (t = span_skip(t, 1); t.n && t.p[0] == '0';)
			t = span_skip(t, 1);
		if (t.n)
			return -EINVAL;
	}
	if (t.n && !unit_factor(o->unit, t, &factor))
		return -EINVAL;
	/* A quoted number without a unit is a text where a number is due. */
	if (v->kind == VALUE_STRING && t.n == 0)
		return -EINVAL;
	if (__builtin_mul_overflow(n, factor, &n) || n < o->min || n > o->max)
		return -EINVAL;
	if ((o->flags & OPTION_POW2) && (n & (n - 1)))
		return -EINVAL;
	*ret = n;
	return 0;
}

static int parse_choice(const struct option *o, const struct value *v, int *ret)
{
	if (v->kind != VALUE_TEXT && v->kind != VALUE_STRING)
		return -EINVAL;
	for (const struct option_choice *ch = o->choices; ch->name; ch++) {
		if (span_ieq(v->text, span_str(ch->name))) {
			*ret = ch->value;
			return 0;
		}
	}
	return -EINVAL;
}

static bool text_ok(const struct value *v)
{
	if (v->kind != VALUE_TEXT && v->kind != VALUE_STRING)
		return false;
	for (size_t i = 0; i < v->text.n; i++)
		if ((unsigned char)v->text.p[i] < 0x20 || v->text.p[i] == 0x7f)
			return false;
	return true;
}

static void wipe(char *s)
{
	if (s)
		explicit_bzero(s, strlen(s));
	free(s);
}

/* An empty text is the same as none: that is how the plugin's form and a Kubernetes variable say "unset". */
static int set_string(const struct option *o, char **at, struct span text)
{
	char *s = NULL;

	if (text.n) {
		s = strndup(text.p, text.n);
		if (!s)
			return -ENOMEM;
	}
	if (o->flags & OPTION_SECRET)
		wipe(*at);
	else
		free(*at);
	*at = s;
	return 0;
}

/* An empty text unsets an option. */
static bool headers_ok(struct span text)
{
	unsigned count = 0;

	while (text.n) {
		const char *comma = memchr(text.p, ',', text.n);
		struct span name = span_of(text.p, comma ? (size_t)(comma - text.p) : text.n);

		text = span_skip(text, name.n + 1);
		name = span_trim(name);
		if (name.n && (!name_is_token(name) || ++count > AUTH_NAMES_MAX))
			return false;
	}
	return true;
}

/* A star is a character that a token may have (RFC 9110, 5.6.2), but no registered name has (RFC 6838, 4.2). */
static bool is_plain_token(struct span s)
{
	return name_is_token(s) && !memchr(s.p, '*', s.n);
}

static bool media_ok(struct span text)
{
	const char *slash = memchr(text.p, '/', text.n);
	struct span type = span_of(text.p, slash ? (size_t)(slash - text.p) : text.n);
	struct span subtype = span_skip(text, type.n + 1);

	return text.n <= MEDIA_TYPE_LEN_MAX && is_plain_token(type) &&
	       (span_eq(subtype, SPAN_LIT("*")) || is_plain_token(subtype));
}

static bool names_ok(const struct option *o, struct span text)
{
	if (o->flags & OPTION_HEADERS)
		return headers_ok(text);
	if (o->flags & OPTION_MEDIA)
		return media_ok(text);
	return !(o->flags & OPTION_HEADER) || !text.n || name_is_token(text);
}

static void strings_clear(char ***v, size_t *n)
{
	for (size_t i = 0; i < *n; i++)
		free((*v)[i]);
	free(*v);
	*v = NULL;
	*n = 0;
}

/* Room for one more; the arrays are short and filled once, so they grow one by one. */
static int strings_add(char ***v, size_t *n, struct span text)
{
	char **grown = reallocarray(*v, *n + 1, sizeof(char *));
	char *s = grown ? strndup(text.p ? text.p : "", text.n) : NULL;

	if (grown)
		*v = grown;
	if (!s)
		return -ENOMEM;
	(*v)[(*n)++] = s;
	return 0;
}

static int numbers_add(uint32_t **v, size_t *n, uint32_t number)
{
	uint32_t *grown = reallocarray(*v, *n + 1, sizeof(uint32_t));

	if (!grown)
		return -ENOMEM;
	*v = grown;
	(*v)[(*n)++] = number;
	return 0;
}

static int list_add(struct config *c, const struct option *o, const struct value *v)
{
	size_t *n = option_field(c, o->off_n);
	uint64_t number = 0;

	if (*n >= (o->flags & OPTION_MEDIA ? MEDIA_TYPES_MAX : LIST_MAX))
		return -EINVAL;
	if (o->type == OPT_STRINGS)
		return text_ok(v) && v->text.n && names_ok(o, v->text)
			       ? strings_add(option_field(c, o->off), n, v->text)
			       : -EINVAL;
	if (parse_number(o, v, &number))
		return -EINVAL;
	return numbers_add(option_field(c, o->off), n, (uint32_t)number);
}

/* "a, b" of the environment or a flag, one after the other. */
static int list_add_text(struct config *c, const struct option *o, struct span text, struct value *ret_item)
{
	int err = 0;

	while (!err && text.n) {
		const char *comma = memchr(text.p, ',', text.n);
		size_t n = comma ? (size_t)(comma - text.p) : text.n;

		*ret_item = (struct value){.kind = VALUE_TEXT, .text = span_trim(span_of(text.p, n))};
		if (ret_item->text.n)
			err = list_add(c, o, ret_item);
		text = span_skip(text, comma ? n + 1 : n);
	}
	return err;
}

/* On -EINVAL *ret_wrong is the element that is wrong, or v itself. */
static int set_list(struct config *c, const struct option *o, const struct value *v, bool grow, struct value *ret_wrong)
{
	int err = 0;

	if (v->kind != VALUE_TEXT && v->kind != VALUE_LIST)
		return -EINVAL;
	if (!grow && o->type == OPT_STRINGS)
		strings_clear(option_field(c, o->off), option_field(c, o->off_n));
	else if (!grow)
		*(size_t *)option_field(c, o->off_n) = 0;
	if (v->kind == VALUE_TEXT)
		return list_add_text(c, o, v->text, ret_wrong);
	for (size_t i = 0; i < v->n && !err; i++) {
		*ret_wrong = v->items[i];
		err = list_add(c, o, &v->items[i]);
	}
	return err;
}

static int set_number(struct config *c, const struct option *o, const struct value *v)
{
	uint64_t n = 0;

	if (parse_number(o, v, &n))
		return -EINVAL;
	if (o->flags & OPTION_UNUSED)
		return 0;
	if (o->scale)
		n *= o->scale;
	if (o->type == OPT_U32)
		*(uint32_t *)option_field(c, o->off) = (uint32_t)n;
	else
		*(uint64_t *)option_field(c, o->off) = n;
	return 0;
}

static void note_unused(const struct option *o, const struct value *v, struct report *r)
{
	size_t have = strlen(r->unused);

	if (!(o->flags & OPTION_UNUSED) || (o->unused_default && span_eq(v->text, span_str(o->unused_default))))
		return;
	snprintf(r->unused + have, sizeof(r->unused) - have, "%s%s", have ? ", " : "", o->name);
}

static int set_value(
	struct config *c, const struct option *o, const struct value *v, bool grow, struct value *ret_wrong)
{
	int unused;

	*ret_wrong = *v;
	switch (o->type) {
	case OPT_BOOL:
		return parse_bool(v, option_field(c, o->off));
	case OPT_U32:
	case OPT_U64:
		return set_number(c, o, v);
	case OPT_CHOICE:
		return parse_choice(o, v, option_field(c, o->off));
	case OPT_STRING:
		if (!text_ok(v) || !names_ok(o, v->text) || (o->choices && v->text.n && parse_choice(o, v, &unused)))
			return -EINVAL;
		return set_string(o, option_field(c, o->off), v->text);
	case OPT_STRINGS:
	case OPT_NUMBERS:
		break;
	}
	return set_list(c, o, v, grow, ret_wrong);
}

int option_set(struct config *c, const struct option *o, const struct value *v, enum config_layer layer,
	const char *place, struct report *r)
{
	unsigned char *from = &c->layer[option_index(o)];
	struct value bad;
	int err;

	if (v->kind == VALUE_NULL)
		return 0;
	err = set_value(c, o, v, layer == LAYER_FLAG && *from == LAYER_FLAG, &bad);
	if (err == -ENOMEM)
		return oom(place, r);
	if (err)
		return wrong(o, &bad, place, r);
	*from = (unsigned char)layer;
	note_unused(o, v, r);
	return 0;
}
