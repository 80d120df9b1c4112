/* Whole transactions from four texts (client request, client response, upstream request, upstream response, each ended
 * by a NUL) and a byte of options: every one is accounted for, every event is one line of JSON within its limit.
 */
#include "txn_build.h"

#include "base/log.h"
#include "base/stats.h"
#include "moesif/json_scan.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool ok)
{
	if (!ok)
		abort();
}

static void on_event(void *ctx, const struct event *e)
{
	const struct moesif_options *o = ctx;
	json_t *root;

	check(e->json.n <= o->event_limit && !memchr(e->json.p, '\n', e->json.n));
	check(json_valid(e->json, NULL));
	root = json_loadb(e->json.p, e->json.n, JSON_ALLOW_NUL, NULL);
	check(!txn_at(root, "request.headers.x-masked") && !txn_at(root, "response.headers.x-masked"));
	json_decref(root);
	check(e->path.p >= e->uri.p && e->path.p + e->path.n <= e->uri.p + e->uri.n);
}

static void silent(void *ctx, enum log_level level, const char *module, const char *text)
{
	(void)ctx, (void)level, (void)module, (void)text;
}

static struct strlist *one(struct strlist *l, const char *name)
{
	l->v = malloc(sizeof(*l->v));
	l->v[0] = strdup(name);
	l->n = 1;
	return l;
}

static struct moesif *stage(struct moesif_options *o, unsigned bits)
{
	moesif_options_default(o);
	o->seed = 1;
	o->event_limit = bits & 1 ? 1500 : 1000000;
	o->trust_client_consumer_headers = bits & 2;
	o->redact_credentials = bits & 4;
	o->hash_session_token = bits & 8;
	one(&o->request_header_masks, "x-masked");
	one(&o->response_header_masks, "X-Masked");
	if (bits & 16) {
		one(&o->request_body_masks, "k");
		one(&o->response_body_masks, "k");
		one(&o->request_query_masks, "k");
	}
	if (bits & 32) {
		o->user_id_header = strdup("x-user");
		o->company_id_header = strdup("x-consumer-groups");
		o->authorization_company_id_field = strdup("org");
	}
	return moesif__new(o, (struct event_sink){on_event, o});
}

static const char *part(char **rest, const char *end)
{
	const char *p = *rest;

	if (p >= end)
		return NULL;
	*rest += strlen(p) + 1;
	return *p ? p : NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct moesif_options o;
	struct moesif *m;
	char *text, *rest;
	unsigned bits;

	if (size < 2)
		return 0;
	log_set_sink(silent, NULL);
	stats_reset();
	text = calloc(1, size);
	memcpy(text, data + 1, size - 1);
	rest = text;
	bits = data[0];
	m = stage(&o, bits);
	check(m != NULL);
	for (int calls = 1; rest < text + size - 1; calls++) {
		struct txn_spec s = {.h2 = bits & 64, .tls = bits & 64, .client_gone = bits & 128};

		s.creq = part(&rest, text + size - 1);
		s.cresp = part(&rest, text + size - 1);
		s.ureq = part(&rest, text + size - 1);
		s.uresp = part(&rest, text + size - 1);
		moesif__on_transaction(m, txn_build(&s));
		check(stats_get(STAT_txn_events) + stats_get(STAT_txn_dropped_incomplete) +
				stats_get(STAT_txn_dropped_too_large) ==
			(uint64_t)calls);
	}
	moesif__free(m);
	moesif_options_free(&o);
	free(text);
	return 0;
}
