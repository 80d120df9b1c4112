/* ship_events: gives the events of a file of JSON lines to the shipper, so many times over, and waits until the
 * collector on the loopback has them all. For counting what the shipper costs.
 *
 *   ship_events FILE TIMES PORT
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/stats.h"
#include "ship/shipper.h"

static void on_remote(void *ctx, bool rules, struct span body)
{
	(void)ctx;
	(void)rules;
	(void)body;
}

/* Number of events given. */
static uint64_t give_all(struct shipper *s, FILE *f)
{
	char *line = NULL;
	size_t room = 0;
	uint64_t given = 0;
	ssize_t n;

	rewind(f);
	while ((n = getline(&line, &room, f)) > 1)
		given += shipper__give(s, span_of(line, (size_t)n - 1)) == 0;
	free(line);
	return given;
}

int main(int argc, char **argv)
{
	struct ship_options o;
	struct shipper *s;
	uint64_t given = 0, sent;
	char url[64];
	FILE *f;

	if (argc != 4 || !(f = fopen(argv[1], "re"))) {
		fprintf(stderr, "usage: ship_events FILE TIMES PORT\n");
		return 2;
	}
	ship_options_default(&o);
	snprintf(url, sizeof(url), "http://127.0.0.1:%s", argv[3]);
	free(o.api_endpoint);
	o.api_endpoint = strdup(url);
	o.application_id = strdup("bench");
	o.remote_config = false;
	o.send_timeout = o.shutdown_timeout = 60000; /* callgrind takes its time */
	s = shipper__new(&o, (struct remote_sink){.fn = on_remote});
	if (!s) {
		perror("ship_events");
		return 1;
	}
	for (int i = atoi(argv[2]); i > 0; i--)
		given += give_all(s, f);
	shipper__stop(s);
	sent = stats_get(STAT_ship_sent_events);
	shipper__free(s);
	ship_options_free(&o);
	fclose(f);
	if (sent == given && given)
		return 0;
	fprintf(stderr, "ship_events: %" PRIu64 " of %" PRIu64 " events were delivered\n", sent, given);
	return 1;
}
