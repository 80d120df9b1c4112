#include "capture/source_ops.h"

int source__fd(const struct source *s)
{
	return s->ops->fd(s);
}

int source__activate(struct source *s)
{
	return s->ops->activate(s);
}

int source__poll(struct source *s, int timeout_ms)
{
	return s->ops->poll(s, timeout_ms);
}

void source__ignore(struct source *s, const struct conn_key *key)
{
	s->ops->ignore(s, key);
}

size_t source__workers(const struct source *s)
{
	return s->ops->workers(s);
}

int64_t source__wall_offset(const struct source *s)
{
	return s->ops->wall_offset(s);
}

void source__close(struct source *s)
{
	if (s)
		s->ops->close(s);
}
