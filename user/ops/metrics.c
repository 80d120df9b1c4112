#include "ops/metrics.h"

#include <inttypes.h>
#include <stdio.h>

#include "build_id.h"
#include "ops/governor.h"
#include "ops/metrics_counters.h"
#include "version.h"

/* A library is a label, and its path is whatever stands in a container: so many at most, the rest together. */
#define LIBRARIES_MAX 16

static void put_u64(struct expose *x, const char *name, const char *help, uint64_t v)
{
	expose__family(x, name, METRIC_GAUGE, help);
	expose__u64(x, name, NULL, v);
}

static void put_calls(struct expose *x, const struct tally *t)
{
	char labels[64];

	expose__family(x, "kongtap_calls_total", METRIC_COUNTER,
		"calls by method and status, of those that became events; a sampled one counts as all that it stands "
		"for");
	for (unsigned m = 0; m < METHOD_COUNT_; m++)
		for (unsigned class = 0; class < STATUS_CLASSES; class ++) {
			snprintf(labels, sizeof(labels), "method=\"%s\",status=\"%s\"",
				tally_method_name((enum tally_method)m), tally_class_name(class));
			expose__u64(x, "kongtap_calls_total", labels, t->calls[m][class]);
		}
	expose__family(x, "kongtap_call_body_bytes_total", METRIC_COUNTER, "bytes of bodies, before content decoding");
	expose__u64(x, "kongtap_call_body_bytes_total", "message=\"request\"", t->request_bytes);
	expose__u64(x, "kongtap_call_body_bytes_total", "message=\"response\"", t->response_bytes);
	expose__family(
		x, "kongtap_calls_truncated_total", METRIC_COUNTER, "calls with a body that is not whole in the event");
	expose__u64(x, "kongtap_calls_truncated_total", NULL, t->truncated);
	expose__family(
		x, "kongtap_calls_incomplete_total", METRIC_COUNTER, "calls that were not seen from beginning to end");
	expose__u64(x, "kongtap_calls_incomplete_total", NULL, t->incomplete);
}

static void put_histogram(struct expose *x, const char *name, const char *help, const struct histogram *h)
{
	char sample[96], le[48];
	uint64_t below = 0;

	expose__family(x, name, METRIC_HISTOGRAM, help);
	snprintf(sample, sizeof(sample), "%s_bucket", name);
	for (unsigned i = 0; i <= HISTOGRAM_BOUNDS; i++) {
		double bound = i < HISTOGRAM_BOUNDS ? (double)histogram_bounds[i] / 1e9 : 0;

		below += h->buckets[i];
		/* OpenMetrics writes whole numbers with a fraction too; both formats must give the same series. */
		if (i == HISTOGRAM_BOUNDS)
			snprintf(le, sizeof(le), "le=\"+Inf\"");
		else
			snprintf(
				le, sizeof(le), histogram_bounds[i] % 1000000000u ? "le=\"%g\"" : "le=\"%.1f\"", bound);
		expose__u64(x, sample, le, below);
	}
	snprintf(sample, sizeof(sample), "%s_sum", name);
	expose__seconds(x, sample, NULL, h->sum_ns);
	snprintf(sample, sizeof(sample), "%s_count", name);
	expose__u64(x, sample, NULL, below);
}

static void put_capture(struct expose *x, const struct ops_view *v)
{
	const struct gauges *g = &v->snap.gauges;

	put_u64(x, "kongtap_ready", "1 while calls are captured", v->ready);
	put_u64(x, "kongtap_workers", "nginx workers that are watched", g->workers);
	put_u64(x, "kongtap_connections", "connections that are open and watched", g->connections);
	put_u64(x, "kongtap_open_calls_bytes", "memory of the calls that are open", g->exchanges_bytes);
	put_u64(x, "kongtap_open_calls_limit_bytes", "memory that they may take", g->exchanges_limit_bytes);
	put_u64(x, "kongtap_ring_bytes", "size of the buffer between kernel and agent", g->ring_bytes);
	put_u64(x, "kongtap_ring_peak_bytes", "most bytes that waited in it in the last minute",
		v->snap.ring_peak_bytes);
}

/* Where there is no limit nothing is measured: the ratio is 0. */
static void put_overhead(struct expose *x, const struct gauges *g)
{
	static const char *const levels[] = {"everything", "no_bodies", "sampled", "detached"};
	char label[32];
	unsigned now = g->govern_level == GOVERNOR_DETACHED  ? 3
		       : g->govern_level >= GOVERNOR_SAMPLED ? 2
							     : (unsigned)g->govern_level;

	expose__family(x, "kongtap_overhead_ratio", METRIC_GAUGE,
		"what the agent and, as estimated, its probes took of all CPUs just now");
	expose__seconds(x, "kongtap_overhead_ratio", NULL, g->overhead * 100000);
	expose__family(x, "kongtap_overhead_limit_ratio", METRIC_GAUGE,
		"what they may take (max_overhead_percent), 0 for no limit");
	expose__seconds(x, "kongtap_overhead_limit_ratio", NULL, g->overhead_limit * 100000);
	expose__family(x, "kongtap_overhead_hooks_seconds_total", METRIC_COUNTER,
		"what the probes are reckoned to have taken from the gateway's workers");
	expose__seconds(x, "kongtap_overhead_hooks_seconds_total", NULL, g->hooks_ns);
	expose__family(x, "kongtap_overhead_hook_seconds", METRIC_GAUGE,
		"at what one run of them is reckoned: measured at the start where there is a limit, else as usual");
	expose__seconds(x, "kongtap_overhead_hook_seconds", "hook=\"system_call\"", g->hook_call_ns);
	expose__seconds(x, "kongtap_overhead_hook_seconds", "hook=\"tls_inside\"", g->hook_tls_inside_ns);
	expose__seconds(x, "kongtap_overhead_hook_seconds", "hook=\"tls_entry_and_return\"", g->hook_tls_entry_ns);
	expose__family(
		x, "kongtap_capture_level", METRIC_GAUGE, "1 for what is captured now, to stay within the limit");
	for (unsigned i = 0; i < 4; i++) {
		snprintf(label, sizeof(label), "level=\"%s\"", levels[i]);
		expose__u64(x, "kongtap_capture_level", label, i == now);
	}
	put_u64(x, "kongtap_capture_one_of_connections", "one accepted connection of so many is captured",
		1u << governor_shift(g->govern_level));
}

static enum tls_placement placement_of(const struct tls_gauge *t)
{
	return tls_placement_of(t->probed, t->placed);
}

static bool alike(const struct tls_gauge *a, const struct tls_gauge *b)
{
	return placement_of(a) == placement_of(b) && !strcmp(a->library, b->library);
}

/* Has an earlier row the same labels? Then it has counted this one. */
static bool counted_before(const struct gauges *g, uint32_t i)
{
	for (uint32_t j = 0; j < i; j++)
		if (alike(&g->tls[i], &g->tls[j]))
			return true;
	return false;
}

static uint64_t count_like(const struct gauges *g, uint32_t i)
{
	uint64_t n = 0;

	for (uint32_t j = i; j < g->ntls; j++)
		n += alike(&g->tls[i], &g->tls[j]);
	return n;
}

static void put_tls(struct expose *x, const struct gauges *g)
{
	static const char *const placements[TLS_PLACEMENTS] = {"none", "inside", "entry_and_return"};
	static const char name[] = "kongtap_tls_workers";
	char labels[OPS_TLS_TEXT * 2 + 64];
	uint64_t others[TLS_PLACEMENTS];
	unsigned rows = 0;

	memcpy(others, g->tls_beyond, sizeof(others));

	expose__family(x, name, METRIC_GAUGE,
		"workers by TLS library and where its probes are: inside (cheap), entry_and_return, none (its TLS is "
		"not seen)");
	for (uint32_t i = 0; i < g->ntls; i++) {
		size_t at;

		if (counted_before(g, i))
			continue;
		if (rows++ >= LIBRARIES_MAX) {
			others[placement_of(&g->tls[i])] += count_like(g, i);
			continue;
		}
		expose_label(labels, sizeof(labels) - 48, "library", span_str(g->tls[i].library));
		at = strlen(labels);
		snprintf(labels + at, sizeof(labels) - at, ",placement=\"%s\"", placements[placement_of(&g->tls[i])]);
		expose__u64(x, name, labels, count_like(g, i));
	}
	for (unsigned i = 0; i < TLS_PLACEMENTS; i++) {
		snprintf(labels, sizeof(labels), "library=\"others\",placement=\"%s\"", placements[i]);
		if (others[i])
			expose__u64(x, name, labels, others[i]);
	}
}

static void put_delivery(struct expose *x, const struct gauges *g)
{
	static const char *const states[COLLECTOR_STATES] = {"idle", "ok", "retrying", "refused", "off"};
	enum collector_state now = g->ships ? g->collector : COLLECTOR_OFF;
	char label[32];

	expose__family(x, "kongtap_collector_state", METRIC_GAUGE,
		"1 for the state that holds: idle (not asked yet), ok, retrying, refused (application id), off "
		"(nothing is shipped)");
	for (unsigned i = 0; i < COLLECTOR_STATES; i++) {
		snprintf(label, sizeof(label), "state=\"%s\"", states[i]);
		expose__u64(x, "kongtap_collector_state", label, i == (unsigned)now);
	}
	put_u64(x, "kongtap_collector_last_status", "HTTP status of the collector's last answer, 0 for none",
		g->http_status > 0 ? (uint64_t)g->http_status : 0);
	put_u64(x, "kongtap_queue_events", "events that wait in memory", g->queued_events);
	put_u64(x, "kongtap_queue_bytes", "bytes of the events that wait in memory", g->queued_bytes);
	put_u64(x, "kongtap_queue_limit_bytes", "bytes that may wait in memory", g->queue_limit_bytes);
	put_u64(x, "kongtap_spool_events", "events that wait on disk", g->spooled_events);
	put_u64(x, "kongtap_spool_bytes", "disk space of the spool", g->spooled_bytes);
	put_u64(x, "kongtap_spool_limit_bytes", "disk space that the spool may take, 0 without a spool",
		g->spool_limit_bytes);
}

/* By the names that Prometheus' own client libraries use. */
static void put_process(struct expose *x, const struct ops_view *v)
{
	const struct process_facts *p = &v->snap.process;

	expose__family(x, "process_cpu_seconds_total", METRIC_COUNTER, "CPU time of the agent, user and system");
	expose__seconds(x, "process_cpu_seconds_total", NULL, p->cpu_ns);
	put_u64(x, "process_resident_memory_bytes", "resident memory of the agent", p->resident_bytes);
	put_u64(x, "process_resident_memory_max_bytes", "most resident memory that it had", p->resident_peak_bytes);
	put_u64(x, "process_virtual_memory_bytes", "virtual memory of the agent", p->virtual_bytes);
	put_u64(x, "process_open_fds", "open file descriptors", p->open_fds);
	put_u64(x, "process_max_fds", "file descriptors that may be open", p->max_fds);
	put_u64(x, "process_threads", "threads of the agent", p->threads);
	expose__family(x, "process_start_time_seconds", METRIC_GAUGE, "when the agent was started, seconds since 1970");
	expose__seconds(x, "process_start_time_seconds", NULL, v->started_wall_ns);
	expose__family(x, "kongtap_build_info", METRIC_GAUGE, "1, with what was built");
	expose__u64(x, "kongtap_build_info", "version=\"" KONGTAP_VERSION "\",revision=\"" KONGTAP_REVISION "\"", 1);
}

int metrics_render(struct buf *out, const struct ops_view *v, bool open_metrics)
{
	struct expose x = {.b = out, .open_metrics = open_metrics};

	put_calls(&x, &v->tally);
	put_histogram(&x, "kongtap_call_duration_seconds",
		"first byte of the request to last byte of the answer, at Kong", &v->tally.total);
	put_histogram(&x, "kongtap_kong_latency_seconds",
		"time in Kong itself, as Kong tells it (X-Kong-Proxy-Latency)", &v->tally.kong);
	put_histogram(&x, "kongtap_upstream_latency_seconds",
		"time until the service answered, as Kong tells it (X-Kong-Upstream-Latency)", &v->tally.upstream);
	put_capture(&x, v);
	put_overhead(&x, &v->snap.gauges);
	put_tls(&x, &v->snap.gauges);
	metrics_counters(&x);
	put_delivery(&x, &v->snap.gauges);
	put_process(&x, v);
	expose__end(&x);
	return x.err;
}

const char *metrics_type(bool open_metrics)
{
	return open_metrics ? "application/openmetrics-text; version=1.0.0; charset=utf-8"
			    : "text/plain; version=0.0.4; charset=utf-8";
}

/* The first of both types that is named wins: scrapers send what they like best first. */
bool metrics_wants_open(struct span accept)
{
	const char *open = accept.n ? memmem(accept.p, accept.n, "application/openmetrics-text", 28) : NULL;
	const char *plain = accept.n ? memmem(accept.p, accept.n, "text/plain", 10) : NULL;

	return open && (!plain || open < plain);
}
