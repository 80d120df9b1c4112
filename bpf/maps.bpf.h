/* maps: everything that the programs share, and what user space sets before it loads them. */
#ifndef KT_BPF_MAPS_H
#define KT_BPF_MAPS_H

#include <vmlinux.h>

#include <bpf/bpf_helpers.h>

#include "capture.h"

/* Set before loading; the verifier then removes what does not apply. */
const volatile bool use_loop = true;	/* bpf_loop may be used where the kernel has it */
const volatile bool use_guard = true;	/* likewise bpf_preempt_disable */
const volatile bool use_exact = true;	/* likewise bpf_probe_read_user_dynptr */
const volatile bool use_spares = false; /* each program at a system call has a second */
/* A record of exact size takes the calls of five more functions, which one that is short feels. So a buffer that is no
 * longer than this goes into a class, which is near; and segments only when they are shorter, for room of exact size
 * saves them steps. */
const volatile __u32 exact_buffer = 2048;
const volatile __u32 exact_segments = 512;
const volatile __u32 call_bytes = 256 << 10; /* most bytes that are copied of one call */
const volatile __u64 wake_bytes = 1 << 20;   /* bytes waiting in the ring at which the reader is woken */

/* The gate: everything is attached before anything is captured. */
volatile __u32 ready;
/* Goes up with each entry that user space puts into `skips`. */
volatile __u32 skips_epoch;
/* While the agent costs too much: accepted connections whose number has one of these bits set are left out. */
volatile __u32 sample_mask;
/* Set when user space has said how much of a body it wants; until then everything is copied. */
volatile __u32 body_limits;
/* … by direction, on client legs. On upstream legs no body is wanted. */
volatile __u32 body_keep[2];
/* Types whose bodies are not wanted on client legs, so many of them; 0 while the list is written. */
volatile __u32 excluded_types;
struct kt_type excluded[KT_TYPES];

/* By CPU. Here, and not in a map, user space reads them without asking the kernel, which would leave out programs
 * meanwhile (tell.bpf.h). */
__u64 counts[KT_CPUS][KT_STATS] __attribute__((aligned(64)));

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4096);
	__type(key, __u32);
	__type(value, struct kt_watch);
} watched SEC(".maps");

/* Not LRU: what it forgets it would have to be told of. Entries go at close; user space sweeps after an exit. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536);
	__type(key, struct kt_conn_key);
	__type(value, struct kt_conn);
} conns SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 16384);
	__type(key, struct kt_conn_key);
	__type(value, struct kt_skip);
} skips SEC(".maps");

/* Whose entry finds no room is copied as a whole. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 8192);
	__type(key, struct kt_conn_key);
	__type(value, struct kt_h2);
} h2conns SEC(".maps");

/* What an entry of `h2conns` begins as: too large for a stack. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct kt_h2);
} h2blank SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 16 << 20);
} data SEC(".maps");

/* Apart, so that a burst of data never costs the knowledge of a connection. */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 256 << 10);
} ctl SEC(".maps");

static __always_inline __u64 *stat_of(__u32 which)
{
	return &counts[bpf_get_smp_processor_id() % KT_CPUS][which];
}

/* For an estimate: one that is lost because another program came between does not matter. */
static __always_inline void tally(__u32 which)
{
	*stat_of(which) += 1;
}

static __always_inline void count(__u32 which)
{
	/* Atomic although per CPU: a uprobe without the preemption guard may be interrupted by another. */
	__sync_fetch_and_add(stat_of(which), 1);
}

#endif
