/* sip: SipHash-2-4 with 128 bits (Aumasson and Bernstein, 2012): a keyed hash that nobody without the key can steer, at
 * a tenth of what SHA-256 takes. For fingerprints that stay in this process; whatever leaves it goes by digest.
 */
#ifndef KT_MOESIF_SIP_H
#define KT_MOESIF_SIP_H

#include "base/span.h"

#define SIP_KEY_LEN 16
#define SIP_LEN 16

struct sip {
	uint64_t v[4];
	uint64_t n; /* bytes that went in */
};

void sip__begin(struct sip *s, const unsigned char key[SIP_KEY_LEN]);
void sip__u64(struct sip *s, uint64_t v);
/* Length and bytes go in, filled up with zeros to whole words, so that no two lists of parts give the same input. */
void sip__part(struct sip *s, struct span part);
/* The same, with ASCII letters made small. */
void sip__part_lower(struct sip *s, struct span part);
void sip__end(struct sip *s, unsigned char out[SIP_LEN]);

#endif
