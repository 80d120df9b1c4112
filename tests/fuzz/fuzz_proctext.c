/* Any bytes as what /proc says: maps (m…), a title (t…), a cgroup file (c…). */
#include <stdlib.h>
#include <string.h>

#include "capture/node.h"
#include "capture/tlslib.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool ok)
{
	if (!ok)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char a[WORKER_TEXT_MAX], b[WORKER_TEXT_MAX], *text;
	struct tlslib l;

	if (!size)
		return 0;
	text = malloc(size);
	check(text != NULL);
	memcpy(text, data + 1, size - 1);
	text[size - 1] = '\0';
	if (data[0] == 'm') {
		if (tlslib_parse(1, text, &l) == 0)
			check(l.inode && strlen(l.path) < sizeof(l.path) && l.path[0] == '/');
	} else if (data[0] == 't') {
		node_master_title(text, a);
		check(strlen(a) < sizeof(a));
		node_worker_title(text);
	} else {
		node_cgroup(span_of(text, size - 1), a, b);
		check(strlen(a) == 0 || strlen(a) == 64);
		check(strlen(b) == 0 || strlen(b) == 36);
	}
	free(text);
	return 0;
}
