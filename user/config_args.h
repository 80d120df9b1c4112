/* config_args: a command line taken apart, before any of it takes effect. */
#ifndef KT_CONFIG_ARGS_H
#define KT_CONFIG_ARGS_H

#include "config_option.h"

struct arg {
	const struct option *option;
	const char *flag; /* as given, for messages */
	struct span value;
};

struct args {
	enum config_command command;
	bool command_given;
	const char *help; /* what help is wanted on; "" in general */
	bool help_wanted, version_wanted;
	const char *operand; /* replay's file */
	struct arg *v;
	size_t n;
};

/* 0 (args__free it), -EINVAL (reported), -ENOMEM. Everything points into argv. */
int args__parse(struct args *a, int argc, char **argv, struct report *r);
void args__free(struct args *a);
/* The last value given for this option, or NULL. */
const struct arg *args__find(const struct args *a, const char *name);

#endif
