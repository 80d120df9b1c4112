/* elfsym: the symbols of this very program and of a library, and files that are damaged. */
#include "kt_cmocka.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "capture/elfsym.h"

__attribute__((noinline)) int elfsym_mark(int x);
__attribute__((noinline)) int elfsym_mark(int x)
{
	return x * 3 + 1;
}

static void finds(void **state)
{
	int fd = open("/proc/self/exe", O_RDONLY);
	struct elfsym *e = elfsym__new(fd);
	struct elf_func f;
	uint8_t code[16];

	(void)state;
	assert_non_null(e);
	assert_int_equal(elfsym__find(e, "elfsym_mark", &f), 0);
	assert_true(f.size > 0);
	assert_true(elfsym__code(e, &f, code, sizeof(code)) > 0);
	/* The bytes in the file are the bytes that run. */
	assert_memory_equal(code, (void *)(uintptr_t)elfsym_mark, f.size < sizeof(code) ? f.size : sizeof(code));
	assert_int_equal(elfsym__find(e, "no_such_function", &f), -ENOENT);
	assert_int_equal(elfsym__find(e, "printf", &f), -ENOENT);
	assert_true(elfsym__imports(e, "memfd_create"));
	assert_false(elfsym__imports(e, "elfsym_mark"));
#if defined(__x86_64__)
	assert_int_equal(elfsym__machine(e), EM_X86_64);
#endif
	elfsym__free(e);
	close(fd);
}

static void no_elf(void **state)
{
	int fd = memfd_create("text", 0);

	(void)state;
	assert_null(elfsym__new(fd));
	assert_int_equal(errno, ENOEXEC);
	assert_int_equal(write(fd, "#!/bin/sh\n", 10), 10);
	assert_null(elfsym__new(fd));
	close(fd);
	assert_null(elfsym__new(-1));
}

/* Bytes of the headers overwritten, file cut short: an answer or none, and never a crash. */
static void damaged(void **state)
{
	static char image[1 << 20];
	int in = open("/proc/self/exe", O_RDONLY);
	ssize_t n = read(in, image, sizeof(image));
	struct elf_func f;
	uint8_t code[64];

	(void)state;
	assert_true(n > 4096);
	srand(1);
	for (int round = 0; round < 400; round++) {
		int fd = memfd_create("elf", 0);
		size_t len = round % 4 ? (size_t)n : (size_t)(rand() % n);
		struct elfsym *e;

		assert_int_equal(write(fd, image, len), (ssize_t)len);
		for (int i = 0; i < 8; i++) {
			char b = (char)rand();

			if (pwrite(fd, &b, 1, 16 + rand() % 1000) != 1)
				fail();
		}
		e = elfsym__new(fd);
		if (e) {
			if (elfsym__find(e, "elfsym_mark", &f) == 0)
				elfsym__code(e, &f, code, sizeof(code));
			elfsym__imports(e, "printf");
		}
		elfsym__free(e);
		close(fd);
	}
	close(in);
}

/* The most memory that this process ever had. */
static long peak_kib(void)
{
	struct rusage u;

	assert_int_equal(getrusage(RUSAGE_SELF, &u), 0);
	return u.ru_maxrss;
}

/* A table that claims (and, full of holes, has) gigabytes is not read into memory, nor are as many names. */
static void enormous(void **state)
{
	Elf64_Ehdr eh = {.e_ident = {ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB, EV_CURRENT},
		.e_type = ET_DYN,
		.e_machine = EM_X86_64,
		.e_version = EV_CURRENT,
		.e_shoff = sizeof(eh),
		.e_ehsize = sizeof(eh),
		.e_shentsize = sizeof(Elf64_Shdr),
		.e_shnum = 3};
	Elf64_Shdr sh[3] = {{0},
		{.sh_type = SHT_DYNSYM, .sh_offset = 4096, .sh_entsize = sizeof(Elf64_Sym), .sh_link = 2},
		{.sh_type = SHT_STRTAB, .sh_offset = 4096}};

	Elf64_Sym sym = {.st_name = 1, .st_info = ELF64_ST_INFO(STB_GLOBAL, STT_FUNC), .st_shndx = 1};

	(void)state;
	for (int which = 1; which <= 2; which++) {
		int fd = memfd_create("elf", MFD_CLOEXEC);
		struct elf_func f;
		struct elfsym *e;
		long before;

		sh[1].sh_size = which == 1 ? 24ull << 26 : 24;
		sh[2].sh_size = which == 2 ? 1ull << 30 : 24;
		assert_int_equal(ftruncate(fd, (off_t)(2ull << 30)), 0);
		assert_int_equal(pwrite(fd, &eh, sizeof(eh), 0), sizeof(eh));
		assert_int_equal(pwrite(fd, sh, sizeof(sh), sizeof(eh)), sizeof(sh));
		assert_int_equal(pwrite(fd, &sym, sizeof(sym), 4096), sizeof(sym));
		e = elfsym__new(fd);
		assert_non_null(e);
		before = peak_kib();
		assert_int_equal(elfsym__find(e, "f", &f), -ENOENT);
		assert_in_range(peak_kib() - before, 0, 64 << 10);
		elfsym__free(e);
		close(fd);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(finds),
		cmocka_unit_test(no_elf),
		cmocka_unit_test(damaged),
		cmocka_unit_test(enormous),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
