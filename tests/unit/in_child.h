/* in_child: a part of a test that changes its process (privileges, mounts, networks), in a process of its own. */
#ifndef KT_TESTS_IN_CHILD_H
#define KT_TESTS_IN_CHILD_H

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* In the child: the first thing that is not so ends it. */
#define WANT(what)                                                                                                     \
	do {                                                                                                           \
		if (!(what)) {                                                                                         \
			fprintf(stderr, "%s:%d: %s (%s)\n", __func__, __LINE__, #what, strerror(errno));               \
			_exit(1);                                                                                      \
		}                                                                                                      \
	} while (0)

/* Fails the test unless fn comes to its end within so many seconds. */
static void in_child(void (*fn)(void), unsigned seconds)
{
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (!pid) {
		alarm(seconds);
		fn();
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

#endif
