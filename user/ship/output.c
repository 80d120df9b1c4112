#include "ship/output.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/log.h"
#include "base/stats.h"
#include "ship/pretty.h"

#define PENDING_DEFAULT (8u << 20)
#define FLUSH_AT 65536 /* so much is gathered before a write is tried in between */

struct output {
	enum output_kind kind;
	int fd;
	bool regular, colour, header_done;
	int wait_ms; /* for a reader that does not take anything: 0 live, -1 (as long as it takes) in a replay */
	unsigned width;
	struct buf pending;
	unsigned long failures;
	char *path;
};

static unsigned terminal_width(int fd)
{
	struct winsize w;

	return !ioctl(fd, TIOCGWINSZ, &w) && w.ws_col >= 60 ? w.ws_col : 120;
}

struct output *output__open(const struct output_options *opt)
{
	struct output *o = calloc(1, sizeof(*o));
	struct stat st;
	int err;

	if (!o)
		return NULL;
	o->kind = opt->kind;
	o->wait_ms = opt->live ? 0 : -1;
	o->fd = STDOUT_FILENO;
	buf__init(&o->pending, opt->pending_bytes ? opt->pending_bytes : PENDING_DEFAULT);
	o->path = strdup(opt->path ? opt->path : "standard output");
	if (!o->path)
		goto err_out;
	if (opt->path) {
		o->fd = open(opt->path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
		if (o->fd < 0)
			goto err_out;
	}
	o->regular = !fstat(o->fd, &st) && S_ISREG(st.st_mode);
	o->colour = isatty(o->fd) && !getenv("NO_COLOR");
	o->width = terminal_width(o->fd);
	return o;
err_out:
	err = errno;
	output__close(o);
	errno = err;
	return NULL;
}

static int render(struct output *o, const struct event *e)
{
	size_t at = o->pending.n;
	int err = 0;

	if (o->kind == OUTPUT_PRETTY) {
		if (!o->header_done)
			err = pretty_header(&o->pending, o->width);
		o->header_done = true;
		if (!err)
			err = pretty_line(&o->pending, e, o->colour, o->width);
	} else {
		err = buf__append_span(&o->pending, e->json);
		if (!err)
			err = buf__append_char(&o->pending, '\n');
	}
	if (err)
		o->pending.n = at;
	return err;
}

int output__event(struct output *o, const struct event *e)
{
	int err;

	if (o->kind == OUTPUT_NONE)
		return 0;
	err = render(o, e);
	if (err == -ENOSPC && !output__flush(o))
		err = render(o, e);
	if (err) {
		stats_inc(STAT_output_errors);
		return -ENOSPC;
	}
	stats_inc(STAT_output_written);
	if (o->pending.n >= FLUSH_AT)
		output__flush(o);
	return 0;
}

/* How much may be written now without waiting: a pipe or terminal that polls writable takes PIPE_BUF at least. */
static size_t writable(const struct output *o)
{
	struct pollfd p = {.fd = o->fd, .events = POLLOUT};

	if (o->regular)
		return o->pending.n;
	if (poll(&p, 1, o->wait_ms) != 1 || !(p.revents & (POLLOUT | POLLERR | POLLHUP)))
		return 0;
	return o->pending.n < PIPE_BUF ? o->pending.n : PIPE_BUF;
}

int output__flush(struct output *o)
{
	size_t done = 0, n;
	int err = 0;

	while (!err && done < o->pending.n) {
		ssize_t got;

		n = writable(o);
		if (n > o->pending.n - done)
			n = o->pending.n - done;
		if (!n) {
			err = -EAGAIN;
			break;
		}
		got = write(o->fd, o->pending.p + done, n);
		if (got >= 0)
			done += (size_t)got;
		else if (errno == EAGAIN)
			err = -EAGAIN;
		else if (errno != EINTR)
			err = -errno;
	}
	buf__consume(&o->pending, done);
	if (err && err != -EAGAIN && log_rate(&o->failures))
		log_warn("output", "cannot write events to %s: %s (%lu times); capture goes on, up to %zu bytes wait", o->path,
			strerror(-err), o->failures, o->pending.max);
	else if (!err && o->failures) {
		log_info("output", "%s takes events again", o->path);
		o->failures = 0;
	}
	return err;
}

int output__close(struct output *o)
{
	int err = 0;

	if (!o)
		return 0;
	if (o->fd >= 0) {
		/* Each write may wait a little now, but a reader that is stuck must not keep the agent from ending. */
		if (!o->wait_ms)
			o->wait_ms = 500;
		err = output__flush(o);
		if (o->fd != STDOUT_FILENO && close(o->fd) && !err)
			err = -errno;
	}
	buf__free(&o->pending);
	free(o->path);
	free(o);
	return err;
}
