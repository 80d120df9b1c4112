/* sock: from a file descriptor of the current task to its socket, by way of the task's descriptor table. Works for
 * connections of any age, and from any hook that runs in the task.
 */
#ifndef KT_BPF_SOCK_H
#define KT_BPF_SOCK_H

#include "maps.bpf.h"

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>

#define S_IFMT 0170000
#define S_IFSOCK 0140000
#define SOCK_STREAM 1
#define AF_INET 2
#define AF_INET6 10
#define IPPROTO_TCP 6
#define IPPROTO_MPTCP 262

/* The descriptor table of the current task. Where the kernel hands out typed pointers (5.11) they are followed by plain
 * loads, else by a helper call for each step. */
static __always_inline struct file **fd_table(__u32 *ret_max)
{
	struct fdtable *fdt;

#ifndef KT_UNTYPED
	if (bpf_core_enum_value_exists(enum bpf_func_id, BPF_FUNC_get_current_task_btf)) {
		struct task_struct *task = bpf_get_current_task_btf();
		struct files_struct *files = task->files;

		if (!files)
			return 0;
		fdt = files->fdt;
		*ret_max = fdt->max_fds;
		return fdt->fd;
	}
#endif
	fdt = BPF_CORE_READ((struct task_struct *)bpf_get_current_task(), files, fdt);
	*ret_max = BPF_CORE_READ(fdt, max_fds);
	return BPF_CORE_READ(fdt, fd);
}

/* struct file under fd, 0 when there is none. A number, not a pointer: it is compared and read through, never used. */
static __always_inline __u64 file_at(__s32 fd)
{
	__u32 max = 0;
	struct file **table = fd_table(&max), *file = 0;

	if ((__u32)fd >= max)
		return 0;
	bpf_probe_read_kernel(&file, sizeof(file), &table[fd]);
	return (__u64)file;
}

/* The TCP socket of a file, or NULL: a file of another kind, a datagram, a unix socket. */
static __always_inline struct sock *tcp_sock(__u64 file_addr)
{
	struct file *file = (struct file *)file_addr;
	struct socket *socket;
	struct sock *sk;
	__u16 family, protocol;

	if (!file || (BPF_CORE_READ(file, f_inode, i_mode) & S_IFMT) != S_IFSOCK)
		return 0;
	socket = BPF_CORE_READ(file, private_data);
	if (BPF_CORE_READ(socket, type) != SOCK_STREAM)
		return 0;
	sk = BPF_CORE_READ(socket, sk);
	if (!sk)
		return 0;
	family = BPF_CORE_READ(sk, __sk_common.skc_family);
	protocol = BPF_CORE_READ(sk, sk_protocol);
	if ((family != AF_INET && family != AF_INET6) || (protocol != IPPROTO_TCP && protocol != IPPROTO_MPTCP))
		return 0;
	return sk;
}

static __always_inline void sock_endpoints(struct sock *sk, struct kt_open *o)
{
	struct in6_addr local, peer;

	o->local_port = BPF_CORE_READ(sk, __sk_common.skc_num);
	o->peer_port = bpf_ntohs(BPF_CORE_READ(sk, __sk_common.skc_dport));
	if (BPF_CORE_READ(sk, __sk_common.skc_family) == AF_INET6) {
		BPF_CORE_READ_INTO(&local, sk, __sk_common.skc_v6_rcv_saddr);
		BPF_CORE_READ_INTO(&peer, sk, __sk_common.skc_v6_daddr);
		__builtin_memcpy(o->local, &local, sizeof(o->local));
		__builtin_memcpy(o->peer, &peer, sizeof(o->peer));
		o->family = 6; /* user space shows mapped addresses as what they are */
	} else {
		*(__u32 *)o->local = BPF_CORE_READ(sk, __sk_common.skc_rcv_saddr);
		*(__u32 *)o->peer = BPF_CORE_READ(sk, __sk_common.skc_daddr);
		o->family = 4;
	}
}

#endif
