/* agent: builds the stages, wires each one's sink to the next, and runs them. The only place that knows them all. */
#ifndef KT_AGENT_H
#define KT_AGENT_H

#include "config.h"

struct agent;

/* Takes the configuration. NULL and errno; the reason has been logged. */
struct agent *agent__new(struct config *c);
/* `run`: captures until SIGTERM, SIGINT or config->run_seconds. `replay`: until the recording ends. Exit code of the
 * process: 0 clean, 1 failure while running. */
int agent__run(struct agent *a);
void agent__free(struct agent *a);

#endif
