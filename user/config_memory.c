/* One limit for all memory that grows with the traffic, and what each stage may take of it. */
#include <inttypes.h>

#include "config_option.h"

/* In sixteenths: what lasts through a burst needs most. One is left for buffers of a fixed size. */
static const struct share {
	const char *name;
	size_t off;
	unsigned part;
} shares[] = {
	{"wire_bytes", offsetof(struct config, wire.total_bytes), 8},
	{"queue_bytes", offsetof(struct config, ship.queue_bytes), 4},
	{"join_bytes", offsetof(struct config, join.waiting_bytes), 2},
	{NULL, offsetof(struct config, moesif.learn_consumers_bytes), 1},
};

#define SHARES (sizeof(shares) / sizeof(shares[0]))

static bool is_given(const struct config *c, const struct share *s)
{
	return s->name && c->layer[option_index(option_find(span_str(s->name)))] != LAYER_DEFAULT;
}

void config_settle_memory(struct config *c, struct report *r)
{
	uint64_t may = c->memory_bytes / 16 * 15, given = 0, least = 0;
	unsigned parts = 0;

	for (size_t i = 0; i < SHARES; i++) {
		if (is_given(c, &shares[i]))
			given += *(uint64_t *)option_field(c, shares[i].off);
		else
			parts += shares[i].part;
	}
	/* What is not given gets its share of the rest, and as much as anything can be done with. */
	least = (uint64_t)parts * (64u << 10);
	if (given + least > may) {
		report__error(r,
			"memory_bytes: wire_bytes, queue_bytes and join_bytes as given leave too little of its %" PRIu64
			" bytes: raise it to %" PRIu64 ", or lower them",
			c->memory_bytes, (given + least) / 15 * 16 + 16);
		return;
	}
	for (size_t i = 0; i < SHARES; i++)
		if (!is_given(c, &shares[i]))
			*(uint64_t *)option_field(c, shares[i].off) = (may - given) / parts * shares[i].part;
}
