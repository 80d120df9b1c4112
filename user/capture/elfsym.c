#include "capture/elfsym.h"

#include <gelf.h>
#include <libelf.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A symbol table has to be looked through from end to end; nginx with everything in it has some 50,000. A file may hold
 * many tables, and name one place for all of them: the bound is for all that is looked at for one name. */
#define SYMBOLS_MAX 4000000
/* A table of symbols or their names, which libelf reads into memory as a whole. */
#define TABLE_BYTES_MAX (128u << 20)

struct elfsym {
	Elf *elf;
	int fd;
	unsigned machine;
};

struct elfsym *elfsym__new(int fd)
{
	struct elfsym *e = calloc(1, sizeof(*e));
	GElf_Ehdr ehdr;

	if (!e)
		return NULL;
	e->fd = fd;
	if (elf_version(EV_CURRENT) == EV_NONE)
		goto fail;
	/* By reading, not by mapping: the file may shrink under us. */
	e->elf = elf_begin(fd, ELF_C_READ, NULL);
	if (!e->elf || elf_kind(e->elf) != ELF_K_ELF || !gelf_getehdr(e->elf, &ehdr))
		goto fail;
	e->machine = ehdr.e_machine;
	return e;
fail:
	elfsym__free(e);
	errno = ENOEXEC;
	return NULL;
}

/* From the address that a symbol has to its place in the file: by the segment that it is loaded with. */
static int file_offset(const struct elfsym *e, uint64_t addr, uint64_t *ret)
{
	size_t n;
	GElf_Phdr ph;

	if (elf_getphdrnum(e->elf, &n))
		return -ENOENT;
	for (size_t i = 0; i < n && i < INT32_MAX; i++) {
		if (!gelf_getphdr(e->elf, (int)i, &ph) || ph.p_type != PT_LOAD || !(ph.p_flags & PF_X))
			continue;
		if (addr < ph.p_vaddr || addr - ph.p_vaddr >= ph.p_filesz)
			continue;
		if (ph.p_offset > UINT64_MAX - (addr - ph.p_vaddr))
			return -ENOENT;
		*ret = addr - ph.p_vaddr + ph.p_offset;
		return 0;
	}
	return -ENOENT;
}

static bool names_fit(const struct elfsym *e, uint32_t link)
{
	Elf_Scn *scn = elf_getscn(e->elf, link);
	GElf_Shdr sh;

	return scn && gelf_getshdr(scn, &sh) && sh.sh_size <= TABLE_BYTES_MAX;
}

/* Looks for `name` in every table of this type. `defined`: in this file; else taken from another. */
static int find_in(const struct elfsym *e, uint32_t type, const char *name, bool defined, GElf_Sym *ret)
{
	Elf_Scn *scn = NULL;
	GElf_Shdr sh;
	GElf_Sym sym;
	size_t looked = 0;

	while (looked < SYMBOLS_MAX && (scn = elf_nextscn(e->elf, scn))) {
		Elf_Data *d;
		size_t n;

		looked++; /* a section is worth one, too */
		if (!gelf_getshdr(scn, &sh) || sh.sh_type != type || !sh.sh_entsize || sh.sh_size > TABLE_BYTES_MAX ||
			!names_fit(e, sh.sh_link))
			continue;
		d = elf_getdata(scn, NULL);
		if (!d)
			continue;
		n = d->d_size / sh.sh_entsize;
		for (size_t i = 0; i < n && looked < SYMBOLS_MAX; i++, looked++) {
			const char *s;

			if (!gelf_getsym(d, (int)i, &sym) || (sym.st_shndx != SHN_UNDEF) != defined)
				continue;
			if (defined && GELF_ST_TYPE(sym.st_info) != STT_FUNC)
				continue;
			s = elf_strptr(e->elf, sh.sh_link, sym.st_name);
			if (s && strcmp(s, name) == 0) {
				*ret = sym;
				return 0;
			}
		}
	}
	return -ENOENT;
}

int elfsym__find(const struct elfsym *e, const char *name, struct elf_func *ret)
{
	struct elf_func f;
	GElf_Sym sym;

	if (find_in(e, SHT_DYNSYM, name, true, &sym) && find_in(e, SHT_SYMTAB, name, true, &sym))
		return -ENOENT;
	if (file_offset(e, sym.st_value, &f.offset))
		return -ENOENT;
	f.size = sym.st_size;
	*ret = f;
	return 0;
}

bool elfsym__imports(const struct elfsym *e, const char *name)
{
	GElf_Sym sym;

	return find_in(e, SHT_DYNSYM, name, false, &sym) == 0;
}

size_t elfsym__code(const struct elfsym *e, const struct elf_func *f, uint8_t *ret, size_t n)
{
	ssize_t got;

	if (f->size && n > f->size)
		n = f->size;
	if (f->offset > INT64_MAX)
		return 0;
	got = pread(e->fd, ret, n, (off_t)f->offset);
	return got > 0 ? (size_t)got : 0;
}

unsigned elfsym__machine(const struct elfsym *e)
{
	return e->machine;
}

void elfsym__free(struct elfsym *e)
{
	if (!e)
		return;
	elf_end(e->elf);
	free(e);
}
