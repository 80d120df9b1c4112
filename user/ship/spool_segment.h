/* spool_segment: the files of a spool directory as the spool knows them, and how those of an earlier life are found. */
#ifndef KT_SHIP_SPOOL_SEGMENT_H
#define KT_SHIP_SPOOL_SEGMENT_H

#include "base/list.h"
#include "base/span.h"

#define SEGMENT_NAME_LEN 22 /* 16 hex digits, ".spool" */

/* Files are taken from the front as they empty. Numbers rise, so the order survives a restart. */
struct segment {
	struct list node;
	uint64_t number;
	int fd;		 /* -1: not open */
	uint64_t size;	 /* whole records end here */
	uint64_t next;	 /* offset of what spool__next looks at */
	uint64_t unread; /* events ahead of `next` that nobody holds */
	uint64_t held;	 /* events in memory, too */
	unsigned refs;
	bool gone;   /* unlinked; stays until its refs are let go */
	bool own;    /* written in this life: it holds nothing that is not counted */
	bool adrift; /* its directory was removed: there is its descriptor, and no file of that name */
};

void segment_name(uint64_t number, char out[SEGMENT_NAME_LEN + 1]);
/* Of an empty file; takes the descriptor unless it fails. NULL: no memory. */
struct segment *segment__new(uint64_t number, int fd);
/* Opens its file if it is not open. 0 or negative errno. */
int segment__open(struct segment *seg, int dir);
void segment__close(struct segment *seg);

/* The directory, made if need be, locked for this process until the descriptor is closed; or negative errno, -EBUSY
 * when another process has it. */
int segments_open_dir(const char *dir);
/* Adds what an earlier life left, in order, with unread set; raises *next_number above every number seen. Files that
 * are not the spool's are left alone. 0 or negative errno (the list holds what was found so far). */
int segments_adopt(int dir, struct list *segments, uint64_t *next_number);

#endif
