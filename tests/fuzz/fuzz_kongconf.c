/* Any text as an nginx configuration: at most the ports there is room for, each a port and each once. */
#include <stdlib.h>

#include "capture/kongconf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct listen_port p[8];
	size_t n = 0;

	for (int stream = 0; stream < 2; stream++)
		kongconf_ports(span_of(data, size), stream, p, 8, &n);
	if (n > 8)
		abort();
	for (size_t i = 0; i < n; i++) {
		if (!p[i].port || p[i].role > PORT_OTHER)
			abort();
		for (size_t j = 0; j < i; j++)
			if (p[i].port == p[j].port)
				abort();
	}
	return 0;
}
