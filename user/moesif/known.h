/* known: the headers that this stage has an opinion on, and where in a message they are: one pass per message. */
#ifndef KT_MOESIF_KNOWN_H
#define KT_MOESIF_KNOWN_H

#include "moesif/names.h"

/* KNOWN_BY_KONG from X_CONSUMER_ID on: what plugins of Kong say of the caller. */
#define KNOWN_LIST(X)                                                                                                  \
	X(HOST, "host")                                                                                                \
	X(CONTENT_TYPE, "content-type")                                                                                \
	X(CONTENT_ENCODING, "content-encoding")                                                                        \
	X(AUTHORIZATION, "authorization")                                                                              \
	X(PROXY_AUTHORIZATION, "proxy-authorization")                                                                  \
	X(COOKIE, "cookie")                                                                                            \
	X(SET_COOKIE, "set-cookie")                                                                                    \
	X(CONNECTION, "connection")                                                                                    \
	X(TE, "te")                                                                                                    \
	X(UPGRADE, "upgrade")                                                                                          \
	X(VIA, "via")                                                                                                  \
	X(SERVER, "server")                                                                                            \
	X(GRPC_STATUS, "grpc-status")                                                                                  \
	X(GRPC_MESSAGE, "grpc-message")                                                                                \
	X(X_CLIENT_IP, "x-client-ip")                                                                                  \
	X(X_FORWARDED_FOR, "x-forwarded-for")                                                                          \
	X(CF_CONNECTING_IP, "cf-connecting-ip")                                                                        \
	X(FASTLY_CLIENT_IP, "fastly-client-ip")                                                                        \
	X(TRUE_CLIENT_IP, "true-client-ip")                                                                            \
	X(X_REAL_IP, "x-real-ip")                                                                                      \
	X(X_CLUSTER_CLIENT_IP, "x-cluster-client-ip")                                                                  \
	X(X_FORWARDED, "x-forwarded")                                                                                  \
	X(FORWARDED_FOR, "forwarded-for")                                                                              \
	X(FORWARDED, "forwarded")                                                                                      \
	X(X_FORWARDED_PROTO, "x-forwarded-proto")                                                                      \
	X(X_FORWARDED_HOST, "x-forwarded-host")                                                                        \
	X(X_FORWARDED_PORT, "x-forwarded-port")                                                                        \
	X(X_FORWARDED_PATH, "x-forwarded-path")                                                                        \
	X(X_FORWARDED_PREFIX, "x-forwarded-prefix")                                                                    \
	X(X_KONG_REQUEST_ID, "x-kong-request-id")                                                                      \
	X(X_KONG_UPSTREAM_LATENCY, "x-kong-upstream-latency")                                                          \
	X(X_KONG_PROXY_LATENCY, "x-kong-proxy-latency")                                                                \
	X(X_KONG_RESPONSE_LATENCY, "x-kong-response-latency")                                                          \
	X(X_MOESIF_TRANSACTION_ID, "x-moesif-transaction-id")                                                          \
	X(X_CACHE_STATUS, "x-cache-status")                                                                            \
	X(AGE, "age")                                                                                                  \
	X(REFERER, "referer")                                                                                          \
	X(LOCATION, "location")                                                                                        \
	X(CONTENT_LOCATION, "content-location")                                                                        \
	X(X_CONSUMER_ID, "x-consumer-id")                                                                              \
	X(X_CONSUMER_CUSTOM_ID, "x-consumer-custom-id")                                                                \
	X(X_CONSUMER_USERNAME, "x-consumer-username")                                                                  \
	X(X_CREDENTIAL_IDENTIFIER, "x-credential-identifier")                                                          \
	X(X_ANONYMOUS_CONSUMER, "x-anonymous-consumer")                                                                \
	X(X_CREDENTIAL_USERNAME, "x-credential-username")                                                              \
	X(X_CONSUMER_GROUPS, "x-consumer-groups")                                                                      \
	X(X_AUTHENTICATED_GROUPS, "x-authenticated-groups")                                                            \
	X(X_AUTHENTICATED_SCOPE, "x-authenticated-scope")                                                              \
	X(X_AUTHENTICATED_USERID, "x-authenticated-userid")

enum known {
#define X(id, name) KNOWN_##id,
	KNOWN_LIST(X)
#undef X
		KNOWN_COUNT_,
	KNOWN_NONE = KNOWN_COUNT_,
};

static inline bool known_by_kong(enum known k)
{
	return k >= KNOWN_X_CONSUMER_ID && k < KNOWN_COUNT_;
}

struct hname known_hname(enum known k);
enum known known_of(struct span name, uint32_t header_hash);

#define KNOWN_FIELDS 64 /* more than nearly all sections have */

/* Where the known ones are in a header section. */
struct known_index {
	const struct headers *h;      /* NULL: empty */
	uint8_t of[KNOWN_FIELDS];     /* which one each of the first fields is */
	int32_t first[KNOWN_COUNT_];  /* -1: none */
	uint32_t count[KNOWN_COUNT_]; /* fields of this name */
};

/* h may be NULL; borrowed while the index is used. */
void known_index__build(struct known_index *x, const struct headers *h);
/* Which one the field i is. */
static inline enum known known_at(const struct known_index *x, uint32_t i)
{
	return i < KNOWN_FIELDS ? (enum known)x->of[i] : known_of(headers__name_at(x->h, i), x->h->fields[i].hash);
}

/* First value; p NULL when there is none. */
struct span known_get(const struct known_index *x, enum known k);
/* Index of the next field of the same name behind `at`, or -1. */
int known_next(const struct known_index *x, enum known k, int at);

#endif
