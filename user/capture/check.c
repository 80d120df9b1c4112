/* check: what the host allows and what would be captured, for people to read. Nothing is captured. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "capture/discover.h"
#include "capture/source.h"
#include "capture/tls_attach.h"
#include "capture/toll.h"

struct check {
	FILE *out;
	struct features features;
	size_t workers, unprobed;
};

static const char *reason(int err)
{
	switch (err) {
	case ENOTSUP:
		return "this kernel has it not";
	case ECANCELED:
		return "told to do without";
	case EBADMSG:
		return "the file does not hold it";
	case EPERM:
	case EACCES:
		return "no permission";
	default:
		return strerror(err);
	}
}

/* False: one that is needed is missing. */
static bool print_features(struct check *c)
{
	const struct features *f = &c->features;
	bool good = true;

	fputs("kernel:\n", c->out);
	for (int i = 0; i < FEATURE_COUNT_; i++) {
		enum feature which = (enum feature)i;
		bool needed = feature_needed(which);

		good &= f->has[i] || !needed;
		fprintf(c->out, "  %-9s %-14s %s%s%s\n",
			f->has[i] ? "ok"
			: needed  ? "NOT OK"
				  : "without",
			feature_name(which), feature_text(which), f->has[i] ? "" : ": ",
			f->has[i] ? "" : reason(f->why[i]));
	}
	return good;
}

static void print_probes(struct check *c, struct kernel *k, bool placed, const char *text)
{
	double ns;
	int err = toll_probes(k, &c->features, placed, &ns);

	if (err)
		fprintf(c->out, "  %-46s cannot be measured: %s\n", text, reason(-err));
	else
		fprintf(c->out, "  %-46s %8.0f ns\n", text, ns);
}

/* What the hooks add to the calls that they are in. A difference below the clock's noise is none. */
static void print_costs(struct check *c, struct kernel *k, const struct toll_calls *before)
{
	struct toll_calls with;

	toll_calls(&with);
	fputs("cost of the hooks on this machine:\n", c->out);
	print_probes(c, k, true, "TLS call, probed at cheap instructions");
	print_probes(c, k, false, "TLS call, probed at entry and return");
	fprintf(c->out, "  %-46s %8.0f ns\n", "other processes' system calls with a hook",
		with.hooked > before->hooked ? with.hooked - before->hooked : 0);
	fprintf(c->out, "  %-46s %8.0f ns\n", "other processes' system calls without one",
		with.other > before->other ? with.other - before->other : 0);
}

/* The programs as they would be used: loaded and attached for a moment, with the gate shut. */
static bool try_programs(struct check *c, const struct capture_options *o)
{
	struct kernel_options options = {.ring_bytes = o->ring_bytes, .call_bytes = o->call_bytes, .btf = o->btf};
	struct toll_calls before;
	struct kernel *k;

	toll_calls(&before);
	k = kernel__open(&c->features, &options);

	if (!k) {
		fprintf(c->out, "  NOT OK    programs       do not load or attach: %s\n", reason(errno));
		return false;
	}
	fprintf(c->out, "  ok        programs       load and attach\n");
	print_costs(c, k, &before);
	kernel__close(k);
	return true;
}

static void print_ports(struct check *c, const struct rec_worker *w)
{
	static const char *const roles[] = {"proxy", "admin", "status", "manager", "cluster", "stream", "other"};

	for (uint32_t i = 0; i < w->nports; i++)
		fprintf(c->out, "%s %u %s%s", i ? "," : "", w->ports[i].port,
			w->ports[i].role <= PORT_OTHER ? roles[w->ports[i].role] : "?", w->ports[i].ssl ? " ssl" : "");
	fputs(w->nports ? "\n" : " none known\n", c->out);
}

static void on_node(void *ctx, uint32_t pid, const char *prefix)
{
	struct check *c = ctx;
	char text[WORKER_TEXT_MAX + 8];

	/* Names are what somebody on this host, or in a container, made them. */
	log_printable(prefix, text, sizeof(text));
	fprintf(c->out, "gateway: master %u, prefix %s\n", pid, prefix[0] ? text : "not named");
}

static void on_worker(void *ctx, const struct rec_worker *w, bool fresh)
{
	struct check *c = ctx;
	char text[TLS_TEXT_MAX + 8];
	struct tls_plan plan;
	int err = tls_plan(&c->features, w->pid, &plan, NULL);

	(void)fresh;
	c->workers++;
	fprintf(c->out, "  worker %u of %u:", w->pid, w->node_pid);
	print_ports(c, w);
	log_printable(w->pod, text, sizeof(text));
	if (w->container[0])
		fprintf(c->out, "    container %s%s%s\n", w->container, w->pod[0] ? ", pod " : "", text);
	log_printable(err ? strerror(-err) : plan.text, text, sizeof(text));
	if (!err && plan.n) {
		fprintf(c->out, "    ok      TLS: %s\n", text);
		return;
	}
	c->unprobed++;
	fprintf(c->out, "    without TLS: %s\n", text);
}

static void on_gone(void *ctx, uint32_t pid)
{
	(void)ctx;
	(void)pid;
}

static bool print_workers(struct check *c, const struct capture_options *o)
{
	struct discover_sink sink = {
		.node = on_node, .node_gone = on_gone, .worker = on_worker, .worker_gone = on_gone, .ctx = c};
	struct discover *d = discover__new(o, &sink);
	int err = d ? discover__scan(d) : -ENOMEM;

	discover__free(d);
	if (err)
		fprintf(c->out, "gateway: NOT OK: cannot look for one: %s\n", strerror(-err));
	else if (!c->workers)
		fprintf(c->out, "gateway: none found (looking for %s)\n",
			o->npids       ? "the processes named by --pid"
			: o->nprefixes ? "an nginx master with a prefix as named by --prefix"
				       : "an nginx master with -p PREFIX and PREFIX/nginx-kong.conf");
	else if (c->unprobed)
		fprintf(c->out, "gateway: TLS traffic of %zu worker%s would not be seen\n", c->unprobed,
			c->unprobed == 1 ? "" : "s");
	return !err && c->workers;
}

int capture_check(const struct capture_options *o, void *out_file)
{
	struct check c = {.out = out_file};
	bool good;

	if (features_probe(o->force, o->btf, &c.features))
		return 1;
	good = print_features(&c);
	good = good && try_programs(&c, o);
	if (features_host_pids()) {
		good &= print_workers(&c, o);
	} else {
		fputs("gateway: NOT OK: this is not the host's PID namespace: in a container, run with hostPID "
		      "(--pid=host)\n",
			c.out);
		good = false;
	}
	fflush(c.out);
	return good ? 0 : 1;
}
