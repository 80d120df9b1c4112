/* shipper: from events to the collector: memory queue, batches, retries, disk spool, remote configuration.
 * Owns a sender thread, the only other thread of the agent. shipper__give never blocks.
 */
#ifndef KT_SHIP_SHIPPER_H
#define KT_SHIP_SHIPPER_H

#include "base/span.h"

struct ship_options {
	char *application_id;	   /* NULL: nothing is shipped */
	char *api_endpoint;	   /* https://api.moesif.net; may carry a path prefix */
	uint32_t connect_timeout;  /* ms, 1000 */
	uint32_t send_timeout;	   /* ms, 5000: one request */
	uint32_t keepalive;	   /* ms, 5000: idle connection is closed after it */
	uint32_t event_queue_size; /* events in memory, 1000000 (bounded by queue_bytes too) */
	uint32_t batch_size;	   /* events, 50 */
	bool enable_compression;   /* deflate as the plugin */
	char *compression;	   /* "none", "deflate", "gzip"; NULL: by enable_compression */
	uint64_t queue_bytes;	   /* 16 MiB */
	uint64_t batch_bytes;	   /* 4 MiB of JSON */
	uint32_t batch_age;	   /* ms, 1000 */
	char *spool_dir;	   /* NULL: no spool */
	uint64_t spool_bytes;	   /* 1 GiB */
	uint32_t spool_sync;	   /* ms between fsyncs, 1000 */
	uint32_t shutdown_timeout; /* ms to deliver what is queued at the end, 5000 */
	char *proxy, *ca_file;	   /* NULL: libcurl's own (environment, system) */
	bool tls_verify;	   /* true */
	bool remote_config;	   /* true: GET /v1/config and /v1/rules */
	uint32_t send_parallel;	   /* most requests under way at once, 4; more than one only while batches pile up */
	uint32_t retry_base;	   /* ms, 500: first wait after a failure */
	uint32_t retry_max;	   /* ms, 30000: longest wait between two attempts */
	uint32_t refused_probe;	   /* ms, 300000: wait after 401, 402, 403, 404, 410 */
	uint32_t remote_interval;  /* ms, 60000: between two fetches of the remote configuration */
};

void ship_options_default(struct ship_options *o);
void ship_options_free(struct ship_options *o);

/* Called in the SENDER thread with the body of GET /v1/config (rules: false) or GET /v1/rules (rules: true). */
struct remote_sink {
	void (*fn)(void *ctx, bool rules, struct span body);
	void *ctx;
};

enum ship_state { SHIP_IDLE = 0, SHIP_OK, SHIP_RETRYING, SHIP_REFUSED /* 401, 402, 403 */, SHIP_OFF };

struct ship_status {
	enum ship_state state;
	uint64_t queued_events, queued_bytes; /* in memory, requests under way included */
	uint64_t spooled_events, spooled_bytes;
	long last_http_status; /* 0: none yet */
	char last_error[128];  /* never holds the application id */
};

struct shipper;

/* Options are borrowed for its life. NULL and errno: ENOMEM, EINVAL (endpoint), EBUSY, ENOTDIR… (spool
 * directory). A disk that cannot be used just now is none: events stay in memory, and it is tried again. */
struct shipper *shipper__new(const struct ship_options *o, struct remote_sink remote);
/* Copies one event's JSON. 0; -ENOSPC: queue full and the spool cannot take it (counted queue_dropped_full). */
int shipper__give(struct shipper *s, struct span event_json);
void shipper__status(struct shipper *s, struct ship_status *ret);
/* Deliver what is queued within options->shutdown_timeout, spool the rest (or count it dropped), end the thread. */
void shipper__stop(struct shipper *s);
void shipper__free(struct shipper *s); /* stops first if need be; NULL is fine */

/* One request as `kongtap check` makes it: GET /v1/config. 0 answered 2xx; -EACCES refused (401, 402, 403);
 * -EIO otherwise; text of the outcome in ret (size bytes). */
int shipper_probe(const struct ship_options *o, char *ret, size_t size);

#endif
