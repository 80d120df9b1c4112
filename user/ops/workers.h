/* workers: the workers that are watched, and what of their traffic was seen. */
#ifndef KT_OPS_WORKERS_H
#define KT_OPS_WORKERS_H

#include "capture/record.h"
#include "ops/gauges.h"

struct worker_row {
	uint32_t pid, node_pid;
	uint32_t nports, tls_ports; /* of the proxy's; tls_ports of them expect TLS */
	uint64_t clear_bytes, tls_bytes;
	uint64_t seen_ns; /* time of its last record; 0: none yet */
	char prefix[WORKER_TEXT_MAX], pod[WORKER_TEXT_MAX], pod_namespace[WORKER_TEXT_MAX], container[WORKER_TEXT_MAX];
};

struct worker_table {
	uint32_t n, last;  /* last: the row that was asked for before */
	uint64_t left_out; /* workers that the table had no room for, ever */
	struct worker_row rows[OPS_WORKERS_MAX];
};

/* WORKER, EXIT and DATA count; others are passed over. */
void worker_table__on_record(struct worker_table *t, const struct record *rec);

#endif
