/* moesif: from transaction to event: identify, filter, sample, decode and mask bodies, render.
 * Unprivileged, single-threaded, deterministic for a given configuration and order of transactions.
 */
#ifndef KT_MOESIF_MOESIF_H
#define KT_MOESIF_MOESIF_H

#include "join/transaction.h"
#include "moesif/event.h"

/* A list of strings that the configuration owns. */
struct strlist {
	char **v;
	size_t n;
};

/* The plugin's options under their names (MOESIF-KONG-FACTS B.1), then the agent's own. Strings may be NULL = unset. */
struct moesif_options {
	char *api_version; /* "1.0" */
	bool disable_capture_request_body;
	bool disable_capture_response_body;
	struct strlist request_header_masks, response_header_masks;
	struct strlist request_body_masks, response_body_masks;
	struct strlist request_masks, response_masks; /* deprecated; bodies, when the *_body_masks are empty */
	struct strlist request_query_masks;
	bool disable_transaction_id;
	bool disable_gzip_payload_decompression;
	char *user_id_header;
	char *company_id_header;
	char *authorization_header_name;   /* "authorization"; comma list */
	char *authorization_user_id_field; /* "sub" */
	char *authorization_company_id_field;
	uint64_t request_max_body_size_limit;  /* 100000 */
	uint64_t response_max_body_size_limit; /* 100000 */

	bool trust_client_consumer_headers; /* false */
	bool learn_consumers;		    /* true: consumer of a call without upstream leg by credential */
	uint32_t learn_consumers_max;	    /* 65536 entries */
	uint32_t learn_consumers_ttl;	    /* seconds, 3600 */
	uint64_t learn_consumers_bytes;	    /* of memory, 4 MiB */
	bool hash_session_token;	    /* false: raw as the plugin does; redact_credentials turns it on */
	char *session_token_key;	    /* of that hash (HMAC): the same on every node; NULL: a fixed one */
	struct strlist api_key_names;	    /* headers and query names: apikey, api-key, x-api-key, api_key */
	bool redact_credentials;	    /* false */
	bool plugin_sampling_rule;	    /* false: the documented rule; true: min(user, company, regex) */
	bool ignore_anonymous_consumer;	    /* false */
	uint64_t decoded_body_limit;	    /* bytes a compressed body may grow to, default 1 MiB */
	uint64_t event_limit;		    /* bytes of one event, 1000000 (collector: 1 MB) */
	uint64_t seed;			    /* of the sampling dice; 0: random. A recording carries it. */
	char *node_name;		    /* metadata; from the environment */
	/* The wire leaves these out, and marks the messages. */
	struct strlist body_exclude_content_types;
};

void moesif_options_default(struct moesif_options *o); /* 0-valued strings are strdup'ed; free below */
void moesif_options_free(struct moesif_options *o);

struct moesif;

/* Options are borrowed for the life of the object. NULL and errno: ENOMEM, EINVAL (a mask or name is malformed). */
struct moesif *moesif__new(const struct moesif_options *o, struct event_sink sink);
/* Takes the transaction. Accounts for it: txn_events, txn_filtered, txn_sampled_out or txn_dropped_*. */
void moesif__on_transaction(struct moesif *m, struct transaction *t);
/* New remote configuration (body of GET /v1/config). 0; -EINVAL: not usable, the old one stays. */
int moesif__set_remote(struct moesif *m, struct span json);
/* New options (SIGHUP): borrowed from now on; learnt consumers are kept. Errors as moesif__new, old ones stay then. */
int moesif__set_options(struct moesif *m, const struct moesif_options *o);
/* The options in force now stand here, with the same strings and lists. Needs no memory, so it cannot fail. */
void moesif__move_options(struct moesif *m, const struct moesif_options *o);
/* Every exchange that begins: tells a Moesif plugin still at work in Kong by its own calls. Borrowed. */
void moesif__on_begun(struct moesif *m, const struct exchange *x);
void moesif__free(struct moesif *m);

#endif
