/* json_out: writes JSON text into a buf. Errors stick: write on, look at `err` at the end.
 * Strings come out as valid UTF-8 whatever goes in: each byte that belongs to no character becomes U+FFFD.
 */
#ifndef KT_MOESIF_JSON_OUT_H
#define KT_MOESIF_JSON_OUT_H

#include "base/buf.h"

struct json_out {
	struct buf *b;
	int err; /* 0 or the first error of buf__reserve */
};

void json_put_slow(struct json_out *o, struct span s); /* for json_put_raw */

static inline void json_put_raw(struct json_out *o, struct span s)
{
	struct buf *b = o->b;

	if (o->err || !s.n)
		return;
	if (s.n > b->cap - b->n || s.n > b->max - b->n) {
		json_put_slow(o, s);
		return;
	}
	memcpy(b->p + b->n, s.p, s.n);
	b->n += s.n;
}

#define json_put_lit(o, text) json_put_raw(o, SPAN_LIT(text))
void json_put_string(struct json_out *o, struct span s);
/* A header's name: lower-cased. */
void json_put_string_lower(struct json_out *o, struct span s);
void json_put_u64(struct json_out *o, uint64_t v);
void json_put_i64(struct json_out *o, int64_t v);
/* Nanoseconds as milliseconds with three decimals. */
void json_put_ms(struct json_out *o, uint64_t ns);
/* A JSON text that was found valid; breaks of lines (white space only, then) become spaces. */
void json_put_verbatim(struct json_out *o, struct span text, bool line_break);
/* A string in base64. */
void json_put_base64(struct json_out *o, struct span data);

#endif
