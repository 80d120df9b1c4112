/* live: what a terminal shows while calls come in: a line each while they are few, a sample when they are many, and a
 * footer that is always the last line. Decides and renders; the bytes go into the caller's buffer.
 */
#ifndef KT_SHIP_LIVE_H
#define KT_SHIP_LIVE_H

#include "base/buf.h"
#include "moesif/event.h"
#include "ship/shipper.h"

/* What the footer tells beside the counters. */
struct footer_facts {
	uint64_t workers;
	bool ships; /* events go to a collector: `ship` is filled in */
	struct ship_status ship;
};

struct footer_source {
	void (*fn)(void *ctx, struct footer_facts *ret); /* NULL: no such facts */
	void *ctx;
};

struct live {
	struct footer_source source;
	uint64_t second_start; /* of the second that is running */
	uint64_t calls;	       /* events in it */
	uint64_t rate;	       /* events in the one before */
	uint64_t seen_before;  /* counter of transactions at its start */
	uint64_t seen_rate;
	uint64_t classes[6]; /* of the events in it, by status class; 0: none */
	uint64_t class_rate[6];
	unsigned shown, shown_errors; /* lines in it */
	uint64_t last_line, last_footer;
	bool footer_on; /* the last line on the screen is the footer */
};

void live__init(struct live *l, struct footer_source source, uint64_t now_ns);
/* Counts the event; should it get a line? */
bool live__wants(struct live *l, const struct event *e, uint64_t now_ns);
/* Before a line: takes the footer off the screen. Errors as buf__append. */
int live__clear(struct live *l, struct buf *out);
/* Is it time for a new footer? */
bool live__due(const struct live *l, uint64_t now_ns);
/* Draws it over the old one, within width columns. Errors as buf__append, nothing appended then. */
int live__footer(struct live *l, struct buf *out, bool colour, unsigned width, uint64_t now_ns);

#endif
