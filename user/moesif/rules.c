#include "moesif/rules.h"

#include <errno.h>

#include "base/log.h"
#include "moesif/json_scan.h"

static bool blocks(struct span rule)
{
	struct json_value v;

	return json_member(rule, SPAN_LIT("block"), false, &v) > 0 && v.kind == JT_TRUE;
}

/* FNV-1a: only tells a set from the one before it. */
static uint64_t hash_of(struct span s)
{
	uint64_t h = 14695981039346656037ULL;

	for (size_t i = 0; i < s.n; i++)
		h = (h ^ (unsigned char)s.p[i]) * 1099511628211ULL;
	return h | 1;
}

static int count_rules(struct span json, unsigned *ret, unsigned *ret_blocking)
{
	struct json_scan s;
	enum json_token t;

	*ret = *ret_blocking = 0;
	json_scan__init(&s, json);
	if (json_scan__next(&s) != JT_ARRAY)
		return -EINVAL;
	while ((t = json_scan__next(&s)) > JT_DONE && t != JT_ARRAY_END) {
		const char *from = s.text.p;

		if (json_scan__skip(&s, t) < 0)
			return -EINVAL;
		++*ret;
		*ret_blocking += t == JT_OBJECT && blocks(span_of(from, (size_t)(s.p - from)));
	}
	return t == JT_ARRAY_END && json_scan__next(&s) == JT_DONE ? 0 : -EINVAL;
}

int rules_watch__report(struct rules_watch *w, struct span json)
{
	uint64_t hash = hash_of(json);
	unsigned count, blocking;
	int r = count_rules(json, &count, &blocking);

	if (hash != w->reported && r < 0)
		log_warn("moesif",
			"Moesif's governance rules cannot be read: kongtap only watches and enforces none of them");
	else if (hash != w->reported && count)
		log_warn("moesif",
			"%u governance rules (%u of them blocking) are configured at Moesif: kongtap only watches and "
			"enforces none of them",
			count, blocking);
	w->reported = hash;
	return r;
}
