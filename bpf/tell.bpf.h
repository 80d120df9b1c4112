/* tell: what user space says of a connection. While bpf(2) is at a map, kernels before 7.2 leave out all programs at
 * tracepoints on that CPU; where the caller is preempted then, they do so until it runs again, and a worker's calls are
 * missed. A program that changes the map holds nobody up.
 */
#ifndef KT_BPF_TELL_H
#define KT_BPF_TELL_H

#include "maps.bpf.h"

static __always_inline int on_told(struct kt_told *t)
{
	struct kt_conn_key key = t->key;
	struct kt_skip skip = t->skip;

	if (t->over)
		return bpf_map_delete_elem(&skips, &key);
	return bpf_map_update_elem(&skips, &key, &skip, BPF_ANY);
}

/* And what it asks. */
static __always_inline int on_asked(struct kt_owed *o)
{
	struct kt_conn_key key = o->key;
	struct kt_conn *c = bpf_map_lookup_elem(&conns, &key);
	__u32 dir = o->dir & 1;

	if (!c || c->gen != o->gen)
		return 0;
	o->found = 1;
	o->pos = c->pos[dir];
	o->owed = c->owed[dir];
	o->t_ns = c->owed_ns;
	return 0;
}

#endif
