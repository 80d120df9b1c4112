/* The option table: the one place where an option exists. */
#include <stddef.h>

#include "config_option.h"

#define AT(member) .off = offsetof(struct config, member)
#define LIST_AT(member) .off = offsetof(struct config, member.v), .off_n = offsetof(struct config, member.n)
#define PAIR_AT(ptr, nr) .off = offsetof(struct config, ptr), .off_n = offsetof(struct config, nr)
#define RANGE(lo, hi) .min = (lo), .max = (hi)

#define KIB 1024ull
#define MIB (1024 * KIB)
#define GIB (1024 * MIB)

#define NS_PER_MS 1000000ull

#define HOUR_MS 3600000ull

static const struct option_choice outputs[] = {{"auto", OUTPUT_AUTO}, {"none", OUTPUT_NONE}, {"pretty", OUTPUT_PRETTY},
	{"jsonl", OUTPUT_JSONL}, {"har", OUTPUT_HAR}, {NULL, 0}};
static const struct option_choice log_levels[] = {
	{"error", LOG_LVL_ERR}, {"warn", LOG_LVL_WARN}, {"info", LOG_LVL_INFO}, {"debug", LOG_LVL_DEBUG}, {NULL, 0}};
static const struct option_choice compressions[] = {{"none", 0}, {"deflate", 1}, {"gzip", 2}, {NULL, 0}};
static const struct option_choice log_formats[] = {{"text", 0}, {"json", 1}, {NULL, 0}};

#define G_COMMAND "Command line"
#define G_COLLECTOR "Collector"
#define G_IDENTITY "Users and companies"
#define G_BODIES "Bodies"
#define G_MASKS "Masks"
#define G_EVENTS "Events"
#define G_FILTER "Filters"
#define G_DELIVERY "Delivery"
#define G_OUTPUT "Output"
#define G_CAPTURE "Capture"
#define G_LIMITS "Limits"
#define G_LOG "Log and metrics"
#define G_UNUSED "Accepted without effect"
#define G_TEST "Tests"

#define P OPTION_PLUGIN

/* clang-format off */
const struct option option_table[] = {
	/* the command line itself */
	{"config", OPT_STRING, .flags = OPTION_CLI, AT(config_file), .meta = "FILE", .group = G_COMMAND,
	 .help = "configuration file, YAML (-c)"},
	{"kong_config", OPT_STRING, .flags = OPTION_CLI, AT(kong_config), .meta = "FILE", .group = G_COMMAND,
	 .help = "take the moesif plugin's config from Kong's declarative file, or from what the Admin API prints"},

	{"application_id", OPT_STRING, .flags = P | OPTION_SECRET, AT(ship.application_id), .meta = "ID",
	 .group = G_COLLECTOR, .help = "Moesif Collector Application Id; without one nothing is shipped"},
	{"application_id_file", OPT_STRING, AT(application_id_file), .meta = "FILE", .group = G_COLLECTOR,
	 .help = "file that holds the application id and that not everybody can read"},
	{"api_endpoint", OPT_STRING, .flags = P, AT(ship.api_endpoint), .meta = "URL", .group = G_COLLECTOR,
	 .help = "base URL of the collector; may have a path"},
	{"connect_timeout", OPT_U32, UNIT_MS, P, AT(ship.connect_timeout), RANGE(1, HOUR_MS), .group = G_COLLECTOR,
	 .help = "longest wait for a connection to the collector"},
	{"send_timeout", OPT_U32, UNIT_MS, P, AT(ship.send_timeout), RANGE(1, HOUR_MS), .group = G_COLLECTOR,
	 .help = "longest time for one request to the collector"},
	{"keepalive", OPT_U32, UNIT_MS, P, AT(ship.keepalive), RANGE(0, HOUR_MS), .group = G_COLLECTOR,
	 .help = "an idle connection to the collector is not used again after this time"},
	{"enable_compression", OPT_BOOL, .flags = P, AT(ship.enable_compression), .group = G_COLLECTOR,
	 .help = "compress what is sent, with deflate as the plugin does"},
	{"compression", OPT_STRING, .choices = compressions, AT(ship.compression),
	 .group = G_COLLECTOR,
	 .help = "compression of what is sent; unset: as enable_compression says"},
	{"proxy", OPT_STRING, .flags = OPTION_URL, AT(ship.proxy), .meta = "URL", .group = G_COLLECTOR,
	 .help = "proxy to the collector; unset: the usual environment variables"},
	{"ca_file", OPT_STRING, AT(ship.ca_file), .meta = "FILE", .group = G_COLLECTOR,
	 .help = "certificate authorities to trust, PEM; unset: the system's"},
	{"tls_verify", OPT_BOOL, AT(ship.tls_verify), .group = G_COLLECTOR,
	 .help = "check the collector's certificate and name"},
	{"remote_config", OPT_BOOL, AT(ship.remote_config), .group = G_COLLECTOR,
	 .help = "fetch sampling rates and rules from the collector"},

	{"user_id_header", OPT_STRING, .flags = P | OPTION_HEADER, AT(moesif.user_id_header), .meta = "NAME", .group = G_IDENTITY,
	 .help = "header of request or response that names the user"},
	{"company_id_header", OPT_STRING, .flags = P | OPTION_HEADER, AT(moesif.company_id_header), .meta = "NAME",
	 .group = G_IDENTITY, .help = "header of request or response that names the company"},
	{"authorization_header_name", OPT_STRING, .flags = P | OPTION_HEADERS, AT(moesif.authorization_header_name), .meta = "NAMES",
	 .group = G_IDENTITY, .help = "headers that may hold a token, comma between them, first one that fits wins"},
	{"authorization_user_id_field", OPT_STRING, .flags = P, AT(moesif.authorization_user_id_field),
	 .meta = "CLAIM", .group = G_IDENTITY, .help = "claim of the token that names the user"},
	{"authorization_company_id_field", OPT_STRING, .flags = P, AT(moesif.authorization_company_id_field),
	 .meta = "CLAIM", .group = G_IDENTITY, .help = "claim of the token that names the company"},
	{"trust_client_consumer_headers", OPT_BOOL, AT(moesif.trust_client_consumer_headers), .group = G_IDENTITY,
	 .help = "believe X-Consumer-* headers that clients send, as the plugin does"},
	{"ignore_anonymous_consumer", OPT_BOOL, AT(moesif.ignore_anonymous_consumer), .group = G_IDENTITY,
	 .help = "a consumer that Kong marks anonymous is no user"},
	{"learn_consumers", OPT_BOOL, AT(moesif.learn_consumers), .group = G_IDENTITY,
	 .help = "name the user of calls that Kong answers by itself by earlier calls with the same credential"},
	{"learn_consumers_max", OPT_U32, AT(moesif.learn_consumers_max), RANGE(1, 16777216), .group = G_IDENTITY,
	 .help = "most credentials remembered"},
	{"learn_consumers_ttl", OPT_U32, UNIT_SECONDS, AT(moesif.learn_consumers_ttl), RANGE(1, 31536000),
	 .group = G_IDENTITY, .help = "how long a credential is remembered"},
	{"hash_session_token", OPT_BOOL, AT(moesif.hash_session_token), .group = G_IDENTITY,
	 .help = "send a keyed hash as session_token where the plugin sends the API key itself"},
	{"api_key_names", OPT_STRINGS, .flags = OPTION_HEADER, LIST_AT(moesif.api_key_names), .meta = "NAMES", .group = G_IDENTITY,
	 .help = "headers and query parameters that carry API keys"},

	{"disable_capture_request_body", OPT_BOOL, .flags = P, AT(moesif.disable_capture_request_body),
	 .group = G_BODIES, .help = "leave request bodies out"},
	{"disable_capture_response_body", OPT_BOOL, .flags = P, AT(moesif.disable_capture_response_body),
	 .group = G_BODIES, .help = "leave response bodies out"},
	{"request_max_body_size_limit", OPT_U64, UNIT_BYTES, P, AT(moesif.request_max_body_size_limit),
	 RANGE(0, 16 * MIB), .group = G_BODIES, .help = "longer request bodies are not sent"},
	{"response_max_body_size_limit", OPT_U64, UNIT_BYTES, P, AT(moesif.response_max_body_size_limit),
	 RANGE(0, 16 * MIB), .group = G_BODIES, .help = "longer response bodies are not sent"},
	{"disable_gzip_payload_decompression", OPT_BOOL, .flags = P, AT(moesif.disable_gzip_payload_decompression),
	 .group = G_BODIES, .help = "send compressed bodies as they are, in base64"},
	{"body_exclude_content_types", OPT_STRINGS, .flags = OPTION_MEDIA, LIST_AT(moesif.body_exclude_content_types),
	 .meta = "TYPES", .group = G_BODIES,
	 .help = "media types whose bodies are left out, of requests and of responses: application/pdf, image/*; parameters "
		 "and letter case are ignored"},
	{"decoded_body_limit", OPT_U64, UNIT_BYTES, AT(moesif.decoded_body_limit), RANGE(1024, 16 * MIB),
	 .group = G_BODIES, .help = "most bytes that a compressed body may unpack to"},

	{"request_header_masks", OPT_STRINGS, .flags = P | OPTION_HEADER, LIST_AT(moesif.request_header_masks), .meta = "NAMES",
	 .group = G_MASKS, .help = "request headers to remove"},
	{"response_header_masks", OPT_STRINGS, .flags = P | OPTION_HEADER, LIST_AT(moesif.response_header_masks), .meta = "NAMES",
	 .group = G_MASKS, .help = "response headers to remove"},
	{"request_body_masks", OPT_STRINGS, .flags = P, LIST_AT(moesif.request_body_masks), .meta = "KEYS",
	 .group = G_MASKS, .help = "keys to remove from request bodies, at any depth"},
	{"response_body_masks", OPT_STRINGS, .flags = P, LIST_AT(moesif.response_body_masks), .meta = "KEYS",
	 .group = G_MASKS, .help = "keys to remove from response bodies, at any depth"},
	{"request_query_masks", OPT_STRINGS, .flags = P, LIST_AT(moesif.request_query_masks), .meta = "NAMES",
	 .group = G_MASKS, .help = "query parameters whose values are hidden"},
	{"request_masks", OPT_STRINGS, .flags = P, LIST_AT(moesif.request_masks), .meta = "KEYS", .group = G_MASKS,
	 .help = "deprecated name of request_body_masks, used when that is empty"},
	{"response_masks", OPT_STRINGS, .flags = P, LIST_AT(moesif.response_masks), .meta = "KEYS", .group = G_MASKS,
	 .help = "deprecated name of response_body_masks, used when that is empty"},
	{"redact_credentials", OPT_BOOL, AT(moesif.redact_credentials), .group = G_MASKS,
	 .help = "hide Authorization, Cookie, Set-Cookie and API keys, in headers and query; users are identified all the same"},

	{"api_version", OPT_STRING, .flags = P, AT(moesif.api_version), .meta = "TEXT", .group = G_EVENTS,
	 .help = "version of your API, sent with each event"},
	{"disable_transaction_id", OPT_BOOL, .flags = P, AT(moesif.disable_transaction_id), .group = G_EVENTS,
	 .help = "do not take over an X-Moesif-Transaction-Id"},
	{"plugin_sampling_rule", OPT_BOOL, AT(moesif.plugin_sampling_rule), .group = G_EVENTS,
	 .help = "least of the user's, company's and pattern's rate, as the plugin; else the documented rule"},
	{"event_limit", OPT_U64, UNIT_BYTES, AT(moesif.event_limit), RANGE(4096, 1000000), .group = G_EVENTS,
	 .help = "longest event; bodies are left out of longer ones"},
	{"node_name", OPT_STRING, AT(moesif.node_name), .meta = "NAME", .group = G_EVENTS,
	 .help = "name of this machine in the events' metadata"},
	{"seed", OPT_U64, .flags = OPTION_HIDDEN, AT(moesif.seed), RANGE(0, UINT64_MAX), .group = G_TEST,
	 .help = "seed of the sampling dice; 0: random"},

	{"include_hosts", OPT_STRINGS, LIST_AT(filter.include_hosts), .meta = "GLOBS", .group = G_FILTER,
	 .help = "only calls to these hosts"},
	{"exclude_hosts", OPT_STRINGS, LIST_AT(filter.exclude_hosts), .meta = "GLOBS", .group = G_FILTER,
	 .help = "no calls to these hosts"},
	{"include_paths", OPT_STRINGS, LIST_AT(filter.include_paths), .meta = "GLOBS", .group = G_FILTER,
	 .help = "only calls to these paths; /orders* is what a route with the prefix /orders takes"},
	{"exclude_paths", OPT_STRINGS, LIST_AT(filter.exclude_paths), .meta = "GLOBS", .group = G_FILTER,
	 .help = "no calls to these paths"},
	{"include_ports", OPT_NUMBERS, RANGE(1, 65535), LIST_AT(filter.include_ports), .meta = "PORTS",
	 .group = G_FILTER, .help = "only calls to these ports of Kong"},
	{"exclude_ports", OPT_NUMBERS, RANGE(1, 65535), LIST_AT(filter.exclude_ports), .meta = "PORTS",
	 .group = G_FILTER, .help = "no calls to these ports of Kong"},
	{"include_namespaces", OPT_STRINGS, LIST_AT(filter.include_namespaces), .meta = "GLOBS", .group = G_FILTER,
	 .help = "only calls to Kong in pods of these namespaces"},
	{"exclude_namespaces", OPT_STRINGS, LIST_AT(filter.exclude_namespaces), .meta = "GLOBS", .group = G_FILTER,
	 .help = "no calls to Kong in pods of these namespaces"},
	{"include_pods", OPT_STRINGS, LIST_AT(filter.include_pods), .meta = "GLOBS", .group = G_FILTER,
	 .help = "only calls to Kong in pods with these names"},
	{"exclude_pods", OPT_STRINGS, LIST_AT(filter.exclude_pods), .meta = "GLOBS", .group = G_FILTER,
	 .help = "no calls to Kong in pods with these names"},

	{"batch_size", OPT_U32, UNIT_EVENTS, P, AT(ship.batch_size), RANGE(1, 10000), .group = G_DELIVERY,
	 .help = "most events in one request"},
	{"batch_bytes", OPT_U64, UNIT_BYTES, AT(ship.batch_bytes), RANGE(1024, 32 * MIB), .group = G_DELIVERY,
	 .help = "most JSON in one request"},
	{"batch_age", OPT_U32, UNIT_MS, AT(ship.batch_age), RANGE(1, HOUR_MS), .group = G_DELIVERY,
	 .help = "a batch is sent when its first event is so old"},
	{"event_queue_size", OPT_U32, UNIT_EVENTS, P, AT(ship.event_queue_size), RANGE(1, 100000000),
	 .group = G_DELIVERY, .help = "most events waiting in memory"},
	{"queue_bytes", OPT_U64, UNIT_BYTES, AT(ship.queue_bytes), RANGE(64 * KIB, 4 * GIB), .group = G_DELIVERY,
	 .help = "most JSON waiting in memory"},
	{"send_parallel", OPT_U32, AT(ship.send_parallel), RANGE(1, 16), .group = G_DELIVERY,
	 .help = "most requests under way at once. One at a time, in order, while the collector keeps up; more only while "
		 "more than one full batch waits, and then batches may overtake each other; 1: never"},
	{"spool_dir", OPT_STRING, AT(ship.spool_dir), .meta = "DIR", .group = G_DELIVERY,
	 .help = "where events wait on disk while the collector cannot be reached; unset: memory only"},
	{"spool_bytes", OPT_U64, UNIT_BYTES, AT(ship.spool_bytes), RANGE(MIB, 1024 * GIB), .group = G_DELIVERY,
	 .help = "most disk space; beyond it the oldest events are dropped"},
	{"spool_sync", OPT_U32, UNIT_MS, AT(ship.spool_sync), RANGE(20, 60000), .group = G_DELIVERY,
	 .help = "events that are not delivered in this time are on disk"},
	{"shutdown_timeout", OPT_U32, UNIT_MS, AT(ship.shutdown_timeout), RANGE(0, HOUR_MS), .group = G_DELIVERY,
	 .help = "time to deliver what is waiting when the agent ends"},

	{"output", OPT_CHOICE, .choices = outputs, AT(output), .group = G_OUTPUT,
	 .help = "what is printed for each call; auto: nothing with an application id, else pretty on a terminal and "
		 "jsonl elsewhere"},
	{"output_file", OPT_STRING, AT(output_file), .meta = "FILE", .group = G_OUTPUT,
	 .help = "print there and not on standard output; SIGHUP opens it anew, for who rotates it"},
	{"filter", OPT_STRING, AT(print_filter), .meta = "EXPRESSION", .group = G_OUTPUT,
	 .help = "print only such calls: '5xx,404', '>=400', 'POST', '/api/*', 'user=al*', '!2xx'; all of several words "
		 "must hold; what is shipped does not change"},
	{"record", OPT_STRING, .flags = OPTION_CLI, AT(record_file), .meta = "FILE", .group = G_COMMAND,
	 .help = "also write what is captured, raw and unmasked, for replay (mode 0600)"},
	{"for", OPT_U32, UNIT_SECONDS, OPTION_CLI, AT(run_seconds), RANGE(0, 4000000), .group = G_COMMAND,
	 .help = "end after this time; 0: on a signal"},

	{"pid", OPT_NUMBERS, .flags = OPTION_CLI, RANGE(1, 4194304), PAIR_AT(capture.pids, capture.npids),
	 .meta = "PID", .group = G_COMMAND, .help = "only this nginx master or worker; may be repeated"},
	{"prefix", OPT_STRINGS, PAIR_AT(capture.prefixes, capture.nprefixes), .meta = "GLOB", .group = G_CAPTURE,
	 .help = "only nginx processes with such a prefix (-p), also those that are not Kong; may be repeated"},
	{"ring_bytes", OPT_U64, UNIT_BYTES, OPTION_POW2, AT(capture.ring_bytes), RANGE(64 * KIB, GIB),
	 .group = G_CAPTURE, .help = "buffer between kernel and agent, a power of two"},
	{"call_bytes", OPT_U32, UNIT_BYTES, AT(capture.call_bytes), RANGE(1024, 16 * MIB), .group = G_CAPTURE,
	 .help = "most bytes copied of one system or library call"},
	{"poll_interval", OPT_U32, UNIT_MS, AT(capture.poll_ms), RANGE(1, 1000), .group = G_CAPTURE,
	 .help = "longest time between two looks into the buffer"},
	{"max_overhead_percent", OPT_U32, AT(max_overhead_percent), RANGE(0, 100), .group = G_CAPTURE,
	 .help = "most that the agent may take of all CPUs, its probes in Kong included; over it bodies are left out, then "
		 "connections, then everything for a while; 0: no limit"},
	{"btf", OPT_STRING, AT(capture.btf), .meta = "FILE", .group = G_CAPTURE,
	 .help = "types of the running kernel (BTF, alone or in a vmlinux), where it has no /sys/kernel/btf/vmlinux"},
	{"sandbox", OPT_BOOL, AT(sandbox), .group = G_CAPTURE,
	 .help = "give up privileges and filter system calls once everything is attached"},
	{"force_missing", OPT_STRING, .flags = OPTION_HIDDEN, AT(capture.force), .meta = "FEATURES", .group = G_TEST,
	 .help = "kernel features to treat as missing"},

	{"header_bytes", OPT_U32, UNIT_BYTES, AT(wire.header_bytes), RANGE(1024, 16 * MIB), .group = G_LIMITS,
	 .help = "longest header section of a message"},
	{"header_count", OPT_U32, AT(wire.header_count), RANGE(16, 65536), .group = G_LIMITS,
	 .help = "most headers of a message"},
	{"connections", OPT_U32, AT(wire.conns), RANGE(16, 16777216), .group = G_LIMITS,
	 .help = "most connections watched at once"},
	{"connection_bytes", OPT_U32, UNIT_BYTES, AT(wire.conn_bytes), RANGE(64 * KIB, GIB), .group = G_LIMITS,
	 .help = "most memory for the open calls of one connection"},
	{"memory_bytes", OPT_U64, UNIT_BYTES, AT(memory_bytes), RANGE(4 * MIB, 256 * GIB), .group = G_LIMITS,
	 .help = "most memory for all that grows with the traffic, the ring apart; wire_bytes, queue_bytes and join_bytes "
		 "are shares of it unless they are given"},
	{"wire_bytes", OPT_U64, UNIT_BYTES, AT(wire.total_bytes), RANGE(MIB, 64 * GIB), .group = G_LIMITS,
	 .help = "most memory for open calls; beyond it bodies are left out"},
	{"stream_idle", OPT_U64, UNIT_MS, AT(wire.stream_idle_ns), .scale = NS_PER_MS, RANGE(0, 24 * HOUR_MS),
	 .group = G_LIMITS, .help = "an open response that is quiet for so long becomes an event; 0: never"},
	{"connection_idle", OPT_U64, UNIT_MS, AT(wire.conn_idle_ns), .scale = NS_PER_MS, RANGE(1000, 240 * HOUR_MS),
	 .group = G_LIMITS, .help = "an idle connection is forgotten after this time"},
	{"join_window", OPT_U64, UNIT_MS, AT(join.window_ns), .scale = NS_PER_MS, RANGE(0, 60000), .group = G_LIMITS,
	 .help = "how long a finished call waits for its upstream leg"},
	{"join_bytes", OPT_U64, UNIT_BYTES, AT(join.waiting_bytes), RANGE(64 * KIB, 4 * GIB), .group = G_LIMITS,
	 .help = "most memory for upstream legs that wait for their call"},

	{"log_level", OPT_CHOICE, .choices = log_levels, AT(log_level), .group = G_LOG,
	 .help = "least important messages that are logged"},
	{"log_format", OPT_CHOICE, .choices = log_formats, AT(log_json), .group = G_LOG, .help = "how they are logged"},
	{"debug", OPT_BOOL, .flags = P, AT(debug), .group = G_LOG, .help = "the same as log_level debug"},
	{"metrics_listen", OPT_STRING, AT(metrics_listen), .meta = "ADDRESS:PORT", .group = G_LOG,
	 .help = "where metrics and status are served; none: nowhere"},
	{"status_page_calls", OPT_U32, AT(status_page_calls), RANGE(0, 100), .group = G_LOG,
	 .help = "last calls that the status page shows, masked as in events; they are customer data: 0, none"},

	{"timeout", OPT_U32, UNIT_MS, P | OPTION_UNUSED, RANGE(0, UINT32_MAX), .unused_default = "1000",
	 .group = G_UNUSED, .help = "deprecated in the plugin, which does not use it either"},
	{"max_callback_time_spent", OPT_U32, UNIT_MS, P | OPTION_UNUSED, RANGE(0, UINT32_MAX),
	 .unused_default = "750", .group = G_UNUSED,
	 .help = "limits the time that the plugin takes from Kong's workers; the agent takes none"},

	{"retry_base", OPT_U32, UNIT_MS, OPTION_HIDDEN, AT(ship.retry_base), RANGE(1, HOUR_MS), .group = G_TEST,
	 .help = "first wait after a failed request"},
	{"retry_max", OPT_U32, UNIT_MS, OPTION_HIDDEN, AT(ship.retry_max), RANGE(1, HOUR_MS), .group = G_TEST,
	 .help = "longest wait after a failed request"},
	{"refused_probe", OPT_U32, UNIT_MS, OPTION_HIDDEN, AT(ship.refused_probe), RANGE(1, 24 * HOUR_MS),
	 .group = G_TEST, .help = "wait after the collector refused the application id"},
	{"overhead_window", OPT_U32, UNIT_MS, OPTION_HIDDEN, AT(overhead_window), RANGE(0, HOUR_MS), .group = G_TEST,
	 .help = "time over which overhead is averaged; 0: 1 s"},
	{"overhead_calm", OPT_U32, .flags = OPTION_HIDDEN, AT(overhead_calm), RANGE(0, 1000), .group = G_TEST,
	 .help = "windows of little overhead before more is captured again; 0: 30"},
	{"overhead_retry", OPT_U32, UNIT_MS, OPTION_HIDDEN, AT(overhead_retry), RANGE(0, HOUR_MS), .group = G_TEST,
	 .help = "first time for which nothing is captured when even little costs too much; 0: 1 min"},
	{"overhead_probe_ns", OPT_U32, .flags = OPTION_HIDDEN, AT(capture.probe_ns), RANGE(0, 1000000000),
	 .group = G_TEST, .help = "what one probe is taken to cost, ns; 0: as measured"},
	{"remote_interval", OPT_U32, UNIT_MS, OPTION_HIDDEN, AT(ship.remote_interval), RANGE(10, 24 * HOUR_MS),
	 .group = G_TEST, .help = "time between two fetches of the remote configuration"},
};
/* clang-format on */

const size_t option_count = sizeof(option_table) / sizeof(option_table[0]);

_Static_assert(sizeof(option_table) / sizeof(option_table[0]) <= CONFIG_OPTIONS_MAX, "layer[] is too short");
