/* headers: the header section of one message as it was on the wire: order, repetition and letter case kept.
 * Bounded by count and by bytes. Each field carries the hash of its lower-cased name, taken once.
 */
#ifndef KT_WIRE_HEADERS_H
#define KT_WIRE_HEADERS_H

#include "base/span.h"

struct header_field {
	uint32_t name_off, name_len;
	uint32_t value_off, value_len;
	uint32_t hash; /* header_hash of the name */
};

/* Bytes that stand with the fields and are none of them. */
struct kept {
	uint32_t off, n;
};

struct headers {
	char *bytes;
	struct header_field *fields;
	uint32_t n, cap;      /* bytes used, allocated */
	uint32_t between;     /* of those used: what is part of no field, not counted by max_bytes */
	uint32_t count, fcap; /* fields used, allocated */
	uint32_t max_bytes, max_count;
	uint32_t names; /* bits of the names that are there, by length and first letter */
	bool overflow;	/* something did not fit and was left out */
	bool open;	/* the last field is being built */
	bool joint;	/* the bytes lie behind the fields, in one allocation */
};

/* Case-insensitive, unseeded on purpose: names that code looks for are hashed once at start. */
uint32_t header_hash(struct span name);

void headers__init(struct headers *h, uint32_t max_bytes, uint32_t max_count);
/* Copies both. 0; -ENOSPC at a maximum (sets overflow); -ENOMEM. */
int headers__add(struct headers *h, struct span name, struct span value);
/* Incremental building, as parsers deliver names and values in pieces: begin a field, then append to its name until
 * the first byte of value, then to its value. Errors as headers__add. */
int headers__begin(struct headers *h);
int headers__name(struct headers *h, struct span part);
int headers__value(struct headers *h, struct span part);
/* Call when the field is complete: trims the value's trailing OWS and computes the hash. */
void headers__end(struct headers *h);
/* What belongs to the head and is no field, as the parts of a start line: copied, each piece counted by itself against
 * the maximum of bytes. No field may be open. 0; -ENOSPC, -ENOMEM: *ret untouched. */
int headers__keep(struct headers *h, struct span s, struct kept *ret);
struct span headers__kept(const struct headers *h, struct kept k);
/* The section is complete, its last field ended: gives back what it does not need. Without memory for that it stays as
 * it is. */
void headers__fit(struct headers *h);
/* Forget the field that is being built. A field that did not fit is forgotten already; what is given of it is refused.
 */
void headers__abandon(struct headers *h);

/* Fields of which each line follows the one before, with one copy of all: place each in turn, then adopt the piece of
 * memory that is made up of their lines. A line is the name, ':' and at most one byte more, the value, and CR LF.
 * 0; -ENOSPC: no room for the field, which was not placed; -ENOMEM. */
int headers__place(struct headers *h, struct span name, struct span value);
/* To be called before anything else once fields were placed; `count` is their number. 0; -ENOMEM: they are gone. */
int headers__adopt(struct headers *h, struct span lines, uint32_t count);

struct span headers__name_at(const struct headers *h, uint32_t i);
struct span headers__value_at(const struct headers *h, uint32_t i);
/* Index of the first field with this name (ASCII case ignored) at or after `from`, or -1. */
int headers__find(const struct headers *h, struct span name, uint32_t from);
/* The value of the first field with this name; p NULL when there is none (an empty value has p set). */
struct span headers__get(const struct headers *h, struct span name);
uint32_t headers__count_of(const struct headers *h, struct span name);
/* Makes an empty section a copy of one of which no field is being built. 0; -ENOMEM: it stays empty. */
int headers__copy(struct headers *h, const struct headers *from);
/* Empty it; keeps the allocation and the maxima. */
void headers__clear(struct headers *h);
/* Memory returned, maxima kept. NULL is fine. */
void headers__free(struct headers *h);

#endif
