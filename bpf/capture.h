/* capture: the records that pass from the kernel to the agent. Both worlds include this file, each brings its own
 * fixed-width types (__u8 … __u64) along.
 *
 * Every record starts with struct kt_head, is padded explicitly and has its size asserted. Records are written in place
 * in the ring, so their writer sets every byte before the payload.
 */
#ifndef KT_BPF_CAPTURE_H
#define KT_BPF_CAPTURE_H

enum kt_kind {
	KT_DATA = 1,
	KT_OPEN,
	KT_CLOSE,
	KT_FORK, /* a process that is watched has a child, which is watched from now on */
	KT_EXEC, /* an nginx was started, or a watched process became another program (and is watched no more) */
	KT_EXIT,
};

enum kt_dir { KT_IN = 0, KT_OUT = 1 };

enum kt_origin { KT_UNKNOWN = 0, KT_ACCEPTED = 1, KT_CONNECTED = 2 };

/* As enum gap_cause in user/capture/record.h. */
enum kt_cause { KT_CAUSE_NONE = 0, KT_CAUSE_LOST = 1, KT_CAUSE_LIMIT = 2, KT_CAUSE_NODATA = 3, KT_CAUSE_FAULT = 4 };

/* kt_data.flags */
#define KT_FIRST 1 /* an OPEN went out just before it: look at the control ring first */
#define KT_MORE 2  /* goes on where the record before it ended: same call */

#define KT_ADDR_LEN 16
#define KT_COMM_LEN 16
/* The most payload that one record carries. */
#define KT_PIECE 16384

struct kt_head {
	__u64 t_ns; /* taken before room in the ring was reserved */
	__u32 pid;  /* tgid, in the initial PID namespace */
	__u32 kind;
};

struct kt_data {
	struct kt_head head;
	__u64 gen;
	__u64 obj;
	__u64 pos;
	__u64 gap; /* bytes after the payload that were not copied */
	__u32 len; /* payload bytes, which follow */
	__u8 tls;
	__u8 dir;
	__u8 cause;
	__u8 flags;
};

struct kt_open {
	struct kt_head head;
	__u64 gen;
	__u64 obj;
	__s32 fd;
	__u8 tls;
	__u8 origin;
	__u8 family; /* 0, 4, 6 */
	__u8 late;   /* bytes may have moved before (the TLS library was not probed yet, the connection was left out),
		      * whatever the origin */
	__u16 local_port; /* host order */
	__u16 peer_port;
	__u32 pad2;
	__u8 local[KT_ADDR_LEN]; /* network order, IPv4 in the first four */
	__u8 peer[KT_ADDR_LEN];
};

struct kt_close {
	struct kt_head head;
	__u64 gen;
	__u64 obj;
	__u64 pos[2];
	__u32 tls;
	__u32 limited; /* 1: it lives on and is left out from here, to spend less */
};

/* FORK: pid is the child, other its parent. EXEC, EXIT: other is 0. */
struct kt_proc {
	struct kt_head head;
	__u32 other;
	__u32 flags; /* of the watched process: KT_WATCH_*; EXEC of a process that was not: 0 */
	char comm[KT_COMM_LEN];
};

_Static_assert(sizeof(struct kt_head) == 16, "kt_head");
_Static_assert(sizeof(struct kt_data) == 56, "kt_data");
_Static_assert(sizeof(struct kt_open) == 80, "kt_open");
_Static_assert(sizeof(struct kt_close) == 56, "kt_close");
_Static_assert(sizeof(struct kt_proc) == 40, "kt_proc");

/* What user space writes into the map of watched processes. */
#define KT_WATCH_FORKS 1   /* its children are watched too */
#define KT_WATCH_TRAFFIC 2 /* its connections are captured */

/* Where a call's bytes lie. */
enum kt_shape { KT_BUFFER, KT_SEGMENTS, KT_NODATA };

/* A call into the TLS library that has begun on the main thread of a watched process. */
struct kt_tls_call {
	__u64 ssl;
	__u64 buf;
	__u64 count_ptr; /* where the library puts the number of bytes; 0: its return value is that number */
	__s32 fd;	 /* the TCP socket that a system call under it used, -1: none did */
	__u8 active;
	__u8 dir;
	__u8 pad[2];
};

/* Bytes of a call that are looked at at a time for the end of a head. */
#define KT_LOOK 256
/* Media types whose bodies are not wanted, and what there is room for of the name of one. */
#define KT_TYPES 32
#define KT_TYPE_LEN 48
#define KT_TYPE_WORDS (KT_TYPE_LEN / 8)

/* In small letters, zeroes behind it, and which of its bits count: all of them, or those before a star. */
struct kt_type {
	__u64 type[KT_TYPE_WORDS];
	__u64 mask[KT_TYPE_WORDS];
};

/* What one call of the main thread moves, while it is looked at. It lives in a map and not on the stack of the program
 * for the verifier's sake: what comes from a map is just a number, so loops over it do not multiply its states. It
 * belongs to one thread, so there is nobody to share it with. */
struct kt_io {
	__u64 at;	/* the buffer, or the segment descriptors */
	__u64 n;	/* bytes that the call moved */
	__u64 left;	/* of these, not looked at yet */
	__u64 base;	/* of the segment at hand: its next byte … */
	__u64 seg_left; /* … and how many there are */
	__u64 budget;	/* bytes that may still be copied */
	__u32 piece;	/* bytes to copy now, or, in a gathered record, copied so far */
	__u32 segments; /* descriptors at `at` */
	__u32 dir;
	__u32 shape; /* enum kt_shape */
	__s32 fd;
	__u32 cause;   /* why the rest was not copied */
	__u32 wake;    /* the reader is to be woken when these bytes are in the ring */
	__u32 last;    /* the piece at hand is the last of the call */
	__u32 spare;   /* looked at once more, in case that the first look was left out */
	__u32 head;    /* HTTP/1: where in the call the head ends, 0: nowhere yet */
	__u64 run;     /* HTTP/2: where the bytes begin that are to be copied next … */
	__u32 run_len; /* … and how many they are so far */
	__u32 dropped; /* some of the call's bytes need no copying */
	__u32 ends;    /* HTTP/1: the call ends as a chunked body does */
	__u32 over;    /* where in the call a chunked body ends that began before, 0: nowhere */
	__u64 hole_at; /* HTTP/1: of the bytes of a body in the middle of the call … */
	__u64 hole;    /* … as many need no copying */
	__u64 owes;    /* likewise, behind the n bytes */
	__u32 from;    /* where in the call the chunked body at hand begins, 0: before it */
	__u8 stage;    /* what is to come of that (bpf/chunk.bpf.h) */
	__u8 cut;      /* the end of one was taken off the front */
	__u8 marks;    /* the hole is followed by the end of one */
	__u8 unended;  /* the call ends in the middle of one */
	__u8 chunks;   /* the call begins in one … */
	__u8 gapped;   /* … of which something was left out … */
	__u8 passes;   /* … or no more is wanted */
	__u8 follows;  /* requests are followed (bpf/turn.bpf.h) */
	__u8 looks;    /* there may be a head or the framing of chunks in the call */
	__u64 length;  /* of the body that the head at hand speaks of (bpf/head.bpf.h) */
	__u32 off;     /* where in the call it goes on */
	__u8 found;    /* what is known of it */
	__u8 before;   /* the last byte before that */
	__u8 fresh;    /* a line begins there */
	__u8 value;    /* where in `look` the value of a field begins */
	__u32 window;  /* where in the call `look` is from … */
	__u32 have;    /* … and how much of it there is */
	__u32 headers; /* HTTP/2: the stream of the head at hand */
	__u32 pad;
	__u64 block;   /* HTTP/2: the head at hand (bpf/hpack.bpf.h) … */
	__u32 block_n; /* … as much as there is of it in this frame */
	__u32 bit;     /* how far the value of its content-type was read … */
	__u32 bits;    /* … and how long it is */
	__u32 chars;   /* of it, in `type` */
	__u64 type[KT_TYPE_WORDS];
	char look[KT_LOOK + 8]; /* longer than what is put there, for the verifier */
};

/* Value of `watched`, keyed by tgid. */
struct kt_watch {
	__u32 flags;
	__u32 pad;
	struct kt_tls_call call;
	struct kt_io io;
};

/* Key of `conns`: obj is an fd (tls 0) or an SSL pointer (tls 1). Key of `skips` alike. */
struct kt_conn_key {
	__u64 obj;
	__u32 pid;
	__u32 tls;
};

enum kt_state {
	KT_UNDECIDED = 0, /* no byte seen yet */
	KT_CLEAR,
	KT_CIPHER, /* TLS records: what they hold is seen at the TLS library, or not at all */
};

/* What the first bytes of its calls say that a connection speaks. */
enum kt_speech {
	KT_SPEECH_UNKNOWN = 0,
	KT_SPEECH_HTTP1,
	KT_SPEECH_HTTP2, /* from its first byte on, with an entry in `h2conns` */
	KT_SPEECH_OTHER, /* nothing that is known, or HTTP/2 whose beginning was not seen */
};

/* Value of `conns`. */
struct kt_conn {
	__u64 gen;
	__u64 obj;
	__u64 pos[2];	    /* bytes that the calls of each direction moved */
	__u64 owed[2];	    /* of these, bytes up to pos that were passed over and not reported yet */
	__u64 skip_from[2]; /* from this position … */
	__u64 skip[2];	    /* … up to this one nothing needs copying */
	__u64 file;	    /* tls 0: struct file under the fd; another one there means another connection */
	__u32 pid;
	__s32 fd;
	__u32 skips_seen;
	__u32 seq[2]; /* what TCP calls the next byte, when a call was last looked at */
	__u8 tls;
	__u8 state;
	__u8 origin;
	__u8 opened; /* OPEN was sent */
	__u8 told;   /* … and so was a data record that says so */
	__u8 more;   /* the next record continues a call */
	__u8 late;   /* as in kt_open */
	__u8 left_out;
	__u32 settled; /* when what was passed over was told last, in units of 2^30 ns */
	__u32 run; /* bytes copied in run_dir since the other side last spoke, or since the reader was woken for them */
	__u8 run_dir;
	__u8 speech;	 /* enum kt_speech */
	__u8 peeks;	 /* calls whose first bytes said nothing of it */
	__u8 turn_dir;	 /* HTTP/1: the side that spoke last … */
	__u32 turn;	 /* … and how much since the other did, or since its message began */
	__u32 headed;	 /* … of which the head is over, and nothing else is wanted */
	__u64 owed_ns;	 /* when the latest of what is owed moved */
	__u64 last_five; /* the last bytes of a turn of which no more is copied */
	/* HTTP/1. On upstream legs where a body ends of which only the head is wanted; on the client's where the next
	 * request begins, or the head at hand goes on … */
	__u64 next;
	__u64 length; /* … and what is known of that, as in kt_io; `lost`: nobody knows where */
	__u8 found;
	__u8 before;
	__u8 fresh;
	__u8 part;
	__u8 lost;
	__u8 stage;    /* … or in a chunked body, then `next` is where its framing goes on */
	__u8 gapped;   /* of which something was left out */
	__u8 upstream; /* Kong is the client: it connected, or so it talks */
};

/* How one direction of an HTTP/2 connection is followed, frame by frame. */
enum kt_h2_mode {
	KT_H2_COPY = 0,
	KT_H2_DROP,    /* the header of the frame is copied, its payload is not */
	KT_H2_SWALLOW, /* nothing of the frame is: one frame is told in place of many (see bpf/h2.bpf.h) */
};

#define KT_H2_SLOTS 8

struct kt_h2_slot {
	__u32 stream; /* 0: free */
	__u32 bytes;  /* of its DATA frames */
};

struct kt_h2_dir {
	__u32 left; /* of the payload at hand (or of the client's preface) */
	__u8 on;    /* the place of the frames is known */
	__u8 mode;  /* of the payload at hand */
	__u8 have;  /* bytes of the next frame's header that came already … */
	__u8 pad;
	__u8 head[24]; /* … and which; longer than it need be, for the verifier */
	/* Frames passed over and not told yet, all of one stream and one after the other. */
	__u32 stream;
	__u32 frames;
	__u32 payload; /* theirs, as far as it came */
	__u32 pad2;
	struct kt_h2_slot slots[KT_H2_SLOTS]; /* the streams with the longest bodies */
};

/* Value of `h2conns`, keyed as `conns`. */
struct kt_h2 {
	__u64 gen;
	struct kt_h2_dir dir[2];
	struct kt_h2_dir trial; /* where a call is looked at before anything is copied */
};

/* Value of `skips`: user space knows that the bytes between these positions are of no use. Until all ones: none ever
 * will be. */
struct kt_skip {
	__u64 gen;
	__u64 from[2];
	__u64 until[2];
};

/* What the program `tell` is run with. */
struct kt_told {
	struct kt_conn_key key;
	struct kt_skip skip;
	__u32 over; /* 1: there is nothing to say of it any more; `skip` is 0 */
	__u32 pad;
};

/* What the program `owed` is run with, and fills in. */
struct kt_owed {
	struct kt_conn_key key;
	__u64 gen;
	__u32 dir;
	__u32 found; /* 1: the connection lives, and the rest is about it */
	__u64 pos;   /* after the last byte that moved in this direction */
	__u64 owed;  /* bytes up to pos that were passed over and not told */
	__u64 t_ns;  /* when the last of them moved */
};

_Static_assert(sizeof(struct kt_watch) == 560, "kt_watch");
_Static_assert(sizeof(struct kt_conn_key) == 16, "kt_conn_key");
_Static_assert(sizeof(struct kt_conn) == 176, "kt_conn");
_Static_assert(sizeof(struct kt_skip) == 40, "kt_skip");
_Static_assert(sizeof(struct kt_told) == 64, "kt_told");
_Static_assert(sizeof(struct kt_owed) == 56, "kt_owed");
_Static_assert(sizeof(struct kt_h2_dir) == 112, "kt_h2_dir");
_Static_assert(sizeof(struct kt_h2) == 344, "kt_h2");

/* Index into the per-CPU counters. */
enum kt_stat {
	KT_STAT_LOST_DATA,
	KT_STAT_LOST_CTL,
	KT_STAT_FAULT,
	KT_STAT_MAP_FULL,
	KT_STAT_LEFT_OUT,  /* connections that sample_mask left out */
	KT_STAT_CALLS,	   /* runs of the hooks on system calls in watched processes … */
	KT_STAT_TLS_CALLS, /* … and of those in their TLS library */
	KT_STAT_COUNT,
};

/* CPUs beyond these share the counters of others. A power of two. */
#define KT_CPUS 512
/* Counters of one CPU: a line of its cache. */
#define KT_STATS 8
_Static_assert(KT_STAT_COUNT <= KT_STATS, "counters of a CPU");

#endif
