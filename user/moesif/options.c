#include "moesif/moesif.h"

#include <stdlib.h>

static void strlist_free(struct strlist *l)
{
	for (size_t i = 0; i < l->n; i++)
		free(l->v[i]);
	free(l->v);
	*l = (struct strlist){NULL, 0};
}

static void strlist_set(struct strlist *l, const char *const *v, size_t n)
{
	l->v = calloc(n, sizeof(*l->v));
	if (!l->v)
		return;
	for (; l->n < n; l->n++) {
		l->v[l->n] = strdup(v[l->n]);
		if (!l->v[l->n])
			return;
	}
}

void moesif_options_default(struct moesif_options *o)
{
	static const char *const keys[] = {"apikey", "api-key", "x-api-key", "api_key"};

	*o = (struct moesif_options){
		.api_version = strdup("1.0"),
		.authorization_header_name = strdup("authorization"),
		.authorization_user_id_field = strdup("sub"),
		.request_max_body_size_limit = 100000,
		.response_max_body_size_limit = 100000,
		.learn_consumers = true,
		.learn_consumers_max = 65536,
		.learn_consumers_ttl = 3600,
		.learn_consumers_bytes = 4u << 20,
		.decoded_body_limit = 1 << 20,
		.event_limit = 1000000,
	};
	strlist_set(&o->api_key_names, keys, sizeof(keys) / sizeof(keys[0]));
}

void moesif_options_free(struct moesif_options *o)
{
	struct strlist *lists[] = {&o->request_header_masks, &o->response_header_masks, &o->request_body_masks,
		&o->response_body_masks, &o->request_masks, &o->response_masks, &o->request_query_masks,
		&o->api_key_names, &o->body_exclude_content_types};
	char *strings[] = {o->api_version, o->user_id_header, o->company_id_header, o->authorization_header_name,
		o->authorization_user_id_field, o->authorization_company_id_field, o->session_token_key, o->node_name};

	/* By default it is the application id. */
	if (o->session_token_key)
		explicit_bzero(o->session_token_key, strlen(o->session_token_key));
	for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++)
		strlist_free(lists[i]);
	for (size_t i = 0; i < sizeof(strings) / sizeof(strings[0]); i++)
		free(strings[i]);
	*o = (struct moesif_options){0};
}
