#include "ops/loss.h"

#include <string.h>

#define RING_ADVICE "The agent did not keep up: raise ring_bytes, or give the agent more CPU."
#define MEMORY_ADVICE "Raise wire_bytes or connection_bytes, or capture less (body limits, filters)."
#define COLLECTOR_ADVICE                                                                                               \
	"The collector cannot be reached or is too slow: see its state; set spool_dir, raise spool_bytes."

/* Not here: bytes left out on purpose; what nginx itself refuses as no HTTP; calls whose upstream leg is missing, which
 * is what a service that cannot be reached looks like. */
const struct loss loss_table[] = {
	{STAT_capture_lost_data, "records", RING_ADVICE},
	{STAT_capture_lost_control, "records", RING_ADVICE},
	{STAT_capture_bad_records, "records", "Agent and kernel side do not fit each other: reinstall the agent."},
	{STAT_capture_faults, "payloads", "The memory was paged out or gone; a few are normal under memory pressure."},
	{STAT_capture_map_full, "connections",
		"More connections at once than the kernel side tracks: raise connections."},
	{STAT_wire_gap_lost, "bytes", RING_ADVICE},
	{STAT_wire_gap_fault, "bytes", "The memory was paged out or gone; a few are normal under memory pressure."},
	{STAT_wire_conns_over_limit, "connections", "Raise connections, wire_bytes or connection_bytes."},
	{STAT_wire_exchanges_dropped, "exchanges", MEMORY_ADVICE},
	{STAT_wire_bodies_dropped, "bodies", MEMORY_ADVICE},
	{STAT_join_ambiguous, "legs",
		"Without X-Kong-Request-Id two calls can look alike: let Kong send it (headers, headers_upstream)."},
	{STAT_txn_dropped_incomplete, "calls", "Their beginning was not seen: normal at start, else see lost records."},
	{STAT_txn_dropped_memory, "calls", "The machine has no memory left for the agent."},
	{STAT_txn_dropped_too_large, "calls",
		"Even without bodies they are beyond the collector's limit: mask headers."},
	{STAT_output_errors, "events", "The reader of the output is too slow, or the disk is full."},
	{STAT_queue_dropped_full, "events", COLLECTOR_ADVICE},
	{STAT_ship_dropped_poison, "events", "The collector refuses them: the log names the reason; please report it."},
	{STAT_ship_dropped_too_large, "events", "Lower event_limit or the body limits."},
	{STAT_ship_dropped_expired, "events", COLLECTOR_ADVICE},
	{STAT_ship_dropped_shutdown, "events", "Raise shutdown_timeout or set spool_dir."},
	{STAT_ship_dropped_spool, "events", COLLECTOR_ADVICE},
	{STAT_ship_spool_corrupt, "batches", "The disk under spool_dir loses data."},
};

const size_t loss_count = sizeof(loss_table) / sizeof(loss_table[0]);

uint64_t loss_sum(void)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < loss_count; i++) {
		uint64_t n = stats_get(loss_table[i].counter);

		sum += strcmp(loss_table[i].unit, "bytes") == 0 ? (n + 1023) / 1024 : n;
	}
	return sum;
}
