/* kongtap: the programs, one small body per hook. Which of them are loaded depends on the kernel: see
 * user/capture/kernel.c. All that they do is in the headers.
 *
 * Every program asks first whether its process is watched: everything else on the host passes after one look-up.
 */
#include "fit.bpf.h"
#include "io.bpf.h"
#include "proc.bpf.h"
#include "tell.bpf.h"
#include "tls.bpf.h"

char LICENSE[] SEC("license") = "GPL";

/* `typed`: regs is a pointer that the verifier knows. */
static __always_inline __u32 call_of(struct pt_regs *regs, const bool typed)
{
#if defined(__TARGET_ARCH_x86)
	switch (typed ? regs->orig_ax : BPF_CORE_READ(regs, orig_ax)) {
	case 0:
		return CALL_READ;
	case 1:
		return CALL_WRITE;
	case 3:
		return CALL_CLOSE;
	case 19:
		return CALL_READV;
	case 20:
		return CALL_WRITEV;
	case 40:
		return CALL_SENDFILE;
	case 42:
		return CALL_CONNECT;
	case 43:
	case 288:
		return CALL_ACCEPT;
	case 44:
		return CALL_SENDTO;
	case 45:
		return CALL_RECVFROM;
	case 46:
		return CALL_SENDMSG;
	case 47:
		return CALL_RECVMSG;
	default:
		return CALL_NONE;
	}
#elif defined(__TARGET_ARCH_arm64)
	switch (typed ? regs->syscallno : BPF_CORE_READ(regs, syscallno)) {
	case 57:
		return CALL_CLOSE;
	case 63:
		return CALL_READ;
	case 64:
		return CALL_WRITE;
	case 65:
		return CALL_READV;
	case 66:
		return CALL_WRITEV;
	case 71:
		return CALL_SENDFILE;
	case 202:
	case 242:
		return CALL_ACCEPT;
	case 203:
		return CALL_CONNECT;
	case 206:
		return CALL_SENDTO;
	case 207:
		return CALL_RECVFROM;
	case 211:
		return CALL_SENDMSG;
	case 212:
		return CALL_RECVMSG;
	default:
		return CALL_NONE;
	}
#endif
}

/* System calls at their tracepoints (the names in the section are the calls). The arguments are still in the registers
 * that the task saved on entry, and the result is in them by now. The tracepoint has it, too, but real-time kernels do
 * not tell right where. Calls that move bytes share a program: what the verifier has to look at is long. */
static __always_inline int at_exit(__u32 call, const bool spare)
{
	struct kt_watch *w = watch_of(bpf_get_current_pid_tgid() >> 32);
	struct pt_regs *regs;

	if (!w)
		return 0;
	tally(KT_STAT_CALLS);
	regs = (void *)bpf_task_pt_regs(bpf_get_current_task_btf());
	if (call == CALL_NONE)
		call = call_of(regs, true);
	return on_syscall(w, call, regs, true, PT_REGS_RC(regs), spare);
}

#define AT_EXIT(name, calls, call)                                                                                     \
	SEC("?tp/syscalls/" calls) int sys_##name(void *ctx)                                                           \
	{                                                                                                              \
		at_exit(call, false);                                                                                  \
		return 0;                                                                                              \
	}                                                                                                              \
	SEC("?tp/syscalls/" calls) int spare_##name(void *ctx)                                                         \
	{                                                                                                              \
		at_exit(call, true);                                                                                   \
		return 0;                                                                                              \
	}

AT_EXIT(accept, "accept4,accept", CALL_ACCEPT)
AT_EXIT(connect, "connect", CALL_CONNECT)
AT_EXIT(close, "close", CALL_CLOSE)
AT_EXIT(move, "read,recvfrom,readv,recvmsg,write,sendto,writev,sendmsg", CALL_NONE)
AT_EXIT(sendfile, "sendfile64", CALL_SENDFILE)

/* Where there is no tracefs, or bpf_task_pt_regs is missing (before 5.15): all system calls in one hook, which has the
 * registers at hand but is run for every call of every process. */
static __always_inline int at_any_exit(struct bpf_raw_tracepoint_args *ctx, const bool spare)
{
	struct kt_watch *w = watch_of(bpf_get_current_pid_tgid() >> 32);
	struct pt_regs *regs = (void *)ctx->args[0];
	__u32 call;

	if (!w)
		return 0;
	tally(KT_STAT_CALLS);
	call = call_of(regs, false);
	return call == CALL_NONE ? 0 : on_syscall(w, call, regs, false, ctx->args[1], spare);
}

SEC("?raw_tp/sys_exit") int sys_any(struct bpf_raw_tracepoint_args *ctx)
{
	at_any_exit(ctx, false);
	return 0;
}

SEC("?raw_tp/sys_exit") int spare_any(struct bpf_raw_tracepoint_args *ctx)
{
	at_any_exit(ctx, true);
	return 0;
}

/* The TLS library. `counted`: the call tells how much it moved through its fourth argument. */
#define AT_TLS(name, body)                                                                                             \
	SEC("?uprobe") int name(struct pt_regs *ctx)                                                                   \
	{                                                                                                              \
		guard();                                                                                               \
		body;                                                                                                  \
		unguard();                                                                                             \
		return 0;                                                                                              \
	}

AT_TLS(tls_read, tls_enter(PT_REGS_PARM1(ctx), PT_REGS_PARM2(ctx), 0, KT_IN))
AT_TLS(tls_read_counted, tls_enter(PT_REGS_PARM1(ctx), PT_REGS_PARM2(ctx), PT_REGS_PARM4(ctx), KT_IN))
AT_TLS(tls_write, tls_enter(PT_REGS_PARM1(ctx), PT_REGS_PARM2(ctx), 0, KT_OUT))
AT_TLS(tls_write_counted, tls_enter(PT_REGS_PARM1(ctx), PT_REGS_PARM2(ctx), PT_REGS_PARM4(ctx), KT_OUT))
AT_TLS(tls_return, tls_leave(PT_REGS_RC(ctx)))
AT_TLS(tls_set_fd, tls_begins(PT_REGS_PARM1(ctx), PT_REGS_PARM2(ctx)))
AT_TLS(tls_free, tls_ends(PT_REGS_PARM1(ctx)))

/* Processes come and go. */
SEC("raw_tp/sched_process_fork") int proc_fork(struct bpf_raw_tracepoint_args *ctx)
{
	return on_fork((void *)ctx->args[0], (void *)ctx->args[1]);
}

SEC("raw_tp/sched_process_exec") int proc_exec(struct bpf_raw_tracepoint_args *ctx)
{
	return on_exec((void *)ctx->args[0]);
}

SEC("raw_tp/sched_process_exit") int proc_exit(struct bpf_raw_tracepoint_args *ctx)
{
	return on_exit((void *)ctx->args[0]);
}

/* The next three are attached nowhere, but run by the agent. This one once, with a descriptor and its port. */
SEC("?raw_tp/fit") int fit(struct bpf_raw_tracepoint_args *ctx)
{
	return types_fit(ctx->args[0], ctx->args[1]);
}

SEC("?syscall") int tell(struct kt_told *told)
{
	return on_told(told);
}

SEC("?syscall") int owed(struct kt_owed *o)
{
	return on_asked(o);
}
