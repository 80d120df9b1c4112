#include "config.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "config_args.h"
#include "config_option.h"
#include "ship/filter.h"
#include "version.h"

#define APPLICATION_ID_MAX 8192

extern char **environ;

static void strlist_free(struct strlist *l)
{
	for (size_t i = 0; i < l->n; i++)
		free(l->v[i]);
	free(l->v);
}

static void filter_free(struct config_filter *f)
{
	strlist_free(&f->include_hosts);
	strlist_free(&f->exclude_hosts);
	strlist_free(&f->include_paths);
	strlist_free(&f->exclude_paths);
	strlist_free(&f->include_namespaces);
	strlist_free(&f->exclude_namespaces);
	strlist_free(&f->include_pods);
	strlist_free(&f->exclude_pods);
	free(f->include_ports.v);
	free(f->exclude_ports.v);
}

/* The application id may stand on the command line, so the copy of it is wiped. */
static void argv_free(int argc, char **argv)
{
	for (int i = 0; argv && i < argc; i++) {
		if (argv[i])
			explicit_bzero(argv[i], strlen(argv[i]));
		free(argv[i]);
	}
	free(argv);
}

static char **argv_copy(int argc, char **argv)
{
	char **copy = calloc((size_t)argc + 1, sizeof(*copy));

	for (int i = 0; copy && i < argc; i++) {
		copy[i] = strdup(argv[i]);
		if (!copy[i]) {
			argv_free(i, copy);
			return NULL;
		}
	}
	return copy;
}

struct config *config__new(void)
{
	struct config *c = calloc(1, sizeof(*c));
	struct report none = {0};

	if (!c)
		return NULL;
	moesif_options_default(&c->moesif);
	ship_options_default(&c->ship);
	capture_options_default(&c->capture);
	wire_limits_default(&c->wire);
	join_limits_default(&c->join);
	c->log_level = LOG_LVL_INFO;
	c->sandbox = true;
	c->memory_bytes = 64u << 20;
	config_settle_memory(c, &none);
	c->metrics_listen = strdup("127.0.0.1:9464");
	if (!c->metrics_listen || !c->ship.api_endpoint || !c->moesif.api_version ||
		!c->moesif.authorization_header_name || !c->moesif.authorization_user_id_field) {
		config__free(c);
		errno = ENOMEM;
		return NULL;
	}
	return c;
}

void config__free(struct config *c)
{
	if (!c)
		return;
	moesif_options_free(&c->moesif);
	ship_options_free(&c->ship);
	capture_options_free(&c->capture);
	filter_free(&c->filter);
	free(c->config_file);
	free(c->kong_config);
	free(c->replay_file);
	free(c->output_file);
	free(c->record_file);
	free(c->print_filter);
	free(c->metrics_listen);
	free(c->application_id_file);
	argv_free(c->argc, c->argv);
	free(c);
}

bool config_ships(const struct config *c)
{
	return c->command == CONFIG_RUN && c->ship.application_id;
}

static unsigned layer_of(const struct config *c, const char *name)
{
	return c->layer[option_find(span_str(name)) - option_table];
}

static void take_application_id(struct config *c, const struct buf *text, unsigned mode, struct report *r)
{
	struct value v = {.kind = VALUE_TEXT, .text = buf_span(text)};

	while (v.text.n && isspace((unsigned char)v.text.p[v.text.n - 1]))
		v.text.n--;
	if (mode & 04)
		report__error(r, "%s: everybody can read it (mode %04o): chmod 0600 it", c->application_id_file, mode);
	else if (v.text.n == 0)
		report__error(r, "%s: is empty, expected the application id", c->application_id_file);
	else
		option_set(c, option_find(SPAN_LIT("application_id")), &v,
			(enum config_layer)layer_of(c, "application_id_file"), c->application_id_file, r);
}

/* The later layer wins between the id and the file that holds it. */
static void read_application_id(struct config *c, struct report *r)
{
	unsigned by_file = layer_of(c, "application_id_file"), direct = layer_of(c, "application_id");
	unsigned mode = 0;
	struct buf text;
	int err;

	if (!c->application_id_file || by_file < direct)
		return;
	if (by_file == direct) {
		report__error(r, "application_id and application_id_file are given in the same place: one is enough");
		return;
	}
	err = config_read_file(c->application_id_file, APPLICATION_ID_MAX, &text, &mode);
	if (err)
		report__error(r, "%s: the application id cannot be read: %s", c->application_id_file, strerror(-err));
	else
		take_application_id(c, &text, mode, r);
	if (text.p)
		explicit_bzero(text.p, text.cap);
	buf__free(&text);
}

static bool printable(const char *s)
{
	for (; *s; s++)
		if (!isgraph((unsigned char)*s))
			return false;
	return true;
}

static bool starts(const char *s, const char *prefix)
{
	return strncasecmp(s, prefix, strlen(prefix)) == 0;
}

static void check_collector(const struct config *c, struct report *r)
{
	const char *url = c->ship.api_endpoint;

	if (c->ship.application_id && !printable(c->ship.application_id))
		report__error(r, "application_id: holds a blank or a character that no application id has");
	if (!url || !(starts(url, "http://") || starts(url, "https://")) || !printable(url) || strpbrk(url, "?#@"))
		report__error(r, "api_endpoint: expected a URL such as https://api.moesif.net, without query and "
				 "without user name");
}

static void check_files(const struct config *c, struct report *r)
{
	if (c->capture.btf && access(c->capture.btf, R_OK))
		report__error(r, "btf: %s cannot be read: %s", c->capture.btf, strerror(errno));
	if (c->ship.ca_file && access(c->ship.ca_file, R_OK))
		report__error(r, "ca_file: %s cannot be read: %s", c->ship.ca_file, strerror(errno));
}

static void settle_output(struct config *c)
{
	if (c->metrics_listen && strcmp(c->metrics_listen, "none") == 0) {
		free(c->metrics_listen);
		c->metrics_listen = NULL;
	}
	if (c->debug)
		c->log_level = LOG_LVL_DEBUG;
	if (c->output != OUTPUT_AUTO)
		return;
	if (config_ships(c))
		c->output = OUTPUT_NONE;
	else if (c->output_file || !isatty(STDOUT_FILENO))
		c->output = OUTPUT_JSONL;
	else
		c->output = OUTPUT_PRETTY;
}

/* Bodies are captured only as far as an event can hold them. */
static uint32_t body_limit(bool disabled, uint64_t limit)
{
	return disabled ? 0 : limit > UINT32_MAX ? UINT32_MAX : (uint32_t)limit;
}

struct media_types config_exclude_types(const struct config *c)
{
	const struct strlist *l = &c->moesif.body_exclude_content_types;

	return (struct media_types){.v = l->v, .n = l->n};
}

static void settle_bodies(struct config *c)
{
	const struct moesif_options *m = &c->moesif;

	c->wire.request_body = body_limit(m->disable_capture_request_body, m->request_max_body_size_limit);
	c->wire.response_body = body_limit(m->disable_capture_response_body, m->response_max_body_size_limit);
	c->wire.exclude_types = config_exclude_types(c);
}

/* After settle_output: NULL stands for "none". */
static void check_listen(const struct config *c, struct report *r)
{
	struct endpoint e;

	if (c->metrics_listen &&
		(endpoint_parse(span_str(c->metrics_listen), &e) || (e.family != ADDR_IP4 && e.family != ADDR_IP6)))
		report__error(r,
			"metrics_listen: expected an address and a port such as 127.0.0.1:9464 or [::1]:9464, or "
			"none; found \"%s\"",
			c->metrics_listen);
}

static void check_filter(const struct config *c, struct report *r)
{
	char error[FILTER_ERROR_LEN] = "out of memory";

	if (c->print_filter) {
		struct filter *f = filter__new(c->print_filter, error);

		if (!f)
			report__error(r, "filter: %s", error);
		filter__free(f);
	}
}

static int finish(struct config *c, struct report *r)
{
	read_application_id(c, r);
	check_collector(c, r);
	check_files(c, r);
	check_filter(c, r);
	settle_output(c);
	check_listen(c, r);
	settle_bodies(c);
	config_settle_memory(c, r);
	if (r->errors)
		return -EINVAL;
	if (layer_of(c, "application_id") == LAYER_FLAG && !c->application_id_file)
		log_warn("config",
			"the application id stands on the command line, where every user of this host can read "
			"it: application_id_file or KONGTAP_APPLICATION_ID keeps it secret");
	if (r->unused[0])
		log_warn("config", "accepted without effect, since kongtap watches from outside: %s", r->unused);
	return 0;
}

/* A path of a file comes from its flag or its variable. */
static int file_path(struct config *c, const struct args *a, const char *name, const char *variable, struct report *r)
{
	const struct arg *arg = args__find(a, name);
	const char *env = getenv(variable);
	struct value v = {.kind = VALUE_TEXT};

	if (!arg && !(env && *env))
		return 0;
	v.text = arg ? arg->value : span_str(env);
	return option_set(
		c, option_find(span_str(name)), &v, arg ? LAYER_FLAG : LAYER_ENV, arg ? arg->flag : variable, r);
}

static void apply_flags(struct config *c, const struct args *a, struct report *r)
{
	for (size_t i = 0; i < a->n; i++) {
		struct value v = {.kind = VALUE_TEXT, .text = a->v[i].value};
		char flag[64];

		snprintf(flag, sizeof(flag), "%.*s", (int)strcspn(a->v[i].flag, "="), a->v[i].flag);
		option_set(c, a->v[i].option, &v, LAYER_FLAG, flag, r);
	}
}

static int apply_layers(struct config *c, const struct args *a, struct report *r)
{
	c->command = a->command;
	if (a->operand) {
		c->replay_file = strdup(a->operand);
		if (!c->replay_file)
			return -ENOMEM;
	}
	file_path(c, a, "config", "KONGTAP_CONFIG", r);
	file_path(c, a, "kong_config", "KONGTAP_KONG_CONFIG", r);
	if (c->kong_config)
		config_load_kong(c, c->kong_config, r);
	if (c->config_file)
		config_load_yaml(c, c->config_file, r);
	config_load_env(c, environ, r);
	apply_flags(c, a, r);
	return finish(c, r);
}

static int build(const struct args *a, int argc, char **argv, struct report *r, struct config **ret)
{
	struct config *c = config__new();
	int err = c ? 0 : -ENOMEM;

	if (!err) {
		c->argv = argv_copy(argc, argv);
		c->argc = c->argv ? argc : 0;
		err = c->argv ? apply_layers(c, a, r) : -ENOMEM;
	}
	if (err)
		config__free(c);
	else
		*ret = c;
	return err;
}

static int print_help(const struct args *a)
{
	if (!*a->help) {
		help_general(stdout);
		return 1;
	}
	if (help_topic(a->help, stdout))
		return 1;
	fprintf(stderr, "kongtap: no help on \"%s\"\ntry kongtap --help\n", a->help);
	return -EINVAL;
}

static void hint(const struct args *a, const struct report *r)
{
	static const char *const topics[] = {"run", "check", "replay"};

	if (r->errors > REPORT_MAX)
		fprintf(stderr, "kongtap: and %u more\n", r->errors - REPORT_MAX);
	fprintf(stderr, "try kongtap help %s\n", topics[a->command]);
}

int config_load(int argc, char **argv, struct config **ret)
{
	struct report r = {.to_log = false};
	struct args a;
	int err = args__parse(&a, argc, argv, &r);

	if (!err && a.version_wanted) {
		printf("kongtap %s\n", KONGTAP_VERSION);
		err = 1;
	} else if (!err && a.help_wanted) {
		err = print_help(&a);
	} else if (!err) {
		err = build(&a, argc, argv, &r, ret);
		if (err == -EINVAL)
			hint(&a, &r);
	} else if (err == -EINVAL) {
		fprintf(stderr, "try kongtap --help\n");
	}
	if (err == -ENOMEM)
		fprintf(stderr, "kongtap: out of memory\n");
	args__free(&a);
	return err;
}

int config__reload(const struct config *c, struct config **ret)
{
	struct report r = {.to_log = true};
	struct args a;
	int err = args__parse(&a, c->argc, c->argv, &r);

	if (!err)
		err = build(&a, c->argc, c->argv, &r, ret);
	args__free(&a);
	return err;
}
