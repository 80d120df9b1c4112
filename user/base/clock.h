/* clock: the two clocks of the agent and the link between them.
 * Fragments carry CLOCK_MONOTONIC nanoseconds (bpf_ktime_get_ns). Events need wall-clock time. The offset is taken
 * at start and again on clock_resync; a recording carries it in its first line, so that a replay gives the same times.
 */
#ifndef KT_BASE_CLOCK_H
#define KT_BASE_CLOCK_H

#include <stddef.h>
#include <stdint.h>

uint64_t clock_mono_ns(void);
uint64_t clock_wall_ns(void);

/* wall - mono right now, nanoseconds, read so that a preemption between the two reads is noticed and repeated. */
int64_t clock_offset_ns(void);

#define CLOCK_ISO_LEN 24 /* 2026-11-23T15:22:40.007Z */

/* Writes exactly CLOCK_ISO_LEN characters and a NUL: UTC, three zero-padded digits of milliseconds (rounded down). */
void clock_iso(uint64_t wall_ns, char out[CLOCK_ISO_LEN + 1]);

#endif
