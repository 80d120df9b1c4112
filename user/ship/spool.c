#include "ship/spool.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/stats.h"
#include "ship/spool_file.h"
#include "ship/spool_segment.h"

#define FILE_BYTES (8u << 20)

struct spool_ref {
	struct list node; /* all refs, of all segments */
	struct segment *seg;
	uint64_t off;
	unsigned holders; /* 0: done, and its mark could not be written: kept so that it is not read again */
};

struct spool {
	int dir;
	char *path;
	uint64_t max_bytes, bytes;
	uint64_t file_bytes;
	uint64_t next_number;
	struct list segments;
	struct list refs;
	struct segment *active; /* the one that is written, last of the list; NULL: none yet */
	bool dirty, dir_dirty;
	bool adrift; /* some of the segments are */
	unsigned long damaged, failed;
};

static void drop_ghosts(struct spool *s, const struct segment *seg)
{
	struct list *it, *tmp;

	list_for_each_safe (it, tmp, &s->refs) {
		struct spool_ref *ref = list_entry(it, struct spool_ref, node);

		if (ref->seg == seg && ref->holders == 0) {
			list_remove(it);
			free(ref);
		}
	}
}

static void remove_file(struct spool *s, struct segment *seg)
{
	char name[SEGMENT_NAME_LEN + 1];

	if (seg->gone)
		return;
	segment_name(seg->number, name);
	if (!seg->adrift)
		unlinkat(s->dir, name, 0);
	seg->gone = true;
	s->bytes -= seg->size;
	s->dir_dirty = true;
	if (s->active == seg)
		s->active = NULL;
}

static void free_segment(struct spool *s, struct segment *seg)
{
	drop_ghosts(s, seg);
	segment__close(seg);
	list_remove(&seg->node);
	free(seg);
}

/* Called whenever a segment may have become useless. */
static void reap(struct spool *s, struct segment *seg)
{
	if (seg->gone) {
		if (seg->refs == 0)
			free_segment(s, seg);
		return;
	}
	if (seg == s->active || seg->next < seg->size || seg->refs || seg->held)
		return;
	/* What was announced and never came was damaged. */
	if (seg->unread)
		stats_add(STAT_ship_dropped_spool, seg->unread);
	remove_file(s, seg);
	free_segment(s, seg);
}

static void count_damage(struct spool *s, const struct segment *seg)
{
	stats_inc(STAT_ship_spool_corrupt);
	if (log_rate(&s->damaged))
		log_warn("spool", "damaged record in %016" PRIx64 ".spool, skipped (%lu so far)", seg->number,
			s->damaged);
}

struct spool *spool__open(const char *dir, uint64_t max_bytes, uint64_t *recovered)
{
	struct spool *s = calloc(1, sizeof(*s));
	struct list *it;
	int err;

	if (!s)
		return NULL;
	list_init(&s->segments);
	list_init(&s->refs);
	s->next_number = 1;
	s->max_bytes = max_bytes;
	/* Small against the bound, since the bound is kept by dropping whole files. */
	s->file_bytes = max_bytes / 8 < FILE_BYTES ? max_bytes / 8 : FILE_BYTES;
	s->path = strdup(dir);
	s->dir = s->path ? segments_open_dir(dir) : -ENOMEM;
	err = s->dir < 0 ? s->dir : segments_adopt(s->dir, &s->segments, &s->next_number);
	if (err) {
		spool__close(s);
		errno = -err;
		return NULL;
	}
	*recovered = 0;
	for (it = s->segments.next; it != &s->segments; it = it->next) {
		*recovered += list_entry(it, struct segment, node)->unread;
		s->bytes += list_entry(it, struct segment, node)->size;
	}
	return s;
}

void spool__close(struct spool *s)
{
	struct list *it, *tmp;

	if (!s)
		return;
	spool__sync(s);
	s->active = NULL;
	list_for_each_safe (it, tmp, &s->segments) {
		struct segment *seg = list_entry(it, struct segment, node);

		/* A file in which everything is done need not stay; what a holder left behind must. */
		if (seg->unread == 0 && seg->held == 0 && seg->refs == 0 && (seg->own || seg->next >= seg->size))
			remove_file(s, seg);
		free_segment(s, seg);
	}
	if (s->dir >= 0)
		close(s->dir);
	free(s->path);
	free(s);
}

/* A new file of this number, or of the next that is free: others may have put files there. */
static int create_file(struct spool *s, uint64_t *number)
{
	char name[SEGMENT_NAME_LEN + 1];
	int fd;

	segment_name(*number, name);
	while ((fd = spool_file_create(s->dir, name)) == -EEXIST) {
		*number = s->next_number++;
		segment_name(*number, name);
	}
	return fd;
}

static void uncreate_file(struct spool *s, uint64_t number, int fd)
{
	char name[SEGMENT_NAME_LEN + 1];

	segment_name(number, name);
	unlinkat(s->dir, name, 0);
	close(fd);
}

static int start_file(struct spool *s)
{
	uint64_t number = s->next_number++;
	struct segment *seg;
	int fd = create_file(s, &number);

	if (fd < 0)
		return fd;
	seg = segment__new(number, fd);
	if (!seg) {
		uncreate_file(s, number, fd);
		return -ENOMEM;
	}
	seg->own = true;
	list_push_back(&s->segments, &seg->node);
	s->bytes += seg->size;
	s->active = seg;
	s->dir_dirty = true;
	return 0;
}

/* The active file becomes one like the others. */
static void end_file(struct spool *s)
{
	struct segment *seg = s->active;

	if (!seg)
		return;
	if (s->dirty && fdatasync(seg->fd) == 0)
		s->dirty = false;
	s->active = NULL;
	reap(s, seg);
}

/* The oldest file that takes space; those that are gone but held take none. */
static struct segment *oldest(const struct spool *s)
{
	struct list *it;

	for (it = s->segments.next; it != &s->segments; it = it->next)
		if (!list_entry(it, struct segment, node)->gone)
			return list_entry(it, struct segment, node);
	return NULL;
}

static void drop_file(struct spool *s, struct segment *seg)
{
	stats_add(STAT_ship_dropped_spool, seg->unread);
	if (log_rate(&s->failed))
		log_warn("spool", "full at %" PRIu64 " bytes: the oldest %" PRIu64 " events are dropped", s->max_bytes,
			seg->unread);
	seg->unread = 0;
	seg->next = seg->size;
	remove_file(s, seg);
	reap(s, seg);
}

static int make_room(struct spool *s, uint64_t need)
{
	struct segment *seg;

	if (need + 2 * SPOOL_FILE_HEADER > s->max_bytes)
		return -EFBIG;
	if (s->active && s->active->size + need > s->file_bytes && s->active->size > SPOOL_FILE_HEADER)
		end_file(s);
	while (s->bytes + need + SPOOL_FILE_HEADER > s->max_bytes && (seg = oldest(s)))
		drop_file(s, seg);
	return s->active ? 0 : start_file(s);
}

static struct spool_ref *ref_new(struct spool *s, struct segment *seg, uint64_t off)
{
	struct spool_ref *ref = calloc(1, sizeof(*ref));

	if (!ref)
		return NULL;
	ref->seg = seg;
	ref->off = off;
	ref->holders = 1;
	list_push_back(&s->refs, &ref->node);
	seg->refs++;
	return ref;
}

static void ref_free(struct spool_ref *ref)
{
	list_remove(&ref->node);
	free(ref);
}

/* A file that cannot be opened or read: its events are lost, and the others must not wait for it. */
static void give_up(struct segment *seg, int err)
{
	log_warn("spool", "%016" PRIx64 ".spool cannot be read: %s; %" PRIu64 " events dropped", seg->number,
		strerror(err), seg->unread);
	stats_add(STAT_ship_dropped_spool, seg->unread);
	seg->unread = 0;
	seg->next = seg->size;
}

static bool dir_is_gone(const struct spool *s)
{
	struct stat st;

	return fstat(s->dir, &st) == 0 && st.st_nlink == 0;
}

/* Into a directory of the same name. Files that were not open are gone. */
static int remake_dir(struct spool *s)
{
	int dir = segments_open_dir(s->path);
	struct list *it, *tmp;

	if (dir < 0)
		return dir;
	close(s->dir);
	s->dir = dir;
	s->adrift = true;
	log_warn("spool", "%s was removed under the running agent: made again", s->path);
	list_for_each_safe (it, tmp, &s->segments) {
		struct segment *seg = list_entry(it, struct segment, node);

		seg->adrift = true;
		if (seg->fd >= 0 || seg->gone)
			continue;
		give_up(seg, ENOENT);
		reap(s, seg);
	}
	return 0;
}

/* What is open can still be read, so it can be written again. */
static int rescue(struct spool *s, struct segment *seg)
{
	uint64_t number = seg->number;
	int err, fd = create_file(s, &number);

	if (fd < 0)
		return fd;
	err = spool_file_copy(seg->fd, fd, seg->size);
	if (err) {
		uncreate_file(s, number, fd);
		return err;
	}
	close(seg->fd);
	seg->fd = fd;
	seg->number = number;
	seg->adrift = false;
	s->dir_dirty = true;
	return 0;
}

/* Somebody may have removed the directory. What is written into a file of it would be gone with this process. */
static int keep_dir(struct spool *s)
{
	int err = dir_is_gone(s) ? remake_dir(s) : 0;
	struct list *it;

	if (err || !s->adrift)
		return err;
	for (it = s->segments.next; it != &s->segments; it = it->next) {
		struct segment *seg = list_entry(it, struct segment, node);

		if (seg->adrift && !seg->gone)
			err = rescue(s, seg);
		if (err)
			return err;
	}
	s->adrift = false;
	return 0;
}

int spool__put(struct spool *s, struct batch *b, bool hold)
{
	uint64_t size = spool_record_size(spool_batch_payload(b));
	struct spool_ref *ref = NULL;
	struct segment *seg;
	int err = keep_dir(s);

	if (!err)
		err = make_room(s, size);
	if (err)
		return err;
	seg = s->active;
	if (hold) {
		ref = ref_new(s, seg, seg->size);
		if (!ref)
			return -ENOMEM;
	}
	err = spool_file_write(seg->fd, seg->size, b);
	if (err) {
		if (ref) {
			seg->refs--;
			ref_free(ref);
		}
		return err;
	}
	seg->size += size;
	s->bytes += size;
	s->dirty = true;
	stats_add(STAT_ship_spooled_events, b->count);
	if (hold) {
		seg->held += b->count;
		b->ref = ref;
	} else {
		seg->unread += b->count;
	}
	return 0;
}

static bool has_ref(const struct spool *s, const struct segment *seg, uint64_t off)
{
	const struct list *it;

	for (it = s->refs.next; it != &s->refs; it = it->next) {
		const struct spool_ref *ref = list_entry(it, struct spool_ref, node);

		if (ref->seg == seg && ref->off == off)
			return true;
	}
	return false;
}

static uint64_t less(uint64_t a, uint64_t b)
{
	return a > b ? a - b : 0;
}

static struct batch *take(struct spool *s, struct segment *seg, const struct spool_record *rec)
{
	struct batch *b = spool_file_read(seg->fd, rec);

	if (!b) {
		if (errno != EBADMSG)
			return NULL;
		/* Its header was whole, so it is known what is lost. */
		count_damage(s, seg);
		stats_add(STAT_ship_dropped_spool, rec->count);
		seg->unread = less(seg->unread, rec->count);
		seg->next = rec->off + spool_record_size(rec->bytes);
		return NULL;
	}
	b->ref = ref_new(s, seg, rec->off);
	if (!b->ref) {
		batch__free(b);
		return NULL;
	}
	seg->next = rec->off + spool_record_size(rec->bytes);
	seg->unread = less(seg->unread, rec->count);
	seg->held += rec->count;
	stats_add(STAT_ship_unspooled_events, rec->count);
	return b;
}

/* The next batch of one file; NULL with seg->next == seg->size: it has no more. */
static struct batch *next_of(struct spool *s, struct segment *seg)
{
	while (seg->next < seg->size) {
		struct spool_record rec;
		enum spool_found found = spool_file_find(seg->fd, seg->next, seg->size, &rec);
		struct batch *b;

		if (found == SPOOL_FAILED)
			return NULL;
		if (found == SPOOL_END || found == SPOOL_TORN) {
			seg->next = seg->size;
			return NULL;
		}
		if (found == SPOOL_DAMAGED) {
			count_damage(s, seg);
			seg->next = rec.off;
			continue;
		}
		if (rec.done || has_ref(s, seg, rec.off)) {
			seg->next = rec.off + spool_record_size(rec.bytes);
			continue;
		}
		b = take(s, seg, &rec);
		if (b || seg->next <= rec.off)
			return b;
	}
	return NULL;
}

struct batch *spool__next(struct spool *s)
{
	struct list *it, *tmp;

	list_for_each_safe (it, tmp, &s->segments) {
		struct segment *seg = list_entry(it, struct segment, node);
		struct batch *b = NULL;
		int err;

		if (seg->gone || seg->next >= seg->size)
			continue;
		err = segment__open(seg, s->dir);
		if (!err) {
			errno = 0;
			b = next_of(s, seg);
			err = b || seg->next >= seg->size ? 0 : -errno;
		}
		if (b)
			return b;
		if (err == -ENOMEM || err == -EMFILE || err == -ENFILE)
			return NULL;
		if (err)
			give_up(seg, -err);
		reap(s, seg);
	}
	return NULL;
}

bool spool__pending(const struct spool *s)
{
	const struct list *it;

	for (it = s->segments.next; it != &s->segments; it = it->next) {
		const struct segment *seg = list_entry(it, struct segment, node);

		if (!seg->gone && seg->next < seg->size && (seg->unread || seg != s->active))
			return true;
	}
	return false;
}

void spool_ref__share(struct spool_ref *ref)
{
	ref->holders++;
}

void spool__done(struct spool *s, struct spool_ref *ref, uint32_t events)
{
	struct segment *seg = ref->seg;

	seg->held = less(seg->held, events);
	if (--ref->holders)
		return;
	seg->refs--;
	if (seg->gone || (segment__open(seg, s->dir) == 0 && spool_file_mark_done(seg->fd, ref->off) == 0))
		ref_free(ref);
	if (seg != s->active && seg->refs == 0 && seg->next >= seg->size)
		reap(s, seg);
}

void spool_ref__leave(struct spool_ref *ref)
{
	if (--ref->holders)
		return;
	ref->seg->refs--;
	ref_free(ref);
}

int spool__sync(struct spool *s)
{
	uint64_t events, bytes;
	int err;

	spool__level(s, &events, &bytes);
	err = events ? keep_dir(s) : 0;
	if (err)
		return err;
	if (s->dirty && s->active && fdatasync(s->active->fd))
		err = -errno;
	s->dirty = s->dirty && err;
	if (!err && s->dir_dirty) {
		if (fsync(s->dir))
			err = -errno;
		else
			s->dir_dirty = false;
	}
	return err;
}

bool spool__dirty(const struct spool *s)
{
	return s->dirty;
}

void spool__level(const struct spool *s, uint64_t *events, uint64_t *bytes)
{
	const struct list *it;

	*events = 0;
	for (it = s->segments.next; it != &s->segments; it = it->next) {
		const struct segment *seg = list_entry(it, struct segment, node);

		if (!seg->gone || seg->held)
			*events += seg->unread + seg->held;
	}
	*bytes = s->bytes;
}
