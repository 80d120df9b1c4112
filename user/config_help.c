/* Help and the reference, made of the option table. */
#include <ctype.h>
#include <stdlib.h>

#include "config_option.h"
#include "version.h"

void help_general(FILE *out)
{
	fprintf(out,
		"kongtap " KONGTAP_VERSION ": watches Kong Gateway from outside and makes Moesif events of its calls\n"
		"\n"
		"  kongtap run [-c FILE] [flags]           watch, and ship to Moesif or print\n"
		"  kongtap check [-c FILE] [flags]         what this host allows and what would be captured\n"
		"  kongtap replay RECORDING [-c FILE]      what run would have made of a recording\n"
		"  kongtap help run|check|replay|config    more on each\n"
		"  kongtap --version\n"
		"\n"
		"Without an application id nothing is shipped: calls are printed, a line each on a terminal, JSON "
		"lines\n"
		"elsewhere. With one (KONGTAP_APPLICATION_ID, or application_id_file in the file) they go to Moesif.\n"
		"\n"
		"Exit codes: 0 clean, 1 failure while running, 2 wrong use or configuration.\n");
}

static void dashed(const char *name, FILE *out)
{
	for (; *name; name++)
		fputc(*name == '_' ? '-' : *name, out);
}

static const char *meta_of(const struct option *o)
{
	static const char *const by_unit[] = {
		[UNIT_NONE] = "N", [UNIT_MS] = "MS", [UNIT_SECONDS] = "S", [UNIT_BYTES] = "BYTES", [UNIT_EVENTS] = "N"};

	if (o->meta)
		return o->meta;
	return o->type == OPT_BOOL ? "" : by_unit[o->unit];
}

static void print_meta(const struct option *o, FILE *out)
{
	if (o->type != OPT_CHOICE) {
		fputs(meta_of(o), out);
		return;
	}
	for (const struct option_choice *ch = o->choices; ch->name; ch++)
		fprintf(out, "%s%s", ch == o->choices ? "" : "|", ch->name);
}

static void flag_line(const char *name, FILE *out)
{
	const struct option *o = option_find(span_str(name));

	fputs("  --", out);
	dashed(o->name, out);
	fputc(' ', out);
	print_meta(o, out);
	fprintf(out, "\n        %s\n", o->help);
}

static void flag_lines(const char *const *names, FILE *out)
{
	for (; *names; names++)
		flag_line(*names, out);
}

static void help_run(FILE *out)
{
	static const char *const names[] = {"config", "kong_config", "application_id_file", "output", "output_file",
		"filter", "for", "record", "pid", "prefix", "spool_dir", "log_level", NULL};

	fputs("kongtap run [flags]: watch the Kong nodes of this host until SIGTERM or SIGINT\n\n", out);
	flag_lines(names, out);
	fputs("\nEvery option is also a flag: --batch-size 100, --batch-size=100, --debug, --no-tls-verify.\n"
	      "Files beat defaults, KONGTAP_<OPTION> in the environment beats files, a flag beats both.\n"
	      "SIGHUP reads the files again: identification, masks, bodies, sampling, filters and the log level\n"
	      "follow at once, what else changed is named and waits for a restart; a wrong file changes nothing.\n"
	      "It also opens the output file anew. All options: kongtap help config\n",
		out);
}

static void help_check(FILE *out)
{
	static const char *const names[] = {"config", "kong_config", "pid", "prefix", NULL};

	fputs("kongtap check [flags]: say what this host allows, which workers would be captured and how, whether the\n"
	      "collector accepts the application id, and print the effective configuration, secrets hidden.\n"
	      "Exit code 0: all is well; 1: something is missing; 2: wrong configuration.\n\n",
		out);
	flag_lines(names, out);
}

static void help_replay(FILE *out)
{
	static const char *const names[] = {"config", "kong_config", "output", "output_file", "filter", NULL};

	fputs("kongtap replay RECORDING [flags]: send a recording (of run --record; gzip or plain; - for standard\n"
	      "input) through the same pipeline and print the events that run would have sent. Nothing is shipped,\n"
	      "no privilege is needed.\n\n",
		out);
	flag_lines(names, out);
}

static bool shown(const struct option *o)
{
	return !(o->flags & OPTION_HIDDEN);
}

/* Where a group begins in the table; the table keeps groups in the order in which they are to be read. */
static bool first_of_group(size_t i)
{
	for (size_t j = 0; j < i; j++)
		if (strcmp(option_table[j].group, option_table[i].group) == 0)
			return false;
	return shown(&option_table[i]);
}

static char *default_of(const struct config *c, const struct option *o)
{
	struct buf b;

	buf__init(&b, 65536);
	if (option_format(c, o, &b) || buf__append_char(&b, '\0')) {
		buf__free(&b);
		return NULL;
	}
	return b.p;
}

static void config_group(const struct config *defaults, const char *group, FILE *out)
{
	fprintf(out, "\n%s\n", group);
	for (size_t i = 0; i < option_count; i++) {
		const struct option *o = &option_table[i];
		char *value;

		if (strcmp(o->group, group) != 0 || !shown(o))
			continue;
		value = default_of(defaults, o);
		fprintf(out, "  %s: %s\n        %s\n", o->name, value ? value : "?", o->help);
		free(value);
	}
}

static void help_config(FILE *out)
{
	struct config *defaults = config__new();

	if (!defaults)
		return;
	fputs("Options with their defaults, as in the file of -c (YAML). Times are milliseconds unless they say\n"
	      "seconds; units may be written: 5s, 16MiB.\n",
		out);
	for (size_t i = 0; i < option_count; i++)
		if (first_of_group(i))
			config_group(defaults, option_table[i].group, out);
	config__free(defaults);
}

bool help_topic(const char *topic, FILE *out)
{
	static const struct {
		const char *name;
		void (*fn)(FILE *out);
	} topics[] = {{"run", help_run}, {"check", help_check}, {"replay", help_replay}, {"config", help_config},
		{"reference", config_reference}};

	for (size_t i = 0; i < sizeof(topics) / sizeof(topics[0]); i++) {
		if (strcmp(topic, topics[i].name) == 0) {
			topics[i].fn(out);
			return true;
		}
	}
	return false;
}

static void upper(const char *name, FILE *out)
{
	for (; *name; name++)
		fputc(toupper((unsigned char)*name), out);
}

/* A | inside a table cell would end it. */
static void cell(const char *text, FILE *out)
{
	for (; *text; text++) {
		if (*text == '|')
			fputc('\\', out);
		fputc(*text, out);
	}
}

static void reference_row(const struct config *defaults, const struct option *o, FILE *out)
{
	char *value = default_of(defaults, o), expects[256];

	option_expects(o, expects, sizeof(expects));
	fprintf(out, "| `%s`%s | ", o->name, o->flags & OPTION_PLUGIN ? " ◆" : "");
	cell(expects, out);
	fputs(" | `", out);
	cell(value ? value : "", out);
	fputs("` | ", out);
	cell(o->help, out);
	if (o->flags & OPTION_CLI)
		fputs(" (flag only)", out);
	fputs(" |\n", out);
	free(value);
}

static void reference_intro(FILE *out)
{
	fputs("# Configuration\n\n"
	      "This page is made by `kongtap help reference` from the option table in `user/config_table.c`.\n\n"
	      "Each option can be given in four ways; the one further down wins:\n\n"
	      "1. in the `config:` of the plugin named `moesif` in a file of Kong's, `--kong-config kong.yml`\n"
	      "   (declarative, or the JSON that the Admin API prints); options marked ◆, which are the plugin's own,\n"
	      "   with its names, types, units and the defaults of its code\n"
	      "2. in a YAML file, `-c kongtap.yml`: `batch_size: 100`\n"
	      "3. in the environment: ",
		out);
	fputs("`KONGTAP_", out);
	upper("batch_size", out);
	fputs("=100`, lists with commas\n"
	      "4. as a flag: `--batch-size 100` or `--batch-size=100`; `--debug` and `--no-debug` for true and "
	      "false\n\n"
	      "`KONGTAP_CONFIG` and `KONGTAP_KONG_CONFIG` name the files where no flag does. An unknown name, a wrong\n"
	      "type and a value out of range are errors; the agent says file, line, what it expected and what it\n"
	      "found, and ends with exit code 2 (after SIGHUP it goes on with what it had). A number may have a unit:\n"
	      "`5s`, `250ms`, `16MiB`, `64kB`. `null` leaves an option as it is, an empty text unsets it.\n"
	      "`kongtap check` prints the configuration that results, and where each value comes from.\n\n"
	      "SIGHUP reads the files again. Users and companies, bodies, masks, events, filters and the log level\n"
	      "follow at once, no call is lost; what else changed is named in the log and waits for a restart.\n\n"
	      "```yaml\n"
	      "# kongtap.yml\n"
	      "application_id_file: /etc/kongtap/application-id  # chmod 0600\n"
	      "spool_dir: /var/lib/kongtap/spool\n"
	      "user_id_header: X-User-Id\n"
	      "request_header_masks: [Authorization, Cookie]\n"
	      "response_body_masks: [password, token]\n"
	      "exclude_paths: [/health, /metrics]\n"
	      "send_timeout: 10s\n"
	      "queue_bytes: 32MiB\n"
	      "```\n",
		out);
}

static void reference_delivery(FILE *out)
{
	fputs("\n## What delivery promises\n\n"
	      "Events are sent oldest first, in batches cut by count, bytes and age, and are kept until the collector "
	      "has\n"
	      "answered 2xx for them. What happens to them otherwise:\n\n"
	      "| answer | what the agent does |\n|---|---|\n"
	      "| none (network, TLS, time-out), 408, 429, 5xx | the same batch again, after a wait that doubles from "
	      "0.5 s "
	      "to 30 s, partly random; not before `Retry-After` |\n"
	      "| 413 | halves; a single event goes without its bodies, and is dropped if that is still too much |\n"
	      "| 400, 422 | halves, until the event that is not accepted is found and dropped; after 20 such events in "
	      "a "
	      "row the collector is taken to refuse everything |\n"
	      "| 415 to a compressed request | plain requests from now on |\n"
	      "| 401, 402, 403, 404, 410, redirects and the rest | nothing is sent for 5 minutes, then one request "
	      "tries; one "
	      "loud line in the log |\n\n"
	      "- Without `spool_dir` events wait in memory: at most `event_queue_size` and `queue_bytes`, then new "
	      "ones are\n"
	      "  dropped (`queue_dropped_full`). At the end there are `shutdown_timeout` to deliver the rest\n"
	      "  (`ship_dropped_shutdown`).\n"
	      "- With `spool_dir`, whatever is not delivered `spool_sync` after it was made is on disk. A killed agent "
	      "loses\n"
	      "  what is younger; a machine that loses power loses at most twice as much. At `spool_bytes` the oldest "
	      "file\n"
	      "  goes (`ship_dropped_spool`). After an outage the backlog and new events take turns. When the disk is "
	      "full\n"
	      "  or cannot be written, also at the start, events stay in memory, the agent goes on and tries again; "
	      "what\n"
	      "  is on it and can still be read is delivered.\n"
	      "- An event can arrive twice: when an answer got lost, and when the agent was killed between an answer "
	      "and its\n"
	      "  mark on disk. The collector drops the second one by its `transaction_id`.\n"
	      "- Events older than 30 days, which the collector rejects, are dropped (`ship_dropped_expired`).\n"
	      "- Spool files hold events as they are sent, after masking, mode 0600; never the application id. The "
	      "directory\n"
	      "  belongs to one agent at a time; files in it that are not the spool's are left alone.\n",
		out);
}

static void reference_limits(FILE *out)
{
	fputs("\n## What happens at each limit\n\n"
	      "All that grows with the traffic has a limit. `memory_bytes` is the sum: 8/16 of it go to open calls\n"
	      "(`wire_bytes`), 4/16 to events that wait (`queue_bytes`), 2/16 to upstream legs that wait "
	      "(`join_bytes`), "
	      "1/16 to\n"
	      "learnt credentials; one of the first three that is given takes its part beforehand, and what leaves too "
	      "little for\n"
	      "the others is an error. Beside it there are the ring and the program with its libraries. A limit of the "
	      "kernel\n"
	      "(`RLIMIT_DATA`) lies above all of it: what would pass it is an allocation that fails, which is "
	      "survived.\n\n"
	      "| limit | what happens at it | counter |\n|---|---|---|\n"
	      "| `ring_bytes` | records are lost; each missing byte is known to the streams, and calls that it touches "
	      "say so; what is open then finds its upstream leg by Kong's request id or not at all | "
	      "`capture_lost_data`, `wire_gap_lost` |\n"
	      "| `wire_bytes` | bodies are left out at seven eighths, and those that are held go as room is wanted, "
	      "the "
	      "eldest first; then HTTP/1 connections without an open call are forgotten, then any that was quiet for "
	      "ten "
	      "seconds; what finds no room even then is left out until there is some | `wire_bodies_dropped`, "
	      "`wire_conns_over_limit`, `wire_exchanges_dropped` |\n"
	      "| `connection_bytes` | bodies are left out at three quarters, then the connection is given up | "
	      "`wire_bodies_dropped`, `wire_conns_over_limit` |\n"
	      "| `connections` | the one that was quiet for longest is forgotten | `wire_conns_over_limit` |\n"
	      "| `header_bytes`, `header_count` | the rest of the header section is left out, and the event says so | "
	      "|\n"
	      "| `join_bytes` | upstream legs that fit no call are given up, then calls wait no longer for theirs, "
	      "then the oldest call loses its upstream leg | "
	      "`join_upstream_orphans` |\n"
	      "| `request_max_body_size_limit`, `response_max_body_size_limit` | the body is left out, and the event "
	      "says so | |\n"
	      "| `decoded_body_limit` | the body is shown packed, in base64; where masks would have to be applied to "
	      "it, it is left out (`unmaskable`) | |\n"
	      "| `event_limit` | the larger body is left out, then the other, then the event is dropped | "
	      "`txn_dropped_too_large` |\n"
	      "| `queue_bytes`, `event_queue_size` | to the disk if there is a spool, else the new event is dropped | "
	      "`queue_dropped_full` |\n"
	      "| `spool_bytes` | the oldest file goes | `ship_dropped_spool` |\n"
	      "| `learn_consumers_max` and its memory | the credential that was seen longest ago is forgotten | |\n"
	      "| `max_overhead_percent` | see below | `capture_left_out` |\n\n"
	      "At the end the log says where all calls and all events went; the sums are exact, and a number that is\n"
	      "`unaccounted` would be a defect.\n\n"
	      "## A limit on what it costs\n\n"
	      "`max_overhead_percent` bounds the agent's own CPU time plus what its probes are estimated to take from\n"
	      "Kong's workers, as a share of all CPUs of the machine, averaged over a second. It is off by default: an "
	      "agent\n"
	      "that leaves something out is worse for most than one that takes a little more for a moment. Where the\n"
	      "gateway's own speed comes first, 10 is a start. What a probe in the TLS library takes differs tenfold "
	      "between\n"
	      "machines, and is measured at the start; for system calls and for copying there is a usual figure.\n\n"
	      "Over it for two seconds, the next step is taken, in this order: request and response bodies are left "
	      "out\n"
	      "(`request_body_omitted: overhead`); of the connections that clients open one in 2, 4, … 64 is captured, "
	      "whole,\n"
	      "and the `weight` of its events says for how many it stands (connections that were open before the agent "
	      "are\n"
	      "not sampled); at last all probes are taken away, one loud line says so, and after a minute it is tried "
	      "again,\n"
	      "with twice the wait each time that it still costs too much. A step is taken back when twice the cost "
	      "would fit\n"
	      "for half a minute. A call that is under way on a connection when that is left out is handed on as far "
	      "as it was\n"
	      "seen. Calls on connections that are left out are no transactions, and count nowhere else.\n",
		out);
}

void config_reference(FILE *out)
{
	struct config *defaults = config__new();

	if (!defaults)
		return;
	reference_intro(out);
	for (size_t g = 0; g < option_count; g++) {
		if (!first_of_group(g))
			continue;
		fprintf(out, "\n## %s\n\n| option | takes | default | what it does |\n|---|---|---|---|\n",
			option_table[g].group);
		for (size_t i = 0; i < option_count; i++)
			if (strcmp(option_table[i].group, option_table[g].group) == 0 && shown(&option_table[i]))
				reference_row(defaults, &option_table[i], out);
	}
	reference_delivery(out);
	reference_limits(out);
	config__free(defaults);
}

void config__print(const struct config *c, FILE *out)
{
	static const char *const layers[] = {"default", "Kong's file", "file", "environment", "flag"};

	for (size_t i = 0; i < option_count; i++) {
		const struct option *o = &option_table[i];
		char *value;

		if (!shown(o) || (o->flags & (OPTION_CLI | OPTION_UNUSED)))
			continue;
		value = default_of(c, o);
		if (value)
			fprintf(out, "%s: %s # %s\n", o->name, value,
				layers[c->layer[i] <= LAYER_FLAG ? c->layer[i] : 0]);
		free(value);
	}
}
