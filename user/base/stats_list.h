/* The list of counters: X(name, help). Names read stage_noun_cause. Keep the groups together. */
#ifndef KT_BASE_STATS_LIST_H
#define KT_BASE_STATS_LIST_H

#define STATS_LIST(X)                                                                                                  \
	X(capture_records, "records read from the kernel or a recording")                                              \
	X(capture_bytes, "payload bytes read")                                                                         \
	X(capture_bad_records, "records refused because their shape was wrong")                                        \
	X(capture_lost_data, "data records the kernel could not place in the ring")                                    \
	X(capture_lost_control, "control records the kernel could not place in the ring")                              \
	X(capture_faults, "payloads the kernel could not read from the worker's memory")                               \
	X(capture_map_full, "connections the kernel had no room to track")                                             \
	X(capture_skipped_runs,                                                                                        \
		"times the kernel left out a program at some process's call, one being under way there")               \
	X(capture_left_out, "connections left out to stay within max_overhead_percent")                                \
	X(capture_calls, "system calls of workers that were looked at")                                                \
	X(capture_tls_calls, "probes hit in the TLS libraries of workers")                                             \
	X(wire_conns_opened, "connections seen")                                                                       \
	X(wire_conns_closed, "connections ended")                                                                      \
	X(wire_conns_not_http, "connections given up because they carry no HTTP")                                      \
	X(wire_conns_over_limit, "connections refused or given up at a limit")                                         \
	X(wire_gap_lost, "stream bytes missing: lost on the way (ring full)")                                          \
	X(wire_gap_limit, "stream bytes missing: beyond the capture limit")                                            \
	X(wire_gap_nodata, "stream bytes missing: moved without passing through memory (sendfile)")                    \
	X(wire_gap_fault, "stream bytes missing: worker's memory could not be read")                                   \
	X(wire_late_bytes, "bytes that came twice or late, dropped")                                                   \
	X(wire_resyncs, "times a stream found the next message after losing its place")                                \
	X(wire_unsynced_bytes, "bytes passed over while a stream had lost its place")                                  \
	X(wire_tunnel_in_bytes, "bytes that clients sent through upgraded connections (WebSocket, CONNECT)")           \
	X(wire_tunnel_out_bytes, "bytes that clients got through upgraded connections")                                \
	X(wire_messages, "HTTP messages parsed")                                                                       \
	X(wire_parse_errors, "messages given up because they are not HTTP as nginx reads it")                          \
	X(wire_exchanges, "exchanges handed on")                                                                       \
	X(wire_exchanges_dropped, "exchanges dropped at a limit")                                                      \
	X(wire_bodies_dropped, "bodies dropped to stay within memory")                                                 \
	X(join_client, "client exchanges taken in")                                                                    \
	X(join_upstream, "upstream exchanges taken in")                                                                \
	X(join_by_id, "transactions joined by request id")                                                             \
	X(join_by_evidence, "transactions joined by other evidence")                                                   \
	X(join_ambiguous, "upstream exchanges not joined because two calls fit")                                       \
	X(join_no_upstream, "transactions that had no upstream leg")                                                   \
	X(join_upstream_missing, "transactions whose upstream leg was expected and not seen")                          \
	X(join_upstream_orphans, "upstream exchanges that no call claimed")                                            \
	X(join_upstream_own, "calls that Kong made itself, left out")                                                  \
	X(join_not_proxy, "client exchanges on ports that are not proxy ports, left out")                              \
	X(txn_seen, "transactions seen")                                                                               \
	X(txn_filtered, "transactions filtered out by configuration")                                                  \
	X(txn_sampled_out, "transactions sampled out")                                                                 \
	X(txn_dropped_incomplete, "transactions dropped: not enough was seen to name the call")                        \
	X(txn_dropped_memory, "transactions dropped: no memory")                                                       \
	X(txn_dropped_too_large, "transactions dropped: event beyond the collector's limit")                           \
	X(txn_events, "events made")                                                                                   \
	X(output_written, "events written to the output")                                                              \
	X(output_errors, "events the output could not take")                                                           \
	X(queue_dropped_full, "events dropped because the queue was full and nothing could be spooled")                \
	X(ship_sent_events, "events the collector accepted")                                                           \
	X(ship_sent_batches, "batches the collector accepted")                                                         \
	X(ship_retries, "batches sent again")                                                                          \
	X(ship_requests, "requests to the collector that ended, well or not")                                          \
	X(ship_request_us, "microseconds that they took")                                                              \
	X(ship_failed_requests, "requests to the collector that failed")                                               \
	X(ship_dropped_poison, "events dropped because the collector refuses them (400)")                              \
	X(ship_dropped_too_large, "events dropped because the collector finds them too large (413)")                   \
	X(ship_dropped_expired, "events dropped because they grew older than the collector accepts")                   \
	X(ship_dropped_shutdown, "events dropped because the time to deliver at the end ran out")                      \
	X(ship_dropped_spool, "events dropped because the spool was full or failed")                                   \
	X(ship_recovered_events, "events of an earlier run found in the spool")                                        \
	X(ship_spooled_events, "events written to the spool")                                                          \
	X(ship_unspooled_events, "events read back from the spool")                                                    \
	X(ship_spool_corrupt, "spool records that were damaged")

#endif
