#include "wire/message.h"

void message__init(struct message *m, const struct message_limits *l)
{
	*m = (struct message){0};
	buf__init(&m->method, l->header_bytes);
	buf__init(&m->target, l->header_bytes);
	buf__init(&m->authority, l->header_bytes);
	buf__init(&m->scheme, l->header_bytes);
	headers__init(&m->headers, l->header_bytes, l->header_count);
	headers__init(&m->trailers, l->header_bytes, l->header_count);
	buf__init(&m->body, l->body);
}

void message__clear_head(struct message *m)
{
	headers__clear(&m->headers);
	m->status = 0;
	m->head_done = false;
	m->t_first_ns = 0;
}

static size_t headers_mem(const struct headers *h)
{
	return h->cap + (size_t)h->fcap * sizeof(*h->fields);
}

size_t message__mem(const struct message *m)
{
	return m->method.cap + m->target.cap + m->authority.cap + m->scheme.cap + m->body.cap +
	       headers_mem(&m->headers) + headers_mem(&m->trailers);
}

void message__free(struct message *m)
{
	if (!m)
		return;
	buf__free(&m->method);
	buf__free(&m->target);
	buf__free(&m->authority);
	buf__free(&m->scheme);
	headers__free(&m->headers);
	headers__free(&m->trailers);
	buf__free(&m->body);
}
