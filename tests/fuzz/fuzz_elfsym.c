/* Any bytes as an ELF file. */
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "capture/elfsym.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct elf_func f;
	uint8_t code[64];
	struct elfsym *e;
	int fd = memfd_create("elf", MFD_CLOEXEC);

	if (fd < 0 || write(fd, data, size) != (ssize_t)size)
		abort();
	e = elfsym__new(fd);
	if (e) {
		if (elfsym__find(e, "f", &f) == 0 && elfsym__code(e, &f, code, sizeof(code)) > sizeof(code))
			abort();
		elfsym__imports(e, "g");
	}
	elfsym__free(e);
	close(fd);
	return 0;
}
