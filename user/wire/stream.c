#include "wire/stream.h"

#include <errno.h>

#include "base/stats.h"

static void count_gap(enum gap_cause cause, uint64_t n)
{
	switch (cause) {
	case GAP_LIMIT:
		stats_add(STAT_wire_gap_limit, n);
		return;
	case GAP_NODATA:
		stats_add(STAT_wire_gap_nodata, n);
		return;
	case GAP_FAULT:
		stats_add(STAT_wire_gap_fault, n);
		return;
	case GAP_NONE:
	case GAP_LOST:
		break;
	}
	stats_add(STAT_wire_gap_lost, n);
}

int stream__take(struct stream *s, const struct rec_data *d, struct stream_step *ret)
{
	struct stream_step st = {.data = d->data, .fragment_start = true, .gap = d->gap, .cause = d->cause};
	uint64_t data_end, end, late;

	if (__builtin_add_overflow(d->pos, (uint64_t)d->data.n, &data_end) ||
		__builtin_add_overflow(data_end, d->gap, &end))
		return -EOVERFLOW;
	if (st.cause == GAP_NONE || (unsigned)st.cause > GAP_FAULT)
		st.cause = GAP_LOST;
	s->started = true;
	if (d->pos > s->next) {
		st.lost = d->pos - s->next;
		s->next = d->pos;
	}
	late = s->next - d->pos;
	if (late) {
		uint64_t of_data = late < st.data.n ? late : st.data.n;
		uint64_t of_gap = late - of_data < st.gap ? late - of_data : st.gap;

		stats_add(STAT_wire_late_bytes, of_data);
		st.data = span_skip(st.data, (size_t)of_data);
		st.gap -= of_gap;
		st.fragment_start = of_data == 0;
	}
	if (end > s->next)
		s->next = end;
	if (st.lost)
		count_gap(GAP_LOST, st.lost);
	if (st.gap)
		count_gap(st.cause, st.gap);
	*ret = st;
	return 0;
}

uint64_t stream__end(struct stream *s, uint64_t pos, enum gap_cause cause)
{
	uint64_t missing;

	if (pos <= s->next)
		return 0;
	missing = pos - s->next;
	s->next = pos;
	count_gap(cause, missing);
	return missing;
}
