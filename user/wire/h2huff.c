#include "wire/h2huff.h"

#include <errno.h>

#define LOOK_BITS 30 /* length of the longest code */
#define EOS 256

/* The code is canonical: within one length codes count up in the order of the symbols, and a shorter code is less than
 * every longer one when both are left-aligned. So a row per length is all there is to it. */
struct row {
	uint8_t len;
	uint16_t first_symbol; /* index into symbols[] */
	uint32_t first_code;
	uint32_t limit; /* left-aligned to LOOK_BITS: what is less has this length or a shorter one */
};

static const struct row rows[] = {
	{5, 0, 0x0, 0x14000000},
	{6, 10, 0x14, 0x2e000000},
	{7, 36, 0x5c, 0x3e000000},
	{8, 68, 0xf8, 0x3f800000},
	{10, 74, 0x3f8, 0x3fd00000},
	{11, 79, 0x7fa, 0x3fe80000},
	{12, 82, 0xffa, 0x3ff00000},
	{13, 84, 0x1ff8, 0x3ffc0000},
	{14, 90, 0x3ffc, 0x3ffe0000},
	{15, 92, 0x7ffc, 0x3fff8000},
	{19, 95, 0x7fff0, 0x3fff9800},
	{20, 98, 0xfffe6, 0x3fffb800},
	{21, 106, 0x1fffdc, 0x3fffd200},
	{22, 119, 0x3fffd2, 0x3fffec00},
	{23, 145, 0x7fffd8, 0x3ffffa80},
	{24, 174, 0xffffea, 0x3ffffd80},
	{25, 186, 0x1ffffec, 0x3ffffe00},
	{26, 190, 0x3ffffe0, 0x3ffffef0},
	{27, 205, 0x7ffffde, 0x3fffff88},
	{28, 224, 0xfffffe2, 0x3ffffffc},
	{30, 253, 0x3ffffffc, 0x40000000},
};

/* By length of code, then by value. */
/* clang-format off */
static const uint16_t symbols[257] = {
	48, 49, 50, 97, 99, 101, 105, 111, 115, 116, 32, 37, 45, 46, 47, 51, 52, 53, 54, 55, 56, 57, 61, 65, 95, 98,
	100, 102, 103, 104, 108, 109, 110, 112, 114, 117, 58, 66, 67, 68, 69, 70, 71, 72, 73, 74, 75, 76, 77, 78, 79,
	80, 81, 82, 83, 84, 85, 86, 87, 89, 106, 107, 113, 118, 119, 120, 121, 122, 38, 42, 44, 59, 88, 90, 33, 34,
	40, 41, 63, 39, 43, 124, 35, 62, 0, 36, 64, 91, 93, 126, 94, 125, 60, 96, 123, 92, 195, 208, 128, 130, 131,
	162, 184, 194, 224, 226, 153, 161, 167, 172, 176, 177, 179, 209, 216, 217, 227, 229, 230, 129, 132, 133, 134,
	136, 146, 154, 156, 160, 163, 164, 169, 170, 173, 178, 181, 185, 186, 187, 189, 190, 196, 198, 228, 232, 233,
	1, 135, 137, 138, 139, 140, 141, 143, 147, 149, 150, 151, 152, 155, 157, 158, 165, 166, 168, 174, 175, 180,
	182, 183, 188, 191, 197, 231, 239, 9, 142, 144, 145, 148, 159, 171, 206, 215, 225, 236, 237, 199, 207, 234,
	235, 192, 193, 200, 201, 202, 205, 210, 213, 218, 219, 238, 240, 242, 243, 255, 203, 204, 211, 212, 214, 221,
	222, 223, 241, 244, 245, 246, 247, 248, 250, 251, 252, 253, 254, 2, 3, 4, 5, 6, 7, 8, 11, 12, 14, 15, 16, 17,
	18, 19, 20, 21, 23, 24, 25, 26, 27, 28, 29, 30, 31, 127, 220, 249, 10, 13, 22, EOS,
};
/* clang-format on */

/* The next symbol of `bits` (the top `have` of its 64 are real, ones follow); its length in *len. */
static unsigned int next_symbol(uint64_t bits, unsigned int *len)
{
	uint32_t look = (uint32_t)(bits >> (64 - LOOK_BITS));
	const struct row *r = rows;

	while (look >= r->limit)
		r++; /* the last row's limit is beyond every value of LOOK_BITS bits */
	*len = r->len;
	return symbols[r->first_symbol + ((look >> (LOOK_BITS - r->len)) - r->first_code)];
}

int h2huff_decode(struct span coded, struct buf *out)
{
	const unsigned char *p = (const unsigned char *)coded.p, *end = p + coded.n;
	unsigned int have = 0, len, symbol;
	uint64_t bits = ~0ull;
	int err = buf__reserve(out, coded.n);

	if (err)
		return err;
	for (;;) {
		while (have <= 56 && p < end) {
			/* Clear the place of the new byte among the ones, then put it there. */
			bits ^= (uint64_t)(0xff ^ *p++) << (56 - have);
			have += 8;
		}
		if (have < 8 && bits == ~0ull)
			return 0; /* padding: the begin of EOS, fewer than eight bits */
		symbol = next_symbol(bits, &len);
		if (len > have || symbol == EOS)
			return -EBADMSG;
		err = buf__append_char(out, (char)symbol);
		if (err)
			return err;
		bits = (bits << len) | ((1ull << len) - 1);
		have -= len;
	}
}
