/* A spool file with any contents: whatever is read back is whole, is counted, and the spool works on. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "base/log.h"
#include "base/stats.h"
#include "ship/spool.h"
#include "ship/spool_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void silent(void *ctx, enum log_level level, const char *module, const char *text)
{
	(void)ctx;
	(void)level;
	(void)module;
	(void)text;
}

static char dir[64], path[128];

static void make_dir(void)
{
	strcpy(dir, access("/dev/shm", W_OK) == 0 ? "/dev/shm/kt-fuzz-XXXXXX" : "/tmp/kt-fuzz-XXXXXX");
	if (!mkdtemp(dir))
		abort();
	snprintf(path, sizeof(path), "%s/0000000000000001.spool", dir);
	log_set_sink(silent, NULL);
}

/* Checksums that the fuzzer could never guess are put right where the input asks for it, by its reserved field. */
static void mend(uint8_t *p, size_t n)
{
	const size_t head = SPOOL_RECORD_HEADER;
	uint32_t bytes, sum;

	for (size_t at = 0; at + head <= n; at++) {
		if (memcmp(p + at, "KTR1", 4) != 0)
			continue;
		memcpy(&bytes, p + at + 8, 4);
		if ((p[at + 24] & 1) && bytes <= n - at - head) {
			sum = (uint32_t)crc32_z(0, p + at + head, bytes);
			memcpy(p + at + 32, &sum, 4);
		}
		if (p[at + 24] & 2) {
			sum = (uint32_t)crc32_z(0, p + at, 4);
			sum = (uint32_t)crc32_z(sum, p + at + 8, 28);
			memcpy(p + at + 36, &sum, 4);
		}
	}
}

static void write_file(const uint8_t *data, size_t size)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	uint8_t *copy = malloc(size + 1);

	if (fd < 0 || !copy)
		abort();
	memcpy(copy, data, size);
	mend(copy, size);
	/* The magic of a file costs the fuzzer nothing. */
	if (write(fd, "KTSPOOL1", 8) != 8 || write(fd, copy, size) != (ssize_t)size)
		abort();
	free(copy);
	close(fd);
}

static void check(struct batch *b)
{
	struct span body = batch__body(b);
	size_t sum = 0;

	for (uint32_t i = 0; i < b->count; i++)
		sum += batch__event(b, i).n + 1;
	if (b->count == 0 || body.p[0] != '[' || body.p[body.n - 1] != ']' || sum + 1 != body.n)
		abort();
}

static uint64_t read_all(struct spool *s)
{
	struct batch *b;
	uint64_t events = 0;

	while ((b = spool__next(s))) {
		check(b);
		events += b->count;
		spool__done(s, b->ref, b->count);
		batch__free(b);
	}
	return events;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint64_t recovered, events, bytes;
	struct batch *own = batch__new();
	struct spool *s;

	if (!dir[0])
		make_dir();
	stats_reset();
	write_file(data, size);
	s = spool__open(dir, 1 << 20, &recovered);
	if (!s || !own || batch__add(own, SPAN_LIT("{}")))
		abort();
	events = read_all(s);
	if (events + stats_get(STAT_ship_dropped_spool) != recovered)
		abort();
	/* A new batch passes through all the same. */
	if (spool__put(s, own, false) || read_all(s) != 1)
		abort();
	spool__level(s, &events, &bytes);
	if (events)
		abort();
	batch__free(own);
	spool__close(s);
	if (access(path, F_OK) == 0)
		abort();
	return 0;
}
