#include "moesif/sip.h"

static uint64_t le64(uint64_t w)
{
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
	w = __builtin_bswap64(w);
#endif
	return w;
}

static inline uint64_t turned(uint64_t w, unsigned by)
{
	return w << by | w >> (64 - by);
}

static inline void sip_round(uint64_t v[4])
{
	v[0] += v[1];
	v[1] = turned(v[1], 13) ^ v[0];
	v[0] = turned(v[0], 32);
	v[2] += v[3];
	v[3] = turned(v[3], 16) ^ v[2];
	v[0] += v[3];
	v[3] = turned(v[3], 21) ^ v[0];
	v[2] += v[1];
	v[1] = turned(v[1], 17) ^ v[2];
	v[2] = turned(v[2], 32);
}

static inline void sip_word(struct sip *s, uint64_t w)
{
	s->v[3] ^= w;
	sip_round(s->v);
	sip_round(s->v);
	s->v[0] ^= w;
	s->n += sizeof(w);
}

void sip__begin(struct sip *s, const unsigned char key[SIP_KEY_LEN])
{
	uint64_t k0 = le64(span_word((const char *)key)), k1 = le64(span_word((const char *)key + 8));

	s->v[0] = k0 ^ 0x736f6d6570736575ull;
	s->v[1] = k1 ^ 0x646f72616e646f6dull ^ 0xee;
	s->v[2] = k0 ^ 0x6c7967656e657261ull;
	s->v[3] = k1 ^ 0x7465646279746573ull;
	s->n = 0;
}

void sip__u64(struct sip *s, uint64_t v)
{
	sip_word(s, v);
}

static inline void part(struct sip *s, struct span p, bool lower)
{
	struct sip at = *s;
	uint64_t w;

	sip_word(&at, p.n);
	for (; p.n >= sizeof(w); p = span_skip(p, sizeof(w))) {
		w = le64(span_word(p.p));
		sip_word(&at, lower ? ascii_lower8(w) : w);
	}
	if (p.n) {
		w = 0;
		for (size_t i = 0; i < p.n; i++)
			w |= (uint64_t)(unsigned char)p.p[i] << 8 * i;
		sip_word(&at, lower ? ascii_lower8(w) : w);
	}
	*s = at;
}

void sip__part(struct sip *s, struct span p)
{
	part(s, p, false);
}

void sip__part_lower(struct sip *s, struct span p)
{
	part(s, p, true);
}

void sip__end(struct sip *s, unsigned char out[SIP_LEN])
{
	uint64_t w;

	/* Only whole words went in: the last one holds nothing but the length. */
	sip_word(s, s->n << 56);
	for (int half = 0; half < 2; half++) {
		if (half)
			s->v[1] ^= 0xdd;
		else
			s->v[2] ^= 0xee;
		for (int i = 0; i < 4; i++)
			sip_round(s->v);
		w = le64(s->v[0] ^ s->v[1] ^ s->v[2] ^ s->v[3]);
		memcpy(out + 8 * half, &w, sizeof(w));
	}
}
