#include "ops/page.h"

#include <errno.h>
#include <openssl/sha.h>
#include <stdio.h>

#include "base/base64.h"
#include "page.html.h"

struct span page_text(void)
{
	return span_of(page_html, sizeof(page_html));
}

/* What stands between the first `open` and the next `close`; p NULL: not there. */
static struct span between(struct span text, struct span open, struct span close)
{
	const char *from = memmem(text.p, text.n, open.p, open.n), *to;
	struct span rest;

	if (!from)
		return (struct span){NULL, 0};
	rest = span_skip(text, (size_t)(from - text.p) + open.n);
	to = memmem(rest.p, rest.n, close.p, close.n);
	return to ? span_of(rest.p, (size_t)(to - rest.p)) : (struct span){NULL, 0};
}

#define DIGEST_TEXT 48

static int digest(struct span part, char out[DIGEST_TEXT])
{
	unsigned char sum[SHA256_DIGEST_LENGTH];
	struct buf text;
	int err = -EBADMSG;

	if (!part.p || !SHA256((const unsigned char *)part.p, part.n, sum))
		return err;
	buf__init(&text, DIGEST_TEXT - 1);
	err = base64_encode(&text, span_of(sum, sizeof(sum)));
	if (!err)
		snprintf(out, DIGEST_TEXT, "%.*s", (int)text.n, text.p);
	buf__free(&text);
	return err;
}

int page_policy(char out[PAGE_POLICY_LEN])
{
	char script[DIGEST_TEXT], style[DIGEST_TEXT];
	int err = digest(between(page_text(), SPAN_LIT("<script>"), SPAN_LIT("</script>")), script);

	if (!err)
		err = digest(between(page_text(), SPAN_LIT("<style>"), SPAN_LIT("</style>")), style);
	if (err)
		return err;
	snprintf(out, PAGE_POLICY_LEN,
		"default-src 'none'; script-src 'sha256-%s'; style-src 'sha256-%s'; connect-src 'self'; img-src data:; "
		"base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
		script, style);
	return 0;
}
