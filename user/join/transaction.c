#include "join/transaction.h"

#include <stdlib.h>

void transaction__free(struct transaction *t)
{
	if (!t)
		return;
	for (uint32_t i = 0; i < t->upstream_count; i++)
		exchange__free(t->upstream[i]);
	free(t->upstream);
	exchange__free(t->client);
	free(t);
}
