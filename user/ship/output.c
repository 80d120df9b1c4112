#include "ship/output.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/stats.h"
#include "ship/drain.h"
#include "ship/filter.h"
#include "ship/har.h"
#include "ship/pretty.h"

#define PENDING_DEFAULT (8u << 20)
#define FLUSH_AT 65536	       /* so much is gathered before a write is tried in between */
#define WIDTH_NS 1000000000ull /* between two looks at the size of the terminal */
#define PIPE_WIDTH 120

struct output {
	enum output_kind kind;
	struct drain drain;
	struct filter *filter;
	bool terminal, colour;
	bool on_screen; /* a live one on a terminal: with a footer, sampling */
	struct live live;
	unsigned width, header_width; /* columns; of the header line that was printed last, 0: none */
	uint64_t width_at;
	bool empty;  /* har: no entry yet */
	bool reopen; /* wanted, as soon as what was written is whole */
};

/* A terminal that does not tell, or is unusably narrow, gets what most have. COLUMNS tells where there is none. */
static unsigned width_of(const struct output *o)
{
	const char *columns = getenv("COLUMNS");
	struct winsize w;
	long v = 0;

	if (o->terminal && !ioctl(o->drain.fd, TIOCGWINSZ, &w) && w.ws_col)
		v = w.ws_col;
	else if (columns)
		v = strtol(columns, NULL, 10);
	if (v <= 0 || v > 10000)
		v = o->terminal ? 80 : PIPE_WIDTH;
	return v < PRETTY_MIN_WIDTH ? PRETTY_MIN_WIDTH : (unsigned)v;
}

/* NO_COLOR counts when it is there and not empty (no-color.org). */
static bool wants_colour(void)
{
	const char *no = getenv("NO_COLOR"), *term = getenv("TERM");

	return !(no && *no) && !(term && !strcmp(term, "dumb"));
}

/* The character before the end of a document that is whole; 0: it is not. */
static char before_tail(int fd, off_t size)
{
	char end[sizeof(HAR_TAIL)]; /* one more than the tail: that character */
	off_t n = sizeof(end);

	if (size < n || pread(fd, end, sizeof(end), size - n) != n || memcmp(end + 1, HAR_TAIL, sizeof(end) - 1) != 0)
		return 0;
	return end[0];
}

/* A document that an earlier run left is continued; its end is what this one would have written. */
static int start_document(struct output *o, bool own_file)
{
	off_t at = lseek(o->drain.fd, 0, SEEK_CUR);
	struct stat st;
	char before;

	o->empty = true;
	if (own_file && o->drain.regular && !fstat(o->drain.fd, &st) && st.st_size) {
		before = before_tail(o->drain.fd, st.st_size);
		if (!before) {
			log_err("output", "%s holds something that is no HAR document of kongtap", o->drain.path);
			return -EEXIST;
		}
		o->empty = before == '[';
		drain__set_tail(&o->drain, SPAN_LIT(HAR_TAIL), (uint64_t)st.st_size - (sizeof(HAR_TAIL) - 1));
		return 0;
	}
	drain__set_tail(&o->drain, SPAN_LIT(HAR_TAIL), at > 0 ? (uint64_t)at : 0);
	return buf__append_str(&o->drain.pending, HAR_HEAD);
}

static int make_filter(struct output *o, const char *text)
{
	char error[FILTER_ERROR_LEN] = "";

	if (!text)
		return 0;
	o->filter = filter__new(text, error);
	if (o->filter)
		return 0;
	if (errno == EINVAL)
		log_err("output", "filter: %s", error);
	return -errno;
}

static void look_at_terminal(struct output *o, const struct output_options *opt)
{
	o->terminal = isatty(o->drain.fd);
	o->colour = o->terminal && wants_colour();
	o->on_screen = o->terminal && opt->live && o->kind == OUTPUT_PRETTY;
	o->width = width_of(o);
	o->width_at = clock_mono_ns();
	live__init(&o->live, opt->footer, o->width_at);
	if (o->on_screen && isatty(STDERR_FILENO))
		log_set_over_footer(true);
}

struct output *output__open(const struct output_options *opt)
{
	struct output *o = calloc(1, sizeof(*o));
	size_t max = opt->pending_bytes ? opt->pending_bytes : PENDING_DEFAULT;
	int err;

	if (!o)
		return NULL;
	o->kind = opt->kind;
	o->drain.fd = -1;
	err = make_filter(o, opt->filter);
	if (!err)
		err = drain__open(&o->drain, opt->path, o->kind == OUTPUT_HAR, opt->live, max);
	if (!err) {
		look_at_terminal(o, opt);
		if (o->kind == OUTPUT_HAR)
			err = start_document(o, opt->path != NULL);
	}
	if (!err)
		return o;
	o->drain.tail.n = 0;
	buf__clear(&o->drain.pending);
	output__close(o);
	errno = -err;
	return NULL;
}

static int render_pretty(struct output *o, const struct event *e)
{
	struct buf *out = &o->drain.pending;
	int err = live__clear(&o->live, out);

	if (!err && o->header_width != o->width) {
		err = pretty_header(out, o->width);
		if (!err)
			o->header_width = o->width;
	}
	return err ? err : pretty_line(out, e, o->colour, o->width);
}

static int render_har(struct output *o, const struct event *e)
{
	int err = o->empty ? 0 : buf__append_str(&o->drain.pending, HAR_BETWEEN);

	if (!err)
		err = har_entry(&o->drain.pending, e);
	if (!err)
		o->empty = false;
	return err;
}

static int render_json(struct output *o, const struct event *e)
{
	int err = buf__append_span(&o->drain.pending, e->json);

	return err ? err : buf__append_char(&o->drain.pending, '\n');
}

static int render(struct output *o, const struct event *e)
{
	struct buf *out = &o->drain.pending;
	bool footer_on = o->live.footer_on;
	unsigned header_width = o->header_width;
	size_t mark = out->n;
	int err = o->kind == OUTPUT_PRETTY ? render_pretty(o, e)
		  : o->kind == OUTPUT_HAR  ? render_har(o, e)
					   : render_json(o, e);

	if (err) {
		out->n = mark;
		o->live.footer_on = footer_on;
		o->header_width = header_width;
	}
	return err;
}

int output__event(struct output *o, const struct event *e)
{
	int err;

	if (o->kind == OUTPUT_NONE || (o->filter && !filter__pass(o->filter, e)))
		return 0;
	if (o->on_screen && !live__wants(&o->live, e, clock_mono_ns()))
		return 0;
	err = render(o, e);
	if (err == -ENOSPC && !drain__flush(&o->drain))
		err = render(o, e);
	if (err) {
		stats_inc(STAT_output_errors);
		return -ENOSPC;
	}
	stats_inc(STAT_output_written);
	if (o->drain.pending.n >= FLUSH_AT)
		drain__flush(&o->drain);
	return 0;
}

/* A terminal that is held (Ctrl-S) gets no footer after footer. */
static void refresh_screen(struct output *o)
{
	uint64_t now = clock_mono_ns();

	if (now - o->width_at >= WIDTH_NS) {
		o->width = width_of(o);
		o->width_at = now;
	}
	if (live__due(&o->live, now) && (!o->live.footer_on || !o->drain.pending.n))
		live__footer(&o->live, &o->drain.pending, o->colour, o->width, now);
}

static int use_file(struct output *o, int fd)
{
	struct drain *d = &o->drain;
	uint64_t old_at = d->at;
	bool old_empty = o->empty;
	int err = 0, old_fd = d->fd;

	d->fd = fd;
	if (o->kind == OUTPUT_HAR)
		err = start_document(o, true);
	if (err) {
		d->fd = old_fd;
		d->at = old_at;
		o->empty = old_empty;
		close(fd);
		return err;
	}
	o->header_width = 0;
	close(old_fd);
	return 0;
}

static void try_reopen(struct output *o)
{
	int fd, err;

	if (!drain__is_whole(&o->drain))
		return;
	o->reopen = false;
	fd = drain__open_again(&o->drain);
	if (fd == -EALREADY)
		return;
	err = fd < 0 ? fd : use_file(o, fd);
	if (err)
		log_warn("output", "cannot open %s anew: %s; events go on into the file that is open", o->drain.path,
			strerror(-err));
	else
		log_info("output", "%s is opened anew", o->drain.path);
}

int output__flush(struct output *o)
{
	int err;

	if (o->on_screen)
		refresh_screen(o);
	err = drain__flush(&o->drain);
	if (!o->reopen)
		return err;
	try_reopen(o);
	return drain__flush(&o->drain);
}

void output__reopen(struct output *o)
{
	o->reopen = o->drain.regular && o->drain.fd != STDOUT_FILENO;
	output__flush(o);
}

int output__close(struct output *o)
{
	int err;

	if (!o)
		return 0;
	if (o->on_screen) {
		live__clear(&o->live, &o->drain.pending);
		log_set_over_footer(false);
	}
	err = drain__close(&o->drain);
	filter__free(o->filter);
	free(o);
	return err;
}
