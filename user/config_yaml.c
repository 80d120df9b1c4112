/* A map of options, as it stands in a configuration file and in the plugin's `config:`. */
#include <errno.h>
#include <stdlib.h>

#include "config_map.h"

#define FILE_MAX_BYTES (1u << 20)
#define ITEMS_MAX 4096

static void fill_value(const struct document *d, int node, struct value *v)
{
	*v = (struct value){
		.kind = document__kind(d, node), .text = document__text(d, node), .line = document__line(d, node)};
}

static int set_list_node(struct config *c, const struct option *o, struct option_source *src, int node)
{
	size_t n = document__count(src->doc, node);
	struct value list, *items;
	int err;

	fill_value(src->doc, node, &list);
	if (n > ITEMS_MAX) {
		report__error(
			src->report, "%s:%u: %s: more than %d entries", src->place, list.line, o->name, ITEMS_MAX);
		return -EINVAL;
	}
	items = calloc(n ? n : 1, sizeof(*items));
	if (!items) {
		report__error(src->report, "%s: out of memory", src->place);
		return -ENOMEM;
	}
	for (size_t i = 0; i < n; i++)
		fill_value(src->doc, document__item(src->doc, node, i), &items[i]);
	list.kind = VALUE_LIST;
	list.items = items;
	list.n = n;
	err = option_set(c, o, &list, src->layer, src->place, src->report);
	free(items);
	return err;
}

static int set_node(struct config *c, const struct option *o, struct option_source *src, int node)
{
	struct value v;

	fill_value(src->doc, node, &v);
	/* Lua writes an empty list as {}. */
	if (v.kind == VALUE_MAP && document__count(src->doc, node) == 0 &&
		(o->type == OPT_STRINGS || o->type == OPT_NUMBERS))
		v.kind = VALUE_LIST;
	if (v.kind == VALUE_LIST && (o->type == OPT_STRINGS || o->type == OPT_NUMBERS))
		return set_list_node(c, o, src, node);
	/* Only Kong can look into its vaults, and only decK into its environment. */
	if (src->layer == LAYER_KONG &&
		(span_starts(v.text, SPAN_LIT("{vault://")) || span_starts(v.text, SPAN_LIT("${{")))) {
		log_warn("config", "%s:%u: %s is a reference that only Kong can resolve: set it for kongtap itself",
			src->place, v.line, o->name);
		return 0;
	}
	return option_set(c, o, &v, src->layer, src->place, src->report);
}

static void unknown_key(const struct option_source *src, struct span key, unsigned line, const struct option *o)
{
	const struct option *guess = o ? NULL : option_guess(key);
	int n = key.n > 60 ? 60 : (int)key.n;

	if (o && (o->flags & (OPTION_CLI | OPTION_HIDDEN)))
		report__error(
			src->report, "%s:%u: %s can only be given on the command line", src->place, line, o->name);
	else if (o)
		report__error(src->report, "%s:%u: %s is no option of the plugin: put it into kongtap's own file",
			src->place, line, o->name);
	else if (guess)
		report__error(src->report, "%s:%u: unknown option \"%.*s\", did you mean \"%s\"?", src->place, line, n,
			key.p, guess->name);
	else
		report__error(src->report, "%s:%u: unknown option \"%.*s\"", src->place, line, n, key.p);
}

static bool allowed(const struct option *o, const struct option_source *src)
{
	if (src->layer == LAYER_KONG)
		return o->flags & OPTION_PLUGIN;
	return !(o->flags & OPTION_CLI);
}

int config_apply_map(struct config *c, struct option_source *src, int map)
{
	unsigned before = src->report->errors;
	bool seen[CONFIG_OPTIONS_MAX] = {false};

	for (size_t i = 0; i < document__count(src->doc, map); i++) {
		int key = document__key(src->doc, map, i);
		struct span name = document__text(src->doc, key);
		const struct option *o = memchr(name.p, '-', name.n) ? NULL : option_find(name);

		if (!o || !allowed(o, src)) {
			unknown_key(src, name, document__line(src->doc, key), o);
			continue;
		}
		if (seen[o - option_table])
			report__error(src->report, "%s:%u: %s is given twice", src->place,
				document__line(src->doc, key), o->name);
		seen[o - option_table] = true;
		set_node(c, o, src, document__value(src->doc, map, i));
	}
	return src->report->errors == before ? 0 : -EINVAL;
}

int config_parse_yaml(struct config *c, struct span text, const char *place, struct report *r)
{
	struct option_source src = {.place = place, .layer = LAYER_FILE, .report = r};
	int root, err = 0;

	src.doc = document__parse(text, place, r);
	if (!src.doc)
		return -EINVAL;
	root = document__root(src.doc);
	if (document__second(src.doc)) {
		report__error(r, "%s:%u: a second document begins here, expected one: put all options into the first",
			place, document__second(src.doc));
		err = -EINVAL;
	} else if (document__kind(src.doc, root) == VALUE_MAP) {
		err = config_apply_map(c, &src, root);
	} else if (document__kind(src.doc, root) != VALUE_NULL) {
		report__error(
			r, "%s:%u: expected a map of options (name: value)", place, document__line(src.doc, root));
		err = -EINVAL;
	}
	document__free(src.doc);
	return err;
}

static int read_reported(const char *path, size_t max, struct buf *text, unsigned *mode, struct report *r)
{
	int err = config_read_file(path, max, text, mode);

	if (err == -EFBIG)
		report__error(r, "%s: larger than %zu bytes", path, max);
	else if (err)
		report__error(r, "%s: cannot be read: %s", path, strerror(-err));
	return err ? -EINVAL : 0;
}

static void wipe_buf(struct buf *b)
{
	if (b->p)
		explicit_bzero(b->p, b->cap);
	buf__free(b);
}

static int load(struct config *c, const char *path, size_t max, struct report *r,
	int (*parse)(struct config *, struct span, const char *, struct report *))
{
	unsigned mode = 0;
	struct buf text;
	int err;

	if (read_reported(path, max, &text, &mode, r))
		return -EINVAL;
	err = parse(c, buf_span(&text), path, r);
	wipe_buf(&text);
	if (!err && parse == config_parse_yaml && (mode & 04) && c->ship.application_id)
		log_warn("config", "%s holds the application id and everybody can read it (mode %04o)", path, mode);
	return err;
}

int config_load_yaml(struct config *c, const char *path, struct report *r)
{
	return load(c, path, FILE_MAX_BYTES, r, config_parse_yaml);
}

int config_load_kong(struct config *c, const char *path, struct report *r)
{
	return load(c, path, 16 * FILE_MAX_BYTES, r, config_parse_kong);
}
