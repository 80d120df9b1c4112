#include "ship/spool_segment.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "ship/spool_file.h"

#define FILES_MAX 65536
#define NUMBER_LIMIT (1ull << 62)

void segment_name(uint64_t number, char out[SEGMENT_NAME_LEN + 1])
{
	snprintf(out, SEGMENT_NAME_LEN + 1, "%016" PRIx64 ".spool", number);
}

static bool parse_name(const char *name, uint64_t *ret)
{
	uint64_t number = 0;

	if (strlen(name) != SEGMENT_NAME_LEN || strcmp(name + 16, ".spool") != 0)
		return false;
	for (int i = 0; i < 16; i++) {
		const char *digits = "0123456789abcdef", *digit = strchr(digits, name[i]);

		if (!digit)
			return false;
		number = number << 4 | (uint64_t)(digit - digits);
	}
	*ret = number;
	return number < NUMBER_LIMIT;
}

void segment__close(struct segment *seg)
{
	if (seg->fd >= 0)
		close(seg->fd);
	seg->fd = -1;
}

int segment__open(struct segment *seg, int dir)
{
	char name[SEGMENT_NAME_LEN + 1];
	uint64_t size;

	if (seg->fd >= 0)
		return 0;
	segment_name(seg->number, name);
	seg->fd = spool_file_open(dir, name, &size);
	if (seg->fd < 0) {
		int err = seg->fd;

		seg->fd = -1;
		return err;
	}
	return 0;
}

struct segment *segment__new(uint64_t number, int fd)
{
	struct segment *seg = calloc(1, sizeof(*seg));

	if (!seg)
		return NULL;
	list_init(&seg->node);
	seg->number = number;
	seg->fd = fd;
	seg->size = seg->next = SPOOL_FILE_HEADER;
	return seg;
}

/* Adds up what an earlier life left in a file. Damage is counted when it is met again, on reading. */
static int survey(struct segment *seg)
{
	struct spool_record rec;
	uint64_t off = SPOOL_FILE_HEADER;
	bool damaged = false;

	for (;;) {
		enum spool_found found = spool_file_find(seg->fd, off, seg->size, &rec);

		if (found == SPOOL_FAILED)
			return -errno;
		if (found == SPOOL_TORN)
			log_info("spool", "%016" PRIx64 ".spool ends in a record that was being written", seg->number);
		if (found == SPOOL_END || found == SPOOL_TORN)
			break;
		damaged = damaged || found == SPOOL_DAMAGED;
		if (rec.off >= seg->size)
			break;
		if (!rec.done)
			seg->unread += rec.count;
		off = rec.off + spool_record_size(rec.bytes);
	}
	if (damaged)
		log_warn("spool", "%016" PRIx64 ".spool is damaged in places: what is whole is used", seg->number);
	return 0;
}

static void insert_sorted(struct list *segments, struct segment *seg)
{
	struct list *at = segments->prev;

	while (at != segments && list_entry(at, struct segment, node)->number > seg->number)
		at = at->prev;
	seg->node.prev = at;
	seg->node.next = at->next;
	at->next->prev = &seg->node;
	at->next = &seg->node;
}

/* A file of ours by name. What does not look like one inside is somebody else's, unless it is one whose first write
 * was cut short. */
static int adopt(int dir, struct list *segments, const char *name, uint64_t number)
{
	struct segment *seg;
	struct stat st;
	uint64_t size = 0;
	int err, fd = spool_file_open(dir, name, &size);

	if (fd == -EBADMSG) {
		if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode) &&
			st.st_size < SPOOL_FILE_HEADER)
			unlinkat(dir, name, 0);
		else
			log_warn("spool", "%s is no spool file, left alone", name);
		return 0;
	}
	if (fd < 0) {
		log_warn("spool", "%s cannot be opened: %s", name, strerror(-fd));
		return 0;
	}
	seg = segment__new(number, fd);
	if (!seg) {
		close(fd);
		return -ENOMEM;
	}
	seg->size = size;
	insert_sorted(segments, seg);
	err = survey(seg);
	segment__close(seg);
	if (err)
		log_warn("spool", "%s cannot be read: %s", name, strerror(-err));
	return err == -ENOMEM ? err : 0;
}

int segments_adopt(int dir, struct list *segments, uint64_t *next_number)
{
	int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), err = 0;
	DIR *d = fd >= 0 ? fdopendir(fd) : NULL;
	unsigned files = 0, others = 0;
	struct dirent *e;

	if (!d) {
		err = -errno;
		if (fd >= 0)
			close(fd);
		return err;
	}
	while (!err && files < FILES_MAX && (e = readdir(d))) {
		uint64_t number;

		if (e->d_name[0] == '.')
			continue;
		if (!parse_name(e->d_name, &number)) {
			others++;
			continue;
		}
		files++;
		if (number >= *next_number)
			*next_number = number + 1;
		err = adopt(dir, segments, e->d_name, number);
	}
	closedir(d);
	if (others)
		log_info("spool", "%u files in the spool directory are not the spool's, left alone", others);
	return err;
}

/* With the directories above it that are missing: the path that people are told to use has some. */
static int make_dir(const char *dir)
{
	char path[PATH_MAX];
	size_t n = strlen(dir);

	if (n >= sizeof(path))
		return -ENAMETOOLONG;
	memcpy(path, dir, n + 1);
	for (char *slash = n ? strchr(path + 1, '/') : NULL; slash; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		/* Whatever else is wrong with it shows below. */
		if (mkdir(path, 0700) && errno == ENOSPC)
			return -errno;
		*slash = '/';
	}
	return mkdir(dir, 0700) && errno != EEXIST ? -errno : 0;
}

/* Exclusive use is a lock on the directory itself; it ends with the process. */
int segments_open_dir(const char *dir)
{
	int fd, err = make_dir(dir);

	if (err)
		return err;
	fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (flock(fd, LOCK_EX | LOCK_NB)) {
		err = errno == EWOULDBLOCK ? -EBUSY : -errno;
		close(fd);
		return err;
	}
	if (faccessat(fd, ".", R_OK | W_OK | X_OK, AT_EACCESS)) {
		err = -errno;
		close(fd);
		return err;
	}
	return fd;
}
