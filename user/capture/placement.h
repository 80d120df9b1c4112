/* placement: where in SSL_read and SSL_write to put the probes.
 *
 * What a probe costs depends on the instruction under it: the kernel emulates a call or a conditional jump (well under
 * 1 µs), and single-steps most others (up to 10 µs in a VM). A function that is exactly
 *
 *	check the length; set up (same first three arguments, address of a local count); call the inner function;
 *	test its result; jump if it is not positive; load the count
 *
 * can be probed at that call and at that jump, instead of at its entry and at its return. The bytes are decoded, by a
 * table of the few instructions that compilers make of this source, and everything that is not in the table, or not in
 * the expected order, is refused.
 */
#ifndef KT_CAPTURE_PLACEMENT_H
#define KT_CAPTURE_PLACEMENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct placement {
	uint32_t call; /* from the function's first byte: rdi = SSL, rsi = buffer, rcx = address of the count */
	uint32_t jump; /* eax = result, and the count is good if it is positive */
};

/* x86-64 code of SSL_read or SSL_write. True and *ret; false: not the pattern. */
bool placement_find(const uint8_t *code, size_t n, struct placement *ret);
/* Offset of an instruction near the function's start, reached whenever it is called with the first two arguments still
 * in their registers, that the kernel emulates; 0 when there is none (then the entry does as well as any). */
uint32_t placement_entry(const uint8_t *code, size_t n);

#endif
