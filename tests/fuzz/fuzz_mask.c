/* JSON scanner and masks: held against jansson; nothing masked stays, nothing else goes. */
#include <stdlib.h>

#include <jansson.h>

#include "moesif/json_scan.h"
#include "moesif/mask_json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool ok)
{
	if (!ok)
		abort();
}

static bool has_masked(const json_t *v)
{
	const char *key;
	json_t *child;
	size_t i;

	if (json_is_object(v)) {
		json_object_foreach((json_t *)(uintptr_t)v, key, child) if (strcmp(key, "password") == 0 ||
									    strcmp(key, "k") == 0 ||
									    has_masked(child)) return true;
	}
	json_array_foreach(v, i, child) if (has_masked(child)) return true;
	return false;
}

static size_t brackets(struct span s)
{
	size_t n = 0;

	for (size_t i = 0; i < s.n; i++)
		n += s.p[i] == '[' || s.p[i] == '{';
	return n;
}

static void check_masked(struct span text, const struct names *masks, bool valid)
{
	bool masked = false, breaks = false, again;
	struct buf out, twice;

	buf__init(&out, text.n);
	buf__init(&twice, text.n);
	check((mask_json(&out, text, masks, &masked, &breaks) == 0) == valid);
	if (valid) {
		json_t *root = json_loadb(out.p, out.n, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);

		check(json_valid(buf_span(&out), NULL));
		check(masked || span_eq(buf_span(&out), text));
		check(!root || !has_masked(root));
		check(mask_json(&twice, buf_span(&out), masks, &again, &breaks) == 0);
		check(!again && span_eq(buf_span(&out), buf_span(&twice)));
		json_decref(root);
	} else {
		check(out.n == 0);
	}
	buf__free(&out);
	buf__free(&twice);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span text = span_of(data, size);
	json_t *root = json_loadb(text.p ? text.p : "", size, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
	bool valid = json_valid(text, NULL);
	struct names masks;

	/* jansson passes over a NUL between tokens. */
	check(!root || valid || brackets(text) > JSON_DEPTH_MAX || memchr(text.p, 0, text.n));
	json_decref(root);
	names__init(&masks, false);
	names__add(&masks, SPAN_LIT("password"));
	names__add(&masks, SPAN_LIT("k"));
	check_masked(text, &masks, valid);
	names__free(&masks);
	return 0;
}
