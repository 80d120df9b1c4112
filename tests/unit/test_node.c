/* node, tlslib, procfs: titles, cgroups, maps, and what /proc says of ourselves. */
#include "kt_cmocka.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "capture/node.h"
#include "capture/procfs.h"
#include "capture/tls_attach.h"
#include "capture/tlslib.h"

static void titles(void **state)
{
	char prefix[WORKER_TEXT_MAX], title[512];

	(void)state;
	assert_true(node_master_title(
		"nginx: master process /usr/local/openresty/nginx/sbin/nginx -p /usr/local/kong -c nginx.conf",
		prefix));
	assert_string_equal(prefix, "/usr/local/kong");
	assert_true(node_master_title("nginx: master process nginx -p/kong_prefix/", prefix));
	assert_string_equal(prefix, "/kong_prefix");
	assert_true(node_master_title("nginx: master process nginx -c x -p /", prefix));
	assert_string_equal(prefix, "/");
	assert_true(node_master_title("nginx: master process nginx -p", prefix));
	assert_string_equal(prefix, "");
	assert_true(node_master_title("nginx: master process /usr/sbin/nginx", prefix));
	assert_string_equal(prefix, "");
	assert_true(node_master_title("nginx: master process", prefix));
	assert_false(node_master_title("nginx: worker process", prefix));
	assert_false(node_master_title("nginx -p /usr/local/kong", prefix));
	assert_false(node_master_title("", prefix));
	snprintf(title, sizeof(title), "nginx: master process nginx -p /%0200d", 7);
	assert_true(node_master_title(title, prefix));
	assert_string_equal(prefix, ""); /* too long to be kept, and half a name is worse than none */
	assert_true(node_worker_title("nginx: worker process"));
	assert_true(node_worker_title("nginx: worker process is shutting down"));
	assert_false(node_worker_title("nginx: privileged agent process"));
	assert_true(node_any_title("nginx: privileged agent process"));
	assert_false(node_any_title("nginx -p /usr/local/kong -c nginx.conf"));
	node_prefix("nginx -p /usr/local/kong/ -c nginx.conf", prefix);
	assert_string_equal(prefix, "/usr/local/kong");
	node_prefix("nginx -g x", prefix);
	assert_string_equal(prefix, "");
	assert_true(node_is_command("/tmp/resty_X"));
	assert_true(node_is_command("/var/tmp/me/resty_X"));
	assert_false(node_is_command("/tmp/resty_X/kong"));
	assert_false(node_is_command("resty"));
	assert_false(node_is_kong((uint32_t)getpid(), "/tmp/resty_X"));
	assert_false(node_is_kong((uint32_t)getpid(), "relative"));
	assert_false(node_is_kong((uint32_t)getpid(), ""));
}

static void cgroups(void **state)
{
	char id[WORKER_TEXT_MAX], uid[WORKER_TEXT_MAX];

	(void)state;
	node_cgroup(SPAN_LIT("0::/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod"
			     "01234567_89ab_cdef_0123_456789abcdef.slice/cri-containerd-"
			     "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef.scope\n"),
		id, uid);
	assert_string_equal(id, "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef");
	assert_string_equal(uid, "01234567-89ab-cdef-0123-456789abcdef");
	node_cgroup(
		SPAN_LIT("12:cpu:/docker/fedcba9876543210fedcba9876543210fedcba9876543210fedcba9876543210\n"), id, uid);
	assert_string_equal(id, "fedcba9876543210fedcba9876543210fedcba9876543210fedcba9876543210");
	assert_string_equal(uid, "");
	node_cgroup(SPAN_LIT("0::/system.slice/kong.service\n"), id, uid);
	assert_string_equal(id, "");
	assert_string_equal(uid, "");
	node_cgroup(SPAN_LIT("0::/pod01234567-89ab"), id, uid);
	assert_string_equal(uid, "");
	/* A node of a cluster that is a container itself: the pod and the container within are meant. Version 1 has a
	 * line for each controller. */
	node_cgroup(
		SPAN_LIT("3:misc:/\n"
			 "2:memory:/docker/ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff/kubelet/"
			 "kubepods/burstable/pod01234567-89ab-cdef-0123-456789abcdef/"
			 "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\n"
			 "1:cpu:/docker/ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff\n"),
		id, uid);
	assert_string_equal(id, "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef");
	assert_string_equal(uid, "01234567-89ab-cdef-0123-456789abcdef");
	node_cgroup((struct span){NULL, 0}, id, uid);
	assert_string_equal(id, "");
}

static void shared(struct tlslib *l, bool program, const char *path, bool wanted)
{
	strcpy(l->path, path);
	l->is_program = program;
	assert_int_equal(tlslib_is_shared(l), wanted);
}

static void maps(void **state)
{
	char text[] = "55e0c0000000-55e0c0100000 r--p 00000000 fe:01 100 /usr/local/openresty/nginx/sbin/nginx\n"
		      "55e0c0100000-55e0c0200000 r-xp 00100000 fe:01 100 /usr/local/openresty/nginx/sbin/nginx\n"
		      "7f0000000000-7f0000010000 r-xp 00000000 00:00 0 [vdso]\n"
		      "7f0000020000-7f0000030000 r-xp 0001f000 fe:01 200 /usr/lib/libsslfoo.so\n"
		      "nonsense\n"
		      "7f0000040000-7f00000a0000 r-xp 0001f000 fe:01 301 /usr/local/kong/lib/libssl.so.3 (deleted)\n";
	char bare[] = "55e0c0100000-55e0c0200000 r-xp 00100000 fe:01 100 /opt/nginx\n";
	char none[] = "7f0000000000-7f0000010000 rw-p 00000000 00:00 0 \n";
	struct tlslib l;

	(void)state;
	assert_int_equal(tlslib_parse(7, text, &l), 0);
	assert_int_equal(l.inode, 301);
	assert_string_equal(l.path, "/usr/local/kong/lib/libssl.so.3");
	assert_true(l.deleted);
	assert_false(l.is_program);
	assert_string_equal(l.open_path, "/proc/7/map_files/7f0000040000-7f00000a0000");
	assert_false(tlslib_is_shared(&l));
	assert_int_equal(tlslib_parse(7, bare, &l), 0);
	assert_true(l.is_program);
	assert_false(tlslib_is_shared(&l));
	assert_int_equal(tlslib_parse(7, none, &l), -ENOENT);
	shared(&l, false, "/usr/lib/x86_64-linux-gnu/libssl.so.3", true);
	shared(&l, false, "/usr/local/lib64/libssl.so.3", true);
	shared(&l, false, "/lib/libssl.so.1.1", true);
	shared(&l, false, "/usr/local/kong/lib/libssl.so.3", false);
	shared(&l, false, "/opt/usr/lib/libssl.so.3", false);
	/* A program with TLS in it may be another's nginx as well. */
	shared(&l, true, "/usr/sbin/nginx", true);
	shared(&l, true, "/usr/local/bin/nginx", true);
	shared(&l, true, "/usr/local/openresty/nginx/sbin/nginx", false);
}

/* Who is gone has no TLS that anybody misses; of who lives it is said why it cannot be seen. */
static void gone_or_not(void **state)
{
	static const struct features none;
	struct tls_attach *t = tls_attach__new(NULL, &none);
	struct rlimit old, few;
	struct tls_plan plan;
	int planned, attached, lowest = dup(0);
	siginfo_t si;
	pid_t pid = fork();

	(void)state;
	assert_non_null(t);
	assert_true(pid >= 0 && lowest >= 0);
	if (!pid)
		_exit(0);
	assert_int_equal(waitid(P_PID, (id_t)pid, &si, WEXITED | WNOWAIT), 0);
	assert_int_equal(tls_plan(&none, (uint32_t)pid, &plan, NULL), -ESRCH);
	assert_int_equal(tls_attach__process(t, (uint32_t)pid, false, &plan), -ESRCH);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	assert_int_equal(tls_plan(&none, (uint32_t)pid, &plan, NULL), -ESRCH);
	assert_int_equal(tls_attach__process(t, (uint32_t)pid, false, &plan), -ESRCH);

	assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
	few = (struct rlimit){.rlim_cur = (rlim_t)lowest, .rlim_max = old.rlim_max};
	close(lowest);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
	memset(&plan, 0xff, sizeof(plan));
	planned = tls_plan(&none, (uint32_t)getpid(), &plan, NULL);
	attached = tls_attach__process(t, (uint32_t)getpid(), false, &plan);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
	assert_int_equal(planned, 0);
	assert_int_equal(attached, 0);
	assert_int_equal(plan.n, 0);
	assert_string_equal(plan.text, "its TLS library cannot be looked for: Too many open files");
	assert_string_equal(plan.lib.path, "");
	tls_attach__free(t);
}

static void keep_plan(void *ctx, uint32_t pid, const struct tls_plan *why)
{
	assert_int_equal(pid, getpid());
	*(struct tls_plan *)ctx = *why;
}

/* Whose probes were taken away for a while and cannot be put back is told, so that nobody shows them as there. */
static void not_put_back(void **state)
{
	static const struct features none;
	struct tls_attach *t = tls_attach__new(NULL, &none);
	struct tls_plan plan, why = {.n = 1};
	pid_t pid = fork();

	(void)state;
	assert_non_null(t);
	assert_true(pid >= 0);
	if (!pid) {
		pause();
		_exit(0);
	}
	tls_attach__pause(t);
	assert_int_equal(tls_attach__process(t, (uint32_t)getpid(), false, &plan), 0);
	assert_int_equal(tls_attach__process(t, (uint32_t)pid, false, &plan), 0);
	/* Nor is one that is gone meanwhile anybody's concern. */
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	tls_attach__resume(t, keep_plan, &why);
	assert_int_equal(why.n, 0);
	assert_non_null(strstr(why.text, "this kernel has no uprobes"));
	tls_attach__free(t);
}

static bool find_us(void *ctx, uint32_t pid)
{
	*(bool *)ctx |= pid == (uint32_t)getpid();
	return true;
}

static void ourselves(void **state)
{
	uint32_t pid = (uint32_t)getpid();
	struct proc_stat st;
	char text[64], *all;
	bool found = false;
	size_t n;

	(void)state;
	assert_int_equal(proc_stat(pid, &st), 0);
	assert_int_equal(st.ppid, getppid());
	assert_string_equal(st.comm, "test_node");
	assert_true(st.start > 0);
	assert_int_equal(proc_each(find_us, &found), 0);
	assert_true(found);
	assert_true(proc_title(pid, text, sizeof(text)) > 0);
	assert_true(proc_read(pid, "nothing", text, sizeof(text)) == -ENOENT);
	assert_true(proc_stat(UINT32_MAX, &st) < 0);
	all = proc_read_all(pid, "maps", 1 << 20, &n);
	assert_non_null(all);
	assert_int_equal(strlen(all), n);
	free(all);
	assert_null(proc_read_all(pid, "maps", 16, &n));
	assert_int_equal(errno, EFBIG);
}

static void listening(void **state)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(a);
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	uint16_t ports[8];
	struct rec_worker w = {0};
	bool there = false;
	size_t n;

	(void)state;
	assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	assert_int_equal(listen(fd, 1), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &len), 0);
	n = node_listening((uint32_t)getpid(), ports, 8);
	for (size_t i = 0; i < n; i++)
		there |= ports[i] == ntohs(a.sin_port);
	assert_true(there);
	node_describe((uint32_t)getpid(), "", &w);
	assert_int_equal(w.nports, n);
	close(fd);
}

struct lines {
	size_t n, stop_at, bytes;
};

static bool count_line(void *ctx, const char *line)
{
	struct lines *l = ctx;

	l->bytes += strlen(line) + 1;
	return ++l->n != l->stop_at;
}

/* More lines than any buffer holds, each of them once and whole; and no further than wanted. */
static void lines(void **state)
{
	struct lines all = {0}, some = {.stop_at = 2}, none = {0};
	uint32_t pid = (uint32_t)getpid();
	static char *pages[400];
	size_t page = (size_t)sysconf(_SC_PAGESIZE), len, n = 0;
	char *text;

	(void)state;
	/* Pages of two kinds in turn: a line of the map for each. */
	for (size_t i = 0; i < 400; i++)
		pages[i] = mmap(
			NULL, page, i % 2 ? PROT_READ : PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	text = proc_read_all(pid, "maps", 1 << 20, &len);
	assert_non_null(text);
	for (size_t i = 0; i < len; i++)
		n += text[i] == '\n';
	assert_int_equal(proc_each_line(pid, "maps", count_line, &all), 0);
	assert_true(n > 400);
	assert_in_range(all.n, n - 4, n + 4); /* an allocation in between may map, too */
	assert_true(all.bytes > 16384);
	assert_int_equal(proc_each_line(pid, "maps", count_line, &some), 0);
	assert_int_equal(some.n, 2);
	/* One line without an end. */
	assert_int_equal(proc_each_line(pid, "cmdline", count_line, &none), 0);
	assert_int_equal(none.n, 0);
	assert_int_equal(proc_each_line(pid, "no-such-file", count_line, &none), -ENOENT);
	for (size_t i = 0; i < 400; i++)
		munmap(pages[i], page);
	free(text);
}

/* The files of another process are looked for in its root; what is no regular file is not opened. */
static void files(void **state)
{
	char directory[] = "/tmp/kt-node-XXXXXX", path[64], link[64], *text;
	uint32_t pid = (uint32_t)getpid();
	FILE *f;
	size_t n;

	(void)state;
	assert_non_null(mkdtemp(directory));
	snprintf(path, sizeof(path), "%s/nginx-kong.conf", directory);
	f = fopen(path, "w");
	assert_non_null(f);
	fputs("server { server_name kong; listen 8000; }\n", f);
	fclose(f);
	assert_true(node_is_kong(pid, directory));
	text = proc_file(pid, path, 4096, &n);
	assert_non_null(text);
	assert_int_equal(n, 42);
	free(text);
	assert_null(proc_file(pid, path, 16, &n));
	assert_int_equal(proc_open_file(pid, directory), -EINVAL);
	snprintf(link, sizeof(link), "%s/link", directory);
	assert_int_equal(symlink("/proc/self/fd/0", link), 0);
	assert_true(proc_open_file(pid, link) < 0);
	unlink(link);
	assert_int_equal(mkfifo(link, 0600), 0);
	assert_true(proc_open_file(pid, link) < 0); /* and it does not wait for a writer */
	unlink(link);
	/* What the kernel makes up, by whatever name. */
	assert_int_equal(symlink("/proc/self/status", link), 0);
	assert_int_equal(proc_open_file(pid, link), -EINVAL);
	unlink(link);
	unlink(path);
	rmdir(directory);
}

/* In a root of its own, as a container has it. */
static void in_its_root(const char *root, int ready, int end)
{
	char c = 'r';

	if (chroot(root) || chdir("/") || write(ready, &c, 1) != 1)
		_exit(1);
	if (read(end, &c, 1) < 0)
		_exit(1);
	_exit(0);
}

static void put_file(const char *root, const char *name, const char *text)
{
	char path[128];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", root, name);
	f = fopen(path, "w");
	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

static void assert_text(uint32_t pid, const char *path, const char *wanted)
{
	size_t n;
	char *text = proc_file(pid, path, 4096, &n);

	if (!wanted) {
		assert_null(text);
		return;
	}
	assert_non_null(text);
	assert_string_equal(text, wanted);
	free(text);
}

/* Links in a container lead where they lead for its own processes, whatever they are made of. */
static void no_way_out(void **state)
{
	static const char *const links[][2] = {{"absolute", "/file"}, {"above", "../../../../../file"},
		{"of the host", "/etc/passwd"}, {"by proc", "/proc/1/root/etc/passwd"}};
	char root[] = "/tmp/kt-node-XXXXXX", path[128];
	int ready[2], ended[2], status;
	pid_t child;
	char c;

	(void)state;
	assert_non_null(mkdtemp(root));
	put_file(root, "file", "inside");
	for (size_t i = 0; i < 4; i++) {
		snprintf(path, sizeof(path), "%s/%s", root, links[i][0]);
		assert_int_equal(symlink(links[i][1], path), 0);
	}
	assert_int_equal(pipe2(ready, O_CLOEXEC) | pipe2(ended, O_CLOEXEC), 0);
	child = fork();
	if (child == 0) {
		close(ended[1]);
		in_its_root(root, ready[1], ended[0]);
	}
	assert_int_equal(read(ready[0], &c, 1), 1);
	assert_text((uint32_t)child, "/file", "inside");
	assert_text((uint32_t)child, "/absolute", "inside");
	assert_text((uint32_t)child, "/above", "inside");
	assert_text((uint32_t)child, "/../../file", "inside");
	assert_text((uint32_t)child, "/of the host", NULL);
	assert_text((uint32_t)child, "/by proc", NULL);
	close(ended[1]);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	for (size_t i = 0; i < 4; i++) {
		snprintf(path, sizeof(path), "%s/%s", root, links[i][0]);
		unlink(path);
	}
	snprintf(path, sizeof(path), "%s/file", root);
	unlink(path);
	rmdir(root);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(titles),
		cmocka_unit_test(cgroups),
		cmocka_unit_test(maps),
		cmocka_unit_test(gone_or_not),
		cmocka_unit_test(not_put_back),
		cmocka_unit_test(ourselves),
		cmocka_unit_test(listening),
		cmocka_unit_test(lines),
		cmocka_unit_test(files),
		cmocka_unit_test(no_way_out),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
