/* SipHash-2-4-128: the published value, libcrypto's word on random input, and that parts cannot be written alike. */
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <string.h>

#include "kt_cmocka.h"
#include "moesif/sip.h"

static uint64_t dice = 88172645463325252ull;

static uint64_t roll(void)
{
	dice ^= dice << 13;
	dice ^= dice >> 7;
	dice ^= dice << 17;
	return dice;
}

static void make_key(unsigned char key[SIP_KEY_LEN])
{
	for (int i = 0; i < SIP_KEY_LEN; i++)
		key[i] = (unsigned char)(roll() >> 20);
}

/* key 00 01 … 0f, no input: the first of the vectors that the authors publish. */
static void published(void **state)
{
	static const unsigned char want[SIP_LEN] = {
		0xa3, 0x81, 0x7f, 0x04, 0xba, 0x25, 0xa8, 0xe6, 0x6d, 0xf6, 0x72, 0x14, 0xc7, 0x55, 0x02, 0x93};
	unsigned char key[SIP_KEY_LEN], got[SIP_LEN];
	struct sip s;

	(void)state;
	for (int i = 0; i < SIP_KEY_LEN; i++)
		key[i] = (unsigned char)i;
	sip__begin(&s, key);
	sip__end(&s, got);
	assert_memory_equal(got, want, SIP_LEN);
}

static void libcrypto_says(const unsigned char *key, const void *p, size_t n, unsigned char out[SIP_LEN])
{
	EVP_MAC *mac = EVP_MAC_fetch(NULL, "SIPHASH", NULL);
	EVP_MAC_CTX *ctx = EVP_MAC_CTX_new(mac);
	unsigned size = SIP_LEN;
	OSSL_PARAM params[] = {OSSL_PARAM_construct_uint(OSSL_MAC_PARAM_SIZE, &size), OSSL_PARAM_construct_end()};
	size_t got = 0;

	assert_int_equal(EVP_MAC_init(ctx, key, SIP_KEY_LEN, params), 1);
	assert_int_equal(EVP_MAC_update(ctx, p, n), 1);
	assert_int_equal(EVP_MAC_final(ctx, out, &got, SIP_LEN), 1);
	assert_int_equal(got, SIP_LEN);
	EVP_MAC_CTX_free(ctx);
	EVP_MAC_free(mac);
}

/* Parts of every length, as the words that they are filled up to. */
static void like_libcrypto(void **state)
{
	(void)state;
	for (size_t n = 0; n < 200; n++) {
		unsigned char key[SIP_KEY_LEN], got[SIP_LEN], want[SIP_LEN], words[16 + 200 + 8] = {0};
		char text[200], mixed[200];
		uint64_t v = roll();
		struct sip s;

		make_key(key);
		for (size_t i = 0; i < n; i++) {
			text[i] = (char)ascii_lower((unsigned char)(roll() >> 30));
			mixed[i] = text[i] >= 'a' && text[i] <= 'z' && roll() >> 63 ? (char)(text[i] - 32) : text[i];
		}
		for (int i = 0; i < 8; i++) {
			words[i] = (unsigned char)(v >> 8 * i);
			words[8 + i] = (unsigned char)((uint64_t)n >> 8 * i);
		}
		memcpy(words + 16, text, n);
		libcrypto_says(key, words, 16 + (n + 7) / 8 * 8, want);
		sip__begin(&s, key);
		sip__u64(&s, v);
		sip__part(&s, span_of(text, n));
		sip__end(&s, got);
		assert_memory_equal(got, want, SIP_LEN);
		sip__begin(&s, key);
		sip__u64(&s, v);
		sip__part_lower(&s, span_of(mixed, n));
		sip__end(&s, got);
		assert_memory_equal(got, want, SIP_LEN);
	}
}

static void parts(const char *const *list, unsigned char out[SIP_LEN])
{
	static const unsigned char key[SIP_KEY_LEN];
	struct sip s;

	sip__begin(&s, key);
	for (; *list; list++)
		sip__part(&s, span_str(*list));
	sip__end(&s, out);
}

static void parts_are_told_apart(void **state)
{
	static const char *const lists[][4] = {
		{"ab", "c"}, {"a", "bc"}, {"abc"}, {"", "abc"}, {"abc", ""}, {"A", "bc"}};
	unsigned char h[6][SIP_LEN];

	(void)state;
	for (int i = 0; i < 6; i++) {
		parts(lists[i], h[i]);
		for (int k = 0; k < i; k++)
			assert_memory_not_equal(h[i], h[k], SIP_LEN);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(published),
		cmocka_unit_test(like_libcrypto),
		cmocka_unit_test(parts_are_told_apart),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
