#include "capture/ends.h"

static void drop(struct ends *e, uint32_t i)
{
	e->n--;
	memmove(e->v + i, e->v + i + 1, (e->n - i) * sizeof(*e->v));
}

static struct end *find(struct ends *e, const struct conn_key *key, enum direction dir)
{
	for (uint32_t i = 0; i < e->n; i++)
		if (e->v[i].dir == dir && conn_key_eq(&e->v[i].key, key))
			return &e->v[i];
	return NULL;
}

static void said(struct ends *e, const struct conn_key *key, enum direction dir, uint64_t until)
{
	struct end *it = find(e, key, dir);

	if (!it) {
		if (e->n == ENDS_MAX)
			drop(e, 0);
		it = &e->v[e->n++];
	}
	*it = (struct end){.key = *key, .dir = dir, .until = until};
}

void ends__said(struct ends *e, const struct conn_key *key, const struct byte_range useless[2])
{
	for (int dir = DIR_IN; dir <= DIR_OUT; dir++)
		if (useless[dir].until && useless[dir].until != UINT64_MAX)
			said(e, key, (enum direction)dir, useless[dir].until);
}

void ends__over(struct ends *e, const struct conn_key *key)
{
	for (uint32_t i = e->n; i-- > 0;)
		if (conn_key_eq(&e->v[i].key, key))
			drop(e, i);
}

static void give(const struct end *it, struct record_sink sink)
{
	struct record rec = {
		.kind = REC_DATA,
		.t_ns = it->owed.t_ns,
		.data = {.key = it->key,
			.dir = it->dir,
			.pos = it->owed.pos - it->owed.owed,
			.gap = it->owed.owed,
			.cause = GAP_LIMIT},
	};

	sink.fn(sink.ctx, &rec);
}

uint32_t ends__round(struct ends *e, const struct kernel *k, struct record_sink sink)
{
	uint32_t given = 0, i = 0;

	while (i < e->n) {
		struct end it = e->v[i];

		if (it.known) {
			/* First out: the sink may say more. */
			drop(e, i);
			give(&it, sink);
			given++;
		} else if (!it.said) {
			/* A program that did not know yet may be running. */
			e->v[i++].said = true;
		} else if (kernel__owed(k, &it.key, it.dir, &it.owed) || it.owed.pos < it.until || !it.owed.owed ||
			   it.owed.owed > it.owed.pos) {
			drop(e, i);
		} else {
			e->v[i].owed = it.owed;
			e->v[i++].known = true;
		}
	}
	return given;
}
