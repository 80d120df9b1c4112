/* source: where records come from. Two kinds behind one interface: the kernel (source_bpf.c) and a recording
 * (source_replay.c). Both call the record sink from within source__poll only.
 */
#ifndef KT_CAPTURE_SOURCE_H
#define KT_CAPTURE_SOURCE_H

#include "capture/record.h"

struct capture_options {
	uint32_t *pids; /* --pid: these masters or workers only; NULL: discover */
	size_t npids;
	char **prefixes; /* --prefix: glob over nginx's -p, also for an nginx that is not Kong */
	size_t nprefixes;
	uint64_t ring_bytes; /* data ring, power of two, default 16 MiB */
	uint32_t call_bytes; /* most bytes copied of one call, default 256 KiB */
	uint32_t poll_ms;    /* longest time between two looks at the ring, default 10 */
	bool measure;	     /* at the start, what probes take from workers, for source__probe_ns (some 50 ms) */
	uint32_t probe_ns;   /* hidden test option: what one hook takes; 0: as measured or usual */
	char *btf;	     /* file with the running kernel's types; NULL: the kernel has them itself */
	char *force;	     /* hidden test option: comma list of features to treat as missing */
};

void capture_options_default(struct capture_options *o);
void capture_options_free(struct capture_options *o);

struct source;

/* Opens, loads and attaches; captures nothing before source__activate. Needs root or the capabilities of the README.
 * NULL and errno (EPERM: privileges, ENOTSUP: kernel without what is needed, ENOENT: no tracefs or BTF …); the reason
 * has been logged, in one line that says what to do. */
struct source *source_bpf__open(const struct capture_options *o, struct record_sink sink);
/* Reads JSON lines, gzip or plain ("-": standard input). Recordings of kongtap and of ../shared/reference alike; a
 * malformed line ends the replay with -EBADMSG (line number logged). NULL and errno when the file cannot be read. */
struct source *source_replay__open(const char *path, struct record_sink sink);
/* The seed that the recording's first line names, 0 when it names none. */
uint64_t source_replay__seed(const struct source *s);

/* For epoll; readable when there is something to poll for. -1 for a replay: poll it until it says it has ended. */
int source__fd(const struct source *s);
/* From here on records flow. 0 or negative errno. */
int source__activate(struct source *s);
/* Hands on what there is, waiting at most timeout_ms (0: not at all). Number of records handed on; -ENODATA: replay has
 * ended; other negative errno: broken for good. Discovery of workers is done in here too, when its time has come. */
int source__poll(struct source *s, int timeout_ms);
/* A connection whose bytes are of no use any more: the kernel need not copy them. Ignored by a replay. */
void source__ignore(struct source *s, const struct conn_key *key);
/* Some of its bytes are of no use (by enum direction; replaces what was said before): the kernel need not copy them,
 * they come as gaps (GAP_LIMIT). Those that are on their way come all the same. Ignored by a replay. */
void source__skip(struct source *s, const struct conn_key *key, const struct byte_range useless[2]);
/* It is over: what was said of it by these two is forgotten. */
void source__over(struct source *s, const struct conn_key *key);
/* Bytes that are wanted of a body on a client leg; of those on upstream legs none are. From here on the kernel copies
 * not much more: what it leaves out comes as gaps (GAP_LIMIT). Until then it copies everything. Ignored by a replay. */
void source__bodies(struct source *s, uint32_t request, uint32_t response);
/* Media types (type/subtype, or type/star) of which no body is wanted, from now on, in place of those said before: the
 * kernel leaves out what it sees to be one, which is not all of them. Borrowed until it returns. Ignored by a replay.
 */
void source__exclude(struct source *s, char *const *types, size_t n);
/* Workers being watched. */
size_t source__workers(const struct source *s);

#define SOURCE_TLS_TEXT 256
/* How the TLS of one worker is captured. */
struct source_tls {
	uint32_t pid;
	bool probed;		       /* false: its TLS is not seen, `text` says why */
	bool placed;		       /* on instructions inside SSL_read and SSL_write; else at entry and return */
	char library[SOURCE_TLS_TEXT]; /* as the worker sees it */
	char text[SOURCE_TLS_TEXT];    /* for people */
};
/* Calls fn for each worker being watched; never for a replay. */
void source__each_tls(const struct source *s, void (*fn)(void *ctx, const struct source_tls *t), void *ctx);
/* Size of the data ring, and the most bytes that waited in it since this was asked last; 0 and 0 for a replay. */
void source__ring(struct source *s, uint64_t *ret_size, uint64_t *ret_peak);
/* Brings the counters of capture up to date, which are else so within a second; nothing to do for a replay. */
void source__count(struct source *s);
/* Capture less, or all again; g->bodies is not its business. Detached, it follows the processes only. 0; negative
 * errno: it stays as it was (only possible when coming back from detached; the reason has been logged). A replay does
 * nothing. */
int source__govern(struct source *s, const struct rec_govern *g);
/* What the hooks are estimated to have taken from the workers so far, ns; 0 for a replay. */
uint64_t source__probe_ns(const struct source *s);
/* Nanoseconds at which one run of them is reckoned, 0 for a replay: on a system call; on a call into a TLS library that
 * is probed inside; at entry and return. */
struct hook_costs {
	uint32_t call, tls_inside, tls_entry;
};
void source__costs(const struct source *s, struct hook_costs *ret);
/* wall - monotonic, ns: of this machine now, or the recording's. */
int64_t source__wall_offset(const struct source *s);
void source__close(struct source *s); /* NULL is fine */

/* What the host allows and what would be captured, for `kongtap check`: prints to `out` (a FILE of the caller).
 * 0 everything that is needed is there; 1 something is missing. */
int capture_check(const struct capture_options *o, void *out_file);

#endif
