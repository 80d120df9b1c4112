#include "observe.h"

#include <stdio.h>

static void tell_tls(void *ctx, const struct source_tls *t)
{
	struct gauges *g = ctx;
	struct tls_gauge *row;

	if (g->ntls == OPS_WORKERS_MAX) {
		g->tls_beyond[tls_placement_of(t->probed, t->placed)]++;
		return;
	}
	row = &g->tls[g->ntls++];
	row->pid = t->pid;
	row->probed = t->probed;
	row->placed = t->placed;
	snprintf(row->library, sizeof(row->library), "%s", t->library);
	snprintf(row->text, sizeof(row->text), "%s", t->text);
}

static void tell_delivery(const struct observe *o, struct gauges *ret)
{
	static const enum collector_state states[] = {
		[SHIP_IDLE] = COLLECTOR_IDLE,
		[SHIP_OK] = COLLECTOR_OK,
		[SHIP_RETRYING] = COLLECTOR_RETRYING,
		[SHIP_REFUSED] = COLLECTOR_REFUSED,
		[SHIP_OFF] = COLLECTOR_OFF,
	};
	struct ship_status s;

	shipper__status(o->shipper, &s);
	ret->ships = true;
	ret->collector = states[s.state];
	ret->http_status = s.last_http_status;
	snprintf(ret->error, sizeof(ret->error), "%s", s.last_error);
	ret->queued_events = s.queued_events;
	ret->queued_bytes = s.queued_bytes;
	ret->queue_limit_bytes = o->config->ship.queue_bytes;
	ret->spooled_events = s.spooled_events;
	ret->spooled_bytes = s.spooled_bytes;
	ret->spool_limit_bytes = o->config->ship.spool_dir ? o->config->ship.spool_bytes : 0;
}

void observe_gauges(void *ctx, struct gauges *ret)
{
	const struct observe *o = ctx;
	struct hook_costs costs;

	source__costs(o->source, &costs);
	ret->hook_call_ns = costs.call;
	ret->hook_tls_inside_ns = costs.tls_inside;
	ret->hook_tls_entry_ns = costs.tls_entry;
	ret->hooks_ns = source__probe_ns(o->source);
	ret->workers = source__workers(o->source);
	ret->connections = conns__count(o->conns);
	ret->exchanges_bytes = conns__memory(o->conns);
	ret->exchanges_limit_bytes = o->config->wire.total_bytes;
	ret->overhead = o->governor->share;
	ret->overhead_limit = (uint64_t)o->governor->o.budget_percent * 100;
	ret->govern_level = o->governor->level;
	source__ring(o->source, &ret->ring_bytes, &ret->ring_peak_bytes);
	source__each_tls(o->source, tell_tls, ret);
	if (o->shipper)
		tell_delivery(o, ret);
}

void observe_footer(void *ctx, struct footer_facts *ret)
{
	const struct observe *o = ctx;

	ret->workers = source__workers(o->source);
	ret->ships = o->shipper != NULL;
	if (o->shipper)
		shipper__status(o->shipper, &ret->ship);
}
