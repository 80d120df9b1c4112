#include "base/clock.h"

#include <time.h>

static uint64_t read_clock(clockid_t id)
{
	struct timespec ts;

	clock_gettime(id, &ts);
	return (uint64_t)ts.tv_sec * 1000000000ull + (uint64_t)ts.tv_nsec;
}

uint64_t clock_mono_ns(void)
{
	return read_clock(CLOCK_MONOTONIC);
}

uint64_t clock_wall_ns(void)
{
	return read_clock(CLOCK_REALTIME);
}

int64_t clock_offset_ns(void)
{
	int64_t best = 0;
	uint64_t best_width = UINT64_MAX;

	/* The narrowest of a few readings: a preemption between the reads shows as a wide one. */
	for (int i = 0; i < 5; i++) {
		uint64_t before = clock_mono_ns();
		uint64_t wall = clock_wall_ns();
		uint64_t after = clock_mono_ns();

		if (after - before < best_width) {
			best_width = after - before;
			best = (int64_t)(wall - (before + (after - before) / 2));
		}
	}
	return best;
}

static char *two_digits(char *p, unsigned v)
{
	*p++ = (char)('0' + v / 10);
	*p++ = (char)('0' + v % 10);
	return p;
}

void clock_iso(uint64_t wall_ns, char out[CLOCK_ISO_LEN + 1])
{
	uint64_t secs = wall_ns / 1000000000ull;
	unsigned ms = (unsigned)(wall_ns / 1000000ull % 1000);
	uint64_t days = secs / 86400;
	unsigned rest = (unsigned)(secs % 86400);
	/* Civil date from a day number: years begin in March, so that the leap day is the last of its year. */
	uint64_t z = days + 719468;
	uint64_t era = z / 146097;
	unsigned doe = (unsigned)(z - era * 146097);
	unsigned yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
	unsigned doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
	unsigned mp = (5 * doy + 2) / 153;
	unsigned day = doy - (153 * mp + 2) / 5 + 1;
	unsigned month = mp < 10 ? mp + 3 : mp - 9;
	unsigned year = (unsigned)(yoe + era * 400) + (month <= 2);
	char *p = out;

	p = two_digits(p, year / 100 % 100);
	p = two_digits(p, year % 100);
	*p++ = '-';
	p = two_digits(p, month);
	*p++ = '-';
	p = two_digits(p, day);
	*p++ = 'T';
	p = two_digits(p, rest / 3600);
	*p++ = ':';
	p = two_digits(p, rest / 60 % 60);
	*p++ = ':';
	p = two_digits(p, rest % 60);
	*p++ = '.';
	*p++ = (char)('0' + ms / 100);
	p = two_digits(p, ms % 100);
	*p++ = 'Z';
	*p = '\0';
}
