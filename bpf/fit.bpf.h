/* fit: whether type information that came from a file is that of the running kernel. */
#ifndef KT_BPF_FIT_H
#define KT_BPF_FIT_H

#include "sock.bpf.h"

/* Walks, for the task that is running, all that the other programs walk. 1 where it comes out at what is known already:
 * the task's ids, and the port of the TCP socket under fd. */
static __always_inline int types_fit(__s32 fd, __u16 port)
{
	struct task_struct *task = (void *)bpf_get_current_task();
	__u64 id = bpf_get_current_pid_tgid();
	char comm[KT_COMM_LEN] = {}, known[KT_COMM_LEN] = {};
	struct kt_open o = {};
	struct sock *sk;

	BPF_CORE_READ_INTO(&comm, task, comm);
	bpf_get_current_comm(known, sizeof(known));
	for (int i = 0; i < KT_COMM_LEN; i++)
		if (comm[i] != known[i])
			return 0;
	if (BPF_CORE_READ(task, tgid) != id >> 32 || BPF_CORE_READ(task, pid) != (__u32)id)
		return 0;
	sk = tcp_sock(file_at(fd));
	if (!sk)
		return 0;
	sock_endpoints(sk, &o);
	return o.family == 4 && o.local_port == port;
}

#endif
