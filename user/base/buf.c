#include "base/buf.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

void buf__init(struct buf *b, size_t max)
{
	*b = (struct buf){.max = max};
}

static int grow(struct buf *b, size_t cap)
{
	char *p = realloc(b->p, cap);

	if (!p)
		return -ENOMEM;
	b->p = p;
	b->cap = cap;
	return 0;
}

int buf__reserve(struct buf *b, size_t n)
{
	size_t cap = b->cap ? b->cap : 64;

	if (b->n > b->max || n > b->max - b->n)
		return -ENOSPC;
	if (n <= b->cap - b->n)
		return 0;
	while (cap < b->n + n)
		cap = cap > b->max / 2 ? b->max : cap * 2;
	return grow(b, cap);
}

int buf__reserve_exact(struct buf *b, size_t n)
{
	if (b->n > b->max || n > b->max - b->n)
		return -ENOSPC;
	return n <= b->cap - b->n ? 0 : grow(b, b->n + n);
}

int buf__append(struct buf *b, const void *p, size_t n)
{
	int err;

	if (!n)
		return 0;
	err = buf__reserve(b, n);
	if (err)
		return err;
	memcpy(b->p + b->n, p, n);
	b->n += n;
	return 0;
}

int buf__append_str(struct buf *b, const char *s)
{
	return buf__append(b, s, strlen(s));
}

int buf__append_span(struct buf *b, struct span s)
{
	return buf__append(b, s.p, s.n);
}

int buf__append_char(struct buf *b, char c)
{
	return buf__append(b, &c, 1);
}

int buf__printf(struct buf *b, const char *fmt, ...)
{
	char text[512];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (n < 0 || (size_t)n >= sizeof(text))
		return -ENOSPC;
	return buf__append(b, text, (size_t)n);
}

size_t buf__append_some(struct buf *b, const void *p, size_t n)
{
	size_t room = b->max > b->n ? b->max - b->n : 0;

	if (n > room)
		n = room;
	return buf__append(b, p, n) ? 0 : n;
}

void buf__consume(struct buf *b, size_t n)
{
	if (n >= b->n) {
		b->n = 0;
		return;
	}
	if (!n)
		return;
	memmove(b->p, b->p + n, b->n - n);
	b->n -= n;
}

void buf__clear(struct buf *b)
{
	b->n = 0;
}

void buf__free(struct buf *b)
{
	if (!b)
		return;
	free(b->p);
	*b = (struct buf){.max = b->max};
}
