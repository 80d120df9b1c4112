#include "base/stats.h"

uint64_t stats_values[STAT_COUNT_];

static const struct {
	const char *name, *help;
} texts[STAT_COUNT_] = {
#define X(name, help) {#name, help},
	STATS_LIST(X)
#undef X
};

const char *stats_name(enum counter s)
{
	return texts[s].name;
}

const char *stats_help(enum counter s)
{
	return texts[s].help;
}

void stats_reset(void)
{
	for (int i = 0; i < STAT_COUNT_; i++)
		stats_set((enum counter)i, 0);
}
