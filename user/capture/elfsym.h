/* elfsym: where functions are in an ELF file, and what they begin with. The file is somebody else's: nothing in it is
 * believed unchecked.
 */
#ifndef KT_CAPTURE_ELFSYM_H
#define KT_CAPTURE_ELFSYM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct elfsym;

/* Borrows the descriptor until elfsym__free. NULL and errno: ENOEXEC (not an ELF file that can be read), ENOMEM. */
struct elfsym *elfsym__new(int fd);

struct elf_func {
	uint64_t offset; /* of its first byte in the file */
	uint64_t size;	 /* 0: the table does not say */
};

/* A defined function by name, whatever its version: dynamic table first, then the full one. 0; -ENOENT. */
int elfsym__find(const struct elfsym *e, const char *name, struct elf_func *ret);
/* Does the file take a function of this name from elsewhere? */
bool elfsym__imports(const struct elfsym *e, const char *name);
/* The first bytes of the function, at most n; 0 when it is not in the file. */
size_t elfsym__code(const struct elfsym *e, const struct elf_func *f, uint8_t *ret, size_t n);
/* EM_X86_64, EM_AARCH64, … */
unsigned elfsym__machine(const struct elfsym *e);
void elfsym__free(struct elfsym *e); /* NULL is fine */

#endif
