/* intake: from the kernel's raw records to struct record, in an order that makes sense. There are two rings: the
 * control records (connections opened and closed, processes come and gone) have one of their own, so that a burst of
 * data never costs them. Merging the two again:
 *
 * - A record's time is taken before its room is reserved, and a worker makes its calls one after the other. So what was
 *   sent on the control ring up to the time of a data record comes before that data record.
 * - A data record that says that its connection was opened just now has its OPEN on the control ring already.
 * - When the data ring has been read up to where it was filled after the control ring had been drained, everything that
 *   had been drained by then may be handed on.
 */
#ifndef KT_CAPTURE_INTAKE_H
#define KT_CAPTURE_INTAKE_H

#include "capture/record.h"

enum proc_what { PROC_FORK = 1, PROC_EXEC, PROC_EXIT };

struct proc_event {
	enum proc_what what;
	uint64_t t_ns;
	uint32_t pid;
	uint32_t other; /* FORK: the parent */
	bool watched;	/* EXEC: it was watched until now */
};

struct intake_sink {
	struct record_sink record;
	void (*proc)(void *ctx, const struct proc_event *e); /* same ctx as below */
	/* Reads the control ring and gives all that is there to intake__control. */
	void (*drain)(void *ctx);
	void *ctx;
};

struct intake;

/* NULL and errno ENOMEM. */
struct intake *intake__new(const struct intake_sink *sink);
/* One record of the control ring: kept until its turn comes. A malformed one is counted and dropped. */
void intake__control(struct intake *in, const void *raw, size_t len);
/* One record of the data ring: handed on at once, after the control records that belong before it. */
void intake__data(struct intake *in, const void *raw, size_t len);
/* Records found no room before what comes next: hands on that, as of the latest data record. */
void intake__lost(struct intake *in);
/* How many control records were kept at any time so far: take it before reading the data ring … */
uint64_t intake__mark(const struct intake *in);
/* … and give it back when the data ring was read to the end: these are handed on now. */
void intake__settle(struct intake *in, uint64_t mark);
/* Records handed on so far. */
uint64_t intake__count(const struct intake *in);
void intake__free(struct intake *in); /* NULL is fine; hands nothing on */

#endif
