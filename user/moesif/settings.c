#include "moesif/settings.h"

#include <errno.h>

#include "base/log.h"

#define LOG "moesif"

enum kind { HEADER, BODY_KEY, PARAMETER };

static int add_all(struct names *set, const struct strlist *list, enum kind kind, const char *option)
{
	for (size_t i = 0; i < list->n; i++) {
		struct span name = span_str(list->v[i]);
		int r;

		if (!name.n || (kind == HEADER && !name_is_token(name))) {
			log_err(LOG, "%s: element %zu is not a usable name", option, i + 1);
			return -EINVAL;
		}
		r = names__add(set, name);
		if (r < 0)
			return r == -ENOSPC ? -EINVAL : r;
	}
	return 0;
}

/* The deprecated lists stand in for empty new ones, as in the plugin. */
static const struct strlist *either(const struct strlist *list, const struct strlist *deprecated)
{
	return list->n ? list : deprecated;
}

static int fill_masks(struct settings *s)
{
	const struct moesif_options *o = s->o;
	const struct {
		struct names *set;
		const struct strlist *list;
		enum kind kind;
		const char *option;
	} all[] = {
		{&s->request_headers, &o->request_header_masks, HEADER, "request_header_masks"},
		{&s->response_headers, &o->response_header_masks, HEADER, "response_header_masks"},
		{&s->request_body, either(&o->request_body_masks, &o->request_masks), BODY_KEY, "request_body_masks"},
		{&s->response_body, either(&o->response_body_masks, &o->response_masks), BODY_KEY,
			"response_body_masks"},
		{&s->query, &o->request_query_masks, PARAMETER, "request_query_masks"},
		{&s->api_keys, &o->api_key_names, HEADER, "api_key_names"},
	};
	int r = 0;

	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]) && r == 0; i++) {
		names__init(all[i].set, all[i].kind == HEADER);
		r = add_all(all[i].set, all[i].list, all[i].kind, all[i].option);
	}
	return r;
}

static int split_auth(struct settings *s)
{
	struct span rest = span_str(s->o->authorization_header_name);

	while (rest.n) {
		const char *comma = memchr(rest.p, ',', rest.n);
		struct span name = span_of(rest.p, comma ? (size_t)(comma - rest.p) : rest.n);

		rest = span_skip(rest, name.n + 1);
		name = span_trim(name);
		if (!name.n)
			continue;
		if (!name_is_token(name) || s->auth_count == AUTH_NAMES_MAX) {
			log_err(LOG, "authorization_header_name: not a list of at most %d header names",
				AUTH_NAMES_MAX);
			return -EINVAL;
		}
		s->auth[s->auth_count++] = hname_of(name);
	}
	return 0;
}

static int fill_credentials(struct settings *s)
{
	static const struct span headers[] = {{"authorization", 13}, {"proxy-authorization", 19}, {"cookie", 6},
		{"set-cookie", 10}},
				 parameters[] = {{"access_token", 12}, {"jwt", 3}};
	int r = 0;

	names__init(&s->credential_headers, true);
	names__init(&s->credential_query, true);
	if (!s->o->redact_credentials)
		return 0;
	for (size_t i = 0; i < sizeof(headers) / sizeof(headers[0]) && r == 0; i++)
		r = names__add(&s->credential_headers, headers[i]);
	for (size_t i = 0; i < sizeof(parameters) / sizeof(parameters[0]) && r == 0; i++)
		r = names__add(&s->credential_query, parameters[i]);
	for (uint32_t i = 0; i < s->auth_count && r == 0; i++)
		r = names__add(&s->credential_headers, s->auth[i].name);
	for (uint32_t i = 0; i < s->api_keys.n && r == 0; i++) {
		r = names__add(&s->credential_headers, s->api_keys.v[i].name);
		if (r == 0)
			r = names__add(&s->credential_query, s->api_keys.v[i].name);
	}
	return r;
}

static int set_header(struct hname *h, const char *name, const char *option)
{
	*h = (struct hname){0};
	if (!name || !*name)
		return 0;
	if (!name_is_token(span_str(name))) {
		log_err(LOG, "%s: not a header name", option);
		return -EINVAL;
	}
	*h = hname_of(span_str(name));
	return 0;
}

int settings__init(struct settings *s, const struct moesif_options *o)
{
	int r;

	*s = (struct settings){.o = o};
	r = fill_masks(s);
	if (r == 0)
		r = split_auth(s);
	if (r == 0)
		r = fill_credentials(s);
	if (r == 0)
		r = set_header(&s->user_header, o->user_id_header, "user_id_header");
	if (r == 0)
		r = set_header(&s->company_header, o->company_id_header, "company_id_header");
	s->user_claim = span_str(o->authorization_user_id_field);
	s->company_claim = span_str(o->authorization_company_id_field);
	if (r < 0)
		settings__free(s);
	return r;
}

void settings__free(struct settings *s)
{
	if (!s)
		return;
	names__free(&s->request_headers);
	names__free(&s->response_headers);
	names__free(&s->request_body);
	names__free(&s->response_body);
	names__free(&s->query);
	names__free(&s->credential_headers);
	names__free(&s->credential_query);
	names__free(&s->api_keys);
}
