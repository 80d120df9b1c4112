#include "moesif/regex.h"

#include <errno.h>
#include <stdlib.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#define NEST_MAX 50
#define MATCH_STEPS_MAX 20000
#define MATCH_HEAP_KIB 1024

struct regex {
	pcre2_code *code;
	pcre2_match_data *data;
	pcre2_match_context *limits;
};

static pcre2_code *compile(struct span pattern)
{
	pcre2_compile_context *ctx = pcre2_compile_context_create(NULL);
	pcre2_code *code = NULL;
	PCRE2_SIZE at;
	int err = 0;

	if (!ctx) {
		errno = ENOMEM;
		return NULL;
	}
	pcre2_set_max_pattern_length(ctx, REGEX_PATTERN_MAX);
	pcre2_set_parens_nest_limit(ctx, NEST_MAX);
	code = pcre2_compile((PCRE2_SPTR)pattern.p, pattern.n, PCRE2_NEVER_BACKSLASH_C, &err, &at, ctx);
	pcre2_compile_context_free(ctx);
	if (!code)
		errno = err == PCRE2_ERROR_HEAP_FAILED ? ENOMEM : EINVAL;
	return code;
}

struct regex *regex__new(struct span pattern)
{
	struct regex *r = calloc(1, sizeof(*r));

	if (!r)
		return NULL;
	r->code = compile(pattern.p ? pattern : SPAN_LIT(""));
	if (!r->code) {
		int err = errno;

		free(r);
		errno = err;
		return NULL;
	}
	r->data = pcre2_match_data_create_from_pattern(r->code, NULL);
	r->limits = pcre2_match_context_create(NULL);
	if (!r->data || !r->limits) {
		regex__free(r);
		errno = ENOMEM;
		return NULL;
	}
	pcre2_set_match_limit(r->limits, MATCH_STEPS_MAX);
	pcre2_set_depth_limit(r->limits, MATCH_STEPS_MAX);
	pcre2_set_heap_limit(r->limits, MATCH_HEAP_KIB);
	return r;
}

bool regex__search(struct regex *r, struct span subject)
{
	if (subject.n > REGEX_SUBJECT_MAX)
		return false;
	if (!subject.p)
		subject = SPAN_LIT("");
	return pcre2_match(r->code, (PCRE2_SPTR)subject.p, subject.n, 0, 0, r->data, r->limits) >= 0;
}

void regex__free(struct regex *r)
{
	if (!r)
		return;
	pcre2_match_data_free(r->data);
	pcre2_match_context_free(r->limits);
	pcre2_code_free(r->code);
	free(r);
}
