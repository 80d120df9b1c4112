/* Authorization values: whoever they name is named in clean text, and never by a password. */
#include <stdlib.h>

#include "moesif/json_scan.h"
#include "moesif/token.h"
#include "moesif/utf8.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool ok)
{
	if (!ok)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct span fields[] = {{"sub", 3}, {"a.b", 3}, {"org.team.id", 11}};
	struct token t;
	struct buf store, claim;

	buf__init(&store, 1 << 20);
	buf__init(&claim, 1 << 20);
	check(token_parse(span_of(data, size), &store, &t) == 0);
	if (t.kind == TOKEN_BASIC)
		check(t.user.n && !memchr(t.user.p, ':', t.user.n) && t.user.p[t.user.n] == ':');
	if (t.kind == TOKEN_CLAIMS) {
		check(json_valid(t.claims, NULL) && t.claims.p[0] == '{');
		for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
			buf__clear(&claim);
			int r = token_claim(t.claims, fields[i], &claim);

			check(r == 0 || r == 1);
			check((r == 1) == (claim.n > 0) && claim.n <= TOKEN_TEXT_MAX && utf8_valid(buf_span(&claim)));
		}
	}
	buf__free(&store);
	buf__free(&claim);
	return 0;
}
