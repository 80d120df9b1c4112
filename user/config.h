/* config: what the agent was told. Five layers, a later one beats an earlier one: the defaults, the plugin's
 * configuration in Kong's own file (--kong-config), the configuration file (-c), the environment (KONGTAP_<OPTION>),
 * the flags. Every option is one row of the table in config_table.c; parsing, help, printing and the reference in
 * docs/CONFIGURATION.md are driven by it.
 */
#ifndef KT_CONFIG_H
#define KT_CONFIG_H

#include <stdio.h>

#include "base/log.h"
#include "capture/source.h"
#include "join/join.h"
#include "moesif/moesif.h"
#include "ship/output.h"
#include "ship/shipper.h"
#include "wire/proto.h"

enum config_command { CONFIG_RUN = 0, CONFIG_CHECK, CONFIG_REPLAY };

struct u32list {
	uint32_t *v;
	size_t n;
};

/* Which calls become events. A list that is empty says nothing; exclude beats include. Globs know * and ?, compare
 * hosts without their port and without regard to case, and paths without their query. */
struct config_filter {
	struct strlist include_hosts, exclude_hosts;
	struct strlist include_paths, exclude_paths;
	struct u32list include_ports, exclude_ports;	       /* ports that Kong listens on */
	struct strlist include_namespaces, exclude_namespaces; /* of the pod that Kong runs in */
	struct strlist include_pods, exclude_pods;
};

#define CONFIG_OPTIONS_MAX 128

struct config {
	enum config_command command;
	char *config_file, *kong_config; /* NULL: none */
	char *replay_file;		 /* the recording that `replay` reads */

	struct moesif_options moesif;
	struct ship_options ship;
	struct capture_options capture;
	struct wire_limits wire;
	struct join_limits join;
	struct config_filter filter;

	enum output_kind output; /* never OUTPUT_AUTO: settled by what is configured and where stdout goes */
	char *output_file;	 /* NULL: standard output */
	char *print_filter;	 /* which events are printed (ship/filter.h); NULL: all */
	char *record_file;	 /* NULL: nothing is recorded */
	uint32_t run_seconds;	 /* 0: until a signal */
	enum log_level log_level;
	int log_json;				  /* 0 text, 1 JSON lines */
	bool debug;				  /* the plugin's name for log_level debug */
	char *metrics_listen;			  /* address:port; NULL: no endpoint */
	uint32_t max_overhead_percent;		  /* of all CPUs; 0: no limit */
	uint32_t overhead_window, overhead_retry; /* ms; 0: the governor's own … */
	uint32_t overhead_calm;			  /* … and windows */
	uint64_t memory_bytes;	    /* most memory that grows with the traffic; the stages have their shares */
	bool sandbox;		    /* give up privileges once everything is attached */
	uint32_t status_page_calls; /* last calls that the status page shows; 0: none */
	char *application_id_file;  /* what it held is in ship.application_id */

	/* For config__reload and config__print. */
	char **argv;
	int argc;
	unsigned char layer[CONFIG_OPTIONS_MAX]; /* enum config_layer of each option of the table */
};

/* All defaults. NULL and errno ENOMEM. */
struct config *config__new(void);
/* Secrets are wiped. NULL is fine. */
void config__free(struct config *c);

/* 0: *ret is ready. -EINVAL: wrong use or configuration, said on stderr (exit 2). -ENOMEM. 1: help or version was
 * printed (exit 0). *ret untouched unless 0. */
int config_load(int argc, char **argv, struct config **ret);
/* The same command line and environment again, files read anew (SIGHUP). Errors go to the log and are as above. */
int config__reload(const struct config *c, struct config **ret);
/* Names, comma between them, of the options that differ and that a running agent does not take over. Returns how many;
 * cut at size. */
size_t config__needs_restart(const struct config *old, const struct config *fresh, char *ret, size_t size);
/* Takes over the others: what makes events, filters, body limits, log level. `fresh` gets the old ones in exchange, so
 * whoever borrows c->moesif, or c->wire.exclude_types, must borrow it anew before `fresh` is freed. */
void config__take_live(struct config *c, struct config *fresh);

/* The effective configuration as YAML that -c reads, with where each value comes from; secrets hidden. */
void config__print(const struct config *c, FILE *out);
/* docs/CONFIGURATION.md */
void config_reference(FILE *out);

/* True when events go to the collector. */
bool config_ships(const struct config *c);
/* Does this call pass the filter? host may carry a port, path a query; port 0: not known (passes port lists that
 * include nothing). */
bool config_filter_pass(const struct config_filter *f, struct span host, struct span path, uint16_t port);
/* Does the node that it was made to? Outside a pod both names are empty, which no include list but "*" takes. */
bool config_filter_pass_pod(const struct config_filter *f, struct span pod_namespace, struct span pod);

#endif
