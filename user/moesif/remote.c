#include "moesif/remote.h"

#include <errno.h>
#include <stdlib.h>

#include <jansson.h>

#include "base/hmap.h"
#include "base/log.h"
#include "moesif/regex.h"

#define LOG "moesif"

struct id_rate {
	struct hnode node;
	uint8_t rate;
	uint32_t n;
	char id[];
};

struct condition {
	enum remote_path path;
	struct regex *regex;
};

struct rule {
	struct condition *conditions;
	uint32_t count;
	uint8_t rate;
};

struct remote {
	uint8_t sample_rate;
	struct hmap users, companies;
	struct rule *rules;
	uint32_t rule_count;
	unsigned left_out; /* entries that made no sense */
};

/* A whole number of percent, or -1. A fraction is cut off. */
static int percent(const json_t *v)
{
	double d;

	if (!json_is_number(v))
		return -1;
	d = json_number_value(v);
	return d >= 0 && d <= 100 ? (int)d : -1;
}

static int id_rate(const struct hmap *m, struct span id)
{
	if (!id.n || !m->count)
		return -1;
	for (struct hnode *n = hmap__first(m, hash_bytes(id.p, id.n)); n; n = hmap__next_same(n)) {
		struct id_rate *e = hmap_entry(n, struct id_rate, node);

		if (e->n == id.n && memcmp(e->id, id.p, id.n) == 0)
			return e->rate;
	}
	return -1;
}

static int parse_ids(struct remote *r, struct hmap *m, json_t *object)
{
	const char *key;
	json_t *value;

	json_object_foreach(object, key, value)
	{
		size_t n = strlen(key);
		struct id_rate *e;
		int rate = percent(value);

		if (rate < 0 || !n || n > UINT16_MAX || m->count >= REMOTE_IDS_MAX) {
			r->left_out++;
			continue;
		}
		e = malloc(sizeof(*e) + n);
		if (!e)
			return -ENOMEM;
		e->rate = (uint8_t)rate;
		e->n = (uint32_t)n;
		memcpy(e->id, key, n);
		hmap__insert(m, &e->node, hash_bytes(key, n));
	}
	return 0;
}

static enum remote_path path_of(const char *text)
{
	static const char *const names[PATH_COUNT_] = {
		[PATH_VERB] = "request.verb",
		[PATH_ROUTE] = "request.route",
		[PATH_IP] = "request.ip_address",
		[PATH_STATUS] = "response.status",
		[PATH_GRAPHQL_QUERY] = "request.body.query",
		[PATH_GRAPHQL_OPERATION] = "request.body.operationName",
	};

	for (int i = 1; text && i < PATH_COUNT_; i++)
		if (strcmp(text, names[i]) == 0)
			return (enum remote_path)i;
	return PATH_UNKNOWN;
}

/* A rule with no condition, or with one that cannot be read, would match too much: it is left out as a whole. */
static int parse_rule(struct rule *rule, json_t *entry)
{
	json_t *conditions = json_object_get(entry, "conditions"), *c;
	size_t i, n = json_array_size(conditions);
	int rate = percent(json_object_get(entry, "sample_rate"));

	if (rate < 0 || !n || n > REMOTE_CONDITIONS_MAX)
		return -EINVAL;
	rule->rate = (uint8_t)rate;
	rule->conditions = calloc(n, sizeof(*rule->conditions));
	if (!rule->conditions)
		return -ENOMEM;
	json_array_foreach(conditions, i, c)
	{
		json_t *value = json_object_get(c, "value");
		struct condition *to = &rule->conditions[rule->count];

		to->path = path_of(json_string_value(json_object_get(c, "path")));
		if (!json_is_string(value))
			return -EINVAL;
		to->regex = regex__new(span_of(json_string_value(value), json_string_length(value)));
		if (!to->regex)
			return errno == ENOMEM ? -ENOMEM : -EINVAL;
		rule->count++;
	}
	return 0;
}

static void rule_free(struct rule *rule)
{
	for (uint32_t i = 0; i < rule->count; i++)
		regex__free(rule->conditions[i].regex);
	free(rule->conditions);
	*rule = (struct rule){0};
}

static int parse_rules(struct remote *r, json_t *array)
{
	size_t i, n = json_array_size(array);
	json_t *entry;

	if (!n)
		return 0;
	if (n > REMOTE_RULES_MAX) {
		r->left_out += (unsigned)(n - REMOTE_RULES_MAX);
		n = REMOTE_RULES_MAX;
	}
	r->rules = calloc(n, sizeof(*r->rules));
	if (!r->rules)
		return -ENOMEM;
	json_array_foreach(array, i, entry)
	{
		int err;

		if (i == n)
			break;
		err = parse_rule(&r->rules[r->rule_count], entry);
		if (err == 0) {
			r->rule_count++;
			continue;
		}
		rule_free(&r->rules[r->rule_count]);
		if (err == -ENOMEM)
			return err;
		r->left_out++;
	}
	return 0;
}

static int parse(struct remote *r, json_t *root)
{
	json_t *rate = json_object_get(root, "sample_rate");
	int err;

	r->sample_rate = 100;
	if (percent(rate) >= 0)
		r->sample_rate = (uint8_t)percent(rate);
	else if (rate && !json_is_null(rate))
		r->left_out++;
	err = parse_ids(r, &r->users, json_object_get(root, "user_sample_rate"));
	if (err == 0)
		err = parse_ids(r, &r->companies, json_object_get(root, "company_sample_rate"));
	if (err == 0)
		err = parse_rules(r, json_object_get(root, "regex_config"));
	if (err == 0 && (json_is_true(json_object_get(root, "block_bot_traffic")) ||
				json_object_size(json_object_get(root, "ip_addresses_blocked_by_name"))))
		log_warn(LOG,
			"bots or addresses are to be blocked, says Moesif: kongtap only watches and blocks nothing");
	if (err == 0 && r->left_out)
		log_warn(LOG, "remote configuration: %u entries make no sense and are left out", r->left_out);
	return err;
}

struct remote *remote__parse(struct span text)
{
	struct remote *r = calloc(1, sizeof(*r));
	json_t *root = NULL;
	int err = r ? 0 : -ENOMEM;

	if (r && (hmap__init(&r->users) < 0 || hmap__init(&r->companies) < 0))
		err = -ENOMEM;
	if (err == 0 && text.n) {
		root = text.n > REMOTE_TEXT_MAX ? NULL : json_loadb(text.p, text.n, JSON_ALLOW_NUL, NULL);
		err = json_is_object(root) ? 0 : -EINVAL;
	}
	if (err == 0)
		err = parse(r, root);
	json_decref(root);
	if (err == 0)
		return r;
	remote__free(r);
	errno = -err;
	return NULL;
}

int remote__sample_rate(const struct remote *r)
{
	return r->sample_rate;
}

int remote__user_rate(const struct remote *r, struct span user)
{
	return id_rate(&r->users, user);
}

int remote__company_rate(const struct remote *r, struct span company)
{
	return id_rate(&r->companies, company);
}

int remote__regex_rate(struct remote *r, const struct remote_facts *facts)
{
	struct span value[PATH_COUNT_];
	bool asked[PATH_COUNT_] = {false};

	for (uint32_t i = 0; i < r->rule_count; i++) {
		const struct rule *rule = &r->rules[i];
		bool all = true;

		for (uint32_t k = 0; k < rule->count && all; k++) {
			enum remote_path p = rule->conditions[k].path;

			if (!asked[p])
				value[p] = p == PATH_UNKNOWN ? (struct span){NULL, 0} : facts->get(facts->ctx, p);
			asked[p] = true;
			all = value[p].p && regex__search(rule->conditions[k].regex, value[p]);
		}
		if (all)
			return rule->rate;
	}
	return -1;
}

static void ids_free(struct hmap *m)
{
	struct hnode *n, *next;

	for (n = m->count ? hmap__next(m, NULL) : NULL; n; n = next) {
		next = hmap__next(m, n);
		hmap__remove(m, n);
		free(hmap_entry(n, struct id_rate, node));
	}
	hmap__free(m);
}

void remote__free(struct remote *r)
{
	if (!r)
		return;
	ids_free(&r->users);
	ids_free(&r->companies);
	for (uint32_t i = 0; i < r->rule_count; i++)
		rule_free(&r->rules[i]);
	free(r->rules);
	free(r);
}
