/* The plugin's configuration as Kong keeps it: in a declarative file (plugins at the top, of services, of their
 * routes, of consumers), or as the Admin API prints one plugin or a list of them.
 */
#include <errno.h>

#include "config_map.h"

/* Aliases can make a small file describe a large tree. */
#define VISITS_MAX 200000

struct search {
	struct option_source *src;
	unsigned visits;
	unsigned found;
	int best;      /* the plugin that is taken */
	int best_rank; /* enabled before disabled, then the wider scope */
};

static bool is_true(const struct search *s, int node)
{
	struct span t = document__text(s->src->doc, node);

	return span_ieq(t, SPAN_LIT("true")) || span_ieq(t, SPAN_LIT("yes")) || span_ieq(t, SPAN_LIT("on"));
}

static bool has_scope(const struct search *s, int plugin)
{
	static const char *const scopes[] = {"service", "route", "consumer", "consumer_group", NULL};

	for (const char *const *scope = scopes; *scope; scope++)
		if (document__kind(s->src->doc, document__get(s->src->doc, plugin, *scope)) != VALUE_NULL)
			return true;
	return false;
}

static void visit_plugin(struct search *s, int plugin, int depth)
{
	struct document *d = s->src->doc;
	int enabled = document__get(d, plugin, "enabled");
	int rank;

	if (!span_eq(document__text(d, document__get(d, plugin, "name")), SPAN_LIT("moesif")))
		return;
	s->found++;
	rank = (!enabled || is_true(s, enabled) ? 100 : 50) - depth - (has_scope(s, plugin) ? 10 : 0);
	if (rank > s->best_rank) {
		s->best = plugin;
		s->best_rank = rank;
	}
}

static void visit_plugins(struct search *s, int list, int depth)
{
	struct document *d = s->src->doc;

	if (document__kind(d, list) != VALUE_LIST)
		return;
	for (size_t i = 0; i < document__count(d, list) && s->visits++ < VISITS_MAX; i++)
		visit_plugin(s, document__item(d, list, i), depth);
}

/* A service, a route, a consumer or the file itself: its plugins, then those of what it contains. */
static void visit_entity(struct search *s, int entity, int depth)
{
	static const char *const children[] = {"services", "routes", "consumers", "consumer_groups", NULL};
	struct document *d = s->src->doc;

	visit_plugins(s, document__get(d, entity, "plugins"), depth);
	for (const char *const *child = children; *child && depth < 3; child++) {
		int list = document__get(d, entity, *child);

		if (document__kind(d, list) != VALUE_LIST)
			continue;
		for (size_t i = 0; i < document__count(d, list) && s->visits++ < VISITS_MAX; i++)
			visit_entity(s, document__item(d, list, i), depth + 1);
	}
}

static int apply_plugin(struct config *c, struct search *s)
{
	struct option_source *src = s->src;
	int config = document__get(src->doc, s->best, "config");
	unsigned line = document__line(src->doc, s->best);

	if (s->found > 1)
		log_warn("config", "%s holds %u moesif plugins: the one of line %u is used for all calls", src->place,
			s->found, line);
	if (document__kind(src->doc, config) != VALUE_MAP) {
		report__error(src->report, "%s:%u: the moesif plugin has no config: map", src->place, line);
		return -EINVAL;
	}
	return config_apply_map(c, src, config);
}

int config_parse_kong(struct config *c, struct span text, const char *place, struct report *r)
{
	struct option_source src = {.place = place, .layer = LAYER_KONG, .report = r};
	struct search s = {.src = &src};
	int err, root;

	src.doc = document__parse(text, place, r);
	if (!src.doc)
		return -EINVAL;
	root = document__root(src.doc);
	visit_plugin(&s, root, 0);
	visit_plugins(&s, document__get(src.doc, root, "data"), 0);
	visit_entity(&s, root, 0);
	if (s.visits >= VISITS_MAX) {
		report__error(r, "%s: too many entities", place);
		err = -EINVAL;
	} else if (s.best) {
		err = apply_plugin(c, &s);
	} else {
		report__error(r, "%s: no plugin named moesif in it", place);
		err = -EINVAL;
	}
	document__free(src.doc);
	return err;
}
