#include "wire/budget.h"

#include "base/stats.h"

static bool fits(const struct wire_budget *b, uint64_t n)
{
	return b->used <= b->max && n <= b->max - b->used;
}

static bool is_lent(const struct wire_budget *b, const struct exchange *x)
{
	return x->older || x->newer || b->eldest == x;
}

void wire_budget__lend(struct wire_budget *b, struct exchange *x)
{
	if (is_lent(b, x))
		return;
	x->older = b->newest;
	if (b->newest)
		b->newest->newer = x;
	else
		b->eldest = x;
	b->newest = x;
}

void wire_budget__end_loan(struct wire_budget *b, struct exchange *x)
{
	if (!is_lent(b, x))
		return;
	if (x->older)
		x->older->newer = x->newer;
	else
		b->eldest = x->newer;
	if (x->newer)
		x->newer->older = x->older;
	else
		b->newest = x->older;
	x->older = x->newer = NULL;
}

void wire_budget__charge(struct wire_budget *b, struct exchange *x, size_t mem)
{
	b->used += mem - x->mem;
	if (x->conn_used)
		*x->conn_used += mem - x->mem;
	x->mem = mem;
}

/* What cannot grow any more or has to make room goes as a whole. */
static void call_in(struct wire_budget *b, struct exchange *x)
{
	struct message *both[] = {&x->req, &x->resp};

	for (int i = 0; i < 2; i++) {
		if (!both[i]->body.cap)
			continue;
		wire_budget__charge(b, x, x->mem - both[i]->body.cap);
		message__drop_body(both[i]);
	}
	wire_budget__end_loan(b, x);
}

bool wire_budget__room(struct wire_budget *b, uint64_t n)
{
	while (!fits(b, n) && b->eldest)
		call_in(b, b->eldest);
	return fits(b, n);
}

bool wire_budget__room_for_new(struct wire_budget *b, uint64_t n)
{
	return wire_budget__room(b, n + b->max / 16);
}
