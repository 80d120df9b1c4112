/* learn: which consumer a credential belonged to when Kong last said so; stands in where Kong answers by itself and
 * names nobody (429, cache). Credentials are kept as keyed hashes only. A credential that was seen with two consumers,
 * or refused, names nobody until its entry has aged.
 */
#ifndef KT_MOESIF_LEARN_H
#define KT_MOESIF_LEARN_H

#include <stdint.h>

#include "base/span.h"

#define FINGERPRINT_LEN 16

struct fingerprint {
	unsigned char b[FINGERPRINT_LEN];
};

/* What Kong said of a caller; n 0: nothing. */
struct consumer {
	struct span custom_id, username, id, credential;
};

#define CONSUMER_TEXT_MAX 1024 /* all four together; a longer one is not learnt */

struct learn;

/* At most `max` credentials in at most `bytes` of memory, the oldest go first. NULL and errno ENOMEM. */
struct learn *learn__new(uint32_t max, uint32_t ttl_seconds, uint64_t bytes);
void learn__set_limits(struct learn *l, uint32_t max, uint32_t ttl_seconds, uint64_t bytes);
/* A call with this credential was this consumer's. */
void learn__observe(struct learn *l, const struct fingerprint *f, const struct consumer *c, uint64_t t_ns);
/* Kong refused the credential, or took its bearer for anonymous. */
void learn__contradict(struct learn *l, const struct fingerprint *f, uint64_t t_ns);
/* Points into the entry: good until the next call. */
bool learn__find(struct learn *l, const struct fingerprint *f, uint64_t t_ns, struct consumer *ret);
uint32_t learn__count(const struct learn *l);
uint64_t learn__bytes(const struct learn *l);
void learn__free(struct learn *l); /* NULL is fine */

#endif
