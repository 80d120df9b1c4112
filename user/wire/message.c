#include "wire/message.h"

#include "base/stats.h"

void message__init(struct message *m, const struct message_limits *l)
{
	*m = (struct message){0};
	headers__init(&m->headers, l->header_bytes, l->header_count);
	headers__init(&m->trailers, l->header_bytes, l->header_count);
	buf__init(&m->body, l->body);
}

void message__clear_head(struct message *m)
{
	headers__clear(&m->headers);
	m->method = m->target = m->authority = m->scheme = (struct kept){0};
	m->status = 0;
	m->head_done = false;
	m->t_first_ns = 0;
}

void message__drop_body(struct message *m)
{
	if (!m->body_truncated)
		stats_inc(STAT_wire_bodies_dropped);
	m->body_truncated = true;
	buf__free(&m->body);
}

static size_t headers_mem(const struct headers *h)
{
	return h->cap + (size_t)h->fcap * sizeof(*h->fields);
}

size_t message__mem(const struct message *m)
{
	return m->body.cap + headers_mem(&m->headers) + headers_mem(&m->trailers);
}

void message__free(struct message *m)
{
	if (!m)
		return;
	headers__free(&m->headers);
	headers__free(&m->trailers);
	buf__free(&m->body);
}
