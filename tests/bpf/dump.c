/* dump: the records of the live capture as text, one a line. dump [-p PID | -g PREFIX-GLOB] [-f FORCE] [-r RING] [-x]
 * [-q] [SECONDS]; -x payloads in hexadecimal, -q counters at the end only.
 */
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/stats.h"
#include "capture/source.h"

static bool hex, quiet;
static volatile sig_atomic_t stop;
static uint64_t records, bytes;

static void print_payload(struct span d)
{
	printf(" %zu ", d.n);
	for (size_t i = 0; i < d.n; i++) {
		unsigned char c = (unsigned char)d.p[i];

		if (hex)
			printf("%02x", c);
		else if (i < 72)
			putchar(isprint(c) ? c : '.');
	}
}

static void print_key(const struct conn_key *k)
{
	printf("%u %s %" PRIx64 " gen %" PRIu64, k->pid, k->tls ? "ssl" : "fd", k->obj, k->gen);
}

static void on_record(void *ctx, const struct record *r)
{
	static const char *const origins[] = {"unknown", "accepted", "connected"};
	static const char *const causes[] = {"none", "lost", "limit", "nodata", "fault"};
	char local[ENDPOINT_TEXT_LEN], peer[ENDPOINT_TEXT_LEN];

	(void)ctx;
	records++;
	if (r->kind == REC_DATA)
		bytes += r->data.data.n;
	if (quiet)
		return;
	switch (r->kind) {
	case REC_OPEN:
		endpoint_text(&r->open.local, local);
		endpoint_text(&r->open.peer, peer);
		printf("OPEN ");
		print_key(&r->open.key);
		printf(" fd %d %s %s %s", r->open.fd, origins[r->open.origin], local, peer);
		break;
	case REC_DATA:
		printf("DATA ");
		print_key(&r->data.key);
		printf(" %s %" PRIu64, r->data.dir == DIR_IN ? "in" : "out", r->data.pos);
		printf(" gap %" PRIu64 " %s", r->data.gap, causes[r->data.cause]);
		print_payload(r->data.data);
		break;
	case REC_CLOSE:
		printf("CLOSE ");
		print_key(&r->close.key);
		printf(" in %" PRIu64 " out %" PRIu64, r->close.in_pos, r->close.out_pos);
		break;
	case REC_WORKER:
		printf("WORKER %u of %u prefix '%s' container '%s' ports", r->worker.pid, r->worker.node_pid,
			r->worker.prefix, r->worker.container);
		for (uint32_t i = 0; i < r->worker.nports; i++)
			printf(" %u/%u%s", r->worker.ports[i].port, r->worker.ports[i].role,
				r->worker.ports[i].ssl ? "s" : "");
		break;
	case REC_EXIT:
		printf("EXIT %u", r->exit.pid);
		break;
	default:
		printf("?");
		break;
	}
	putchar('\n');
}

static void on_signal(int sig)
{
	(void)sig;
	stop = 1;
}

int main(int argc, char **argv)
{
	struct capture_options o;
	struct source *s;
	uint64_t until = 0;
	uint32_t pids[64];
	char *prefixes[1];
	int c;

	capture_options_default(&o);
	while ((c = getopt(argc, argv, "p:g:f:r:c:xqv")) != -1) {
		if (c == 'p' && o.npids < 64) {
			pids[o.npids++] = (uint32_t)atoi(optarg);
			o.pids = pids;
		} else if (c == 'g') {
			prefixes[0] = optarg;
			o.prefixes = prefixes;
			o.nprefixes = 1;
		} else if (c == 'f') {
			o.force = optarg;
		} else if (c == 'r') {
			o.ring_bytes = strtoull(optarg, NULL, 0);
		} else if (c == 'c') {
			o.call_bytes = (uint32_t)strtoul(optarg, NULL, 0);
		} else if (c == 'x') {
			hex = true;
		} else if (c == 'q') {
			quiet = true;
		} else if (c == 'v') {
			log_set_level(LOG_LVL_DEBUG);
		}
	}
	if (optind < argc)
		until = clock_mono_ns() + strtoull(argv[optind], NULL, 10) * 1000000000ull;
	setvbuf(stdout, NULL, _IOLBF, 0);
	signal(SIGINT, on_signal);
	signal(SIGTERM, on_signal);
	s = source_bpf__open(&o, (struct record_sink){on_record, NULL});
	if (!s)
		return 1;
	source__activate(s);
	source__poll(s, 0);
	fprintf(stderr, "ready\n");
	while (!stop && (!until || clock_mono_ns() < until))
		if (source__poll(s, 100) < 0)
			break;
	source__poll(s, 0);
	source__close(s);
	fprintf(stderr,
		"records %" PRIu64 " bytes %" PRIu64 " lost %" PRIu64 " control %" PRIu64 " faults %" PRIu64
		" full %" PRIu64 " bad %" PRIu64 "\n",
		records, bytes, stats_get(STAT_capture_lost_data), stats_get(STAT_capture_lost_control),
		stats_get(STAT_capture_faults), stats_get(STAT_capture_map_full), stats_get(STAT_capture_bad_records));
	return 0;
}
