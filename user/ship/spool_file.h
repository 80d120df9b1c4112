/* spool_file: one file of the spool: a header, then records, one batch each, appended in one write.
 *
 *	file    "KTSPOOL1"
 *	record  magic, state, length and number of events, wall clock of the first one, checksum of the payload,
 *checksum of this header without the state; then the payload: the end of each event (32 bits), the JSON array without
 *its closing bracket. All numbers are little-endian.
 *
 * The state is the only field that is written again: it says that the collector has answered for the record. A file
 * ends where its last whole record ends: what a crash left after it is torn, not damaged.
 */
#ifndef KT_SHIP_SPOOL_FILE_H
#define KT_SHIP_SPOOL_FILE_H

#include "ship/batch.h"

#define SPOOL_FILE_HEADER 8
#define SPOOL_RECORD_HEADER 40
#define SPOOL_PAYLOAD_MAX (64u << 20)

struct spool_record {
	uint64_t off;	/* of its header */
	uint32_t bytes; /* of its payload */
	uint32_t count; /* events */
	uint32_t sum;	/* of its payload */
	uint64_t wall_ns;
	bool done;
};

enum spool_found {
	SPOOL_RECORD,  /* a record's header */
	SPOOL_DAMAGED, /* a record's header, after bytes that are none */
	SPOOL_TORN,    /* nothing but the start of a record, or zeros, up to the end */
	SPOOL_END,     /* nothing at all */
	SPOOL_FAILED,  /* cannot be read, errno tells */
};

/* A new file, mode 0600. Descriptor or negative errno. */
int spool_file_create(int dir, const char *name);
/* The first `size` bytes of one to another, onto the disk. 0 or negative errno. */
int spool_file_copy(int from, int to, uint64_t size);
/* An existing one, to be read only where it cannot be written: a descriptor and its size, or negative errno; -EBADMSG:
 * it does not begin as a spool file does. */
int spool_file_open(int dir, const char *name, uint64_t *ret_size);
/* The first record at or after `off`, before `size`. Payloads are not checked. */
enum spool_found spool_file_find(int fd, uint64_t off, uint64_t size, struct spool_record *ret);
/* Bytes on disk of a record with this payload. */
uint64_t spool_record_size(uint64_t payload);
/* How much payload a batch makes. */
uint64_t spool_batch_payload(const struct batch *b);
/* Writes a record at `off`: 0 or negative errno; whatever got there then has been cut off again if that was possible.
 */
int spool_file_write(int fd, uint64_t off, const struct batch *b);
/* Reads its batch: NULL and errno: EBADMSG (checksum or contents wrong), ENOMEM, EIO…. */
struct batch *spool_file_read(int fd, const struct spool_record *rec);
/* 0 or negative errno. */
int spool_file_mark_done(int fd, uint64_t off);

#endif
