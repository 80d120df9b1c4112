/* log: one line per fact on stderr. Levels follow syslog; a line carries the journal's priority prefix when stderr
 * is the journal. Thread-safe (one write(2) a line). Never give it payload bytes, credentials or the application id.
 *
 * One place in the code writes at most LOG_BURST lines in LOG_WINDOW_S seconds (debug lines apart); what it says beyond
 * that is counted, and the count is told when it speaks again after the window.
 */
#ifndef KT_BASE_LOG_H
#define KT_BASE_LOG_H

#include <stdbool.h>
#include <stddef.h>

enum log_level { LOG_LVL_ERR = 3, LOG_LVL_WARN = 4, LOG_LVL_INFO = 6, LOG_LVL_DEBUG = 7 };

#define LOG_BURST 100
#define LOG_WINDOW_S 10

typedef void (*log_sink_fn)(void *ctx, enum log_level level, const char *module, const char *text);

void log_set_level(enum log_level level);
/* JSON lines instead of text (--log-format json). */
void log_set_json(bool on);
/* The terminal's last line may be a footer of ours: a line of the log takes its place. */
void log_set_over_footer(bool on);
/* Replace the sink (tests, fuzzers); NULL restores stderr. */
void log_set_sink(log_sink_fn fn, void *ctx);
bool log_enabled(enum log_level level);

void log_write(enum log_level level, const char *module, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

#define log_err(mod, ...) log_write(LOG_LVL_ERR, mod, __VA_ARGS__)
#define log_warn(mod, ...) log_write(LOG_LVL_WARN, mod, __VA_ARGS__)
#define log_info(mod, ...) log_write(LOG_LVL_INFO, mod, __VA_ARGS__)
#define log_debug(mod, ...)                                                                                            \
	do {                                                                                                           \
		if (log_enabled(LOG_LVL_DEBUG))                                                                        \
			log_write(LOG_LVL_DEBUG, mod, __VA_ARGS__);                                                    \
	} while (0)

/* Copies a text of somebody else's as the log shows it: no control characters, only well-formed UTF-8, cut to size. */
void log_printable(const char *in, char *ret, size_t size);
/* True for the 1st, 2nd, 4th, 8th … time: lets a repeated fact be logged without flooding. */
bool log_rate(unsigned long *count);

#endif
