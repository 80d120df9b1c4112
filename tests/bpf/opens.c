/* link: -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc,--wrap=reallocarray,--wrap=strdup,--wrap=strndup */
/* opens: every allocation of our own on the way to a live source that has looked for gateways fails once, each in turn:
 * there is a source or there is none, and nothing stays behind. Prints "ok - …" and "FAIL - …". */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../unit/alloc_fail.h"
#include "base/log.h"
#include "capture/source.h"

static unsigned opened, refused, wrong;

static void take(void *ctx, const struct record *rec)
{
	(void)ctx;
	(void)rec;
}

static void silent(void *ctx, enum log_level level, const char *module, const char *text)
{
	(void)ctx;
	(void)level;
	(void)module;
	(void)text;
}

static unsigned descriptors(void)
{
	DIR *d = opendir("/proc/self/fd");
	unsigned n = 0;

	while (d && readdir(d))
		n++;
	if (d)
		closedir(d);
	return n;
}

static void open_and_look(void)
{
	char *prefixes[1] = {(char *)(uintptr_t) "/nowhere"};
	struct capture_options o;
	struct source *s;

	capture_options_default(&o);
	o.prefixes = prefixes;
	o.nprefixes = 1;
	o.ring_bytes = 65536;
	s = source_bpf__open(&o, (struct record_sink){take, NULL});
	if (!s) {
		wrong += errno != ENOMEM;
		refused++;
		return;
	}
	opened++;
	wrong += source__activate(s) != 0;
	(void)source__poll(s, 0);
	source__close(s);
}

int main(void)
{
	unsigned before, after, n;

	log_set_sink(silent, NULL);
	alloc_fail_no_more();
	/* Libraries keep this and that from the first time on. */
	open_and_look();
	before = descriptors();
	n = alloc_sweep(open_and_look);
	after = descriptors();
	printf("%s - %u allocations, each fails once: %u sources, %u refused, %u for another reason\n",
		n > 5 && opened && refused && !wrong ? "ok" : "FAIL", n, opened, refused, wrong);
	printf("%s - descriptors before and after: %u, %u\n", before == after ? "ok" : "FAIL", before, after);
	return wrong || before != after || n <= 5;
}
