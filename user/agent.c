/* One thread runs everything from the ring to the rendered event; the sender (ship/) has a thread of its own. What that
 * thread brings back, a new remote configuration, waits in `remote` until the loop takes it as a record, so that a
 * recording holds it too and events depend on the records alone.
 */
#include "agent.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <sys/signalfd.h>
#include <termios.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/stats.h"
#include "capture/features.h"
#include "capture/recorder.h"
#include "moesif/rules.h"
#include "observe.h"
#include "ops/balance.h"
#include "ops/governor.h"
#include "ops/notify.h"
#include "ops/ops.h"
#include "ops/privs.h"
#include "ops/process.h"
#include "wire/conns.h"

#define TICK_NS 100000000ull
#define STATUS_NS 1000000000ull
#define CLOCK_STEP_NS 1000000 /* a wall clock that moved by less is not worth a record */
#define REMOTE_MAX (4u << 20)

struct agent {
	struct config *config;
	struct source *source;
	struct recorder *recorder;
	struct conns *conns;
	struct join *join;
	struct moesif *moesif;
	struct shipper *shipper;
	struct output *output;
	struct notify *notify;
	struct ops *ops;
	struct observe observe;
	struct governor governor;

	int epoll_fd, signal_fd, wake_fd;
	bool stop;
	int64_t wall_offset;
	uint64_t now, last_tick; /* time of the records, monotonic ns */
	uint64_t last_status;
	uint64_t left_in_spool; /* events, at the end */

	pthread_mutex_t remote_lock;
	struct buf remote;	/* newest remote configuration, until the loop has taken it */
	struct buf remote_told; /* the one before; the sender thread's own, and so is … */
	struct rules_watch rules;
};

/* --- the sinks, last stage first --------------------------------------------------------------------------------- */

static void on_event(void *ctx, const struct event *e)
{
	struct agent *a = ctx;

	output__event(a->output, e);
	ops__on_event(a->ops, e);
	if (a->shipper)
		shipper__give(a->shipper, e->json);
}

static bool passes_filter(const struct config_filter *f, const struct transaction *t)
{
	const struct exchange *x = t->client;
	const struct rec_worker *w = t->worker;
	struct span pod = {NULL, 0}, pod_namespace = pod;
	struct span host = headers__get(&x->req.headers, SPAN_LIT("host"));

	if (x->req.authority.n)
		host = message__authority(&x->req);
	if (w) {
		pod_namespace = span_of(w->pod_namespace, strnlen(w->pod_namespace, WORKER_TEXT_MAX));
		pod = span_of(w->pod, strnlen(w->pod, WORKER_TEXT_MAX));
	}
	return config_filter_pass(f, host, message__target(&x->req), x->conn.local.port) &&
	       config_filter_pass_pod(f, pod_namespace, pod);
}

static void on_transaction(void *ctx, struct transaction *t)
{
	struct agent *a = ctx;

	if (passes_filter(&a->config->filter, t)) {
		moesif__on_transaction(a->moesif, t);
		return;
	}
	stats_inc(STAT_txn_filtered);
	transaction__free(t);
}

static void on_begun(void *ctx, const struct exchange *x)
{
	struct agent *a = ctx;

	moesif__on_begun(a->moesif, x);
	join__begun(a->join, x);
}

static void on_done(void *ctx, struct exchange *x)
{
	struct agent *a = ctx;

	join__done(a->join, x, conns__worker(a->conns, x->conn.key.pid));
}

static void on_ignore(void *ctx, const struct conn_key *key)
{
	source__ignore(((struct agent *)ctx)->source, key);
}

static void on_skip(void *ctx, const struct conn_key *key, const struct byte_range useless[2])
{
	source__skip(((struct agent *)ctx)->source, key, useless);
}

static void on_over(void *ctx, const struct conn_key *key)
{
	struct agent *a = ctx;

	if (a->source)
		source__over(a->source, key);
}

static void record(struct agent *a, const struct record *rec)
{
	int err = a->recorder ? recorder__write(a->recorder, rec) : 0;

	if (!err)
		return;
	log_err("record", "cannot write to %s: %s; the recording ends here, capture goes on", a->config->record_file,
		strerror(-err));
	recorder__close(a->recorder);
	a->recorder = NULL;
}

static void end_recording(struct agent *a)
{
	int err = recorder__close(a->recorder);

	a->recorder = NULL;
	if (err)
		log_err("record", "cannot write to %s: %s; the recording is not whole", a->config->record_file,
			strerror(-err));
}

static void log_govern(const struct rec_govern *g)
{
	if (g->detached)
		log_err("overhead",
			"CAPTURE IS OFF: even one connection of %u costs more than max_overhead_percent allows; all "
			"probes are taken away, and it is tried again later",
			1u << GOVERNOR_SHIFT_MAX);
	else if (g->shift)
		log_warn("overhead",
			"to stay within max_overhead_percent one connection of %u is captured, without bodies; its "
			"calls weigh as many",
			1u << g->shift);
	else if (!g->bodies)
		log_warn("overhead", "to stay within max_overhead_percent bodies are left out");
	else
		log_info("overhead", "within max_overhead_percent again: everything is captured");
}

static void apply(struct agent *a, const struct record *rec)
{
	record(a, rec);
	ops__on_record(a->ops, rec);
	if (rec->t_ns > a->now)
		a->now = rec->t_ns;
	switch (rec->kind) {
	case REC_CLOCK:
		a->wall_offset = rec->clock.wall_offset_ns;
		join__set_wall_offset(a->join, a->wall_offset);
		break;
	case REC_REMOTE:
		if (!moesif__set_remote(a->moesif, rec->remote.config))
			log_info("remote", "sampling by the collector's configuration from here on");
		else
			log_warn("remote", "the collector's configuration is not usable; the one before it stays");
		break;
	case REC_TICK:
		conns__on_record(a->conns, rec);
		join__tick(a->join, rec->t_ns);
		break;
	case REC_LOSS:
		join__lost(a->join);
		break;
	case REC_GOVERN:
		conns__on_record(a->conns, rec);
		log_govern(&rec->govern);
		break;
	default:
		conns__on_record(a->conns, rec);
		break;
	}
}

static void on_record(void *ctx, const struct record *rec)
{
	stats_inc(STAT_capture_records);
	if (rec->kind == REC_DATA)
		stats_add(STAT_capture_bytes, rec->data.data.n);
	apply(ctx, rec);
}

/* In the sender's thread. */
static void on_remote(void *ctx, bool rules, struct span body)
{
	struct agent *a = ctx;
	uint64_t one = 1;

	if (rules) {
		rules_watch__report(&a->rules, body);
		return;
	}
	/* It is fetched every minute; what did not change is no news, and no record. */
	if (span_eq(buf_span(&a->remote_told), body))
		return;
	buf__clear(&a->remote_told);
	if (buf__append_span(&a->remote_told, body))
		return;
	pthread_mutex_lock(&a->remote_lock);
	buf__clear(&a->remote);
	if (buf__append_span(&a->remote, body))
		buf__clear(&a->remote);
	pthread_mutex_unlock(&a->remote_lock);
	if (write(a->wake_fd, &one, sizeof(one)) < 0)
		log_debug("remote", "wake: %s", strerror(errno));
}

/* --- time and what comes from outside ---------------------------------------------------------------------------- */

static void tell_clock(struct agent *a, uint64_t t_ns, int64_t offset)
{
	struct record rec = {.kind = REC_CLOCK, .t_ns = t_ns, .clock = {.wall_offset_ns = offset}};

	apply(a, &rec);
}

static void tick(struct agent *a, uint64_t t_ns)
{
	struct record rec = {.kind = REC_TICK, .t_ns = t_ns};
	int64_t offset = source__wall_offset(a->source);

	if (llabs(offset - a->wall_offset) >= CLOCK_STEP_NS)
		tell_clock(a, t_ns, offset);
	apply(a, &rec);
	a->last_tick = t_ns;
	output__flush(a->output);
	if (a->recorder)
		recorder__flush(a->recorder);
}

/* Tells the kernel side how much of bodies is of use. */
static void tell_bodies(struct agent *a)
{
	bool wanted = governor_bodies(a->governor.level);

	source__bodies(
		a->source, wanted ? a->config->wire.request_body : 0, wanted ? a->config->wire.response_body : 0);
}

static void tell_types(struct agent *a)
{
	const struct media_types *t = &a->config->wire.exclude_types;

	source__exclude(a->source, t->v, t->n);
}

/* Tells kernel side and pipeline; what the ring held at that time has been handed on before. */
static void govern(struct agent *a, uint64_t now_ns)
{
	struct record rec = {.kind = REC_GOVERN, .t_ns = a->now};
	int level;

	if (!a->governor.o.budget_percent)
		return;
	source__count(a->source);
	if (!governor__tick(&a->governor, now_ns, process_cpu_ns() + source__probe_ns(a->source)))
		return;
	level = a->governor.level;
	rec.govern = (struct rec_govern){
		.bodies = governor_bodies(level),
		.detached = level == GOVERNOR_DETACHED,
		.shift = governor_shift(level),
	};
	if (source__govern(a->source, &rec.govern)) {
		governor__refuse(&a->governor, now_ns);
		return;
	}
	apply(a, &rec);
	tell_bodies(a);
}

static void take_remote(struct agent *a)
{
	struct record rec = {.kind = REC_REMOTE, .t_ns = a->now};
	struct buf got;
	uint64_t n;

	if (read(a->wake_fd, &n, sizeof(n)) < 0)
		return;
	pthread_mutex_lock(&a->remote_lock);
	got = a->remote;
	buf__init(&a->remote, REMOTE_MAX);
	pthread_mutex_unlock(&a->remote_lock);
	rec.remote.config = buf_span(&got);
	if (got.n)
		apply(a, &rec);
	buf__free(&got);
}

static void tell_status(struct agent *a, uint64_t now)
{
	char text[200];
	size_t workers = source__workers(a->source);

	notify__alive(a->notify, now);
	if (now - a->last_status < STATUS_NS)
		return;
	a->last_status = now;
	snprintf(text, sizeof(text),
		"watching %zu worker%s, %" PRIu64 " calls, %" PRIu64 " events, %" PRIu64 " delivered", workers,
		workers == 1 ? "" : "s", stats_get(STAT_txn_seen), stats_get(STAT_txn_events),
		stats_get(STAT_ship_sent_events));
	notify__status(a->notify, text);
}

/* What the configuration leaves to be derived: the same on every node that ships to one application. */
static int derive_options(struct config *c, uint64_t seed)
{
	struct moesif_options *o = &c->moesif;

	o->seed = seed;
	if (o->session_token_key || !c->ship.application_id)
		return 0;
	o->session_token_key = strdup(c->ship.application_id);
	return o->session_token_key ? 0 : -ENOMEM;
}

static void reload(struct agent *a)
{
	struct config *fresh;
	char names[512];
	size_t restart;

	if (config__reload(a->config, &fresh)) {
		log_err("config", "the new configuration is not usable; the one in force stays");
		return;
	}
	if (derive_options(fresh, a->config->moesif.seed) || moesif__set_options(a->moesif, &fresh->moesif)) {
		log_err("config", "the new configuration is not usable: %s; the one in force stays", strerror(errno));
		config__free(fresh);
		return;
	}
	/* What sits inside running stages (ring, queue, endpoint) stays as it was: its owners borrow the old strings.
	 */
	restart = config__needs_restart(a->config, fresh, names, sizeof(names));
	config__take_live(a->config, fresh);
	moesif__move_options(a->moesif, &a->config->moesif);
	conns__set_bodies(a->conns, a->config->wire.request_body, a->config->wire.response_body);
	conns__set_exclude_types(a->conns, a->config->wire.exclude_types);
	tell_bodies(a);
	tell_types(a);
	config__free(fresh);
	log_info("config", "configuration reloaded (identification, masks, bodies, sampling, filters, log level)");
	if (restart)
		log_warn("config", "changed, but in force from the next start only: %s", names);
	log_set_level(a->config->log_level);
}

static void log_counters(struct agent *a)
{
	source__count(a->source);
	for (int i = 0; i < STAT_COUNT_; i++)
		if (stats_get((enum counter)i))
			log_info("stats", "%s %" PRIu64, stats_name((enum counter)i), stats_get((enum counter)i));
}

/* SIGHUP asks a service to read its configuration again; to a command on a terminal it says that the terminal is gone.
 */
static bool terminal_is_gone(void)
{
	struct termios t;

	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
		if (tcgetattr(fd, &t) && errno == EIO)
			return true;
	return false;
}

static void on_signal(struct agent *a)
{
	struct signalfd_siginfo si;

	while (read(a->signal_fd, &si, sizeof(si)) == (ssize_t)sizeof(si)) {
		if (si.ssi_signo == SIGHUP && !terminal_is_gone()) {
			notify__reloading(a->notify);
			output__reopen(a->output);
			reload(a);
			notify__ready(a->notify, "configuration reloaded");
		} else if (si.ssi_signo == SIGUSR1)
			log_counters(a);
		else
			a->stop = true;
	}
}

/* --- running ----------------------------------------------------------------------------------------------------- */

static int watch(struct agent *a, int fd)
{
	struct epoll_event ev = {.events = EPOLLIN, .data = {.fd = fd}};

	return fd < 0 || !epoll_ctl(a->epoll_fd, EPOLL_CTL_ADD, fd, &ev) ? 0 : -errno;
}

static int open_loop(struct agent *a)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGUSR1);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	a->signal_fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
	a->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	a->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (a->signal_fd < 0 || a->wake_fd < 0 || a->epoll_fd < 0)
		return -errno;
	return watch(a, a->signal_fd) ? -errno : watch(a, a->wake_fd);
}

static void wait_for_work(struct agent *a, int timeout_ms)
{
	struct epoll_event ev[8];
	int n = epoll_wait(a->epoll_fd, ev, 8, timeout_ms);

	for (int i = 0; i < n; i++) {
		if (ev[i].data.fd == a->signal_fd)
			on_signal(a);
		else if (ev[i].data.fd == a->wake_fd)
			take_remote(a);
	}
}

/* From here on only what discovery needs: nodes and libraries come and go as long as the agent runs. */
static int drop_privileges(struct agent *a)
{
	struct privs_options o = {0};
	bool probes, tracepoints;
	struct features f;
	int err;

	if (!a->config->sandbox)
		return 0;
	/* Hooks come and go with the gateways. */
	probes = privs_uprobes_want_admin();
	tracepoints = privs_tracepoints_want_admin();
	if (probes || tracepoints)
		o.keep_admin = features_probe(a->config->capture.force, a->config->capture.btf, &f) ||
			       (probes && !f.has[FEATURE_MULTI]) || (tracepoints && f.has[FEATURE_TRACEFS]);
	err = privs_drop(&o);
	if (err)
		log_err("privs", "cannot give up privileges: %s; sandbox: false goes without", strerror(-err));
	return err;
}

static int run_live(struct agent *a)
{
	uint64_t deadline =
		a->config->run_seconds ? clock_mono_ns() + a->config->run_seconds * 1000000000ull : UINT64_MAX;
	uint64_t before;
	int err;

	err = watch(a, source__fd(a->source));
	if (!err) {
		tell_bodies(a);
		tell_types(a);
		err = source__activate(a->source);
	}
	if (err) {
		log_err("capture", "cannot start capturing: %s", strerror(-err));
		return err;
	}
	if (privs_bound_memory(a->config->memory_bytes))
		log_debug("agent", "no limit on memory: %s", strerror(errno));
	err = drop_privileges(a);
	if (err)
		return err;
	a->now = clock_mono_ns();
	tell_clock(a, a->now, source__wall_offset(a->source));
	err = source__poll(a->source, 0);
	ops__tick(a->ops);
	ops__set_ready(a->ops, NULL);
	log_info("agent", "ready, watching %zu worker%s", source__workers(a->source),
		source__workers(a->source) == 1 ? "" : "s");
	notify__ready(a->notify, "capturing");
	while (!a->stop && err >= 0 && clock_mono_ns() < deadline) {
		wait_for_work(a, (int)a->config->capture.poll_ms);
		/* Every record older than this is in the ring by now, so a tick of this time comes after them. */
		before = clock_mono_ns();
		err = source__poll(a->source, 0);
		if (before - a->last_tick >= TICK_NS) {
			tick(a, before);
			govern(a, before);
			tell_status(a, before);
			ops__tick(a->ops);
		}
	}
	if (err >= 0) {
		before = clock_mono_ns();
		err = source__poll(a->source, 0);
		tick(a, before > a->now ? before : a->now);
	}
	if (err < 0)
		log_err("capture", "capture broke: %s", strerror(-err));
	return err < 0 ? err : 0;
}

static int run_replay(struct agent *a)
{
	int err;

	do {
		wait_for_work(a, 0);
		err = source__poll(a->source, 0);
		if (a->output)
			output__flush(a->output);
	} while (err >= 0 && !a->stop);
	return err == -ENODATA ? 0 : err < 0 ? err : 0;
}

/* Where they all went. What is missing from the sum would be a defect of ours, and is said like any other number. */
static void say_balance(const struct balance *b, uint64_t waiting)
{
	char text[512];

	balance_text(b, waiting, text, sizeof(text));
	log_info("agent", "%s", text);
}

static void stop_shipper(struct agent *a)
{
	struct ship_status s;

	shipper__stop(a->shipper);
	shipper__status(a->shipper, &s);
	a->left_in_spool = s.spooled_events;
}

static void say_farewell(const struct agent *a)
{
	char delivered[48] = "";

	if (a->config->command != CONFIG_RUN)
		return;
	if (a->shipper)
		snprintf(delivered, sizeof(delivered), "%" PRIu64 " delivered, ", stats_get(STAT_ship_sent_events));
	log_info("agent",
		"done: %" PRIu64 " calls seen, %" PRIu64 " events, %s%" PRIu64 " records and %" PRIu64
		" stream bytes lost",
		stats_get(STAT_txn_seen), stats_get(STAT_txn_events), delivered, stats_get(STAT_capture_lost_data),
		stats_get(STAT_wire_gap_lost));
	say_balance(&balance_of_calls, 0);
	if (a->shipper)
		say_balance(&balance_of_events, a->left_in_spool);
}

int agent__run(struct agent *a)
{
	int err = a->config->command == CONFIG_REPLAY ? run_replay(a) : run_live(a);
	int out;

	source__count(a->source);
	notify__stopping(a->notify, "delivering what is queued");
	ops__set_ready(a->ops, "stopping: delivering what is queued");
	end_recording(a);
	conns__flush(a->conns, a->now);
	join__flush(a->join);
	if (a->shipper)
		stop_shipper(a);
	out = output__close(a->output);
	a->output = NULL;
	say_farewell(a);
	return err || (out && out != -EAGAIN && a->config->command == CONFIG_REPLAY);
}

/* --- building ---------------------------------------------------------------------------------------------------- */

static uint64_t new_seed(const struct agent *a)
{
	uint64_t seed = a->config->moesif.seed;

	if (a->config->command == CONFIG_REPLAY && source_replay__seed(a->source))
		return source_replay__seed(a->source);
	/* 63 bits: JSON's integers in a recording are signed. Zero would mean "random" again. */
	while (!seed && getrandom(&seed, sizeof(seed), 0) == (ssize_t)sizeof(seed))
		seed &= INT64_MAX;
	return seed ? seed : 1;
}

static int open_source(struct agent *a)
{
	struct config *c = a->config;
	struct record_sink sink = {.fn = on_record, .ctx = a};

	if (c->command == CONFIG_REPLAY) {
		a->source = source_replay__open(c->replay_file, sink);
		if (!a->source)
			log_err("replay", "cannot read the recording %s: %s", c->replay_file, strerror(errno));
	} else {
		c->capture.measure = c->max_overhead_percent > 0;
		a->source = source_bpf__open(&c->capture, sink);
	}
	return a->source ? 0 : -errno;
}

static int open_ops(struct agent *a)
{
	struct ops_options o = {
		.listen = a->config->metrics_listen,
		.last_calls = a->config->status_page_calls,
		.gauges = {.fn = observe_gauges, .ctx = &a->observe},
	};

	if (a->config->command != CONFIG_RUN || !o.listen)
		return 0;
	a->ops = ops__new(&o);
	if (!a->ops)
		log_err("ops", "cannot make the status page: %s", strerror(errno));
	return a->ops ? 0 : -errno;
}

static int open_output(struct agent *a)
{
	struct output_options o = {
		.kind = a->config->output,
		.path = a->config->output_file,
		.live = a->config->command == CONFIG_RUN,
		.filter = a->config->print_filter,
		.footer = {.fn = observe_footer, .ctx = &a->observe},
	};

	a->output = output__open(&o);
	if (a->output)
		return 0;
	log_err("output", "cannot open %s for events: %s", o.path ? o.path : "standard output", strerror(errno));
	return -errno;
}

/* Its thread talks to the network: it gets no capability. */
static int open_shipper(void *ctx)
{
	struct agent *a = ctx;
	struct remote_sink remote = {.fn = on_remote, .ctx = a};

	if (a->config->command != CONFIG_RUN || !config_ships(a->config))
		return 0;
	a->shipper = shipper__new(&a->config->ship, remote);
	if (!a->shipper)
		log_err("ship", "cannot start the sender: %s", strerror(errno));
	return a->shipper ? 0 : -errno;
}

/* The parts with threads that talk to others. */
static int open_network(void *ctx)
{
	struct agent *a = ctx;
	int err = open_shipper(a);

	a->observe = (struct observe){
		.config = a->config,
		.source = a->source,
		.conns = a->conns,
		.shipper = a->shipper,
		.governor = &a->governor,
	};
	return err ? err : open_ops(a);
}

static int open_recorder(struct agent *a)
{
	const char *path = a->config->record_file;

	if (!path || a->config->command != CONFIG_RUN)
		return 0;
	a->recorder = recorder__open(path, a->config->moesif.seed);
	if (!a->recorder) {
		log_err("record", "cannot create the recording %s: %s", path, strerror(errno));
		return -errno;
	}
	log_warn(
		"record", "%s will hold raw traffic, credentials included: masks do not apply to it (mode 0600)", path);
	return 0;
}

static int open_stages(struct agent *a)
{
	struct config *c = a->config;

	a->conns = conns__new(&c->wire, (struct exchange_sink){.begun = on_begun, .done = on_done, .ctx = a},
		(struct conn_ignore_sink){.fn = on_ignore, .skip = on_skip, .over = on_over, .ctx = a});
	a->join = join__new(&c->join, (struct transaction_sink){.fn = on_transaction, .ctx = a});
	a->moesif = moesif__new(&c->moesif, (struct event_sink){.fn = on_event, .ctx = a});
	if (a->conns && a->join && a->moesif)
		return 0;
	log_err("agent", "cannot build the pipeline: %s", strerror(errno));
	return -ENOMEM;
}

static void open_governor(struct agent *a)
{
	const struct config *c = a->config;
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	struct governor_options o = {
		.budget_percent = c->max_overhead_percent,
		.cpus = cpus > 0 ? (uint32_t)cpus : 1,
		.window_ns = c->overhead_window * 1000000ull,
		.calm = c->overhead_calm,
		.retry_ns = c->overhead_retry * 1000000ull,
	};

	governor__init(&a->governor, &o);
}

struct agent *agent__new(struct config *c)
{
	struct agent *a = calloc(1, sizeof(*a));
	int err;

	if (!a) {
		config__free(c);
		return NULL;
	}
	a->config = c;
	a->epoll_fd = a->signal_fd = a->wake_fd = -1;
	a->notify = notify__open();
	pthread_mutex_init(&a->remote_lock, NULL);
	buf__init(&a->remote, REMOTE_MAX);
	buf__init(&a->remote_told, REMOTE_MAX);
	open_governor(a);
	err = a->notify ? open_loop(a) : -ENOMEM;
	if (err)
		log_err("agent", "cannot start: %s", strerror(-err));
	if (!err)
		err = open_output(a);
	if (!err)
		err = open_source(a);
	if (!err)
		err = derive_options(c, new_seed(a));
	if (!err)
		err = open_stages(a);
	if (!err)
		err = open_recorder(a);
	if (!err)
		err = c->sandbox ? privs_without(open_network, a) : open_network(a);
	if (!err)
		return a;
	agent__free(a);
	errno = -err;
	return NULL;
}

static void close_fd(int fd)
{
	if (fd >= 0)
		close(fd);
}

void agent__free(struct agent *a)
{
	if (!a)
		return;
	source__close(a->source);
	a->source = NULL; /* which the connections that are still there would tell of their end */
	shipper__free(a->shipper);
	recorder__close(a->recorder);
	/* The stages call the ones after them while they are freed. */
	conns__free(a->conns);
	join__free(a->join);
	moesif__free(a->moesif);
	output__close(a->output);
	ops__free(a->ops);
	close_fd(a->epoll_fd);
	close_fd(a->signal_fd);
	close_fd(a->wake_fd);
	notify__free(a->notify);
	buf__free(&a->remote);
	buf__free(&a->remote_told);
	pthread_mutex_destroy(&a->remote_lock);
	config__free(a->config);
	free(a);
}
