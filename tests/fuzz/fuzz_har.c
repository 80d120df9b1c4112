/* HAR: an event that is JSON becomes an entry that is JSON; whatever the event is, nothing outside it is read. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "ship/har.h"

static struct span take(struct span *s, char stop)
{
	const char *end = s->n ? memchr(s->p, stop, s->n) : NULL;
	struct span part = span_of(s->p, end ? (size_t)(end - s->p) : s->n);

	*s = span_skip(*s, part.n + 1);
	return part;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	/* A copy of its own for the event: reading past its end is seen. */
	struct span rest = span_of(data, size), uri = take(&rest, '\n'), user = take(&rest, '\n');
	char *text = malloc(rest.n ? rest.n : 1);
	struct event e = {.uri = uri, .user = user, .verb = user, .total_ns = size * 1000, .incomplete = size & 1};
	json_t *event, *entry;
	struct buf b;

	if (rest.n)
		memcpy(text, rest.p, rest.n);
	e.json = span_of(text, rest.n);
	buf__init(&b, 1 << 24);
	if (har_entry(&b, &e))
		abort();
	event = json_loadb(text, rest.n, JSON_ALLOW_NUL, NULL);
	if (event) {
		entry = json_loadb(b.p, b.n, JSON_ALLOW_NUL, NULL);
		if (!entry)
			abort();
		json_decref(entry);
	}
	json_decref(event);
	buf__free(&b);
	free(text);
	return 0;
}
