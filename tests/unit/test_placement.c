/* placement: exactly the known patterns, and nothing that is a byte away from them. */
#include "kt_cmocka.h"

#include <stdlib.h>
#include <string.h>

#include "capture/placement.h"

/* SSL_read of Debian's 3.0.22: stack protector, count at (%rsp). */
static const uint8_t debian[] = {0x48, 0x83, 0xec, 0x18, 0x64, 0x48, 0x8b, 0x04, 0x25, 0x28, 0x00, 0x00, 0x00, 0x48,
	0x89, 0x44, 0x24, 0x08, 0x31, 0xc0, 0x85, 0xd2, 0x78, 0x2f, 0x48, 0x89, 0xe1, 0x48, 0x63, 0xd2, 0xe8, 0x3d,
	0xfe, 0xff, 0xff, 0x85, 0xc0, 0x7e, 0x03, 0x8b, 0x04, 0x24, 0x48, 0x8b, 0x54, 0x24, 0x08};

/* As OpenSSL builds it by itself: no protector, count at 8(%rsp). */
static const uint8_t plain[] = {0x48, 0x83, 0xec, 0x18, 0x85, 0xd2, 0x78, 0x1f, 0x48, 0x8d, 0x4c, 0x24, 0x08, 0x48,
	0x63, 0xd2, 0xe8, 0x00, 0x01, 0x00, 0x00, 0x85, 0xc0, 0x7e, 0x04, 0x8b, 0x44, 0x24, 0x08, 0x48, 0x83, 0xc4,
	0x18, 0xc3};

/* endbr64 first, long jumps, and the count loaded at the target of a jg. */
static const uint8_t far_jumps[] = {0xf3, 0x0f, 0x1e, 0xfa, 0x48, 0x83, 0xec, 0x18, 0x85, 0xd2, 0x0f, 0x88, 0x40, 0x00,
	0x00, 0x00, 0x48, 0x63, 0xd2, 0x48, 0x8d, 0x4c, 0x24, 0x08, 0xe8, 0x00, 0x01, 0x00, 0x00, 0x85, 0xc0, 0x7f,
	0x05, 0x48, 0x83, 0xc4, 0x18, 0xc3, 0x8b, 0x44, 0x24, 0x08};

static void known_patterns(void **state)
{
	struct placement p;

	(void)state;
	assert_true(placement_find(debian, sizeof(debian), &p));
	assert_int_equal(p.call, 30);
	assert_int_equal(p.jump, 37);
	assert_true(placement_find(plain, sizeof(plain), &p));
	assert_int_equal(p.call, 16);
	assert_int_equal(p.jump, 23);
	assert_true(placement_find(far_jumps, sizeof(far_jumps), &p));
	assert_int_equal(p.call, 24);
	assert_int_equal(p.jump, 31);
}

/* Cut anywhere before the load of the count it is not the pattern; the buffer ends where the memory ends. */
static void cut_short(void **state)
{
	struct placement p;

	(void)state;
	for (size_t n = 0; n < sizeof(debian); n++) {
		uint8_t *copy = malloc(n ? n : 1);

		assert_non_null(copy);
		memcpy(copy, debian, n);
		assert_int_equal(placement_find(copy, n, &p), n >= 42);
		placement_entry(copy, n);
		free(copy);
	}
}

/* Each bit of the opcodes matters; of the operands only distances may differ. */
static void every_bit(void **state)
{
	/* where js and jle lead and what is called: no matter (js: forwards) */
	static const size_t operands[] = {7, 17, 18, 19, 20, 24};
	struct placement p;

	(void)state;
	for (size_t bit = 0; bit < 8 * 29; bit++) {
		uint8_t code[sizeof(plain)];
		size_t at = bit / 8;
		bool operand = false;

		memcpy(code, plain, sizeof(code));
		code[at] ^= (uint8_t)(1u << bit % 8);
		for (size_t i = 0; i < sizeof(operands) / sizeof(*operands); i++)
			operand |= at == operands[i];
		if (operand || at == 3)
			continue;
		assert_false(placement_find(code, sizeof(code), &p));
	}
}

static void refused(void **state)
{
	uint8_t code[sizeof(plain)];
	struct placement p;

	(void)state;
	/* the count is loaded from elsewhere */
	memcpy(code, plain, sizeof(code));
	code[28] = 0x10;
	assert_false(placement_find(code, sizeof(code), &p));
	/* the count lies outside the frame */
	memcpy(code, plain, sizeof(code));
	code[12] = code[28] = 0x18;
	assert_false(placement_find(code, sizeof(code), &p));
	/* js goes backwards */
	memcpy(code, plain, sizeof(code));
	code[7] = 0x80;
	assert_false(placement_find(code, sizeof(code), &p));
	/* a result that is negated first */
	memcpy(code, plain, sizeof(code));
	code[21] = 0xf7;
	assert_false(placement_find(code, sizeof(code), &p));
}

static void entries(void **state)
{
	static const uint8_t push[] = {0x41, 0x54, 0x41, 0x89, 0xf4};
	static const uint8_t endbr_push[] = {0xf3, 0x0f, 0x1e, 0xfa, 0x55};
	static const uint8_t test_jz[] = {0x48, 0x85, 0xff, 0x0f, 0x84, 0x97, 0x03, 0x00, 0x00, 0x41, 0x55};
	static const uint8_t moved_first[] = {0x48, 0x89, 0xfb, 0x53};
	static const uint8_t frame_then_call[] = {0x48, 0x83, 0xec, 0x08, 0xe8, 0, 0, 0, 0};

	(void)state;
	assert_int_equal(placement_entry(push, sizeof(push)), 0);
	assert_int_equal(placement_entry(endbr_push, sizeof(endbr_push)), 4);
	assert_int_equal(placement_entry(test_jz, sizeof(test_jz)), 3);
	assert_int_equal(placement_entry(moved_first, sizeof(moved_first)), 0);
	assert_int_equal(placement_entry(frame_then_call, sizeof(frame_then_call)), 4);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(known_patterns),
		cmocka_unit_test(cut_short),
		cmocka_unit_test(every_bit),
		cmocka_unit_test(refused),
		cmocka_unit_test(entries),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
