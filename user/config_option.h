/* config_option: one row of the option table, and the values that are put into it. */
#ifndef KT_CONFIG_OPTION_H
#define KT_CONFIG_OPTION_H

#include "base/buf.h"
#include "config.h"

enum option_type {
	OPT_BOOL,
	OPT_U32,
	OPT_U64,
	OPT_STRING,
	OPT_STRINGS, /* char **at off, size_t at off_n */
	OPT_NUMBERS, /* uint32_t *at off, size_t at off_n */
	OPT_CHOICE,  /* an enum (int) */
};

enum option_unit { UNIT_NONE, UNIT_MS, UNIT_SECONDS, UNIT_BYTES, UNIT_EVENTS };

#define MEDIA_TYPES_MAX 64
#define MEDIA_TYPE_LEN_MAX 255 /* two names of at most 127 bytes (RFC 6838, 4.2) and the slash */

enum option_flags {
	OPTION_PLUGIN = 1,    /* named and meant as in the Kong plugin */
	OPTION_UNUSED = 2,    /* the plugin's, accepted, without meaning for a passive agent */
	OPTION_SECRET = 4,    /* never printed */
	OPTION_URL = 8,	      /* user name and password in it are hidden when printed */
	OPTION_CLI = 16,      /* a flag only: in no file */
	OPTION_HIDDEN = 32,   /* for tests: in no help */
	OPTION_POW2 = 64,     /* a power of two */
	OPTION_HEADER = 128,  /* a header's name, or a list of them */
	OPTION_HEADERS = 256, /* several in one text, comma between them */
	OPTION_MEDIA = 512,   /* a list of media types, or of all of a type */
};

struct option_choice {
	const char *name;
	int value;
};

struct option {
	const char *name; /* as in files; flags with dashes or underscores; KONGTAP_<NAME> in the environment */
	enum option_type type;
	enum option_unit unit;
	unsigned flags;
	size_t off, off_n;
	uint64_t scale; /* what is stored = what is written × scale */
	uint64_t min, max;
	const struct option_choice *choices;
	const char *unused_default; /* OPTION_UNUSED: a value that needs no warning */
	const char *meta;	    /* what stands for the value in help */
	const char *group;
	const char *help;
};

enum config_layer { LAYER_DEFAULT = 0, LAYER_KONG, LAYER_FILE, LAYER_ENV, LAYER_FLAG };

extern const struct option option_table[];
extern const size_t option_count;

static inline size_t option_index(const struct option *o)
{
	return (size_t)(o - option_table);
}

static inline void *option_field(const struct config *c, size_t off)
{
	return (char *)c + off;
}

/* `name` with - or _; NULL when there is none. */
const struct option *option_find(struct span name);
/* The option that was probably meant, or NULL. */
const struct option *option_guess(struct span name);

/* Errors of one load: each is said at once, at most REPORT_MAX of them. */
#define REPORT_MAX 20
struct report {
	bool to_log; /* else stderr, as for a command line */
	unsigned errors;
	char unused[256]; /* names of options that were given and have no meaning */
};

void report__error(struct report *r, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

enum value_kind {
	VALUE_NULL,   /* as if it were not there */
	VALUE_TEXT,   /* from the environment or a flag: becomes what the option wants */
	VALUE_STRING, /* from a file */
	VALUE_BOOL,
	VALUE_NUMBER,
	VALUE_LIST,
	VALUE_MAP,
};

struct value {
	enum value_kind kind;
	struct span text;	   /* of a scalar */
	const struct value *items; /* of a list */
	size_t n;
	unsigned line; /* 0: none */
};

/* Puts v into c. `place` names file, variable or flag. Returns 0, -EINVAL (reported) or -ENOMEM (reported). A list
 * given twice in LAYER_FLAG grows, else the later layer replaces the earlier. */
int option_set(struct config *c, const struct option *o, const struct value *v, enum config_layer layer,
	const char *place, struct report *r);
/* The value as YAML, secrets hidden; "null" when unset. Errors as buf__append. */
int option_format(const struct config *c, const struct option *o, struct buf *out);
/* What an option takes, in words: "a number of bytes from 1 to 5". */
void option_expects(const struct option *o, char *out, size_t size);

/* What c->wire borrows from c->moesif. */
struct media_types config_exclude_types(const struct config *c);
/* Derives what was not given from memory_bytes, checks what was. */
void config_settle_memory(struct config *c, struct report *r);
/* Reads a whole file of at most `max` bytes into an empty buf. 0 or negative errno (-EFBIG too large). `mode`, if not
 * NULL, gets its permission bits. */
int config_read_file(const char *path, size_t max, struct buf *ret, unsigned *mode);
/* One layer each. Errors are reported; returns 0, or -EINVAL when anything was wrong. */
int config_load_yaml(struct config *c, const char *path, struct report *r);
int config_load_kong(struct config *c, const char *path, struct report *r);
/* The same on text that is already in memory (fuzzing, tests); place stands for the file name. */
int config_parse_yaml(struct config *c, struct span text, const char *place, struct report *r);
int config_parse_kong(struct config *c, struct span text, const char *place, struct report *r);
int config_load_env(struct config *c, char **env, struct report *r);

void help_general(FILE *out);
/* A word after `help`: run, check, replay, config, reference. false when there is nothing on it. */
bool help_topic(const char *topic, FILE *out);

#endif
