#include "ops/metrics_counters.h"

#include <stdio.h>

#include "base/stats.h"

struct member {
	enum counter counter;
	const char *value; /* of the label */
};

#define MEMBERS_MAX 8

struct family {
	const char *name, *label, *help;    /* label NULL: one counter under another name */
	struct member members[MEMBERS_MAX]; /* ends with a value of NULL, or is full */
};

static const struct family families[] = {
	{"kongtap_transactions_seen_total", NULL, "calls that were seen, whatever became of them",
		{{STAT_txn_seen, ""}}},
	{"kongtap_capture_lost_records_total", "ring", "records that the kernel could not place in a ring",
		{{STAT_capture_lost_data, "data"}, {STAT_capture_lost_control, "control"}}},
	{"kongtap_stream_missing_bytes_total", "cause",
		"stream bytes that were not seen: lost (ring full), limit (left out on purpose), nodata (sendfile), "
		"fault "
		"(memory could not be read)",
		{{STAT_wire_gap_lost, "lost"}, {STAT_wire_gap_limit, "limit"}, {STAT_wire_gap_nodata, "nodata"},
			{STAT_wire_gap_fault, "fault"}}},
	{"kongtap_connections_given_up_total", "cause", "connections whose calls are not captured",
		{{STAT_wire_conns_not_http, "not_http"}, {STAT_wire_conns_over_limit, "limit"}}},
	{"kongtap_legs_total", "leg", "exchanges taken in for joining",
		{{STAT_join_client, "client"}, {STAT_join_upstream, "upstream"}}},
	{"kongtap_joined_calls_total", "by",
		"calls by how their upstream leg was found: id, evidence, none (Kong answered by itself), missing "
		"(expected and "
		"not seen)",
		{{STAT_join_by_id, "id"}, {STAT_join_by_evidence, "evidence"}, {STAT_join_no_upstream, "none"},
			{STAT_join_upstream_missing, "missing"}}},
	{"kongtap_unjoined_legs_total", "cause", "upstream legs that belong to no call",
		{{STAT_join_ambiguous, "ambiguous"}, {STAT_join_upstream_orphans, "orphan"}}},
	{"kongtap_legs_left_out_total", "cause", "exchanges that are no proxied calls",
		{{STAT_join_upstream_own, "made_by_kong"}, {STAT_join_not_proxy, "not_a_proxy_port"}}},
	{"kongtap_transactions_total", "outcome", "what became of the calls that were seen",
		{{STAT_txn_events, "event"}, {STAT_txn_filtered, "filtered"}, {STAT_txn_sampled_out, "sampled_out"},
			{STAT_txn_dropped_incomplete, "dropped_incomplete"},
			{STAT_txn_dropped_memory, "dropped_memory"},
			{STAT_txn_dropped_too_large, "dropped_too_large"}}},
	{"kongtap_output_events_total", "result", "events for the output on a terminal or in a file",
		{{STAT_output_written, "written"}, {STAT_output_errors, "dropped"}}},
	{"kongtap_ship_dropped_events_total", "cause", "events that the collector will never get",
		{{STAT_queue_dropped_full, "queue_full"}, {STAT_ship_dropped_poison, "refused"},
			{STAT_ship_dropped_too_large, "too_large"}, {STAT_ship_dropped_expired, "expired"},
			{STAT_ship_dropped_shutdown, "shutdown"}, {STAT_ship_dropped_spool, "spool"}}},
	{"kongtap_spool_moved_events_total", "direction", "events written to the spool and read back from it",
		{{STAT_ship_spooled_events, "in"}, {STAT_ship_unspooled_events, "out"}}},
};

#define FAMILIES (sizeof(families) / sizeof(families[0]))

static bool in_family(enum counter c)
{
	for (size_t f = 0; f < FAMILIES; f++)
		for (size_t i = 0; i < MEMBERS_MAX && families[f].members[i].value; i++)
			if (families[f].members[i].counter == c)
				return true;
	return c == STAT_ship_requests || c == STAT_ship_request_us;
}

static void put_family(struct expose *x, const struct family *f)
{
	expose__family(x, f->name, METRIC_COUNTER, f->help);
	for (size_t i = 0; i < MEMBERS_MAX && f->members[i].value; i++) {
		char label[64];

		if (f->label)
			expose_label(label, sizeof(label), f->label, span_str(f->members[i].value));
		expose__u64(x, f->name, f->label ? label : NULL, stats_get(f->members[i].counter));
	}
}

/* How long the collector takes: two counters that are one summary. */
static void put_requests(struct expose *x)
{
	expose__family(x, "kongtap_collector_request_seconds", METRIC_SUMMARY,
		"time that requests to the collector took, failed ones included");
	expose__seconds(x, "kongtap_collector_request_seconds_sum", NULL, stats_get(STAT_ship_request_us) * 1000);
	expose__u64(x, "kongtap_collector_request_seconds_count", NULL, stats_get(STAT_ship_requests));
}

void metrics_counters(struct expose *x)
{
	for (size_t f = 0; f < FAMILIES; f++)
		put_family(x, &families[f]);
	put_requests(x);
	for (int i = 0; i < STAT_COUNT_; i++) {
		enum counter c = (enum counter)i;
		char name[96];

		if (in_family(c))
			continue;
		snprintf(name, sizeof(name), "kongtap_%s_total", stats_name(c));
		expose__family(x, name, METRIC_COUNTER, stats_help(c));
		expose__u64(x, name, NULL, stats_get(c));
	}
}
