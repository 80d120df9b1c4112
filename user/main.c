#include <stdio.h>

#include "agent.h"
#include "ops/privs.h"

static int check(struct config *c)
{
	char text[256];
	int bad;

	config__print(c, stdout);
	fflush(stdout);
	bad = privs_check(stdout);
	fflush(stdout);
	bad |= capture_check(&c->capture, stdout);
	if (c->ship.application_id) {
		int err = shipper_probe(&c->ship, text, sizeof(text));

		printf("collector: %s: %s\n", err ? "NOT OK" : "ok", text);
		bad |= err != 0;
	} else {
		puts("collector: not asked (no application_id: nothing would be shipped)");
	}
	puts(bad ? "check: something is missing, see above" : "check: good");
	return bad != 0;
}

int main(int argc, char **argv)
{
	struct config *c;
	struct agent *a;
	int rc;

	privs_start();
	rc = config_load(argc, argv, &c);
	if (rc)
		return rc > 0 ? 0 : 2;
	log_set_level(c->log_level);
	log_set_json(c->log_json);
	if (c->command == CONFIG_CHECK) {
		rc = check(c);
		config__free(c);
		return rc;
	}
	a = agent__new(c);
	if (!a)
		return 1;
	rc = agent__run(a);
	agent__free(a);
	return rc ? 1 : 0;
}
