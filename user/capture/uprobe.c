#include "capture/uprobe.h"

#include <bpf/bpf.h>
#include <linux/perf_event.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define UPROBE_MULTI_RETURN 1
#define PMU "/sys/bus/event_source/devices/uprobe/"

/* The part of union bpf_attr that BPF_LINK_CREATE reads, as kernels since 6.6 define it; the headers that we compile
 * against may be older. */
struct link_create_multi {
	uint32_t prog_fd;
	uint32_t target_fd;
	uint32_t attach_type;
	uint32_t flags;
	uint64_t path;
	uint64_t offsets;
	uint64_t ref_ctr_offsets;
	uint64_t cookies;
	uint32_t count;
	uint32_t multi_flags;
	uint32_t pid;
	uint32_t pad;
};

_Static_assert(sizeof(struct link_create_multi) == 64, "link_create_multi");

int uprobe_attach_multi(int prog_fd, const char *path, uint32_t pid, const uint64_t *offsets, size_t n, bool ret)
{
	struct link_create_multi attr = {
		.prog_fd = (uint32_t)prog_fd,
		.attach_type = UPROBE_MULTI_ATTACH_TYPE,
		.path = (uintptr_t)path,
		.offsets = (uintptr_t)offsets,
		.count = (uint32_t)n,
		.multi_flags = ret ? UPROBE_MULTI_RETURN : 0,
		.pid = pid,
	};
	int fd = (int)syscall(SYS_bpf, BPF_LINK_CREATE, &attr, sizeof(attr));

	return fd < 0 ? -errno : fd;
}

int uprobe_try_multi(void)
{
	const struct bpf_insn nothing[] = {
		{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0},
		{.code = BPF_JMP | BPF_EXIT},
	};
	LIBBPF_OPTS(bpf_prog_load_opts, opts, .expected_attach_type = UPROBE_MULTI_ATTACH_TYPE);
	int prog = bpf_prog_load(BPF_PROG_TYPE_KPROBE, "kt_multi", "GPL", nothing, 2, &opts);
	uint64_t offset = 0;
	int err;

	if (prog < 0)
		return prog;
	/* A directory holds no code: a kernel that knows the link finds that out, another refuses the link. */
	err = uprobe_attach_multi(prog, "/", 0, &offset, 1, false);
	close(prog);
	if (err >= 0)
		close(err);
	return err == -EBADF || err >= 0 ? 0 : err == -EINVAL ? -ENOTSUP : err;
}

/* A number in a small file of sysfs, after an optional prefix. Negative errno. */
static int sysfs_number(const char *path, const char *prefix)
{
	char text[64];
	ssize_t n;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	n = read(fd, text, sizeof(text) - 1);
	close(fd);
	if (n <= 0)
		return -EIO;
	text[n] = '\0';
	if (strncmp(text, prefix, strlen(prefix)) != 0)
		return -EBADMSG;
	return atoi(text + strlen(prefix));
}

static int perf_uprobe(const char *path, uint32_t pid, uint64_t offset, bool ret)
{
	struct perf_event_attr attr = {
		.size = sizeof(attr),
		.config1 = (uintptr_t)path,
		.config2 = offset,
	};
	int type = sysfs_number(PMU "type", ""), bit = 0, fd;

	if (type < 0)
		return type;
	if (ret) {
		bit = sysfs_number(PMU "format/retprobe", "config:");
		if (bit < 0 || bit > 63)
			return bit < 0 ? bit : -EBADMSG;
		attr.config = 1ull << bit;
	}
	attr.type = (uint32_t)type;
	fd = (int)syscall(SYS_perf_event_open, &attr, pid ? (pid_t)pid : -1, pid ? -1 : 0, -1, PERF_FLAG_FD_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

int uprobe_attach_one(int prog_fd, const char *path, uint32_t pid, uint64_t offset, bool ret)
{
	int event = perf_uprobe(path, pid, offset, ret), link, err;

	if (event < 0)
		return event;
	link = bpf_link_create(prog_fd, event, BPF_PERF_EVENT, NULL);
	if (link >= 0) {
		close(event); /* the link keeps it */
		return link;
	}
	/* Before 5.15 there are no such links: the event itself carries the program, and ends with its descriptor. */
	if (ioctl(event, PERF_EVENT_IOC_SET_BPF, prog_fd) == 0 && ioctl(event, PERF_EVENT_IOC_ENABLE, 0) == 0)
		return event;
	err = -errno;
	close(event);
	return err;
}
