#include "ship/remote.h"

#include "base/log.h"
#include "ship/gate.h"
#include "ship/verdict.h"

#define NS_PER_MS 1000000ull

/* Rates by user and company make it long; beyond this it is not a configuration. */
#define BODY_MAX (4u << 20)

/* Tags that change all the time must not make us fetch all the time. */
#define TAG_INTERVAL_NS (5000 * NS_PER_MS)
#define FIRST_RETRY_NS (2000 * NS_PER_MS)

static const struct {
	const char *path, *what;
} documents[REMOTE_KINDS] = {{"/v1/config", "configuration"}, {"/v1/rules", "rules"}};

void remote__init(struct remote *r, const struct ship_options *o, struct remote_sink sink, uint64_t now_ns)
{
	*r = (struct remote){.o = o, .sink = sink};
	for (int i = 0; i < REMOTE_KINDS; i++)
		r->docs[i].next_ns = o->remote_config && sink.fn ? now_ns : UINT64_MAX;
}

static const char *tag_of(int kind, const struct http_answer *a)
{
	return kind == REMOTE_CONFIG ? a->config_tag : a->rules_tag;
}

static bool knows(const struct remote_doc *d, const char *tag)
{
	return strcmp(d->tags[0], tag) == 0 || strcmp(d->tags[1], tag) == 0;
}

static void remember(struct remote_doc *d, const char *tag)
{
	if (!*tag || strcmp(d->tags[0], tag) == 0)
		return;
	memcpy(d->tags[1], d->tags[0], sizeof(d->tags[1]));
	memcpy(d->tags[0], tag, strlen(tag) + 1);
}

void remote__on_tags(struct remote *r, uint64_t now_ns, const struct http_answer *a)
{
	for (int i = 0; i < REMOTE_KINDS; i++) {
		struct remote_doc *d = &r->docs[i];
		uint64_t earliest = d->last_ns ? d->last_ns + TAG_INTERVAL_NS : now_ns;

		if (!*tag_of(i, a) || knows(d, tag_of(i, a)) || d->next_ns == UINT64_MAX || d->under_way)
			continue;
		/* Known from now on: if the fetch fails, it is tried again for that reason alone. */
		remember(d, tag_of(i, a));
		if (earliest < now_ns)
			earliest = now_ns;
		if (earliest < d->next_ns)
			d->next_ns = earliest;
	}
}

void remote__run(struct remote *r, struct http *h, uint64_t now_ns)
{
	for (int i = 0; i < REMOTE_KINDS; i++) {
		struct remote_doc *d = &r->docs[i];

		if (d->under_way || now_ns < d->next_ns)
			continue;
		if (http__get(h, documents[i].path, BODY_MAX, d) == 0) {
			d->under_way = true;
			d->last_ns = now_ns;
		} else {
			d->next_ns = now_ns + FIRST_RETRY_NS;
		}
	}
}

uint64_t remote__due(const struct remote *r)
{
	uint64_t due = UINT64_MAX;

	for (int i = 0; i < REMOTE_KINDS; i++)
		if (!r->docs[i].under_way && r->docs[i].next_ns < due)
			due = r->docs[i].next_ns;
	return due;
}

bool remote__owns(const struct remote *r, const void *token)
{
	return token == &r->docs[REMOTE_CONFIG] || token == &r->docs[REMOTE_RULES];
}

/* Who refuses is left in peace as long as after refused events, who asks for patience gets it. */
static uint64_t wait_after(const struct remote *r, const struct remote_doc *d, const struct http_answer *a)
{
	uint64_t wait = FIRST_RETRY_NS << (d->failures < 5 ? d->failures : 5), asked;

	if (wait > r->o->remote_interval * NS_PER_MS)
		wait = r->o->remote_interval * NS_PER_MS;
	asked = (a->retry_after_s < RETRY_AFTER_MAX_S ? a->retry_after_s : RETRY_AFTER_MAX_S) * 1000 * NS_PER_MS;
	if (verdict_of(a) == VERDICT_REFUSED && asked < r->o->refused_probe * NS_PER_MS)
		asked = r->o->refused_probe * NS_PER_MS;
	return asked > wait ? asked : wait;
}

static void failed(struct remote *r, struct remote_doc *d, int kind, uint64_t now_ns, const struct http_answer *a)
{
	char why[160];

	d->next_ns = now_ns + wait_after(r, d, a);
	d->failures++;
	verdict_text(a, why, sizeof(why));
	if (log_rate(&d->logged))
		log_warn("ship", "the collector's %s cannot be fetched: %s", documents[kind].what,
			a->body_too_large ? "too long" : why);
}

void remote__on_answer(struct remote *r, uint64_t now_ns, void *token, const struct http_answer *a)
{
	struct remote_doc *d = token;
	int kind = (int)(d - r->docs);

	d->under_way = false;
	if (a->status < 200 || a->status > 299 || a->body_too_large) {
		failed(r, d, kind, now_ns, a);
		return;
	}
	d->failures = 0;
	d->logged = 0;
	d->next_ns = now_ns + r->o->remote_interval * NS_PER_MS;
	remember(d, tag_of(kind, a));
	if (a->body.n)
		r->sink.fn(r->sink.ctx, kind == REMOTE_RULES, a->body);
}
