/* json_scan: RFC 8259 as it is written, one token a call, no allocation, no recursion. What it lets pass to the end can
 * stand inside an event as it is: the text is UTF-8, escapes are whole, no half of a surrogate pair stands alone.
 */
#ifndef KT_MOESIF_JSON_SCAN_H
#define KT_MOESIF_JSON_SCAN_H

#include "base/buf.h"

#define JSON_DEPTH_MAX 512

enum json_token {
	JT_BAD = -1, /* not JSON, or deeper than JSON_DEPTH_MAX; stays so */
	JT_DONE = 0, /* the one value has ended, and only white space followed */
	JT_OBJECT,
	JT_OBJECT_END,
	JT_ARRAY,
	JT_ARRAY_END,
	JT_KEY,
	JT_STRING,
	JT_NUMBER,
	JT_TRUE,
	JT_FALSE,
	JT_NULL,
};

struct json_scan {
	const char *p, *end;
	struct span text; /* of the last token; keys and strings without their quotes, escapes as they are */
	bool escaped;	  /* … and whether there are any */
	bool line_break;  /* white space held CR or LF so far */
	uint8_t state;
	uint16_t depth;
	uint64_t in_object[JSON_DEPTH_MAX / 64];
};

void json_scan__init(struct json_scan *s, struct span text);
enum json_token json_scan__next(struct json_scan *s);
/* After JT_OBJECT, JT_ARRAY: to behind their end. After JT_KEY: to behind the value. 0 or -EINVAL. */
int json_scan__skip(struct json_scan *s, enum json_token at);

/* The whole text is one JSON value (ret_line_break, may be NULL: white space in it breaks lines). */
bool json_valid(struct span text, bool *ret_line_break);

struct json_value {
	enum json_token kind; /* JT_OBJECT, JT_ARRAY, JT_STRING … */
	struct span text;     /* strings without quotes; objects and arrays whole, brackets included */
	bool escaped;
};

/* The last member of the object `text` with this name (as parsers have it); icase: ASCII case ignored.
 * 1 found, 0 not found, -EINVAL: text is not a JSON object (checked to its end). */
int json_member(struct span text, struct span name, bool icase, struct json_value *ret);
/* First element of the array `text`. Returns as json_member. */
int json_first_element(struct span text, struct json_value *ret);

/* Appends the text that a scanned string stands for. Errors as buf__reserve. */
int json_unescape(struct buf *out, struct span text);

#endif
