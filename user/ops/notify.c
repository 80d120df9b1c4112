#include "ops/notify.h"

#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"

#define STATUS_MAX 256
#define WATCHDOG_MAX_USEC (24ull * 3600 * 1000000)

struct notify {
	int fd; /* -1: nobody listens */
	struct sockaddr_un addr;
	socklen_t addr_len;
	uint64_t ping_ns; /* half of the watchdog's time; 0: no watchdog */
	uint64_t last_ping;
	unsigned long failures;
	char status[STATUS_MAX];
};

/* A path, or @name for the abstract name space. */
static int parse_address(struct notify *n, const char *text)
{
	size_t len = strlen(text);

	if ((text[0] != '/' && text[0] != '@') || len < 2)
		return -EINVAL;
	if (len >= sizeof(n->addr.sun_path))
		return -ENAMETOOLONG;
	n->addr.sun_family = AF_UNIX;
	memcpy(n->addr.sun_path, text, len);
	if (text[0] == '@')
		n->addr.sun_path[0] = '\0';
	/* An abstract name is as long as the address says; a path is ended by its NUL. */
	n->addr_len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len + (text[0] == '/'));
	return 0;
}

/* A whole decimal number, or 0. */
static uint64_t number(const char *text)
{
	char *end;
	uint64_t v;

	if (!text || *text < '0' || *text > '9')
		return 0;
	errno = 0;
	v = strtoull(text, &end, 10);
	return errno || *end ? 0 : v;
}

static uint64_t watchdog_interval(void)
{
	const char *pid = getenv("WATCHDOG_PID");
	uint64_t usec = number(getenv("WATCHDOG_USEC"));

	/* With a pid in it the request is meant for that process alone. */
	if ((pid && number(pid) != (uint64_t)getpid()) || usec > WATCHDOG_MAX_USEC)
		return 0;
	return usec * 1000 / 2;
}

static int open_socket(struct notify *n, const char *address)
{
	int err = parse_address(n, address);

	if (err)
		return err;
	n->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	return n->fd < 0 ? -errno : 0;
}

struct notify *notify__open(void)
{
	const char *address = getenv("NOTIFY_SOCKET");
	struct notify *n = calloc(1, sizeof(*n));
	int err;

	if (!n)
		return NULL;
	n->fd = -1;
	n->ping_ns = watchdog_interval();
	if (address && *address) {
		err = open_socket(n, address);
		if (err)
			log_warn("notify", "NOTIFY_SOCKET=%s cannot be used: %s", address, strerror(-err));
	}
	unsetenv("NOTIFY_SOCKET");
	unsetenv("WATCHDOG_USEC");
	unsetenv("WATCHDOG_PID");
	return n;
}

/* 0 or negative errno. The address goes with each datagram: a connection would end with a restart of the manager. */
static int tell(struct notify *n, const char *text)
{
	ssize_t done;

	if (n->fd < 0)
		return 0;
	done = sendto(n->fd, text, strlen(text), MSG_NOSIGNAL, (struct sockaddr *)&n->addr, n->addr_len);
	if (done >= 0)
		return 0;
	if (log_rate(&n->failures))
		log_warn("notify", "cannot tell the service manager: %s", strerror(errno));
	return -errno;
}

/* `lines`, if any, and the status, which is one line whatever the text holds; nothing when nothing is new. */
static void tell_with_status(struct notify *n, const char *lines, const char *status)
{
	char line[STATUS_MAX], text[STATUS_MAX + 128];

	snprintf(line, sizeof(line), "%s", status);
	for (char *p = line; *p; p++)
		if ((unsigned char)*p < ' ')
			*p = ' ';
	if (!*lines && strcmp(line, n->status) == 0)
		return;
	memcpy(n->status, line, sizeof(line));
	snprintf(text, sizeof(text), "%sSTATUS=%s\n", lines, line);
	tell(n, text);
}

void notify__ready(struct notify *n, const char *status)
{
	tell_with_status(n, "READY=1\n", status);
}

void notify__reloading(struct notify *n)
{
	char text[128];

	snprintf(text, sizeof(text), "RELOADING=1\nMONOTONIC_USEC=%" PRIu64 "\n", clock_mono_ns() / 1000);
	tell(n, text);
}

void notify__stopping(struct notify *n, const char *status)
{
	tell_with_status(n, "STOPPING=1\n", status);
}

void notify__status(struct notify *n, const char *status)
{
	tell_with_status(n, "", status);
}

void notify__alive(struct notify *n, uint64_t now_ns)
{
	if (!n->ping_ns || (n->last_ping && now_ns - n->last_ping < n->ping_ns))
		return;
	/* One that did not get through is tried again at once: the next call is a moment away. */
	if (!tell(n, "WATCHDOG=1\n"))
		n->last_ping = now_ns;
}

void notify__free(struct notify *n)
{
	if (!n)
		return;
	if (n->fd >= 0)
		close(n->fd);
	free(n);
}
