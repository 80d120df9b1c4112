/* Any bytes as code: what is found lies on a call and on a conditional jump, both within the bytes. */
#include <stdlib.h>

#include "capture/placement.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct placement p;
	uint32_t entry = placement_entry(data, size);

	if (entry && entry >= size)
		abort();
	if (!placement_find(data, size, &p))
		return 0;
	if (p.call >= size || p.jump >= size || p.jump != p.call + 7)
		abort();
	if (data[p.call] != 0xe8)
		abort();
	if (data[p.jump] != 0x7e && data[p.jump] != 0x7f && data[p.jump] != 0x0f)
		abort();
	return 0;
}
