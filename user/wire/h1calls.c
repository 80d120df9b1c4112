#include "wire/h1calls.h"

#include <errno.h>
#include <stdlib.h>

void h1calls__init(struct h1calls *q, uint32_t max)
{
	*q = (struct h1calls){.max = max ? max : 1};
}

struct h1call *h1calls__push(struct h1calls *q)
{
	if (q->n >= q->max) {
		errno = ENOSPC;
		return NULL;
	}
	if (q->n == q->cap) {
		uint32_t cap = q->cap ? q->cap * 2 : 2;
		struct h1call *v = realloc(q->v, cap * sizeof(*v));

		if (!v) {
			errno = ENOMEM;
			return NULL;
		}
		q->v = v;
		q->cap = cap;
	}
	q->v[q->n] = (struct h1call){0};
	return &q->v[q->n++];
}

void h1calls__pop(struct h1calls *q)
{
	if (!q->n)
		return;
	q->n--;
	memmove(q->v, q->v + 1, q->n * sizeof(*q->v));
}

void h1calls__unpush(struct h1calls *q)
{
	if (q->n)
		q->n--;
}

struct h1call *h1calls__first(struct h1calls *q)
{
	return q->n ? &q->v[0] : NULL;
}

struct h1call *h1calls__last(struct h1calls *q)
{
	return q->n ? &q->v[q->n - 1] : NULL;
}

void h1calls__free(struct h1calls *q)
{
	free(q->v);
	*q = (struct h1calls){.max = q->max};
}
