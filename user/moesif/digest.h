/* digest: SHA-256 (RFC 6234) for names that must not collide or be turned back: transaction ids and
 * hashed session tokens. libcrypto's door in this stage.
 */
#ifndef KT_MOESIF_DIGEST_H
#define KT_MOESIF_DIGEST_H

#include "base/span.h"

#define DIGEST_LEN 32

struct digest;

/* NULL and errno ENOMEM (or no SHA-256 in this libcrypto: ENOTSUP). */
struct digest *digest__new(void);
void digest__begin(struct digest *d);
/* Length and bytes go in, so that no two lists of parts give the same input. */
void digest__part(struct digest *d, struct span part);
void digest__u64(struct digest *d, uint64_t v);
/* 0, or -EIO when libcrypto failed anywhere since digest__begin (out is zeroed then). */
int digest__end(struct digest *d, unsigned char out[DIGEST_LEN]);
/* HMAC-SHA-256. Errors as digest__end. */
int digest__hmac(struct digest *d, struct span key, struct span text, unsigned char out[DIGEST_LEN]);
void digest__free(struct digest *d); /* NULL is fine */

#endif
