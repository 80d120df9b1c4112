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

#endif
