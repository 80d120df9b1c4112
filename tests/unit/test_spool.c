#include "kt_cmocka.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/stats.h"
#include "in_child.h"
#include "ship/spool.h"
#include "ship/spool_file.h"

#define MIB (1u << 20)

static char dir[64];

static void silent(void *ctx, enum log_level level, const char *module, const char *text)
{
	(void)ctx;
	(void)level;
	(void)module;
	(void)text;
}

static int setup(void **state)
{
	(void)state;
	strcpy(dir, "/tmp/kt-spool-XXXXXX");
	stats_reset();
	log_set_sink(silent, NULL);
	return mkdtemp(dir) ? 0 : -1;
}

static void each_file(void (*fn)(const char *path, void *ctx), void *ctx)
{
	DIR *d = opendir(dir);
	struct dirent *e;
	char path[400];

	while (d && (e = readdir(d))) {
		snprintf(path, sizeof(path), "%s/%s", dir, e->d_name);
		if (e->d_name[0] != '.')
			fn(path, ctx);
	}
	closedir(d);
}

static void remove_one(const char *path, void *ctx)
{
	(void)ctx;
	unlink(path);
}

static int teardown(void **state)
{
	(void)state;
	each_file(remove_one, NULL);
	log_set_sink(NULL, NULL);
	return rmdir(dir);
}

static void count_one(const char *path, void *ctx)
{
	(void)path;
	++*(int *)ctx;
}

static int files(void)
{
	int n = 0;

	each_file(count_one, &n);
	return n;
}

static void keep_path(const char *path, void *ctx)
{
	strcpy(ctx, path);
}

static struct spool *open_spool(uint64_t max, uint64_t want_recovered)
{
	uint64_t recovered = 77;
	struct spool *s = spool__open(dir, max, &recovered);

	assert_non_null(s);
	assert_int_equal(recovered, want_recovered);
	return s;
}

/* Events {"id":first} … {"id":first + n - 1} */
static struct batch *batch_of(unsigned first, unsigned n)
{
	struct batch *b = batch__new();

	for (unsigned i = 0; i < n; i++) {
		char json[32];

		snprintf(json, sizeof(json), "{\"id\":%u}", first + i);
		assert_int_equal(batch__add(b, span_str(json)), 0);
	}
	b->wall_ns = 1000 + first;
	return b;
}

static void put(struct spool *s, unsigned first, unsigned n)
{
	struct batch *b = batch_of(first, n);

	assert_int_equal(spool__put(s, b, false), 0);
	batch__free(b);
}

static unsigned id_of(const struct batch *b, uint32_t i)
{
	struct span e = batch__event(b, i);

	assert_true(span_starts(e, SPAN_LIT("{\"id\":")));
	return (unsigned)strtoul(e.p + 6, NULL, 10);
}

/* Reads the next batch, checks it and says that it is delivered. */
static void expect(struct spool *s, unsigned first, unsigned n)
{
	struct batch *b = spool__next(s);

	assert_non_null(b);
	assert_int_equal(b->count, n);
	assert_int_equal(b->wall_ns, 1000 + first);
	for (uint32_t i = 0; i < n; i++)
		assert_int_equal(id_of(b, i), first + i);
	spool__done(s, b->ref, b->count);
	batch__free(b);
}

static void expect_level(const struct spool *s, uint64_t want)
{
	uint64_t events, bytes;

	spool__level(s, &events, &bytes);
	assert_int_equal(events, want);
}

static void what_goes_in_comes_out_in_order(void **state)
{
	struct spool *s = open_spool(MIB, 0);

	(void)state;
	assert_false(spool__pending(s));
	assert_null(spool__next(s));
	for (unsigned i = 0; i < 5; i++)
		put(s, i * 10, 3);
	expect_level(s, 15);
	assert_true(spool__dirty(s));
	assert_int_equal(spool__sync(s), 0);
	assert_false(spool__dirty(s));
	for (unsigned i = 0; i < 5; i++) {
		assert_true(spool__pending(s));
		expect(s, i * 10, 3);
		if (i == 2)
			put(s, 100, 1);
	}
	expect(s, 100, 1);
	assert_null(spool__next(s));
	assert_false(spool__pending(s));
	expect_level(s, 0);
	spool__close(s);
	assert_int_equal(files(), 0);
	assert_int_equal(stats_get(STAT_ship_spooled_events), 16);
	assert_int_equal(stats_get(STAT_ship_unspooled_events), 16);
}

static void a_later_life_finds_what_was_not_delivered(void **state)
{
	struct spool *s = open_spool(MIB, 0);
	struct batch *held;

	(void)state;
	put(s, 0, 2);
	put(s, 10, 2);
	put(s, 20, 2);
	expect(s, 0, 2);
	held = spool__next(s);
	assert_int_equal(id_of(held, 0), 10);
	spool_ref__leave(held->ref);
	batch__free(held);
	spool__close(s);

	s = open_spool(MIB, 4);
	put(s, 30, 1);
	expect(s, 10, 2);
	expect(s, 20, 2);
	expect(s, 30, 1);
	spool__close(s);
	assert_int_equal(files(), 0);
}

static void a_held_batch_is_not_read_again(void **state)
{
	struct spool *s = open_spool(MIB, 0);
	struct batch *flying = batch_of(5, 2), *kept = batch_of(8, 1);

	(void)state;
	put(s, 0, 1);
	assert_int_equal(spool__put(s, flying, true), 0);
	assert_int_equal(spool__put(s, kept, true), 0);
	put(s, 20, 1);
	expect_level(s, 5);
	expect(s, 0, 1);
	spool__done(s, flying->ref, flying->count);
	expect(s, 20, 1);
	assert_null(spool__next(s));
	expect_level(s, 1);
	spool_ref__leave(kept->ref);
	batch__free(flying);
	batch__free(kept);
	spool__close(s);
	/* Only the one without an answer is still there. */
	s = open_spool(MIB, 1);
	expect(s, 8, 1);
	spool__close(s);
}

static void a_split_batch_is_done_with_its_last_part(void **state)
{
	struct spool *s = open_spool(MIB, 0);
	struct batch *b, *left, *right;

	(void)state;
	put(s, 0, 4);
	b = spool__next(s);
	left = batch__slice(b, 0, 2);
	right = batch__slice(b, 2, 4);
	spool_ref__share(b->ref);
	batch__free(b);
	spool__done(s, left->ref, left->count);
	expect_level(s, 2);
	spool_ref__leave(right->ref);
	batch__free(left);
	batch__free(right);
	spool__close(s);
	s = open_spool(MIB, 4);
	expect(s, 0, 4);
	spool__close(s);
}

static void copies_of_what_was_delivered_leave_nothing_behind(void **state)
{
	struct spool *s = open_spool(MIB, 0);
	struct batch *b = batch_of(5, 2);

	(void)state;
	assert_int_equal(spool__put(s, b, true), 0);
	spool__done(s, b->ref, b->count);
	batch__free(b);
	assert_false(spool__pending(s));
	spool__close(s);
	assert_int_equal(files(), 0);
}

static void the_bound_drops_the_oldest_and_counts(void **state)
{
	struct spool *s = open_spool(MIB, 0);
	char big[5000];
	uint64_t events, bytes, puts = 0;
	unsigned last = 0;

	(void)state;
	memset(big, '1', sizeof(big));
	for (; puts < 1000; puts++) {
		struct batch *b = batch_of((unsigned)puts, 1);

		assert_int_equal(batch__add(b, span_of(big, sizeof(big))), 0);
		assert_int_equal(spool__put(s, b, false), 0);
		batch__free(b);
		spool__level(s, &events, &bytes);
		assert_true(bytes <= MIB);
		assert_int_equal(events + stats_get(STAT_ship_dropped_spool), 2 * (puts + 1));
	}
	assert_true(events > 2 * 150); /* most of the room is used */
	for (uint64_t i = 0; i < events / 2; i++) {
		struct batch *b = spool__next(s);

		assert_non_null(b);
		assert_true(i == 0 || id_of(b, 0) == last + 1);
		last = id_of(b, 0);
		spool__done(s, b->ref, b->count);
		batch__free(b);
	}
	assert_int_equal(last, 999);
	assert_null(spool__next(s));
	spool__close(s);
	assert_int_equal(files(), 0);
}

static void the_bound_spares_what_is_held(void **state)
{
	struct spool *s = open_spool(MIB, 0);
	static char big[90000];
	struct batch *held;

	(void)state;
	memset(big, '1', sizeof(big));
	put(s, 0, 2);
	put(s, 10, 2);
	held = spool__next(s);
	for (int i = 0; i < 30; i++) {
		struct batch *b = batch__new();

		batch__add(b, span_of(big, sizeof(big)));
		assert_int_equal(spool__put(s, b, false), 0);
		batch__free(b);
	}
	assert_int_equal(stats_get(STAT_ship_dropped_spool) > 2, 1);
	spool__done(s, held->ref, held->count);
	batch__free(held);
	for (struct batch *b; (b = spool__next(s)); batch__free(b))
		spool__done(s, b->ref, b->count);
	expect_level(s, 0);
	assert_int_equal(stats_get(STAT_ship_dropped_spool) + stats_get(STAT_ship_unspooled_events), 34);
	spool__close(s);
}

static void more_than_the_bound_is_refused(void **state)
{
	struct spool *s = open_spool(4096, 0);
	struct batch *b = batch__new();
	char big[5000];

	(void)state;
	memset(big, '1', sizeof(big));
	batch__add(b, span_of(big, sizeof(big)));
	assert_int_equal(spool__put(s, b, false), -EFBIG);
	put(s, 1, 1);
	expect(s, 1, 1);
	batch__free(b);
	spool__close(s);
}

static void two_agents_do_not_share_a_spool(void **state)
{
	struct spool *s = open_spool(MIB, 0);
	uint64_t recovered;

	(void)state;
	assert_null(spool__open(dir, MIB, &recovered));
	assert_int_equal(errno, EBUSY);
	spool__close(s);
	spool__close(open_spool(MIB, 0));
	assert_null(spool__open("/proc/nowhere/spool", MIB, &recovered));
	assert_int_equal(errno, ENOENT);
}

static void missing_directories_are_made(void **state)
{
	static const char *const parts[] = {"/one", "/one/two", "/one/two/spool"};
	char path[128];
	struct spool *s;
	struct stat st;
	uint64_t recovered;

	(void)state;
	snprintf(path, sizeof(path), "%s%s", dir, parts[2]);
	s = spool__open(path, MIB, &recovered);
	assert_non_null(s);
	spool__close(s);
	for (int i = 0; i < 3; i++) {
		snprintf(path, sizeof(path), "%s%s", dir, parts[i]);
		assert_int_equal(stat(path, &st), 0);
		assert_int_equal(st.st_mode & 0777, 0700);
	}
	snprintf(path, sizeof(path), "rm -rf '%s/one'", dir);
	assert_int_equal(system(path), 0);
	assert_null(spool__open("", MIB, &recovered));
	assert_int_equal(errno, ENOENT);
}

static void write_file(const char *name, const char *p, size_t n);

static void remove_dir(void)
{
	each_file(remove_one, NULL);
	assert_int_equal(rmdir(dir), 0);
}

/* What is open goes into the new one; only what an earlier life left and nobody had opened is gone, and counted. */
static void a_directory_that_is_removed_is_made_again(void **state)
{
	struct spool *s = open_spool(MIB, 0);
	struct batch *held = batch_of(20, 4);

	(void)state;
	put(s, 0, 3);
	spool__close(s);
	s = open_spool(MIB, 3);
	put(s, 10, 2);
	assert_int_equal(spool__put(s, held, true), 0);
	remove_dir();
	put(s, 30, 1);
	assert_int_equal(files(), 1);
	assert_int_equal(stats_get(STAT_ship_dropped_spool), 3);
	expect_level(s, 7);
	/* Again, and nothing is written any more but the end of it. */
	remove_dir();
	expect(s, 10, 2);
	assert_int_equal(spool__sync(s), 0);
	assert_int_equal(files(), 1);
	spool_ref__leave(held->ref);
	batch__free(held);
	spool__close(s);
	s = open_spool(MIB, 5);
	expect(s, 20, 4);
	expect(s, 30, 1);
	spool__close(s);
	assert_int_equal(files(), 0);
	assert_int_equal(stats_get(STAT_ship_dropped_spool), 3);
}

static void a_directory_that_cannot_be_made_again_is_an_error(void **state)
{
	struct spool *s = open_spool(MIB, 0);
	struct batch *b = batch_of(5, 2);
	int fd;

	(void)state;
	put(s, 0, 3);
	remove_dir();
	fd = open(dir, O_WRONLY | O_CREAT | O_EXCL, 0600);
	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(spool__put(s, b, false), -ENOTDIR);
	expect_level(s, 3);
	assert_int_equal(unlink(dir), 0);
	/* Somebody made it, and files in it are not overwritten. */
	assert_int_equal(mkdir(dir, 0700), 0);
	write_file("0000000000000001.spool", "theirs", 6);
	assert_int_equal(spool__put(s, b, false), 0);
	batch__free(b);
	assert_int_equal(files(), 2);
	spool__close(s);
	assert_int_equal(files(), 2);
	s = open_spool(MIB, 5);
	expect(s, 0, 3);
	expect(s, 5, 2);
	spool__close(s);
}

/* Three records in one file, as bytes. */
static char image[4096];
static size_t image_size, image_at[4];

static void make_image(void)
{
	struct spool *s = open_spool(MIB, 0);
	char path[400];
	int fd;

	image_at[0] = SPOOL_FILE_HEADER;
	for (unsigned i = 0; i < 3; i++) {
		struct batch *b = batch_of(i * 10, 2);

		image_at[i + 1] = image_at[i] + spool_record_size(spool_batch_payload(b));
		assert_int_equal(spool__put(s, b, false), 0);
		batch__free(b);
	}
	each_file(keep_path, path);
	spool__close(s);
	fd = open(path, O_RDONLY);
	image_size = (size_t)read(fd, image, sizeof(image));
	close(fd);
	assert_int_equal(image_size, image_at[3]);
	unlink(path);
	stats_reset();
}

static void write_file(const char *name, const char *p, size_t n)
{
	char path[400];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	assert_int_equal(write(fd, p, n), n);
	close(fd);
}

/* Opens the spool, reads everything; bit i of the result: the i-th record came, whole. */
static unsigned read_all(void)
{
	uint64_t recovered;
	struct spool *s = spool__open(dir, MIB, &recovered);
	unsigned came = 0;
	struct batch *b;

	assert_non_null(s);
	while ((b = spool__next(s))) {
		unsigned id = id_of(b, 0);

		assert_int_equal(b->count, 2);
		assert_int_equal(id_of(b, 1), id + 1);
		assert_false(came & 1u << id / 10);
		came |= 1u << id / 10;
		spool__done(s, b->ref, b->count);
		batch__free(b);
	}
	expect_level(s, 0);
	/* Nothing is unaccounted for: what was found is what came or was dropped. */
	assert_int_equal(recovered, stats_get(STAT_ship_unspooled_events) + stats_get(STAT_ship_dropped_spool));
	spool__close(s);
	return came;
}

static void a_torn_end_loses_only_the_torn_record(void **state)
{
	(void)state;
	make_image();
	for (size_t n = 0; n <= image_size; n++) {
		unsigned want = n >= image_at[3] ? 7 : n >= image_at[2] ? 3 : n >= image_at[1] ? 1 : 0;

		stats_reset();
		write_file("0000000000000001.spool", image, n);
		assert_int_equal(read_all(), want);
		assert_int_equal(stats_get(STAT_ship_spool_corrupt), 0);
		assert_int_equal(files(), 0);
	}
}

static void zeros_after_the_end_are_no_damage(void **state)
{
	char padded[sizeof(image) * 3] = {0};

	(void)state;
	make_image();
	memcpy(padded, image, image_size);
	write_file("0000000000000001.spool", padded, sizeof(padded));
	assert_int_equal(read_all(), 7);
	assert_int_equal(stats_get(STAT_ship_spool_corrupt), 0);
}

static unsigned record_of(size_t at)
{
	for (unsigned i = 0; i < 3; i++)
		if (at < image_at[i + 1])
			return i;
	return 3;
}

/* One byte of the file is wrong, each in turn, in several ways: at most its own record is lost. */
static void a_damaged_byte_loses_at_most_its_record(void **state)
{
	static const unsigned char flips[] = {0x01, 0x80, 0xff};

	(void)state;
	make_image();
	for (size_t at = SPOOL_FILE_HEADER; at < image_size; at++) {
		for (size_t k = 0; k < sizeof(flips); k++) {
			char damaged[sizeof(image)];
			unsigned came, in_state = at >= image_at[record_of(at)] + 4 && at < image_at[record_of(at)] + 8;

			stats_reset();
			memcpy(damaged, image, image_size);
			damaged[at] = (char)(damaged[at] ^ flips[k]);
			write_file("0000000000000001.spool", damaged, image_size);
			came = read_all();
			assert_int_equal(came | 1u << record_of(at), 7);
			/* A wrong state only means that it is delivered again. */
			assert_int_equal(came, in_state ? 7 : 7 & ~(1u << record_of(at)));
			/* The head of the last record: nothing whole follows, so it may be taken for torn. */
			if (!in_state && at < image_at[2])
				assert_int_equal(stats_get(STAT_ship_spool_corrupt), 1);
			assert_int_equal(files(), 0);
		}
	}
}

static void foreign_files_are_left_alone(void **state)
{
	static const char *const names[] = {"0000000000000002.spool", /* no spool file inside */
		"notes.txt", "0000000000000003.spool.bak", "000000000000000g.spool",
		"ffffffffffffffff.spool"}; /* no number of ours */
	char path[400], fifo[400];

	(void)state;
	make_image();
	write_file("0000000000000001.spool", image, image_size);
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		write_file(names[i], "these are somebody's notes", 26);
	snprintf(path, sizeof(path), "%s/0000000000000005.spool", dir);
	assert_int_equal(symlink("/etc/passwd", path), 0);
	snprintf(fifo, sizeof(fifo), "%s/0000000000000006.spool", dir);
	assert_int_equal(mkfifo(fifo, 0600), 0);
	assert_int_equal(read_all(), 7);
	assert_int_equal(files(), 7);
}

static void a_full_disk_is_an_error_that_leaves_nothing_behind(void **state)
{
	struct rlimit before, limit;
	struct spool *s = open_spool(MIB, 0);
	struct batch *b = batch_of(100, 30);

	(void)state;
	signal(SIGXFSZ, SIG_IGN);
	put(s, 0, 2);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
	limit = before;
	limit.rlim_cur = 300; /* in the middle of the second record */
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
	assert_int_equal(spool__put(s, b, true), -EFBIG);
	assert_null(b->ref);
	assert_int_equal(spool__put(s, b, false), -EFBIG);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
	expect_level(s, 2);
	put(s, 10, 2);
	expect(s, 0, 2);
	expect(s, 10, 2);
	batch__free(b);
	spool__close(s);
	assert_int_equal(files(), 0);
}

static void may_only_be_read(const char *path, void *ctx)
{
	(void)ctx;
	WANT(chmod(path, 0400) == 0);
}

/* As the kernel does with a file system that it found an error in. Permissions do not bind root, but in a child, which
 * may have mounts of its own, a disk that is mounted to be read does. */
static void forbid_writes(void)
{
	if (geteuid())
		each_file(may_only_be_read, NULL);
	else
		WANT(mount("none", dir, NULL, MS_REMOUNT | MS_RDONLY, NULL) == 0);
}

static bool brings(struct spool *s, unsigned first, unsigned n)
{
	struct batch *b = spool__next(s);
	bool right = b && b->count == n && id_of(b, 0) == first && id_of(b, n - 1) == first + n - 1;

	if (b)
		spool__done(s, b->ref, b->count);
	batch__free(b);
	return right;
}

static void from_a_disk_that_may_only_be_read(void)
{
	uint64_t recovered = 0;
	struct spool *s;

	if (!geteuid()) {
		WANT(unshare(CLONE_NEWNS) == 0 && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0);
		WANT(mount("none", dir, "tmpfs", 0, NULL) == 0);
	}
	for (unsigned life = 0; life < 2; life++) {
		s = spool__open(dir, MIB, &recovered);
		WANT(s != NULL);
		put(s, life * 100, 3);
		put(s, life * 100 + 10, 2);
		spool__close(s);
	}
	s = spool__open(dir, MIB, &recovered);
	WANT(s != NULL && recovered == 10);
	forbid_writes();
	for (unsigned life = 0; life < 2; life++)
		WANT(brings(s, life * 100, 3) && brings(s, life * 100 + 10, 2));
	WANT(!spool__next(s) && !spool__pending(s));
	WANT(stats_get(STAT_ship_dropped_spool) == 0);
	spool__close(s);
}

static void what_may_only_be_read_is_delivered_all_the_same(void **state)
{
	(void)state;
	in_child(from_a_disk_that_may_only_be_read, 60);
}

static void files_are_private(void **state)
{
	struct spool *s;
	struct stat st;
	char path[400];

	(void)state;
	umask(0);
	s = open_spool(MIB, 0);
	put(s, 0, 1);
	each_file(keep_path, path);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	expect(s, 0, 1);
	spool__close(s);
}

static void many_files_in_order(void **state)
{
	struct spool *s = open_spool(64u << 20, 0);
	static char big[400000];
	unsigned came = 0;

	(void)state;
	memset(big, ' ', sizeof(big));
	for (unsigned i = 0; i < 100; i++) {
		struct batch *b = batch_of(i, 1);

		big[0] = '1';
		batch__add(b, span_of(big, sizeof(big)));
		assert_int_equal(spool__put(s, b, false), 0);
		batch__free(b);
	}
	assert_true(files() > 3);
	spool__close(s);
	s = open_spool(64u << 20, 200);
	for (struct batch *b; (b = spool__next(s)); batch__free(b)) {
		assert_int_equal(id_of(b, 0), came++);
		spool__done(s, b->ref, b->count);
	}
	assert_int_equal(came, 100);
	spool__close(s);
	assert_int_equal(files(), 0);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(what_goes_in_comes_out_in_order),
		T(a_later_life_finds_what_was_not_delivered),
		T(a_held_batch_is_not_read_again),
		T(a_split_batch_is_done_with_its_last_part),
		T(copies_of_what_was_delivered_leave_nothing_behind),
		T(the_bound_drops_the_oldest_and_counts),
		T(the_bound_spares_what_is_held),
		T(more_than_the_bound_is_refused),
		T(two_agents_do_not_share_a_spool),
		T(missing_directories_are_made),
		T(a_directory_that_is_removed_is_made_again),
		T(a_directory_that_cannot_be_made_again_is_an_error),
		T(a_torn_end_loses_only_the_torn_record),
		T(zeros_after_the_end_are_no_damage),
		T(a_damaged_byte_loses_at_most_its_record),
		T(foreign_files_are_left_alone),
		T(a_full_disk_is_an_error_that_leaves_nothing_behind),
		T(what_may_only_be_read_is_delivered_all_the_same),
		T(files_are_private),
		T(many_files_in_order),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
