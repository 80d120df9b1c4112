/* rooms: how much room the records of calls take in the ring, exactly and in classes of size (bpf/emit.bpf.h).
 *
 *   rooms                is it what it should be
 *   rooms ROUNDS         and what the programs take for it: the medians of so many rounds of each way, in turn
 *
 * The program at system calls that move bytes is loaded once for each way, and the process captures its own calls on a
 * connection with itself. Nanoseconds are those that the kernel counts for its runs (as with kernel.bpf_stats_enabled,
 * but by a descriptor, so that it is off again whatever happens). Records of exact size need
 * bpf_probe_read_user_dynptr (6.17).
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/types.h>

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "capture.h"
#include "capture/features.h"
#include "capture/ring.h"
#include "kongtap.skel.h"

#define CALLS 64 /* between two looks at the ring; they fit into the socket's buffers */
#define ROOM (4 << 20)
#define SEGMENTS 4
#define ROUNDS_MAX 1001
#define HEAD (BPF_RINGBUF_HDR_SZ + sizeof(struct kt_data))

enum way {
	CLASSES,
	EXACT, /* as far as it pays */
	ALL,   /* … and where it does not */
	WAYS
};

struct side {
	struct kongtap_bpf *skel;
	struct bpf_link *links[2];
	struct ring *ring;
	double ns[ROUNDS_MAX];
	size_t bytes;
};

static const struct shape {
	const char *name;
	size_t n[SEGMENTS];
	bool vectored; /* or a buffer */
} shapes[] = {
	{"300 B", {300}, false},
	{"1,500 B", {1500}, false},
	{"2,100 B", {2100}, false},
	{"5,000 B", {5000}, false},
	{"16 KiB", {16384}, false},
	{"300 B, a vector of one", {300}, true},
	{"5,000 B, a vector of one", {5000}, true},
	{"13 B in three", {3, 8, 2}, true},
	{"480 B in three", {220, 250, 10}, true},
	{"head and 1 KiB", {220, 1024}, true},
	{"head, chunk of 1 KiB", {220, 5, 1024, 7}, true},
	{"head and 8 KiB", {220, 8192}, true},
	{"head and 3 of 5,000 B", {220, 5000, 5000, 5000}, true},
};

static unsigned passed, failed;

static int fail(const char *what, int err)
{
	fprintf(stderr, "rooms: %s: %s\n", what, strerror(err < 0 ? -err : err));
	return 1;
}

static void no_record(void *ctx, const void *record, size_t len)
{
	(void)ctx;
	(void)record;
	(void)len;
}

static int open_side(struct side *s, const struct features *f, enum way way)
{
	static const char *const calls[] = {"sys_exit_write", "sys_exit_writev"};
	struct kt_watch watch = {.flags = KT_WATCH_TRAFFIC};
	uint32_t pid = (uint32_t)getpid();
	struct bpf_program *p;
	int err;

	s->skel = kongtap_bpf__open();
	if (!s->skel)
		return -errno;
	s->skel->rodata->use_guard = f->has[FEATURE_GUARD];
	s->skel->rodata->use_exact = way != CLASSES;
	if (way == ALL)
		s->skel->rodata->exact_buffer = s->skel->rodata->exact_segments = 0;
	bpf_object__for_each_program(p, s->skel->obj) bpf_program__set_autoload(p, p == s->skel->progs.sys_move);
	err = kongtap_bpf__load(s->skel);
	if (err)
		return err;
	for (size_t i = 0; i < 2; i++) {
		s->links[i] = bpf_program__attach_tracepoint(s->skel->progs.sys_move, "syscalls", calls[i]);
		if (!s->links[i])
			return -errno;
	}
	s->ring = ring__open(bpf_map__fd(s->skel->maps.data), bpf_map__max_entries(s->skel->maps.data));
	if (!s->ring)
		return -errno;
	return bpf_map_update_elem(bpf_map__fd(s->skel->maps.watched), &pid, &watch, BPF_ANY) ? -errno : 0;
}

/* A connection between fd[0], which writes, and fd[1]. 0 or negative errno. */
static int connect_pair(int fd[2])
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t n = sizeof(a);
	int listener = socket(AF_INET, SOCK_STREAM, 0), room = ROOM;

	fd[0] = socket(AF_INET, SOCK_STREAM, 0);
	if (setsockopt(fd[0], SOL_SOCKET, SO_SNDBUFFORCE, &room, sizeof(room)) ||
		setsockopt(listener, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof(room)) ||
		bind(listener, (void *)&a, sizeof(a)) || listen(listener, 1) || getsockname(listener, (void *)&a, &n) ||
		connect(fd[0], (void *)&a, sizeof(a)))
		return -errno;
	fd[1] = accept(listener, NULL, NULL);
	close(listener);
	return fd[1] < 0 ? -errno : 0;
}

static size_t length(const struct shape *shape)
{
	size_t sum = 0;

	for (size_t i = 0; i < SEGMENTS; i++)
		sum += shape->n[i];
	return sum;
}

static bool drain(int fd, size_t n)
{
	while (n) {
		ssize_t r = recv(fd, NULL, n, MSG_TRUNC);

		if (r <= 0)
			return false;
		n -= (size_t)r;
	}
	return true;
}

static bool call(int fd, const struct shape *shape, char *bytes)
{
	struct iovec v[SEGMENTS];
	size_t n = 0;

	if (!shape->vectored)
		return write(fd, bytes, shape->n[0]) == (ssize_t)shape->n[0];
	for (char *at = bytes; n < SEGMENTS && shape->n[n]; at += shape->n[n++])
		v[n] = (struct iovec){at, shape->n[n]};
	return writev(fd, v, (int)n) == (ssize_t)length(shape);
}

static struct bpf_prog_info info_of(const struct side *s)
{
	struct bpf_prog_info info = {0};
	unsigned len = sizeof(info);

	bpf_obj_get_info_by_fd(bpf_program__fd(s->skel->progs.sys_move), &info, &len);
	return info;
}

/* Calls of a shape, which the side captures. 0 or negative errno. */
static int round_of(struct side *s, const int fd[2], const struct shape *shape, char *bytes, double *ns)
{
	struct bpf_prog_info before, after;
	int err = 0;

	__atomic_store_n(&s->skel->bss->ready, 1, __ATOMIC_RELEASE);
	before = info_of(s);
	for (int i = 0; i < CALLS && !err; i++)
		err = call(fd[0], shape, bytes) ? 0 : -EIO;
	after = info_of(s);
	__atomic_store_n(&s->skel->bss->ready, 0, __ATOMIC_RELEASE);
	s->bytes = ring__pending(s->ring) / CALLS;
	ring__read(s->ring, no_record, NULL);
	/* Runs for others are in it; they end at once. */
	*ns = (double)(after.run_time_ns - before.run_time_ns) / CALLS;
	return err || drain(fd[1], CALLS * length(shape)) ? err : -EIO;
}

static int by_size(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double median(double *v, size_t n)
{
	qsort(v, n, sizeof(*v), by_size);
	return v[n / 2];
}

static bool is_exact(const struct side *s, const struct shape *shape)
{
	bool segments = shape->vectored && shape->n[1];

	return s->skel->rodata->use_exact &&
	       length(shape) > (segments ? s->skel->rodata->exact_segments : s->skel->rodata->exact_buffer);
}

/* `buffer`: what a buffer of the same length took, 0: nobody knows. */
static void judge(const struct side *s, enum way way, const struct shape *shape, size_t buffer)
{
	static const char *const names[WAYS] = {"in classes", "as it pays", "exactly"};
	size_t exact = HEAD + ((length(shape) + 7) & ~7ul);
	bool good = is_exact(s, shape) ? s->bytes == exact : s->bytes >= exact;

	if (shape->vectored && !shape->n[1])
		good &= s->bytes == buffer;
	printf("%s - %s %s: %zu bytes of the ring, exact are %zu\n", good ? "ok" : "FAIL", shape->name, names[way],
		s->bytes, exact);
	*(good ? &passed : &failed) += 1;
}

static size_t room_of_buffer(const size_t room[], size_t n)
{
	for (size_t i = 0; i < sizeof(shapes) / sizeof(*shapes); i++)
		if (!shapes[i].vectored && shapes[i].n[0] == n)
			return room[i];
	return 0;
}

static int test(struct side *s, enum way way, const int fd[2], char *bytes)
{
	size_t room[sizeof(shapes) / sizeof(*shapes)];
	double none;

	for (size_t i = 0; i < sizeof(shapes) / sizeof(*shapes); i++) {
		int err = round_of(s, fd, &shapes[i], bytes, &none);

		if (err)
			return err;
		room[i] = s->bytes;
		judge(s, way, &shapes[i], room_of_buffer(room, length(&shapes[i])));
	}
	return 0;
}

static int measure(struct side side[WAYS], const int fd[2], const struct shape *shape, char *bytes, size_t rounds)
{
	double none;
	int err = 0;

	for (int way = 0; way < WAYS && !err; way++) /* caches */
		err = round_of(&side[way], fd, shape, bytes, &none);
	for (size_t i = 0; i < rounds; i++)
		for (int way = 0; way < WAYS && !err; way++)
			err = round_of(&side[way], fd, shape, bytes, &side[way].ns[i]);
	if (err)
		return err;
	printf("| %s |", shape->name);
	for (int way = 0; way < WAYS; way++)
		printf(" %.0f |", median(side[way].ns, rounds));
	for (int way = 0; way < WAYS; way++)
		printf(" %zu |", side[way].bytes);
	putchar('\n');
	return 0;
}

static int run(struct side side[], size_t ways, size_t rounds)
{
	static char bytes[SEGMENTS << 14] = "HTTP/1.1 200 OK\r\n";
	int fd[2], err = connect_pair(fd);

	for (size_t way = 0; way < ways && !err && !rounds; way++)
		err = test(&side[way], (enum way)way, fd, bytes);
	if (rounds)
		puts("| call | ns: classes | as it pays | all exact | bytes: classes | as it pays | all exact |\n"
		     "|---|---|---|---|---|---|---|");
	for (size_t i = 0; i < sizeof(shapes) / sizeof(*shapes) && !err && rounds; i++)
		err = measure(side, fd, &shapes[i], bytes, rounds);
	return err;
}

int main(int argc, char **argv)
{
	static struct side side[WAYS];
	size_t rounds = argc > 1 ? strtoul(argv[1], NULL, 10) : 0, ways;
	struct features f;
	int err;

	if (rounds > ROUNDS_MAX)
		return fail("rounds", EINVAL);
	if (features_probe(NULL, NULL, &f))
		return 1;
	ways = f.has[FEATURE_EXACT] ? WAYS : 1;
	if (rounds && ways < WAYS)
		return fail("bpf_probe_read_user_dynptr", f.why[FEATURE_EXACT]);
	if (rounds && bpf_enable_stats(BPF_STATS_RUN_TIME) < 0)
		return fail("statistics of programs", errno);
	for (size_t way = 0; way < ways; way++) {
		err = open_side(&side[way], &f, (enum way)way);
		if (err)
			return fail("programs", err);
	}
	err = run(side, ways, rounds);
	if (err)
		return fail("a call", err);
	if (!rounds)
		printf("%u passed, %u failed\n", passed, failed);
	return failed != 0;
}
