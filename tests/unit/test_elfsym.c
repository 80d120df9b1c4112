/* elfsym: the symbols of this very program and of a library, and files that are damaged. */
#include "kt_cmocka.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(finds),
		cmocka_unit_test(no_elf),
		cmocka_unit_test(damaged),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
