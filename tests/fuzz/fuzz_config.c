/* Any text as a configuration file and as a file of Kong's: no crash, and what is accepted can be printed, and read
 * back as the same.
 */
#include <stdio.h>
#include <stdlib.h>

#include "config_option.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void silent(void *ctx, enum log_level level, const char *module, const char *text)
{
	(void)ctx;
	(void)level;
	(void)module;
	(void)text;
}

static char *print(const struct config *c)
{
	char *text = NULL;
	size_t n;
	FILE *f = open_memstream(&text, &n);

	if (!f)
		abort();
	config__print(c, f);
	fclose(f);
	return text;
}

/* Secrets are printed as stars, which are no secret when they are read. */
static void forget_secrets(struct config *c)
{
	free(c->ship.application_id);
	c->ship.application_id = NULL;
	free(c->ship.proxy);
	c->ship.proxy = NULL;
}

static bool ascii(struct span text)
{
	for (size_t i = 0; i < text.n; i++)
		if ((unsigned char)text.p[i] > 0x7e)
			return false;
	return true;
}

static void print_and_read_back(struct config *c)
{
	struct config *again = config__new();
	struct report r = {.to_log = true};
	char *once, *twice;

	forget_secrets(c);
	memset(c->layer, LAYER_FILE, sizeof(c->layer));
	once = print(c);
	if (!again || config_parse_yaml(again, span_str(once), "again", &r))
		abort();
	memset(again->layer, LAYER_FILE, sizeof(again->layer));
	twice = print(again);
	if (strcmp(once, twice) != 0)
		abort();
	free(once);
	free(twice);
	config__free(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span text = span_of(data, size);
	struct report r = {.to_log = true};
	struct config *c;

	log_set_sink(silent, NULL);
	for (int kong = 0; kong < 2; kong++) {
		int err;

		c = config__new();
		if (!c)
			abort();
		r.errors = 0;
		err = kong ? config_parse_kong(c, text, "fuzz", &r) : config_parse_yaml(c, text, "fuzz", &r);
		if (!err != !r.errors)
			abort();
		if (!err && ascii(text))
			print_and_read_back(c);
		config__free(c);
	}
	return 0;
}
