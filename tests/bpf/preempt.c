/* preempt: no call is missed because something was interrupted for the process that makes it. Two processes that are
 * watched write to connections of their own, on one CPU: one without a pause, the other in real-time priority whenever
 * its timer rings. That is in the middle of a call of the first as often as not, and of the programs that look at it,
 * or of what the agent, on the same CPU, tells the kernel of a connection. The kernel leaves out programs that are
 * under way there (7.2), or all of them while bpf(2) is at a map (preemptible kernels before). Where it interrupts
 * neither, this holds by itself. preempt [-f FEATURES-TO-DO-WITHOUT]
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "base/stats.h"
#include "judge.h"

#define WRITERS 2
#define INTERRUPTIONS 4000
#define PIECE 64
#define SECONDS_MAX 120

static struct shared {
	atomic_bool go, over;
	struct {
		uint16_t port;
		uint64_t moved;
	} of[WRITERS];
} * shared;

static void die(const char *what)
{
	perror(what);
	exit(2);
}

static void nap(long ns)
{
	nanosleep(&(struct timespec){.tv_nsec = ns}, NULL);
}

/* A connection to ourselves, whose other end a child throws away: the child is not watched. */
static int connection(uint16_t *ret_port)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t n = sizeof(a);
	int listener = socket(AF_INET, SOCK_STREAM, 0), fd = socket(AF_INET, SOCK_STREAM, 0);
	char scratch[65536];

	if (listener < 0 || fd < 0 || bind(listener, (struct sockaddr *)&a, n) || listen(listener, 1) ||
		getsockname(listener, (struct sockaddr *)&a, &n))
		die("listen");
	if (fork() == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(fd);
		fd = accept(listener, NULL, NULL);
		while (read(fd, scratch, sizeof(scratch)) > 0)
			;
		_exit(0);
	}
	if (connect(fd, (struct sockaddr *)&a, n) || getsockname(fd, (struct sockaddr *)&a, &n))
		die("connect");
	close(listener);
	*ret_port = ntohs(a.sin_port);
	return fd;
}

static void write_piece(int fd, uint64_t *moved)
{
	char piece[PIECE];

	for (uint64_t i = 0; i < PIECE; i++)
		piece[i] = (char)pattern(DIR_OUT, *moved + i);
	if (write(fd, piece, PIECE) != PIECE)
		die("write");
	*moved += PIECE;
}

static void onto_one_cpu(void)
{
	cpu_set_t one;

	CPU_ZERO(&one);
	CPU_SET(0, &one);
	if (sched_setaffinity(0, sizeof(one), &one))
		die("affinity");
}

/* Writer 1 interrupts writer 0, and the agent. */
static void act(int which)
{
	struct sched_param param = {.sched_priority = 1};
	int fd;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	fd = connection(&shared->of[which].port);
	onto_one_cpu();
	if (which && sched_setscheduler(0, SCHED_FIFO, &param))
		die("scheduling");
	while (!shared->go)
		nap(1000000);
	for (unsigned i = 0; which ? i < INTERRUPTIONS : !shared->over; i++) {
		if (which)
			nap(50000);
		write_piece(fd, &shared->of[which].moved);
	}
	shared->over = true;
	close(fd);
	_exit(0);
}

static void judge_writer(int which)
{
	static const char *const names[] = {"the interrupted one", "the one that interrupts"};
	struct want w = {.pos = {0, shared->of[which].moved}, .origin = CONN_UNKNOWN, .late = true};
	struct seen *c = seen_port(shared->of[which].port, 0);
	char name[96];

	if (c) { /* the connection is older than we are, or we saw it being made: not what this is about */
		w.origin = c->open.origin;
		w.late = c->open.late;
	}
	snprintf(name, sizeof(name), "%s: each of its %" PRIu64 " calls was seen", names[which],
		shared->of[which].moved / PIECE);
	judge(name, c, &w);
}

/* Something that changes nothing, about a connection of the first. */
static void tell(struct source *source)
{
	static const struct byte_range nothing[2];
	const struct seen *c = seen_port(shared->of[0].port, 0);

	for (int i = 0; c && i < 100; i++)
		source__skip(source, &c->key, nothing);
}

static void watch(struct capture_options *o)
{
	struct source *source = source_bpf__open(o, (struct record_sink){on_record, NULL});
	unsigned ended = 0;

	check(source != NULL, "the programs load and attach", "see above");
	if (!source)
		return;
	source__activate(source);
	while (source__workers(source) < WRITERS)
		source__poll(source, 10);
	onto_one_cpu();
	shared->go = true;
	alarm(SECONDS_MAX);
	while (ended < WRITERS) {
		source__poll(source, 0);
		tell(source);
		while (waitpid((pid_t)o->pids[ended], NULL, WNOHANG) > 0 && ++ended < WRITERS)
			;
	}
	while (source__poll(source, 50) > 0)
		;
	source__count(source);
	for (int i = 0; i < WRITERS; i++)
		judge_writer(i);
	printf("# %" PRIu64 " runs of programs were skipped\n", stats_get(STAT_capture_skipped_runs));
	source__close(source);
}

int main(int argc, char **argv)
{
	struct capture_options o;
	uint32_t pids[WRITERS];
	int c;

	capture_options_default(&o);
	o.pids = pids;
	o.npids = WRITERS;
	log_set_level(LOG_LVL_WARN);
	while ((c = getopt(argc, argv, "f:")) != -1)
		if (c == 'f')
			o.force = optarg;
	setvbuf(stdout, NULL, _IOLBF, 0);
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (shared == MAP_FAILED)
		die("mmap");
	for (int i = 0; i < WRITERS; i++) {
		pid_t pid = fork();

		if (pid == 0)
			act(i);
		pids[i] = (uint32_t)pid;
	}
	watch(&o);
	printf("%u passed, %u failed\n", passed, failed);
	return failed != 0;
}
