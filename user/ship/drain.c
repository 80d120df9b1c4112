#include "ship/drain.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"

#define LAST_WAIT_MS 500

static int flags_of(bool document)
{
	return document ? O_RDWR | O_CREAT | O_CLOEXEC : O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC;
}

int drain__open(struct drain *d, const char *path, bool document, bool live, size_t max)
{
	struct stat st;

	*d = (struct drain){.fd = STDOUT_FILENO, .wait_ms = live ? 0 : -1};
	buf__init(&d->pending, max);
	d->path = strdup(path ? path : "standard output");
	if (!d->path)
		return -ENOMEM;
	if (path)
		d->fd = open(path, flags_of(document), 0600);
	if (d->fd < 0)
		return -errno;
	d->regular = !fstat(d->fd, &st) && S_ISREG(st.st_mode);
	return 0;
}

void drain__set_tail(struct drain *d, struct span tail, uint64_t resume_at)
{
	int flags = fcntl(d->fd, F_GETFL);

	d->tail = tail;
	d->at = resume_at;
	d->in_place = d->regular && flags >= 0 && !(flags & O_APPEND);
}

/* How much may be written now without waiting: a pipe or terminal that polls writable takes PIPE_BUF at least. */
static size_t writable(const struct drain *d, size_t left)
{
	struct pollfd p = {.fd = d->fd, .events = POLLOUT};

	if (d->regular)
		return left;
	if (poll(&p, 1, d->wait_ms) != 1 || !(p.revents & (POLLOUT | POLLERR | POLLHUP)))
		return 0;
	return left < PIPE_BUF ? left : PIPE_BUF;
}

/* Writes the first n bytes; *done is what went out, also on failure. */
static int write_out(struct drain *d, size_t n, size_t *done)
{
	for (*done = 0; *done < n;) {
		size_t now = writable(d, n - *done);
		const char *p = d->pending.p + *done;
		ssize_t got;

		if (!now)
			return -EAGAIN;
		got = d->in_place ? pwrite(d->fd, p, now, (off_t)(d->at + *done)) : write(d->fd, p, now);
		if (got > 0)
			*done += (size_t)got;
		else if (got == 0)
			return -EIO;
		else if (errno == EAGAIN)
			return -EAGAIN;
		else if (errno != EINTR)
			return -errno;
	}
	return 0;
}

/* The tail is put behind what waits for the time of the write. Without room for it the document is without its end
 * until the next one. */
static int write_document(struct drain *d, size_t *done)
{
	size_t own = d->pending.n;
	int err, tail_err;

	d->pending.max += d->tail.n;
	tail_err = buf__append_span(&d->pending, d->tail);
	d->pending.max -= d->tail.n;
	err = write_out(d, d->pending.n, done);
	d->pending.n = own;
	if (*done > own)
		*done = own;
	d->at += *done;
	return err ? err : tail_err;
}

static void report(struct drain *d, int err)
{
	if (err && err != -EAGAIN && log_rate(&d->failures)) {
		log_warn("output", "cannot write events to %s: %s (%lu times); capture goes on, up to %zu bytes wait",
			d->path, strerror(-err), d->failures, d->pending.max);
	} else if (!err && d->failures) {
		log_info("output", "%s takes events again", d->path);
		d->failures = 0;
	}
}

int drain__flush(struct drain *d)
{
	size_t done = 0;
	int err;

	if (!d->pending.n)
		return 0;
	err = d->in_place ? write_document(d, &done) : write_out(d, d->pending.n, &done);
	if (done)
		d->mid_line = d->pending.p[done - 1] != '\n';
	buf__consume(&d->pending, done);
	report(d, err);
	return err;
}

bool drain__is_whole(struct drain *d)
{
	size_t done;

	/* The tail alone, in case that there was no room for it. */
	return d->in_place ? !d->pending.n && !write_document(d, &done) : !d->mid_line;
}

int drain__open_again(const struct drain *d)
{
	struct stat old, now;
	int fd, err = 0;

	if (d->fd == STDOUT_FILENO || !d->regular)
		return -ENOTSUP;
	/* O_NONBLOCK: a FIFO that lies there now must not hold us up. */
	fd = open(d->path, flags_of(d->in_place) | O_NONBLOCK | O_NOCTTY, 0600);
	if (fd < 0)
		return -errno;
	if (fstat(d->fd, &old) || fstat(fd, &now))
		err = -errno;
	else if (old.st_dev == now.st_dev && old.st_ino == now.st_ino)
		err = -EALREADY;
	else if (!S_ISREG(now.st_mode))
		err = -ENOTSUP;
	if (!err)
		return fd;
	close(fd);
	return err;
}

int drain__close(struct drain *d)
{
	int err = 0;

	if (d->fd >= 0) {
		/* Each write may wait a little now, but a reader that is stuck must not keep the agent from ending. */
		if (!d->wait_ms)
			d->wait_ms = LAST_WAIT_MS;
		if (d->tail.n && !d->in_place) {
			d->pending.max += d->tail.n;
			err = buf__append_span(&d->pending, d->tail);
		}
		if (!err)
			err = drain__flush(d);
		if (d->pending.n)
			log_warn("output", "%s: %zu bytes of events were not written and are lost", d->path,
				d->pending.n);
		if (d->in_place && d->fd == STDOUT_FILENO)
			lseek(d->fd, (off_t)(d->at + d->tail.n), SEEK_SET);
		if (d->fd != STDOUT_FILENO && close(d->fd) && !err)
			err = -errno;
	}
	d->fd = -1;
	buf__free(&d->pending);
	free(d->path);
	d->path = NULL;
	return err;
}
