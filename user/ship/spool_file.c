#include "ship/spool_file.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>
#include <zlib.h>

#define RECORD_MAGIC 0x3152544bu /* "KTR1" */
#define STATE_LIVE 0x4556494cu	 /* "LIVE" */
#define STATE_DONE 0x454e4f44u	 /* "DONE" */

/* A search for the next record reads this much at a time. */
#define SEARCH_BYTES 65536
#define COPY_BYTES 65536

static const char file_magic[SPOOL_FILE_HEADER] = {'K', 'T', 'S', 'P', 'O', 'O', 'L', '1'};

/* As on disk. */
struct record_header {
	uint32_t magic;
	uint32_t state;
	uint32_t bytes;
	uint32_t count;
	uint64_t wall_ns;
	uint64_t reserved;
	uint32_t payload_sum;
	uint32_t header_sum;
};

_Static_assert(sizeof(struct record_header) == SPOOL_RECORD_HEADER, "no padding");

static uint32_t sum_of(uint32_t sum, const void *p, size_t n)
{
	return (uint32_t)crc32_z(sum, p, n);
}

/* Everything but the state, which changes, and the sum itself. */
static uint32_t header_sum(const struct record_header *h)
{
	uint32_t sum = sum_of(0, &h->magic, sizeof(h->magic));

	return sum_of(
		sum, &h->bytes, offsetof(struct record_header, header_sum) - offsetof(struct record_header, bytes));
}

static bool header_parse(const void *p, uint64_t off, struct spool_record *ret)
{
	struct record_header h;

	memcpy(&h, p, sizeof(h));
	if (h.magic != htole32(RECORD_MAGIC) || h.header_sum != htole32(header_sum(&h)))
		return false;
	*ret = (struct spool_record){
		.off = off,
		.bytes = le32toh(h.bytes),
		.count = le32toh(h.count),
		.sum = le32toh(h.payload_sum),
		.wall_ns = le64toh(h.wall_ns),
		.done = h.state == htole32(STATE_DONE),
	};
	return ret->bytes <= SPOOL_PAYLOAD_MAX && ret->count && ret->count <= ret->bytes / sizeof(uint32_t);
}

static int write_all(int fd, const void *p, size_t n, off_t off)
{
	while (n) {
		ssize_t done = pwrite(fd, p, n, off);

		if (done < 0 && errno == EINTR)
			continue;
		if (done <= 0)
			return done < 0 ? -errno : -EIO;
		p = (const char *)p + done;
		n -= (size_t)done;
		off += done;
	}
	return 0;
}

/* Up to n bytes; fewer at the end of the file. */
static ssize_t read_some(int fd, void *p, size_t n, uint64_t off)
{
	size_t have = 0;

	while (have < n) {
		ssize_t got = pread(fd, (char *)p + have, n - have, (off_t)(off + have));

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return -1;
		if (got == 0)
			break;
		have += (size_t)got;
	}
	return (ssize_t)have;
}

int spool_file_create(int dir, const char *name)
{
	int fd = openat(dir, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	int err;

	if (fd < 0)
		return -errno;
	err = write_all(fd, file_magic, sizeof(file_magic), 0);
	if (err) {
		unlinkat(dir, name, 0);
		close(fd);
		return err;
	}
	return fd;
}

int spool_file_copy(int from, int to, uint64_t size)
{
	char *block = malloc(COPY_BYTES);
	int err = block ? 0 : -ENOMEM;

	for (uint64_t off = 0; !err && off < size;) {
		size_t n = size - off < COPY_BYTES ? (size_t)(size - off) : COPY_BYTES;
		ssize_t got = read_some(from, block, n, off);

		if (got != (ssize_t)n)
			err = got < 0 ? -errno : -EIO;
		else
			err = write_all(to, block, n, (off_t)off);
		off += n;
	}
	if (!err && fdatasync(to))
		err = -errno;
	free(block);
	return err;
}

int spool_file_open(int dir, const char *name, uint64_t *ret_size)
{
	/* O_NONBLOCK: a FIFO of that name must not hold us up. */
	const int flags = O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK;
	int fd = openat(dir, name, O_RDWR | flags), err = 0;
	char magic[SPOOL_FILE_HEADER];
	struct stat st;

	/* The kernel lets nobody write any more where it found a file system in error: what is there can still be sent.
	 */
	if (fd < 0 && (errno == EROFS || errno == EACCES || errno == EPERM))
		fd = openat(dir, name, O_RDONLY | flags);
	if (fd < 0)
		return -errno;
	if (fstat(fd, &st))
		err = -errno;
	else if (!S_ISREG(st.st_mode))
		err = -EBADMSG;
	else if (read_some(fd, magic, sizeof(magic), 0) != sizeof(magic) ||
		 memcmp(magic, file_magic, sizeof(magic)) != 0)
		err = -EBADMSG;
	if (err) {
		close(fd);
		return err;
	}
	*ret_size = (uint64_t)st.st_size;
	return fd;
}

uint64_t spool_record_size(uint64_t payload)
{
	return SPOOL_RECORD_HEADER + payload;
}

uint64_t spool_batch_payload(const struct batch *b)
{
	return (uint64_t)b->count * sizeof(uint32_t) + b->n;
}

static bool fits(const struct spool_record *rec, uint64_t size)
{
	return spool_record_size(rec->bytes) <= size - rec->off;
}

/* Nothing but zeros from off on: space that the file system gave before the data came. */
static int only_zeros(int fd, uint64_t off, uint64_t size)
{
	static const char zeros[4096];
	char block[sizeof(zeros)];

	while (off < size) {
		size_t n = size - off < sizeof(block) ? (size_t)(size - off) : sizeof(block);
		ssize_t got = read_some(fd, block, n, off);

		if (got < 0)
			return -1;
		if (memcmp(block, zeros, (size_t)got) != 0)
			return 0;
		if ((size_t)got < n)
			break;
		off += (size_t)got;
	}
	return 1;
}

/* From a place where no record begins: the next whole record, however far. */
static enum spool_found search(int fd, uint64_t off, uint64_t size, struct spool_record *ret)
{
	const uint32_t magic = htole32(RECORD_MAGIC);
	char *block = malloc(SEARCH_BYTES);
	enum spool_found found = SPOOL_TORN;
	ssize_t got = 0;

	if (!block)
		return SPOOL_FAILED;
	for (; off < size && size - off >= SPOOL_RECORD_HEADER; off += (uint64_t)got - SPOOL_RECORD_HEADER + 1) {
		got = read_some(fd, block, size - off < SEARCH_BYTES ? (size_t)(size - off) : SEARCH_BYTES, off);
		if (got < SPOOL_RECORD_HEADER) {
			found = got < 0 ? SPOOL_FAILED : SPOOL_TORN;
			break;
		}
		for (size_t i = 0; i + SPOOL_RECORD_HEADER <= (size_t)got; i++) {
			if (memcmp(block + i, &magic, sizeof(magic)) == 0 && header_parse(block + i, off + i, ret) &&
				fits(ret, size)) {
				free(block);
				return SPOOL_DAMAGED;
			}
		}
	}
	free(block);
	return found;
}

enum spool_found spool_file_find(int fd, uint64_t off, uint64_t size, struct spool_record *ret)
{
	char header[SPOOL_RECORD_HEADER];
	bool good_header = false;
	struct spool_record rec;
	enum spool_found found;
	ssize_t got;

	if (off >= size)
		return SPOOL_END;
	got = read_some(fd, header, size - off < sizeof(header) ? (size_t)(size - off) : sizeof(header), off);
	if (got < 0)
		return SPOOL_FAILED;
	if ((size_t)got == sizeof(header)) {
		good_header = header_parse(header, off, &rec);
		if (good_header && fits(&rec, size)) {
			*ret = rec;
			return SPOOL_RECORD;
		}
	}
	/* A header whose payload is missing, or less than a header, is where a crash cut a write short. If whole
	 * records follow all the same, it was damage. */
	found = search(fd, off + 1, size, &rec);
	if (found == SPOOL_DAMAGED)
		*ret = rec;
	else if (found == SPOOL_TORN && !good_header && (size_t)got == sizeof(header)) {
		int zeros = only_zeros(fd, off, size);

		*ret = (struct spool_record){.off = size};
		return zeros < 0 ? SPOOL_FAILED : zeros ? SPOOL_TORN : SPOOL_DAMAGED;
	}
	return found;
}

static int write_payload(int fd, uint64_t off, struct record_header *h, const struct batch *b)
{
	struct iovec iov[3] = {{h, sizeof(*h)}, {b->ends, (size_t)b->count * sizeof(uint32_t)}, {b->p, b->n}};
	size_t total = iov[0].iov_len + iov[1].iov_len + iov[2].iov_len;
	ssize_t done;

	do
		done = pwritev(fd, iov, 3, (off_t)off);
	while (done < 0 && errno == EINTR);
	if (done < 0)
		return -errno;
	for (int i = 0; i < 3 && (size_t)done < total; i++) {
		size_t part = iov[i].iov_len;
		size_t skip = (size_t)done < part ? (size_t)done : part;
		int err = write_all(fd, (char *)iov[i].iov_base + skip, part - skip, (off_t)(off + skip));

		if (err)
			return err;
		done -= (ssize_t)skip;
		off += part;
		total -= skip;
	}
	return 0;
}

int spool_file_write(int fd, uint64_t off, const struct batch *b)
{
	struct record_header h = {
		.magic = htole32(RECORD_MAGIC),
		.state = htole32(STATE_LIVE),
		.count = htole32(b->count),
		.wall_ns = htole64(b->wall_ns),
	};
	uint64_t payload = spool_batch_payload(b);
	uint32_t sum;
	int err;

	_Static_assert(__BYTE_ORDER == __LITTLE_ENDIAN, "the ends of the events are written as they are in memory");
	if (payload > SPOOL_PAYLOAD_MAX || b->count == 0)
		return -EFBIG;
	sum = sum_of(0, b->ends, (size_t)b->count * sizeof(uint32_t));
	h.bytes = htole32((uint32_t)payload);
	h.payload_sum = htole32(sum_of(sum, b->p, b->n));
	h.header_sum = htole32(header_sum(&h));
	err = write_payload(fd, off, &h, b);
	if (err && ftruncate(fd, (off_t)off))
		return err; /* the reader takes what is left for torn */
	return err;
}

/* The ends must rise, leave room for a separator each, and the last must be the end of the text. */
static bool payload_ok(const struct batch *b)
{
	uint32_t from = 0;

	for (uint32_t i = 0; i < b->count; i++) {
		if (b->ends[i] <= from || b->ends[i] > b->n || b->p[from] != (i ? ',' : '['))
			return false;
		from = b->ends[i];
	}
	return from == b->n;
}

struct batch *spool_file_read(int fd, const struct spool_record *rec)
{
	size_t ends_bytes = (size_t)rec->count * sizeof(uint32_t);
	struct batch *b = batch__new();
	uint64_t off = rec->off + SPOOL_RECORD_HEADER;
	int err = ENOMEM;

	if (!b)
		return NULL;
	b->n = rec->bytes - ends_bytes;
	b->cap = b->n + 1; /* the closing bracket */
	b->count = b->ends_cap = rec->count;
	b->p = malloc(b->cap);
	b->ends = malloc(ends_bytes);
	if (!b->p || !b->ends)
		goto err_out;
	errno = EBADMSG;
	if (read_some(fd, b->ends, ends_bytes, off) != (ssize_t)ends_bytes ||
		read_some(fd, b->p, b->n, off + ends_bytes) != (ssize_t)b->n) {
		err = errno;
		goto err_out;
	}
	err = EBADMSG;
	if (sum_of(sum_of(0, b->ends, ends_bytes), b->p, b->n) != rec->sum || !payload_ok(b))
		goto err_out;
	b->wall_ns = rec->wall_ns;
	return b;
err_out:
	batch__free(b);
	errno = err;
	return NULL;
}

int spool_file_mark_done(int fd, uint64_t off)
{
	const uint32_t done = htole32(STATE_DONE);

	return write_all(fd, &done, sizeof(done), (off_t)(off + offsetof(struct record_header, state)));
}
