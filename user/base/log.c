#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"

/* Settings made once at start (and by tests); read by both threads. */
static struct {
	enum log_level level;
	bool json;
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

/* A line must stay a line and a terminal a terminal, whatever name from another container stands in it. */
static void copy_printable(char *out, size_t size, const char *in, bool json)
{
	size_t n = 0;

	for (; *in && n + 3 < size; in++) {
		unsigned char c = (unsigned char)*in;

		if (json && (c == '"' || c == '\\'))
			out[n++] = '\\';
		out[n++] = (c < 0x20 || c == 0x7f) ? '?' : (char)c;
	}
	out[n] = '\0';
}

static void write_stderr(enum log_level level, const char *module, const char *text)
{
	char safe[1200], line[1400], when[CLOCK_ISO_LEN + 1];
	int n;

	copy_printable(safe, sizeof(safe), text, conf.json);
	if (conf.json) {
		clock_iso(clock_wall_ns(), when);
		n = snprintf(line, sizeof(line), "{\"time\":\"%s\",\"level\":\"%s\",\"module\":\"%s\",\"text\":\"%s\"}\n", when,
			level_name(level), module, safe);
	} else if (getenv("JOURNAL_STREAM")) {
		n = snprintf(line, sizeof(line), "<%d>%s: %s\n", (int)level, module, safe);
	} else if (level == LOG_LVL_INFO) {
		n = snprintf(line, sizeof(line), "kongtap: %s\n", safe);
	} else {
		n = snprintf(line, sizeof(line), "kongtap: %s: %s\n", level_name(level), safe);
	}
	if (n < 0)
		return;
	if ((size_t)n >= sizeof(line))
		n = (int)sizeof(line) - 1;
	/* Nothing sensible can be done when stderr is gone. */
	if (write(STDERR_FILENO, line, (size_t)n) < 0)
		return;
}

void log_write(enum log_level level, const char *module, const char *fmt, ...)
{
	char text[1024];
	va_list ap;

	if (!log_enabled(level))
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (conf.fn)
		conf.fn(conf.ctx, level, module, text);
	else
		write_stderr(level, module, text);
}

bool log_rate(unsigned long *count)
{
	unsigned long n = ++*count;

	return (n & (n - 1)) == 0;
}
