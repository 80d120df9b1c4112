/* hooks: what the BPF side of a running agent consists of, for benchmarks.
 *
 *   hooks memory PID     bytes of its BPF maps, as the kernel charges them, and bytes that have passed its rings
 *   hooks empty PID      attaches empty programs wherever that process has one, says "hooks: ready" and stays until
 *                        SIGTERM or the end of its standard input; PID may end meanwhile
 *
 * The places are asked of the kernel, not known: whatever the agent attaches, the empty programs follow. That needs a
 * kernel that tells (6.8). Prints JSON, or the reason and exit code 1.
 */
#include <bpf/bpf.h>
#include <linux/perf_event.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "capture/uprobe.h"

#define OFFSETS_MAX 64
#define LINK_UPROBE_MULTI 12
#define PERF_EVENT_UPROBE 1
#define PERF_EVENT_URETPROBE 2
#define PERF_EVENT_TRACEPOINT 5

/* struct bpf_link_info of Linux 6.8; the headers that we compile against may be older. */
struct link_info {
	uint32_t type, id, prog_id, pad;
	union {
		struct {
			uint64_t name;
			uint32_t name_len;
		} raw;
		struct {
			uint64_t path, offsets, ref_ctr_offsets, cookies;
			uint32_t path_size, count, flags, pid;
		} multi;
		struct {
			uint32_t type, pad;
			uint64_t name;
			uint32_t name_len, offset;
		} perf;
		uint8_t room[64];
	};
};

_Static_assert(offsetof(struct link_info, multi) == 16, "link_info");

static int die(const char *what, int err)
{
	fprintf(stderr, "hooks: %s: %s\n", what, strerror(err < 0 ? -err : err));
	return 1;
}

/* A number after `field:` in /proc/PID/fdinfo/FD, or `absent`. */
static uint64_t fd_field(const char *pid, const char *fd, const char *field, uint64_t absent)
{
	char path[128], line[256];
	size_t n = strlen(field);
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%s/fdinfo/%s", pid, fd);
	f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f))
		if (strncmp(line, field, n) == 0 && line[n] == ':') {
			absent = strtoull(line + n + 1, NULL, 10);
			break;
		}
	if (f)
		fclose(f);
	return absent;
}

/* Calls fn for each descriptor of the process; stops at the first that fails. */
static int each_fd(const char *pid, int (*fn)(const char *pid, const char *fd, void *ctx), void *ctx)
{
	char path[64];
	struct dirent *e;
	int err = 0;
	DIR *d;

	snprintf(path, sizeof(path), "/proc/%s/fdinfo", pid);
	d = opendir(path);
	if (!d)
		return -errno;
	while (!err && (e = readdir(d)))
		if (e->d_name[0] != '.')
			err = fn(pid, e->d_name, ctx);
	closedir(d);
	return err;
}

/* --- memory ------------------------------------------------------------------------------------------------------ */

struct memory {
	uint64_t maps, rings, passed;
};

/* The kernel's position in a ring: all that it ever reserved, heads and unused room included. */
static int ring_passed(uint32_t id, uint64_t *ret)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	int fd = bpf_map_get_fd_by_id(id);
	unsigned long *at;

	if (fd < 0)
		return fd;
	at = mmap(NULL, page, PROT_READ, MAP_SHARED, fd, (off_t)page);
	close(fd);
	if (at == MAP_FAILED)
		return -errno;
	*ret += __atomic_load_n(at, __ATOMIC_ACQUIRE);
	munmap(at, page);
	return 0;
}

static int add_map(const char *pid, const char *fd, void *ctx)
{
	struct memory *m = ctx;
	uint64_t id = fd_field(pid, fd, "map_id", 0), bytes = fd_field(pid, fd, "memlock", 0);

	if (!id)
		return 0;
	m->maps += bytes;
	if (fd_field(pid, fd, "map_type", 0) != BPF_MAP_TYPE_RINGBUF)
		return 0;
	m->rings += bytes;
	return ring_passed((uint32_t)id, &m->passed);
}

static int show_memory(const char *pid)
{
	struct memory m = {0};
	int err = each_fd(pid, add_map, &m);

	if (err)
		return die("memory", err);
	printf("{\"map_bytes\":%" PRIu64 ",\"ring_bytes\":%" PRIu64 ",\"ring_passed\":%" PRIu64 "}\n", m.maps, m.rings,
		m.passed);
	return 0;
}

/* --- empty programs ---------------------------------------------------------------------------------------------- */

static int empty_prog(enum bpf_prog_type type, int attach_type)
{
	const struct bpf_insn nothing[] = {
		{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0},
		{.code = BPF_JMP | BPF_EXIT},
	};
	LIBBPF_OPTS(bpf_prog_load_opts, opts, .expected_attach_type = (enum bpf_attach_type)attach_type);

	return bpf_prog_load(type, "kt_empty", "GPL", nothing, 2, &opts);
}

static int tracepoint_id(const char *name)
{
	static const char *const roots[] = {"/sys/kernel/tracing", "/sys/kernel/debug/tracing"};
	static const char *const systems[] = {"syscalls", "sched"};
	char path[256], text[32];

	for (size_t i = 0; i < 4; i++) {
		ssize_t n;
		int fd;

		snprintf(path, sizeof(path), "%s/events/%s/%s/id", roots[i / 2], systems[i % 2], name);
		fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd < 0)
			continue;
		n = read(fd, text, sizeof(text) - 1);
		close(fd);
		if (n > 0) {
			text[n] = '\0';
			return atoi(text);
		}
	}
	return -ENOENT;
}

static int attach_tracepoint(const char *name)
{
	struct perf_event_attr attr = {.type = PERF_TYPE_TRACEPOINT, .size = sizeof(attr), .sample_period = 1};
	int id = tracepoint_id(name), prog = empty_prog(BPF_PROG_TYPE_TRACEPOINT, 0), event;

	if (id < 0 || prog < 0)
		return id < 0 ? id : prog;
	attr.config = (uint64_t)id;
	event = (int)syscall(SYS_perf_event_open, &attr, -1, 0, -1, PERF_FLAG_FD_CLOEXEC);
	if (event < 0)
		return -errno;
	return ioctl(event, PERF_EVENT_IOC_SET_BPF, prog) || ioctl(event, PERF_EVENT_IOC_ENABLE, 0) ? -errno : 0;
}

static int attach_raw(const char *name)
{
	int prog = empty_prog(BPF_PROG_TYPE_RAW_TRACEPOINT, 0);
	int fd = prog < 0 ? prog : bpf_raw_tracepoint_open(name, prog);

	return fd < 0 ? fd : 0;
}

static int attach_multi(const char *path, const struct link_info *i, const uint64_t *offsets)
{
	int prog = empty_prog(BPF_PROG_TYPE_KPROBE, UPROBE_MULTI_ATTACH_TYPE);
	int fd = prog < 0 ? prog
			  : uprobe_attach_multi(
				    prog, path, i->multi.pid, offsets, i->multi.count, (i->multi.flags & 1) != 0);

	return fd < 0 ? fd : 0;
}

static int attach_uprobe(const char *path, const struct link_info *i)
{
	int prog = empty_prog(BPF_PROG_TYPE_KPROBE, 0);
	int fd = prog < 0 ? prog
			  : uprobe_attach_one(prog, path, 0, i->perf.offset, i->perf.type == PERF_EVENT_URETPROBE);

	return fd < 0 ? fd : 0;
}

static int link_info(int fd, struct link_info *i)
{
	/* bpf_obj_get_info_by_fd() knows the structure of the headers only as a pointer and a length. */
	uint32_t len = sizeof(*i);

	return bpf_obj_get_info_by_fd(fd, i, &len);
}

static int copy_perf(int fd, struct link_info *i, char *path, size_t n)
{
	memset(i, 0, sizeof(*i));
	i->perf.name = (uintptr_t)path;
	i->perf.name_len = (uint32_t)n;
	if (link_info(fd, i))
		return -errno;
	switch (i->perf.type) {
	case PERF_EVENT_TRACEPOINT:
		return attach_tracepoint(path);
	case PERF_EVENT_UPROBE:
	case PERF_EVENT_URETPROBE:
		return attach_uprobe(path, i);
	default:
		return -ENOTSUP;
	}
}

static int copy_multi(int fd, struct link_info *i, char *path, size_t n)
{
	uint64_t offsets[OFFSETS_MAX];

	memset(i, 0, sizeof(*i));
	i->multi.path = (uintptr_t)path;
	i->multi.path_size = (uint32_t)n;
	i->multi.offsets = (uintptr_t)offsets;
	i->multi.count = OFFSETS_MAX;
	if (link_info(fd, i))
		return -errno;
	return i->multi.count > OFFSETS_MAX ? -E2BIG : attach_multi(path, i, offsets);
}

static int copy_raw(int fd, struct link_info *i, char *name, size_t n)
{
	memset(i, 0, sizeof(*i));
	i->raw.name = (uintptr_t)name;
	i->raw.name_len = (uint32_t)n;
	return link_info(fd, i) ? -errno : attach_raw(name);
}

static int copy_link(const char *pid, const char *fd_name, void *ctx)
{
	uint32_t id = (uint32_t)fd_field(pid, fd_name, "link_id", 0), *copied = ctx;
	struct link_info i = {0};
	char name[512];
	int err, fd;

	if (!id)
		return 0;
	fd = bpf_link_get_fd_by_id(id);
	if (fd < 0)
		return fd;
	err = link_info(fd, &i) ? -errno : 0;
	if (!err) {
		switch (i.type) {
		case BPF_LINK_TYPE_RAW_TRACEPOINT:
			err = copy_raw(fd, &i, name, sizeof(name));
			break;
		case BPF_LINK_TYPE_PERF_EVENT:
			err = copy_perf(fd, &i, name, sizeof(name));
			break;
		case LINK_UPROBE_MULTI:
			err = copy_multi(fd, &i, name, sizeof(name));
			break;
		default:
			err = -ENOTSUP;
			break;
		}
	}
	close(fd);
	*copied += !err;
	return err;
}

static int stay_empty(const char *pid)
{
	uint32_t copied = 0;
	int err = each_fd(pid, copy_link, &copied);
	char byte;

	if (err)
		return die("cannot attach where the agent has", err);
	if (!copied)
		return die("that process has no BPF links", ENOENT);
	printf("hooks: ready %u\n", copied);
	fflush(stdout);
	while (read(STDIN_FILENO, &byte, 1) > 0)
		;
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 3 && strcmp(argv[1], "memory") == 0)
		return show_memory(argv[2]);
	if (argc == 3 && strcmp(argv[1], "empty") == 0)
		return stay_empty(argv[2]);
	fprintf(stderr, "usage: hooks memory|empty PID\n");
	return 2;
}
