#include "config_node.h"

#include <stdlib.h>
#include <yaml.h>

struct document {
	yaml_document_t doc;
	unsigned second;
};

static void report_parser(const yaml_parser_t *p, const char *place, struct report *r)
{
	if (p->error == YAML_MEMORY_ERROR)
		report__error(r, "%s: out of memory", place);
	else
		report__error(r, "%s:%zu: not readable as YAML: %s", place, p->problem_mark.line + 1,
			p->problem ? p->problem : "damaged");
}

/* What stands behind the document; false when it is no YAML. */
static bool look_behind(struct document *d, yaml_parser_t *parser)
{
	struct document next = {.second = 0};
	bool more = true;

	while (more && !d->second) {
		if (!yaml_parser_load(parser, &next.doc))
			return false;
		more = document__root(&next) != 0;
		if (document__kind(&next, document__root(&next)) != VALUE_NULL)
			d->second = document__line(&next, document__root(&next));
		yaml_document_delete(&next.doc);
	}
	return true;
}

struct document *document__parse(struct span text, const char *place, struct report *r)
{
	struct document *d = calloc(1, sizeof(*d));
	yaml_parser_t parser;
	int good = 0;

	if (!d || !yaml_parser_initialize(&parser)) {
		report__error(r, "%s: out of memory", place);
		free(d);
		return NULL;
	}
	yaml_parser_set_input_string(&parser, (const unsigned char *)(text.p ? text.p : ""), text.n);
	good = yaml_parser_load(&parser, &d->doc);
	if (good && document__root(d) && !look_behind(d, &parser)) {
		yaml_document_delete(&d->doc);
		good = 0;
	}
	if (!good) {
		report_parser(&parser, place, r);
		free(d);
		d = NULL;
	}
	yaml_parser_delete(&parser);
	return d;
}

void document__free(struct document *d)
{
	if (!d)
		return;
	yaml_document_delete(&d->doc);
	free(d);
}

static yaml_node_t *node_of(const struct document *d, int node)
{
	return node > 0 ? yaml_document_get_node((yaml_document_t *)&d->doc, node) : NULL;
}

int document__root(const struct document *d)
{
	return yaml_document_get_root_node((yaml_document_t *)&d->doc) ? 1 : 0;
}

unsigned document__second(const struct document *d)
{
	return d->second;
}

static bool one_of(struct span t, const char *const *words)
{
	for (; *words; words++)
		if (span_ieq(t, span_str(*words)))
			return true;
	return false;
}

static bool looks_like_number(struct span t)
{
	bool digit = false;

	for (size_t i = 0; i < t.n; i++) {
		if (t.p[i] >= '0' && t.p[i] <= '9')
			digit = true;
		else if (!strchr("+-.eE", t.p[i]) || (!digit && (t.p[i] == 'e' || t.p[i] == 'E')))
			return false;
	}
	return digit;
}

/* What an unquoted scalar is: YAML's own rules, as far as options need them. */
static enum value_kind plain_kind(struct span t)
{
	static const char *const truth[] = {"true", "false", "yes", "no", "on", "off", NULL};
	static const char *const none[] = {"null", "~", "", NULL};

	if (one_of(t, none))
		return VALUE_NULL;
	if (one_of(t, truth))
		return VALUE_BOOL;
	return looks_like_number(t) ? VALUE_NUMBER : VALUE_STRING;
}

enum value_kind document__kind(const struct document *d, int node)
{
	const yaml_node_t *n = node_of(d, node);

	if (!n)
		return VALUE_NULL;
	switch (n->type) {
	case YAML_SEQUENCE_NODE:
		return VALUE_LIST;
	case YAML_MAPPING_NODE:
		return VALUE_MAP;
	case YAML_SCALAR_NODE:
		if (n->data.scalar.style != YAML_PLAIN_SCALAR_STYLE)
			return VALUE_STRING;
		return plain_kind(document__text(d, node));
	case YAML_NO_NODE:
		break;
	}
	return VALUE_NULL;
}

struct span document__text(const struct document *d, int node)
{
	const yaml_node_t *n = node_of(d, node);

	if (!n || n->type != YAML_SCALAR_NODE)
		return (struct span){"", 0};
	return span_of(n->data.scalar.value, n->data.scalar.length);
}

unsigned document__line(const struct document *d, int node)
{
	const yaml_node_t *n = node_of(d, node);

	return n ? (unsigned)n->start_mark.line + 1 : 0;
}

size_t document__count(const struct document *d, int node)
{
	const yaml_node_t *n = node_of(d, node);

	if (n && n->type == YAML_SEQUENCE_NODE)
		return (size_t)(n->data.sequence.items.top - n->data.sequence.items.start);
	if (n && n->type == YAML_MAPPING_NODE)
		return (size_t)(n->data.mapping.pairs.top - n->data.mapping.pairs.start);
	return 0;
}

int document__item(const struct document *d, int list, size_t i)
{
	const yaml_node_t *n = node_of(d, list);

	if (!n || n->type != YAML_SEQUENCE_NODE || i >= document__count(d, list))
		return 0;
	return n->data.sequence.items.start[i];
}

static const yaml_node_pair_t *pair_at(const struct document *d, int map, size_t i)
{
	const yaml_node_t *n = node_of(d, map);

	if (!n || n->type != YAML_MAPPING_NODE || i >= document__count(d, map))
		return NULL;
	return &n->data.mapping.pairs.start[i];
}

int document__key(const struct document *d, int map, size_t i)
{
	const yaml_node_pair_t *pair = pair_at(d, map, i);

	return pair ? pair->key : 0;
}

int document__value(const struct document *d, int map, size_t i)
{
	const yaml_node_pair_t *pair = pair_at(d, map, i);

	return pair ? pair->value : 0;
}

int document__get(const struct document *d, int map, const char *key)
{
	size_t n = document__kind(d, map) == VALUE_MAP ? document__count(d, map) : 0;

	for (size_t i = 0; i < n; i++)
		if (span_eq(document__text(d, document__key(d, map, i)), span_str(key)))
			return document__value(d, map, i);
	return 0;
}
