#include "base/log.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"

/* Settings made once at start (and by tests); read by both threads. */
static struct {
	enum log_level level;
	bool json, over_footer;
	log_sink_fn fn;
	void *ctx;
} conf = {.level = LOG_LVL_INFO};

void log_set_level(enum log_level level)
{
	conf.level = level;
}

void log_set_json(bool on)
{
	conf.json = on;
}

void log_set_over_footer(bool on)
{
	conf.over_footer = on;
}

void log_set_sink(log_sink_fn fn, void *ctx)
{
	conf.fn = fn;
	conf.ctx = ctx;
}

bool log_enabled(enum log_level level)
{
	return level <= conf.level;
}

static const char *level_name(enum log_level level)
{
	switch (level) {
	case LOG_LVL_ERR:
		return "error";
	case LOG_LVL_WARN:
		return "warning";
	case LOG_LVL_INFO:
		return "info";
	case LOG_LVL_DEBUG:
		return "debug";
	}
	return "info";
}

/* Length of the well-formed UTF-8 character (RFC 3629) at p, 0 when there is none. p ends with a NUL. */
static size_t character(const unsigned char *p)
{
	size_t n = p[0] < 0x80 ? 1 : p[0] < 0xc2 ? 0 : p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : p[0] < 0xf5 ? 4 : 0;

	for (size_t i = 1; i < n; i++)
		if ((p[i] & 0xc0) != 0x80)
			return 0;
	/* Overlong forms, surrogates, what lies beyond U+10FFFF. */
	if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) || (p[0] == 0xf0 && p[1] < 0x90) ||
		(p[0] == 0xf4 && p[1] > 0x8f))
		return 0;
	return n;
}

/* A line must stay a line and a terminal a terminal, whatever name from another container stands in it. */
static void copy_printable(char *out, size_t size, const char *in, bool json)
{
	const unsigned char *p = (const unsigned char *)in;
	size_t at = 0, n;

	for (; *p && at + 6 < size; p += n ? n : 1) {
		n = character(p);
		if (n <= 1 || (p[0] == 0xc2 && p[1] < 0xa0)) {
			if (json && (*p == '"' || *p == '\\'))
				out[at++] = '\\';
			out[at++] = n != 1 || *p < 0x20 || *p == 0x7f ? '?' : (char)*p;
			continue;
		}
		memcpy(out + at, p, n);
		at += n;
	}
	out[at] = '\0';
}

void log_printable(const char *in, char *ret, size_t size)
{
	copy_printable(ret, size, in, false);
}

/* systemd names the file that it gave as stderr, since the variable is inherited by processes whose stderr is another.
 */
static bool stderr_is_journal(void)
{
	const char *stream = getenv("JOURNAL_STREAM");
	char own[64];
	struct stat st;

	if (!stream || fstat(STDERR_FILENO, &st))
		return false;
	snprintf(own, sizeof(own), "%ju:%ju", (uintmax_t)st.st_dev, (uintmax_t)st.st_ino);
	return !strcmp(own, stream);
}

static void write_stderr(enum log_level level, const char *module, const char *text)
{
	char safe[1200], line[1500], when[CLOCK_ISO_LEN + 1], start[16] = "";
	int n;

	copy_printable(safe, sizeof(safe), text, conf.json);
	if (conf.over_footer)
		snprintf(start, sizeof(start), "\r\x1b[K");
	else if (stderr_is_journal())
		snprintf(start, sizeof(start), "<%d>", (int)level);
	if (conf.json) {
		clock_iso(clock_wall_ns(), when);
		n = snprintf(line, sizeof(line),
			"%s{\"time\":\"%s\",\"level\":\"%s\",\"module\":\"%s\",\"text\":\"%s\"}\n", start, when,
			level_name(level), module, safe);
	} else if (start[0] == '<') {
		n = snprintf(line, sizeof(line), "%s%s: %s\n", start, module, safe);
	} else if (level == LOG_LVL_INFO) {
		n = snprintf(line, sizeof(line), "%skongtap: %s\n", start, safe);
	} else {
		n = snprintf(line, sizeof(line), "%skongtap: %s: %s\n", start, level_name(level), safe);
	}
	if (n < 0)
		return;
	if ((size_t)n >= sizeof(line))
		n = (int)sizeof(line) - 1;
	/* Nothing sensible can be done when stderr is gone. */
	if (write(STDERR_FILENO, line, (size_t)n) < 0)
		return;
}

static void put_line(enum log_level level, const char *module, const char *text)
{
	if (conf.fn)
		conf.fn(conf.ctx, level, module, text);
	else
		write_stderr(level, module, text);
}

/* A place in the code, known by its format string. */
static struct site {
	const char *fmt;
	uint64_t since_ns;
	unsigned lines;
	unsigned long held;
} sites[64];
static pthread_mutex_t sites_lock = PTHREAD_MUTEX_INITIALIZER;

#define SITES (sizeof(sites) / sizeof(sites[0]))

static bool is_over(const struct site *s, uint64_t now)
{
	return now - s->since_ns >= LOG_WINDOW_S * 1000000000ull;
}

/* Its own one, else one that is free, else the longest used one: then it shares what is left there. */
static struct site *site_of(const char *fmt, uint64_t now)
{
	struct site *spare = &sites[0];

	for (size_t i = 0; i < SITES; i++) {
		if (sites[i].fmt == fmt)
			return &sites[i];
		if (sites[i].since_ns < spare->since_ns)
			spare = &sites[i];
	}
	if (!spare->fmt || (is_over(spare, now) && !spare->held))
		*spare = (struct site){.fmt = fmt, .since_ns = now};
	return spare;
}

/* May this line be written? *held: how many like it were not. */
static bool allowed(const char *fmt, unsigned long *held)
{
	uint64_t now = clock_mono_ns();
	struct site *s;
	bool yes;

	pthread_mutex_lock(&sites_lock);
	s = site_of(fmt, now);
	if (is_over(s, now)) {
		*held = s->held;
		*s = (struct site){.fmt = fmt, .since_ns = now};
	}
	yes = s->lines < LOG_BURST;
	if (yes)
		s->lines++;
	else
		s->held++;
	pthread_mutex_unlock(&sites_lock);
	return yes;
}

void log_write(enum log_level level, const char *module, const char *fmt, ...)
{
	char text[1024];
	unsigned long held = 0;
	int saved = errno; /* callers, libbpf among them, read errno after they have spoken */
	va_list ap;

	if (!log_enabled(level) || (level < LOG_LVL_DEBUG && !allowed(fmt, &held)))
		return;
	if (held) {
		snprintf(text, sizeof(text), "%lu lines like the next one were left out", held);
		put_line(level, module, text);
	}
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	put_line(level, module, text);
	errno = saved;
}

bool log_rate(unsigned long *count)
{
	unsigned long n = ++*count;

	return (n & (n - 1)) == 0;
}
