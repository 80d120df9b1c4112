#include "config_args.h"

#include <errno.h>
#include <stdlib.h>

static const struct {
	const char *name;
	enum config_command command;
} commands[] = {{"run", CONFIG_RUN}, {"check", CONFIG_CHECK}, {"replay", CONFIG_REPLAY}};

/* Where in argv we are. */
struct cursor {
	int argc, at;
	char **argv;
	struct report *report;
};

static void unknown_flag(struct report *r, const char *flag, struct span name)
{
	const struct option *guess = option_guess(name);
	char dashed[64] = "";

	if (guess) {
		for (size_t i = 0; guess->name[i] && i + 1 < sizeof(dashed); i++)
			dashed[i] = guess->name[i] == '_' ? '-' : guess->name[i];
		report__error(r, "unknown flag --%.*s, did you mean --%s?", (int)name.n, name.p, dashed);
	} else {
		report__error(r, "unknown flag %s", flag);
	}
}

static int take_value(struct cursor *cur, const char *flag, struct arg *arg)
{
	if (cur->at + 1 >= cur->argc) {
		report__error(cur->report, "%s needs a value", flag);
		return -EINVAL;
	}
	arg->value = span_str(cur->argv[++cur->at]);
	return 0;
}

/* --name, --name=value, --name value, --no-name */
static int long_flag(struct args *a, struct cursor *cur)
{
	const char *flag = cur->argv[cur->at], *eq = strchr(flag, '=');
	struct span name = eq ? span_of(flag + 2, (size_t)(eq - flag) - 2) : span_str(flag + 2);
	const struct option *o = option_find(name);
	struct arg *arg = &a->v[a->n];

	if (!o && !eq && (span_starts(name, SPAN_LIT("no-")) || span_starts(name, SPAN_LIT("no_")))) {
		o = option_find(span_skip(name, 3));
		if (o && o->type == OPT_BOOL) {
			*arg = (struct arg){o, flag, SPAN_LIT("false")};
			a->n++;
			return 0;
		}
		o = NULL;
	}
	if (!o) {
		unknown_flag(cur->report, flag, name);
		return -EINVAL;
	}
	*arg = (struct arg){o, flag, SPAN_LIT("true")};
	if (eq)
		arg->value = span_str(eq + 1);
	else if (o->type != OPT_BOOL && take_value(cur, flag, arg))
		return -EINVAL;
	a->n++;
	return 0;
}

static int short_flag(struct args *a, struct cursor *cur)
{
	const char *flag = cur->argv[cur->at];
	struct arg *arg = &a->v[a->n];

	if (strcmp(flag, "-c") != 0) {
		report__error(cur->report, "unknown flag %s", flag);
		return -EINVAL;
	}
	*arg = (struct arg){.option = option_find(SPAN_LIT("config")), .flag = flag};
	if (take_value(cur, flag, arg))
		return -EINVAL;
	a->n++;
	return 0;
}

static int operand(struct args *a, const char *word, struct report *r)
{
	if (a->help_wanted && !*a->help) {
		a->help = word;
		return 0;
	}
	if (a->command_given) {
		if (a->command == CONFIG_REPLAY && !a->operand) {
			a->operand = word;
			return 0;
		}
		report__error(r, "\"%s\" is one word too many", word);
		return -EINVAL;
	}
	if (strcmp(word, "help") == 0) {
		a->help_wanted = true;
		return 0;
	}
	if (strcmp(word, "version") == 0) {
		a->version_wanted = true;
		return 0;
	}
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
		if (strcmp(word, commands[i].name) == 0) {
			a->command = commands[i].command;
			a->command_given = true;
			return 0;
		}
	}
	report__error(r, "unknown command \"%s\"", word);
	return -EINVAL;
}

static int one_word(struct args *a, struct cursor *cur, bool *flags_end)
{
	const char *word = cur->argv[cur->at];

	if (*flags_end || word[0] != '-' || strcmp(word, "-") == 0)
		return operand(a, word, cur->report);
	if (strcmp(word, "--") == 0) {
		*flags_end = true;
		return 0;
	}
	if (strcmp(word, "-h") == 0 || strcmp(word, "--help") == 0) {
		a->help_wanted = true;
		return 0;
	}
	if (strcmp(word, "-V") == 0 || strcmp(word, "--version") == 0) {
		a->version_wanted = true;
		return 0;
	}
	return word[1] == '-' ? long_flag(a, cur) : short_flag(a, cur);
}

static int complete(struct args *a, struct report *r)
{
	if (a->help_wanted || a->version_wanted) {
		/* kongtap run --help */
		if (!*a->help && a->command_given)
			a->help = commands[a->command].name;
		return 0;
	}
	if (!a->command_given) {
		report__error(r, "which command? run, check, replay or help");
		return -EINVAL;
	}
	if (a->command == CONFIG_REPLAY && !a->operand) {
		report__error(r, "replay needs the file of a recording, or - for standard input");
		return -EINVAL;
	}
	return 0;
}

int args__parse(struct args *a, int argc, char **argv, struct report *r)
{
	struct cursor cur = {.argc = argc, .at = 1, .argv = argv, .report = r};
	bool flags_end = false;
	int err = 0;

	*a = (struct args){.help = "", .v = calloc((size_t)argc + 1, sizeof(*a->v))};
	if (!a->v)
		return -ENOMEM;
	for (; cur.at < argc && !err; cur.at++)
		err = one_word(a, &cur, &flags_end);
	if (!err)
		err = complete(a, r);
	if (err)
		args__free(a);
	return err;
}

void args__free(struct args *a)
{
	free(a->v);
	a->v = NULL;
	a->n = 0;
}

const struct arg *args__find(const struct args *a, const char *name)
{
	for (size_t i = a->n; i > 0; i--)
		if (strcmp(a->v[i - 1].option->name, name) == 0)
			return &a->v[i - 1];
	return NULL;
}
