#include <stdlib.h>

#include "capture/source.h"

void capture_options_default(struct capture_options *o)
{
	*o = (struct capture_options){
		.ring_bytes = 16 << 20,
		.call_bytes = 256 << 10,
		.poll_ms = 10,
	};
}

void capture_options_free(struct capture_options *o)
{
	for (size_t i = 0; i < o->nprefixes; i++)
		free(o->prefixes[i]);
	free(o->prefixes);
	free(o->pids);
	free(o->btf);
	free(o->force);
	*o = (struct capture_options){0};
}
