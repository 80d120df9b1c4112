/* KONGTAP_<OPTION> in the environment. */
#include <errno.h>
#include <stdlib.h>

#include "config_option.h"

#define PREFIX "KONGTAP_"

static size_t lower_name(struct span name, char *out, size_t size)
{
	size_t n = 0;

	for (; n < name.n && n + 1 < size; n++)
		out[n] = (char)ascii_lower((unsigned char)name.p[n]);
	out[n] = '\0';
	return n;
}

/* Kubernetes gives each pod variables named after its services: a service called kongtap makes KONGTAP_PORT and
 * KONGTAP_SERVICE_HOST. So what is unknown is no error, and only what looks misspelt is worth a line. */
static void unknown_variable(struct span variable, struct span name)
{
	const struct option *guess = option_guess(name);
	int n = variable.n > 80 ? 80 : (int)variable.n;

	if (guess && !strstr(name.p, "port") && !strstr(name.p, "service"))
		log_warn("config", "%.*s in the environment is unknown and ignored: did you mean the option %s?", n,
			variable.p, guess->name);
}

static int apply(struct config *c, const char *entry, struct report *r)
{
	const char *eq = strchr(entry, '=');
	char name[64], place[80];
	struct span variable;
	const struct option *o;
	struct value v = {.kind = VALUE_TEXT};

	if (!eq || strncmp(entry, PREFIX, strlen(PREFIX)) != 0)
		return 0;
	variable = span_of(entry, (size_t)(eq - entry));
	v.text = span_str(eq + 1);
	lower_name(span_skip(variable, strlen(PREFIX)), name, sizeof(name));
	o = option_find(span_str(name));
	if (!o || memchr(name, '-', strlen(name))) {
		unknown_variable(variable, span_str(name));
		return 0;
	}
	/* The paths of the files are read before this; what else is a flag only stays one. */
	if (v.text.n == 0 || (o->flags & OPTION_CLI))
		return 0;
	snprintf(place, sizeof(place), "%.*s", variable.n > 70 ? 70 : (int)variable.n, variable.p);
	return option_set(c, o, &v, LAYER_ENV, place, r);
}

int config_load_env(struct config *c, char **env, struct report *r)
{
	unsigned before = r->errors;

	for (; env && *env; env++)
		if (apply(c, *env, r) == -ENOMEM)
			return -ENOMEM;
	return r->errors == before ? 0 : -EINVAL;
}
