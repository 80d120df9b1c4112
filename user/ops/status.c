#include "ops/status.h"

#include <stdio.h>

#include "base/clock.h"
#include "base/stats.h"
#include "build_id.h"
#include "moesif/json_out.h"
#include "ops/loss.h"
#include "version.h"

/* The key of a member, after a comma where one is due. `text` is a literal of the agent's own. */
static void key(struct json_out *o, const char *text)
{
	char last = o->b->n ? o->b->p[o->b->n - 1] : '{';

	if (last != '{' && last != '[')
		json_put_lit(o, ",");
	json_put_string(o, span_str(text));
	json_put_lit(o, ":");
}

static void member_u64(struct json_out *o, const char *name, uint64_t v)
{
	key(o, name);
	json_put_u64(o, v);
}

static void member_i64(struct json_out *o, const char *name, int64_t v)
{
	key(o, name);
	json_put_i64(o, v);
}

static void member_text(struct json_out *o, const char *name, struct span v)
{
	key(o, name);
	json_put_string(o, v);
}

static void member_bool(struct json_out *o, const char *name, bool v)
{
	key(o, name);
	json_put_raw(o, v ? SPAN_LIT("true") : SPAN_LIT("false"));
}

static void put_number(struct json_out *o, double v)
{
	char text[32];
	int n = snprintf(text, sizeof(text), "%.6g", v);

	json_put_raw(o, span_of(text, n > 0 ? (size_t)n : 0));
}

/* Negative: there is none. */
static void put_number_or_null(struct json_out *o, double v)
{
	if (v < 0)
		json_put_lit(o, "null");
	else
		put_number(o, v);
}

static void member_number(struct json_out *o, const char *name, double v)
{
	key(o, name);
	put_number(o, v);
}

static void begin_item(struct json_out *o)
{
	if (o->b->n && o->b->p[o->b->n - 1] != '[')
		json_put_lit(o, ",");
	json_put_lit(o, "{");
}

static void put_agent(struct json_out *o, const struct ops_view *v)
{
	const struct process_facts *p = &v->snap.process;
	char when[CLOCK_ISO_LEN + 1];

	member_text(o, "version", SPAN_LIT(KONGTAP_VERSION));
	member_text(o, "revision", SPAN_LIT(KONGTAP_REVISION));
	clock_iso(v->now_wall_ns, when);
	member_text(o, "now", span_of(when, CLOCK_ISO_LEN));
	clock_iso(v->started_wall_ns, when);
	member_text(o, "started", span_of(when, CLOCK_ISO_LEN));
	member_bool(o, "ready", v->ready);
	member_text(o, "not_ready", span_str(v->not_ready));
	member_number(o, "quiet_s", (double)v->quiet_ns / 1e9);
	key(o, "agent");
	json_put_lit(o, "{");
	member_number(o, "cpu_s", (double)p->cpu_ns / 1e9);
	member_u64(o, "resident_bytes", p->resident_bytes);
	member_u64(o, "resident_peak_bytes", p->resident_peak_bytes);
	member_u64(o, "open_fds", p->open_fds);
	member_u64(o, "ring_bytes", v->snap.gauges.ring_bytes);
	member_u64(o, "ring_peak_bytes", v->snap.ring_peak_bytes);
	member_u64(o, "open_calls_bytes", v->snap.gauges.exchanges_bytes);
	member_u64(o, "open_calls_limit_bytes", v->snap.gauges.exchanges_limit_bytes);
	member_u64(o, "connections", v->snap.gauges.connections);
	json_put_lit(o, "}");
}

static void put_latency(struct json_out *o, const char *name, const struct histogram *h)
{
	key(o, name);
	json_put_lit(o, "{");
	member_u64(o, "count", histogram_count(h));
	member_number(o, "p50_ms", (double)histogram_percentile(h, 50) / 1e6);
	member_number(o, "p95_ms", (double)histogram_percentile(h, 95) / 1e6);
	member_number(o, "p99_ms", (double)histogram_percentile(h, 99) / 1e6);
	json_put_lit(o, "}");
}

static void put_calls(struct json_out *o, const struct ops_view *v)
{
	key(o, "calls");
	json_put_lit(o, "{");
	member_u64(o, "seen", stats_get(STAT_txn_seen));
	member_number(o, "rate", v->snap.calls_rate);
	member_u64(o, "events", stats_get(STAT_txn_events));
	member_u64(o, "filtered", stats_get(STAT_txn_filtered));
	member_u64(o, "sampled_out", stats_get(STAT_txn_sampled_out));
	member_u64(o, "truncated", v->tally.truncated);
	member_u64(o, "incomplete", v->tally.incomplete);
	key(o, "statuses");
	json_put_lit(o, "{");
	for (unsigned class = 0; class < STATUS_CLASSES; class ++) {
		uint64_t n = 0;

		for (unsigned m = 0; m < METHOD_COUNT_; m++)
			n += v->tally.calls[m][class];
		member_u64(o, tally_class_name(class), n);
	}
	json_put_lit(o, "}");
	put_latency(o, "total", &v->tally.total);
	put_latency(o, "kong", &v->tally.kong);
	put_latency(o, "upstream", &v->tally.upstream);
	json_put_lit(o, "}");
}

static const struct tls_gauge *tls_of(const struct gauges *g, uint32_t pid)
{
	for (uint32_t i = 0; i < g->ntls; i++)
		if (g->tls[i].pid == pid)
			return &g->tls[i];
	return NULL;
}

static void put_worker(struct json_out *o, const struct ops_view *v, const struct worker_row *w)
{
	const struct tls_gauge *tls = tls_of(&v->snap.gauges, w->pid);

	begin_item(o);
	member_u64(o, "pid", w->pid);
	member_u64(o, "node_pid", w->node_pid);
	member_text(o, "prefix", span_str(w->prefix));
	member_text(o, "pod", span_str(w->pod));
	member_text(o, "pod_namespace", span_str(w->pod_namespace));
	member_text(o, "container", span_str(w->container));
	member_u64(o, "ports", w->nports);
	member_u64(o, "tls_ports", w->tls_ports);
	member_u64(o, "clear_bytes", w->clear_bytes);
	member_u64(o, "tls_bytes", w->tls_bytes);
	if (w->seen_ns)
		member_number(o, "seen_s", v->now_ns > w->seen_ns ? (double)(v->now_ns - w->seen_ns) / 1e9 : 0);
	if (tls) {
		member_bool(o, "tls_probed", tls->probed);
		member_bool(o, "tls_cheap", tls->placed);
		member_text(o, "tls", span_str(tls->text));
	}
	json_put_lit(o, "}");
}

static void put_workers(struct json_out *o, const struct ops_view *v)
{
	member_u64(o, "workers_watched", v->snap.gauges.workers);
	key(o, "workers");
	json_put_lit(o, "[");
	for (uint32_t i = 0; i < v->snap.workers.n; i++)
		put_worker(o, v, &v->snap.workers.rows[i]);
	json_put_lit(o, "]");
}

static void put_loss(struct json_out *o)
{
	key(o, "loss");
	json_put_lit(o, "[");
	for (size_t i = 0; i < loss_count; i++) {
		const struct loss *l = &loss_table[i];

		begin_item(o);
		member_text(o, "name", span_str(stats_name(l->counter)));
		member_text(o, "what", span_str(stats_help(l->counter)));
		member_u64(o, "count", stats_get(l->counter));
		member_text(o, "unit", span_str(l->unit));
		member_text(o, "advice", span_str(l->advice));
		json_put_lit(o, "}");
	}
	json_put_lit(o, "]");
}

static void put_collector(struct json_out *o, const struct gauges *g)
{
	static const char *const states[COLLECTOR_STATES] = {"idle", "ok", "retrying", "refused", "off"};
	uint64_t requests = stats_get(STAT_ship_requests);

	key(o, "collector");
	json_put_lit(o, "{");
	member_text(o, "state", span_str(states[g->ships ? g->collector : COLLECTOR_OFF]));
	member_i64(o, "last_status", g->http_status);
	member_text(o, "error", span_str(g->error));
	member_u64(o, "sent_events", stats_get(STAT_ship_sent_events));
	member_u64(o, "sent_batches", stats_get(STAT_ship_sent_batches));
	member_u64(o, "retries", stats_get(STAT_ship_retries));
	member_u64(o, "failed_requests", stats_get(STAT_ship_failed_requests));
	member_number(o, "mean_ms", requests ? (double)stats_get(STAT_ship_request_us) / 1e3 / (double)requests : 0);
	member_u64(o, "queued_events", g->queued_events);
	member_u64(o, "queued_bytes", g->queued_bytes);
	member_u64(o, "queue_limit_bytes", g->queue_limit_bytes);
	member_u64(o, "spooled_events", g->spooled_events);
	member_u64(o, "spooled_bytes", g->spooled_bytes);
	member_u64(o, "spool_limit_bytes", g->spool_limit_bytes);
	json_put_lit(o, "}");
}

static double history_value(const struct history_step *s, unsigned which)
{
	const double values[] = {s->calls, s->client_errors, s->server_errors, s->p50_ms, s->p95_ms, s->lost, s->cpu,
		(double)s->queued, (double)s->resident};

	return values[which];
}

static void put_history(struct json_out *o, const struct history *h)
{
	static const char *const names[] = {
		"calls", "client_errors", "server_errors", "p50_ms", "p95_ms", "lost", "cpu", "queued", "resident"};

	key(o, "history");
	json_put_lit(o, "{");
	member_u64(o, "step_s", HISTORY_STEP_S);
	member_u64(o, "steps", HISTORY_STEPS);
	for (unsigned n = 0; n < sizeof(names) / sizeof(names[0]); n++) {
		key(o, names[n]);
		json_put_lit(o, "[");
		for (unsigned i = 0; i < h->n; i++) {
			if (i)
				json_put_lit(o, ",");
			put_number_or_null(o, history_value(history__step(h, i), n));
		}
		json_put_lit(o, "]");
	}
	json_put_lit(o, "}");
}

static void put_call(struct json_out *o, const struct recent_call *c)
{
	char when[CLOCK_ISO_LEN + 1];

	begin_item(o);
	clock_iso(c->wall_ns, when);
	member_text(o, "time", span_of(when, CLOCK_ISO_LEN));
	member_text(o, "method", span_of(c->verb, c->verb_len));
	member_i64(o, "status", c->status);
	member_text(o, "path", span_of(c->path, c->path_len));
	member_text(o, "user", span_of(c->user, c->user_len));
	member_u64(o, "bytes", c->response_bytes);
	member_number(o, "total_ms", (double)c->total_ns / 1e6);
	member_i64(o, "kong_ms", c->kong_ms);
	member_i64(o, "upstream_ms", c->upstream_ms);
	member_bool(o, "truncated", c->truncated);
	member_bool(o, "incomplete", c->incomplete);
	json_put_lit(o, "}");
}

/* null: they are not kept. */
static void put_recent(struct json_out *o, const struct recent *r)
{
	key(o, "last_calls");
	if (!r->want) {
		json_put_lit(o, "null");
		return;
	}
	json_put_lit(o, "[");
	for (uint32_t i = 0; i < r->n; i++)
		put_call(o, recent__call(r, i));
	json_put_lit(o, "]");
}

int status_render(struct buf *out, const struct ops_view *v)
{
	struct json_out o = {out, 0};

	json_put_lit(&o, "{");
	put_agent(&o, v);
	put_calls(&o, v);
	put_workers(&o, v);
	put_loss(&o);
	put_collector(&o, &v->snap.gauges);
	put_history(&o, &v->snap.history);
	put_recent(&o, &v->snap.recent);
	json_put_lit(&o, "}\n");
	return o.err;
}
