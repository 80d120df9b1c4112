/* metrics_of RECORDING [openmetrics]: the metrics that an agent would tell after this recording. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/stats.h"
#include "capture/source.h"
#include "config.h"
#include "join/join.h"
#include "moesif/moesif.h"
#include "ops/metrics.h"
#include "wire/conns.h"

static struct conns *conns;
static struct join *joiner;
static struct moesif *moesif;
static struct ops_view view;
static uint64_t last_ns;

static void on_event(void *ctx, const struct event *e)
{
	(void)ctx;
	tally__event(&view.tally, e);
}

static void on_transaction(void *ctx, struct transaction *t)
{
	(void)ctx;
	moesif__on_transaction(moesif, t);
}

static void on_begun(void *ctx, const struct exchange *x)
{
	(void)ctx;
	join__begun(joiner, x);
}

static void on_done(void *ctx, struct exchange *x)
{
	(void)ctx;
	join__done(joiner, x, conns__worker(conns, x->conn.key.pid));
}

static void on_record(void *ctx, const struct record *rec)
{
	(void)ctx;
	stats_inc(STAT_capture_records);
	if (rec->kind == REC_DATA)
		stats_add(STAT_capture_bytes, rec->data.data.n);
	last_ns = rec->t_ns > last_ns ? rec->t_ns : last_ns;
	if (rec->kind != REC_CLOCK && rec->kind != REC_REMOTE)
		conns__on_record(conns, rec);
	if (rec->kind == REC_TICK)
		join__tick(joiner, rec->t_ns);
}

static int print(bool open)
{
	struct buf out;
	int err;

	buf__init(&out, 1 << 22);
	err = metrics_render(&out, &view, open);
	if (!err)
		fwrite(out.p, 1, out.n, stdout);
	buf__free(&out);
	return err;
}

int main(int argc, char **argv)
{
	struct config *c = config__new();
	struct source *source;
	int err = 0;

	if (argc < 2 || !c)
		return 2;
	c->moesif.seed = 1;
	source = source_replay__open(argv[1], (struct record_sink){.fn = on_record});
	conns = conns__new(&c->wire, (struct exchange_sink){.begun = on_begun, .done = on_done},
		(struct conn_ignore_sink){.fn = NULL});
	joiner = join__new(&c->join, (struct transaction_sink){.fn = on_transaction});
	moesif = moesif__new(&c->moesif, (struct event_sink){.fn = on_event});
	if (!source || !conns || !joiner || !moesif)
		return 1;
	while (err >= 0)
		err = source__poll(source, 0);
	conns__flush(conns, last_ns);
	join__flush(joiner);
	source__close(source);
	conns__free(conns);
	join__free(joiner);
	moesif__free(moesif);
	config__free(c);
	return err != -ENODATA || print(argc > 2);
}
