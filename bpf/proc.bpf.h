/* proc: which processes are watched. User space names masters and workers; what a master forks is watched from its
 * first instruction on, since the first call of a new worker may come sooner than any look at /proc.
 */
#ifndef KT_BPF_PROC_H
#define KT_BPF_PROC_H

#include "maps.bpf.h"

#include <bpf/bpf_core_read.h>

static __always_inline int tell_proc(__u32 kind, __u32 pid, __u32 other, __u32 flags, struct task_struct *task)
{
	__u64 now = bpf_ktime_get_ns();
	struct kt_proc *r = bpf_ringbuf_reserve(&ctl, sizeof(*r), 0);

	if (!r) {
		count(KT_STAT_LOST_CTL);
		return 0;
	}
	r->head.t_ns = now;
	r->head.pid = pid;
	r->head.kind = kind;
	r->other = other;
	r->flags = flags;
	BPF_CORE_READ_INTO(&r->comm, task, comm);
	bpf_ringbuf_submit(r, BPF_RB_FORCE_WAKEUP);
	return 0;
}

/* What is too large for a stack. */
static const struct kt_watch child_watch = {.flags = KT_WATCH_TRAFFIC};

static __always_inline int on_fork(struct task_struct *parent, struct task_struct *child)
{
	__u32 ppid = BPF_CORE_READ(parent, tgid), pid = BPF_CORE_READ(child, tgid);
	struct kt_watch *p;

	if (ppid == pid) /* a thread */
		return 0;
	p = bpf_map_lookup_elem(&watched, &ppid);
	if (!p || !(p->flags & KT_WATCH_FORKS))
		return 0;
	if (bpf_map_update_elem(&watched, &pid, &child_watch, BPF_ANY))
		count(KT_STAT_MAP_FULL);
	return tell_proc(KT_FORK, pid, ppid, KT_WATCH_TRAFFIC, child);
}

static __always_inline int on_exec(struct task_struct *task)
{
	__u32 pid = BPF_CORE_READ(task, tgid), flags = 0;
	struct kt_watch *w = bpf_map_lookup_elem(&watched, &pid);
	char comm[KT_COMM_LEN] = {};

	if (w) {
		flags = w->flags;
		bpf_map_delete_elem(&watched, &pid);
		return tell_proc(KT_EXEC, pid, 0, flags, task);
	}
	BPF_CORE_READ_INTO(&comm, task, comm);
	if (comm[0] == 'n' && comm[1] == 'g' && comm[2] == 'i' && comm[3] == 'n' && comm[4] == 'x' && !comm[5])
		return tell_proc(KT_EXEC, pid, 0, 0, task);
	return 0;
}

static __always_inline int on_exit(struct task_struct *task)
{
	__u32 pid = BPF_CORE_READ(task, tgid), flags;
	struct kt_watch *w;

	if (BPF_CORE_READ(task, pid) != pid)
		return 0;
	w = bpf_map_lookup_elem(&watched, &pid);
	if (!w)
		return 0;
	flags = w->flags;
	bpf_map_delete_elem(&watched, &pid);
	return tell_proc(KT_EXIT, pid, 0, flags, task);
}

#endif
