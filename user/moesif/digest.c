#include "moesif/digest.h"

#include <errno.h>
#include <stdlib.h>

#include <openssl/evp.h>

#define BLOCK 64

struct digest {
	EVP_MD *md;
	EVP_MD_CTX *ctx;
	bool failed;
};

struct digest *digest__new(void)
{
	struct digest *d = calloc(1, sizeof(*d));

	if (!d)
		return NULL;
	d->md = EVP_MD_fetch(NULL, "SHA256", NULL);
	d->ctx = EVP_MD_CTX_new();
	if (!d->md || !d->ctx) {
		errno = d->md ? ENOMEM : ENOTSUP;
		digest__free(d);
		return NULL;
	}
	return d;
}

void digest__begin(struct digest *d)
{
	d->failed = EVP_DigestInit_ex2(d->ctx, d->md, NULL) != 1;
}

static void bytes(struct digest *d, const void *p, size_t n)
{
	if (!d->failed && n)
		d->failed = EVP_DigestUpdate(d->ctx, p, n) != 1;
}

void digest__u64(struct digest *d, uint64_t v)
{
	unsigned char b[8];

	for (int i = 0; i < 8; i++)
		b[i] = (unsigned char)(v >> (8 * i));
	bytes(d, b, sizeof(b));
}

void digest__part(struct digest *d, struct span part)
{
	digest__u64(d, part.n);
	bytes(d, part.p, part.n);
}

int digest__end(struct digest *d, unsigned char out[DIGEST_LEN])
{
	unsigned n = 0;

	if (!d->failed)
		d->failed = EVP_DigestFinal_ex(d->ctx, out, &n) != 1 || n != DIGEST_LEN;
	if (!d->failed)
		return 0;
	memset(out, 0, DIGEST_LEN);
	return -EIO;
}

int digest__hmac(struct digest *d, struct span key, struct span text, unsigned char out[DIGEST_LEN])
{
	unsigned char pad[BLOCK] = {0}, inner[DIGEST_LEN];

	if (key.n > BLOCK) {
		digest__begin(d);
		bytes(d, key.p, key.n);
		if (digest__end(d, pad) < 0)
			return -EIO;
	} else if (key.n) {
		memcpy(pad, key.p, key.n);
	}
	for (int i = 0; i < BLOCK; i++)
		pad[i] ^= 0x36;
	digest__begin(d);
	bytes(d, pad, BLOCK);
	bytes(d, text.p, text.n);
	if (digest__end(d, inner) < 0)
		return -EIO;
	for (int i = 0; i < BLOCK; i++)
		pad[i] ^= 0x36 ^ 0x5c;
	digest__begin(d);
	bytes(d, pad, BLOCK);
	bytes(d, inner, DIGEST_LEN);
	return digest__end(d, out);
}

void digest__free(struct digest *d)
{
	if (!d)
		return;
	EVP_MD_CTX_free(d->ctx);
	EVP_MD_free(d->md);
	free(d);
}
