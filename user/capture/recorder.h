/* recorder: writes the records that pass by as JSON lines, in the format of shared/reference/kong-recordings with more
 * fields, so that a replay gives the same events byte for byte.
 * The file holds raw customer traffic: it is created 0600.
 */
#ifndef KT_CAPTURE_RECORDER_H
#define KT_CAPTURE_RECORDER_H

#include "capture/record.h"

struct recorder;

/* First line: {"kongtap_recording":1,"version":…,"seed":…}; t_ns of every line is CLOCK_MONOTONIC, a line with call
 * "clock" says how far the wall clock is ahead of it. NULL and errno when the file cannot be made. */
struct recorder *recorder__open(const char *path, uint64_t seed);
/* 0 or the negative errno of the first failed write (after which nothing more is written). */
int recorder__write(struct recorder *r, const struct record *rec);
int recorder__flush(struct recorder *r);
int recorder__close(struct recorder *r); /* NULL is fine */

#endif
