#include "ship/live.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/stats.h"
#include "ship/cell.h"
#include "ship/pretty.h"

#define SECOND_NS 1000000000ull
#define FEW 50			   /* calls a second that still get a line each */
#define SAMPLE_NS (SECOND_NS / 10) /* between two lines when there are more */
#define MORE_ERRORS 5		   /* server errors a second that get a line beyond the sample */
#define FOOTER_NS (SECOND_NS / 2)

#define SPARE 3
#define CLEAR_LINE "\r\x1b[K"

void live__init(struct live *l, struct footer_source source, uint64_t now_ns)
{
	*l = (struct live){.source = source, .second_start = now_ns, .seen_before = stats_get(STAT_txn_seen)};
}

static void turn_second(struct live *l, uint64_t now_ns)
{
	uint64_t passed = now_ns - l->second_start, seen = stats_get(STAT_txn_seen);

	if (now_ns < l->second_start || passed < SECOND_NS)
		return;
	/* After a quiet time the "second" may have been a long one. */
	l->rate = l->calls * SECOND_NS / passed;
	l->seen_rate = (seen - l->seen_before) * SECOND_NS / passed;
	memcpy(l->class_rate, l->classes, sizeof(l->class_rate));
	memset(l->classes, 0, sizeof(l->classes));
	l->seen_before = seen;
	l->second_start = now_ns;
	l->calls = 0;
	l->shown = l->shown_errors = 0;
}

bool live__wants(struct live *l, const struct event *e, uint64_t now_ns)
{
	unsigned class = e->status >= 100 && e->status < 600 ? (unsigned)e->status / 100 : 0;
	bool many;

	turn_second(l, now_ns);
	l->calls++;
	l->classes[class]++;
	many = l->rate > FEW || l->shown >= FEW;
	if (many && now_ns - l->last_line < SAMPLE_NS) {
		/* What went wrong is what one looks for. */
		if (class != 5 || l->shown_errors >= MORE_ERRORS)
			return false;
		l->shown_errors++;
		return true;
	}
	l->last_line = now_ns;
	l->shown++;
	return true;
}

int live__clear(struct live *l, struct buf *out)
{
	int err = l->footer_on ? buf__append_str(out, CLEAR_LINE) : 0;

	if (!err)
		l->footer_on = false;
	return err;
}

bool live__due(const struct live *l, uint64_t now_ns)
{
	return !l->footer_on || now_ns - l->last_footer >= FOOTER_NS;
}

static uint64_t dropped_events(void)
{
	static const enum counter counters[] = {
		STAT_txn_dropped_incomplete,
		STAT_txn_dropped_memory,
		STAT_txn_dropped_too_large,
		STAT_output_errors,
		STAT_queue_dropped_full,
		STAT_ship_dropped_poison,
		STAT_ship_dropped_too_large,
		STAT_ship_dropped_expired,
		STAT_ship_dropped_shutdown,
		STAT_ship_dropped_spool,
	};
	uint64_t n = 0;

	for (size_t i = 0; i < sizeof(counters) / sizeof(counters[0]); i++)
		n += stats_get(counters[i]);
	return n;
}

static int put_rates(const struct live *l, struct buf *out)
{
	uint64_t all = 0;
	int err = buf__printf(out, "%" PRIu64 " calls/s", l->seen_rate);

	for (unsigned i = 0; i < 6; i++)
		all += l->class_rate[i];
	for (unsigned i = 1; i < 6 && !err; i++)
		if (l->class_rate[i])
			err = buf__printf(out, "  %uxx %" PRIu64 "%%", i, (l->class_rate[i] * 100 + all / 2) / all);
	if (!err && l->rate > FEW)
		err = buf__printf(out, " | a sample is shown");
	return err;
}

static int put_loss(struct buf *out)
{
	uint64_t bytes = stats_get(STAT_wire_gap_lost), dropped = dropped_events();
	char size[PRETTY_NUMBER_LEN];
	int err;

	if (!bytes && !dropped)
		return buf__append_str(out, " | nothing lost");
	pretty_size(size, bytes);
	err = buf__printf(out, " | lost %s", size);
	if (!err && dropped)
		err = buf__printf(out, ", %" PRIu64 " events", dropped);
	return err;
}

static int put_collector(struct buf *out, const struct ship_status *s)
{
	static const char *const states[] = {
		"not asked yet", "ok", "does not answer, retrying", "REFUSES the application id", "off"};
	const char *state = (size_t)s->state < sizeof(states) / sizeof(states[0]) ? states[s->state] : "?";
	int err = buf__printf(out, " | queue %" PRIu64, s->queued_events);

	if (!err && s->spooled_events)
		err = buf__printf(out, ", spool %" PRIu64, s->spooled_events);
	return err ? err : buf__printf(out, " | collector %s", state);
}

static int put_facts(const struct live *l, struct buf *out)
{
	struct footer_facts facts = {0};
	int err = put_rates(l, out);

	if (!err && l->source.fn) {
		l->source.fn(l->source.ctx, &facts);
		err = buf__printf(out, " | %" PRIu64 " worker%s", facts.workers, facts.workers == 1 ? "" : "s");
	}
	if (!err)
		err = put_loss(out);
	return err || !facts.ships ? err : put_collector(out, &facts.ship);
}

/* No padding: what comes behind it belongs to the terminal. */
static int put_cut(struct buf *out, struct span text, unsigned width)
{
	size_t mark = out->n;
	int err = cell_put(out, text, width);

	while (!err && out->n > mark && out->p[out->n - 1] == ' ')
		out->n--;
	return err;
}

int live__footer(struct live *l, struct buf *out, bool colour, unsigned width, uint64_t now_ns)
{
	char room[512];
	struct buf text = {.p = room, .cap = sizeof(room), .max = sizeof(room)};
	size_t mark = out->n;
	int err;

	turn_second(l, now_ns);
	/* Longer than the room is longer than most screens: what fits is shown. The last columns stay free: some
	 * terminals go on to the next line when the very last is written, and a terminal writes ^C behind what it
	 * shows. */
	put_facts(l, &text);
	err = buf__append_str(out, colour ? CLEAR_LINE "\x1b[2m" : CLEAR_LINE);
	if (!err)
		err = put_cut(out, buf_span(&text), width > SPARE ? width - SPARE : 1);
	if (!err)
		err = buf__append_str(out, colour ? "\x1b[0m" : "");
	if (err) {
		out->n = mark;
		return err;
	}
	l->footer_on = true;
	l->last_footer = now_ns;
	return 0;
}
