/* Remote configuration from a hostile collector: rates stay rates, patterns stay cheap. */
#include <stdlib.h>

#include "base/log.h"
#include "moesif/remote.h"
#include "moesif/rules.h"
#include "moesif/sample.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void silent(void *ctx, enum log_level level, const char *module, const char *text)
{
	(void)ctx, (void)level, (void)module, (void)text;
}

static struct span fact(void *ctx, enum remote_path path)
{
	(void)ctx;
	return path == PATH_STATUS ? SPAN_LIT("200") : SPAN_LIT("/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct remote_facts facts = {fact, NULL};
	struct rules_watch rules = {0};
	struct remote *r;

	log_set_sink(silent, NULL);
	rules_watch__report(&rules, span_of(data, size));
	r = remote__parse(span_of(data, size));
	if (!r)
		return 0;
	for (int plugin = 0; plugin < 2; plugin++) {
		int rate = sample_rate(r, plugin, SPAN_LIT("u"), SPAN_LIT("c"), &facts);

		if (rate < 0 || rate > 100 || sample_weight(rate) < 1 || sample_weight(rate) > 100)
			abort();
	}
	remote__free(r);
	return 0;
}
