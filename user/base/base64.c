#include "base/base64.h"

#include <errno.h>

static const char alphabet[64] __attribute__((nonstring)) =
	"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

int base64_encode(struct buf *out, struct span data)
{
	const unsigned char *in = (const unsigned char *)data.p;
	size_t n = data.n;
	int err = buf__reserve(out, base64_encoded_len(n));
	char *p;

	if (err)
		return err;
	p = out->p + out->n;
	for (; n >= 3; n -= 3, in += 3) {
		uint32_t v = (uint32_t)in[0] << 16 | (uint32_t)in[1] << 8 | in[2];

		*p++ = alphabet[v >> 18];
		*p++ = alphabet[v >> 12 & 63];
		*p++ = alphabet[v >> 6 & 63];
		*p++ = alphabet[v & 63];
	}
	if (n) {
		uint32_t v = (uint32_t)in[0] << 16 | (n > 1 ? (uint32_t)in[1] << 8 : 0);

		*p++ = alphabet[v >> 18];
		*p++ = alphabet[v >> 12 & 63];
		*p++ = n > 1 ? alphabet[v >> 6 & 63] : '=';
		*p++ = '=';
	}
	out->n = (size_t)(p - out->p);
	return 0;
}

static int value_of(unsigned char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	if (c == '+' || c == '-')
		return 62;
	if (c == '/' || c == '_')
		return 63;
	return -1;
}

long base64_decode(struct span text, void *out)
{
	unsigned char *p = out;
	uint32_t v = 0;
	unsigned have = 0;
	int pads = 0;

	while (text.n && text.p[text.n - 1] == '=' && pads < 2) {
		text.n--;
		pads++;
	}
	/* One character left over holds six bits: no byte can come of it. Padding must fill the last group. */
	if (text.n % 4 == 1 || (pads && (text.n + (size_t)pads) % 4 != 0))
		return -EINVAL;
	for (size_t i = 0; i < text.n; i++) {
		int d = value_of((unsigned char)text.p[i]);

		if (d < 0)
			return -EINVAL;
		v = v << 6 | (uint32_t)d;
		if (++have == 4) {
			*p++ = (unsigned char)(v >> 16);
			*p++ = (unsigned char)(v >> 8);
			*p++ = (unsigned char)v;
			have = 0;
			v = 0;
		}
	}
	if (have == 2) {
		*p++ = (unsigned char)(v >> 4);
	} else if (have == 3) {
		*p++ = (unsigned char)(v >> 10);
		*p++ = (unsigned char)(v >> 2);
	}
	return (long)(p - (unsigned char *)out);
}
