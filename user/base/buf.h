/* buf: a byte buffer that grows up to a maximum given at its creation.
 * Not thread-safe; the owner frees it with buf__free. A zeroed buf is valid and has maximum 0.
 */
#ifndef KT_BASE_BUF_H
#define KT_BASE_BUF_H

#include "base/span.h"

struct buf {
	char *p;
	size_t n;   /* bytes in use */
	size_t cap; /* bytes allocated */
	size_t max; /* n never passes this */
};

void buf__init(struct buf *b, size_t max);

/* Make room for n more bytes. 0, -ENOSPC (maximum would be passed), -ENOMEM. Contents untouched on failure. */
int buf__reserve(struct buf *b, size_t n);

/* Likewise, and no more than that is allocated: for what is known not to grow further. */
int buf__reserve_exact(struct buf *b, size_t n);

/* Append all or nothing; errors as buf__reserve. */
int buf__append(struct buf *b, const void *p, size_t n);
int buf__append_str(struct buf *b, const char *s);
int buf__append_span(struct buf *b, struct span s);
int buf__append_char(struct buf *b, char c);
/* printf-like; for short numbers and names, not for the hot path. Errors as buf__reserve. */
int buf__printf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Append as much as fits; returns how many bytes were taken (0 on ENOMEM). */
size_t buf__append_some(struct buf *b, const void *p, size_t n);

/* Drop n bytes at the front (the rest moves down). */
void buf__consume(struct buf *b, size_t n);

/* Empty it; keeps the allocation. */
void buf__clear(struct buf *b);

/* Memory returned, maximum kept. NULL is fine. */
void buf__free(struct buf *b);

static inline struct span buf_span(const struct buf *b)
{
	return (struct span){b->p, b->n};
}

#endif
