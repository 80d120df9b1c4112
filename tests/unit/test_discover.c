/* link: -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc,--wrap=reallocarray,--wrap=strdup,--wrap=strndup */
/* discover: processes that look like nginx's. This program is run again under the name nginx, with the titles that a
 * master, workers and others have; what is not under our own prefix is somebody else's.
 */
#include "kt_cmocka.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "alloc_fail.h"
#include "capture/discover.h"

static char directory[] = "/tmp/kt-discover-XXXXXX", program[64];
static char said[4096];
static const char *expected_prefix;
static uint32_t captured_pid; /* what the kernel would say it captures */

/* As one of nginx's processes: until somebody kills it, or its parent dies. */
static _Noreturn void pretend(void)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (;;)
		pause();
}

static void start_as(const char *title)
{
	execl(program, title, (char *)NULL);
	_exit(127);
}

/* A child of ours under this title. We have a master's title ourselves (see main), so it is a worker of ours. Back when
 * it is the other program: a pipe ends with exec. */
static pid_t start(const char *title)
{
	int ends[2];
	pid_t pid;
	char c;

	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	pid = fork();
	if (pid == 0)
		start_as(title);
	close(ends[1]);
	assert_int_equal(read(ends[0], &c, 1), 0);
	close(ends[0]);
	return pid;
}

static void end(pid_t pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

static void say(const char *word, uint32_t pid)
{
	size_t n = strlen(said);

	snprintf(said + n, sizeof(said) - n, "%s%s %u", n ? ", " : "", word, pid);
}

static void on_node(void *ctx, uint32_t pid, const char *prefix)
{
	(void)ctx;
	assert_string_equal(prefix, expected_prefix);
	say("node", pid);
}

static void on_node_gone(void *ctx, uint32_t pid)
{
	(void)ctx;
	say("no node", pid);
}

static void on_worker(void *ctx, const struct rec_worker *w, bool fresh)
{
	(void)ctx;
	say(fresh ? "worker" : "again", w->pid);
}

static void on_worker_gone(void *ctx, uint32_t pid)
{
	(void)ctx;
	say("no worker", pid);
}

static bool is_captured(void *ctx, uint32_t pid)
{
	(void)ctx;
	return pid == captured_pid;
}

static const struct discover_sink sink = {
	.node = on_node,
	.node_gone = on_node_gone,
	.worker = on_worker,
	.worker_gone = on_worker_gone,
	.captured = is_captured,
};

static struct capture_options options;
static char *prefixes[1] = {directory};
static struct discover *d;

static int setup(void **state)
{
	(void)state;
	capture_options_default(&options);
	options.prefixes = prefixes;
	options.nprefixes = 1;
	said[0] = '\0';
	captured_pid = 0;
	expected_prefix = directory;
	d = discover__new(&options, &sink);
	return d ? 0 : -1;
}

static int teardown(void **state)
{
	(void)state;
	discover__free(d);
	return 0;
}

static void scan(void)
{
	said[0] = '\0';
	assert_int_equal(discover__scan(d), 0);
}

#define assert_said(...)                                                                                               \
	do {                                                                                                           \
		char wanted_[512];                                                                                     \
		snprintf(wanted_, sizeof(wanted_), __VA_ARGS__);                                                       \
		assert_string_equal(said, wanted_);                                                                    \
	} while (0)

static void comes_and_goes(void **state)
{
	uint32_t us = (uint32_t)getpid();
	pid_t worker, agent;

	(void)state;
	scan();
	assert_said("node %u", us);
	worker = start("nginx: worker process");
	agent = start("nginx: privileged agent process");
	scan();
	assert_said("worker %u", (uint32_t)worker);
	assert_int_equal(discover__workers(d), 1);
	assert_int_equal(discover__nodes(d), 1);
	assert_false(discover__unsettled(d));
	scan();
	assert_said("%s", "");
	end(worker);
	end(agent);
	for (int i = 0; i < 3 && discover__workers(d); i++)
		scan();
	assert_said("no worker %u", (uint32_t)worker);
}

/* Told of the fork first; the title comes later. */
static void forked(void **state)
{
	uint32_t us = (uint32_t)getpid();
	char master[128];
	pid_t child;

	(void)state;
	scan();
	snprintf(master, sizeof(master), "nginx: master process nginx -p %s", directory);
	child = start(master);
	said[0] = '\0';
	assert_true(discover__forked(d, us, (uint32_t)child));
	assert_said("worker %u", (uint32_t)child);
	assert_true(discover__unsettled(d));
	scan();
	assert_said("%s", "");
	assert_true(discover__unsettled(d));
	assert_false(discover__forked(d, (uint32_t)child, 1));
	assert_true(discover__ended(d, (uint32_t)child));
	assert_false(discover__ended(d, (uint32_t)child));
	assert_int_equal(discover__workers(d), 0);
	end(child);
}

/* Told of the exit by the kernel while /proc shows the process still; one that became another program is looked at
 * anew. */
static void exiting(void **state)
{
	pid_t worker;

	(void)state;
	scan();
	worker = start("nginx: worker process");
	scan();
	assert_said("worker %u", (uint32_t)worker);
	assert_true(discover__ended(d, (uint32_t)worker));
	scan();
	assert_said("worker %u", (uint32_t)worker);
	assert_true(discover__exited(d, (uint32_t)worker));
	for (int i = 0; i < 3; i++) {
		scan();
		assert_said("%s", "");
	}
	assert_int_equal(discover__workers(d), 0);
	end(worker);
}

/* Looked at before the news of the fork was read: neither a master by its title, nor forgotten afterwards. */
static void forked_unsaid(void **state)
{
	uint32_t us = (uint32_t)getpid();
	char master[128];
	pid_t child;

	(void)state;
	scan();
	snprintf(master, sizeof(master), "nginx: master process nginx -p %s", directory);
	child = start(master);
	captured_pid = (uint32_t)child;
	scan();
	assert_said("%s", "");
	/* Taken for a master all the same (nobody could tell): the news puts it right. */
	captured_pid = 0;
	scan();
	assert_said("node %u", (uint32_t)child);
	said[0] = '\0';
	assert_true(discover__forked(d, us, (uint32_t)child));
	assert_said("no node %u, worker %u", (uint32_t)child, (uint32_t)child);
	end(child);
}

/* A child that bears our title and is our image, as a worker in which Kong is still at work before it takes its own
 * title. */
static pid_t start_image(void)
{
	pid_t pid = fork();

	if (pid == 0)
		pretend();
	return pid;
}

/* There before the first look: nobody told of the fork, and it is neither a master nor forgotten while it takes long.
 */
static void forked_before(void **state)
{
	uint32_t us = (uint32_t)getpid();
	pid_t child = start_image(), upgrade;
	char master[128];

	(void)state;
	scan();
	assert_said("node %u, worker %u", us, (uint32_t)child);
	assert_true(discover__unsettled(d));
	for (int i = 0; i < 100; i++) {
		scan();
		assert_said("%s", "");
	}
	assert_false(discover__unsettled(d)); /* no hurry any more */
	assert_true(discover__forked(d, us, (uint32_t)child));
	assert_int_equal(discover__workers(d), 1);
	assert_int_equal(discover__nodes(d), 1);
	/* A new master of a binary upgrade has a master's title and a master for a parent as well. */
	snprintf(master, sizeof(master), "nginx: master process nginx -p %s -c nginx.conf", directory);
	upgrade = start(master);
	scan();
	assert_said("node %u", (uint32_t)upgrade);
	end(upgrade);
	end(child);
}

/* Another nginx of this host may be starting just now, for a moment. */
static void assert_starting_ends(void)
{
	for (int i = 0; i < 1000 && discover__starting(d); i++) {
		usleep(10000);
		scan();
	}
	assert_false(discover__starting(d));
}

/* No title yet: Kong is reading its configuration. */
static void starting(void **state)
{
	char line[128];
	pid_t command, kong;

	(void)state;
	scan();
	assert_starting_ends();
	command = start("nginx -p /tmp/resty_x1/ -c conf/nginx.conf");
	scan();
	assert_starting_ends();
	snprintf(line, sizeof(line), "nginx -p %s -c nginx.conf", directory);
	kong = start(line);
	scan();
	assert_true(discover__starting(d));
	assert_int_equal(discover__nodes(d), 1);
	end(kong);
	scan();
	assert_true(discover__starting(d)); /* it may have gone into the background */
	assert_starting_ends();
	end(command);
}

/* The kong command's own nginx is meant by no glob but one of its own; a slash at a glob's end means nothing. */
static void commands(void **state)
{
	static char *all[2] = {NULL, (char *)"/tmp/*_x1"};
	static char *own[] = {(char *)"/tmp/resty_*"};
	pid_t command = start("nginx: master process nginx -p /tmp/resty_x1/ -c conf/nginx.conf");

	char slash[64];

	(void)state;
	discover__free(d);
	snprintf(slash, sizeof(slash), "%s//", directory);
	all[0] = slash;
	options.prefixes = all;
	options.nprefixes = 2;
	d = discover__new(&options, &sink);
	scan();
	assert_said("node %u", (uint32_t)getpid());
	discover__free(d);
	options.prefixes = own;
	options.nprefixes = 1;
	expected_prefix = "/tmp/resty_x1";
	d = discover__new(&options, &sink);
	scan();
	assert_said("node %u", (uint32_t)command);
	end(command);
}

static void named_by_pid(void **state)
{
	uint32_t pids[1];
	pid_t a = start("nginx: worker process"), b = start("nginx: worker process");

	(void)state;
	discover__free(d);
	pids[0] = (uint32_t)a;
	options = (struct capture_options){.pids = pids, .npids = 1};
	d = discover__new(&options, &sink);
	scan();
	assert_said("worker %u", (uint32_t)a);
	end(a);
	end(b);
}

static void other_prefix(void **state)
{
	static char *elsewhere[] = {(char *)"/nowhere/*"};

	(void)state;
	discover__free(d);
	options.prefixes = elsewhere;
	d = discover__new(&options, &sink);
	scan();
	assert_said("%s", "");
	assert_int_equal(discover__nodes(d), 0);
}

/* Memory runs out at one place or another: whatever that look missed, the next ones find. */
static void out_of_memory(void **state)
{
	pid_t worker = start("nginx: worker process");
	bool failed = true;
	long n;

	(void)state;
	for (n = 0; failed; n++) {
		discover__free(d);
		alloc_fail_after(n);
		d = discover__new(&options, &sink);
		if (d)
			(void)discover__scan(d);
		failed = alloc_failed;
		alloc_fail_no_more();
		if (!d)
			d = discover__new(&options, &sink);
		for (int i = 0; i < 3 && discover__workers(d) < 1; i++)
			scan();
		assert_int_equal(discover__nodes(d), 1);
		assert_int_equal(discover__workers(d), 1);
	}
	assert_true(n > 5);
	end(worker);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(comes_and_goes, setup, teardown),
		cmocka_unit_test_setup_teardown(forked, setup, teardown),
		cmocka_unit_test_setup_teardown(exiting, setup, teardown),
		cmocka_unit_test_setup_teardown(forked_unsaid, setup, teardown),
		cmocka_unit_test_setup_teardown(forked_before, setup, teardown),
		cmocka_unit_test_setup_teardown(starting, setup, teardown),
		cmocka_unit_test_setup_teardown(commands, setup, teardown),
		cmocka_unit_test_setup_teardown(named_by_pid, setup, teardown),
		cmocka_unit_test_setup_teardown(other_prefix, setup, teardown),
		cmocka_unit_test_setup_teardown(out_of_memory, setup, teardown),
	};
	char self[256], title[128];
	ssize_t n;
	int rc;

	(void)argc;
	if (strncmp(argv[0], "nginx", 5) == 0 && !getenv("KT_DISCOVER"))
		pretend();
	if (!getenv("KT_DISCOVER")) {
		n = readlink("/proc/self/exe", self, sizeof(self) - 1);
		if (n < 0 || !mkdtemp(directory))
			return 1;
		self[n] = '\0';
		snprintf(program, sizeof(program), "%s/nginx", directory);
		if (symlink(self, program))
			return 1;
		setenv("KT_DISCOVER", directory, 1);
		snprintf(title, sizeof(title), "nginx: master process nginx -p %s", directory);
		execl(program, title, (char *)NULL);
		return 1;
	}
	snprintf(directory, sizeof(directory), "%s", getenv("KT_DISCOVER"));
	snprintf(program, sizeof(program), "%s/nginx", directory);
	unsetenv("KT_DISCOVER");
	rc = cmocka_run_group_tests(tests, NULL, NULL);
	unlink(program);
	rmdir(directory);
	return rc;
}
