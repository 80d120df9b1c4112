#include "capture/toll.h"

#include <errno.h>
#include <link.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"

#define ROUNDS 7
#define CALLS_OF_A_ROUND 4000
#define PROBED_OF_A_ROUND 100
#define BUDGET_NS 100000000 /* more rounds would not tell more, and somebody waits */

#if defined(__x86_64__)
/* The way from the entry of SSL_read to its result in OpenSSL 3: see placement.c. Nobody calls it but through us. */
__asm__(".text\n"
	".globl toll_function, toll_at_call, toll_at_jump\n"
	".hidden toll_function, toll_at_call, toll_at_jump\n"
	".type toll_function, @function\n"
	"toll_function:\n"
	"	sub $0x18, %rsp\n"
	"	test %edx, %edx\n"
	"	js 1f\n"
	"	lea 0x8(%rsp), %rcx\n"
	"	movslq %edx, %rdx\n"
	"toll_at_call:\n"
	"	call 2f\n"
	"	test %eax, %eax\n"
	"toll_at_jump:\n"
	"	jle 1f\n"
	"	mov 0x8(%rsp), %eax\n"
	"1:	add $0x18, %rsp\n"
	"	ret\n"
	"2:	mov %rdx, (%rcx)\n"
	"	mov $1, %eax\n"
	"	ret\n"
	".size toll_function, . - toll_function\n");
int toll_function(const void *ssl, void *buf, int n);
extern const char toll_at_call[], toll_at_jump[];
#else
static __attribute__((noinline)) int toll_function(const void *ssl, void *buf, int n)
{
	__asm__ volatile("" : : "r"(ssl), "r"(buf) : "memory");
	return n;
}
#endif

/* An address in the running program, as a place in its file. */
struct place {
	uintptr_t address;
	uint64_t offset;
};

static int on_object(struct dl_phdr_info *info, size_t size, void *ctx)
{
	struct place *p = ctx;

	(void)size;
	for (unsigned i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *h = &info->dlpi_phdr[i];
		uintptr_t begin = info->dlpi_addr + h->p_vaddr;

		if (h->p_type != PT_LOAD || p->address < begin || p->address - begin >= h->p_filesz)
			continue;
		p->offset = p->address - begin + h->p_offset;
		return 1;
	}
	return 0;
}

static uint64_t offset_of(uintptr_t address)
{
	struct place p = {.address = address};

	return dl_iterate_phdr(on_object, &p) ? p.offset : 0;
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* Nanoseconds of one call of fn: the middle of several rounds, so that an interruption does not count. */
static double time_of(void (*fn)(void), unsigned calls)
{
	double each[ROUNDS];
	uint64_t begin = clock_mono_ns();
	size_t rounds = 0;

	while (rounds < ROUNDS && (rounds < 1 || clock_mono_ns() - begin < BUDGET_NS)) {
		uint64_t from = clock_mono_ns();

		for (unsigned i = 0; i < calls; i++)
			fn();
		each[rounds++] = (double)(clock_mono_ns() - from) / calls;
	}
	qsort(each, rounds, sizeof(*each), compare);
	return each[rounds / 2];
}

static void call_function(void)
{
	char buf[8];

	toll_function(NULL, buf, (int)sizeof(buf));
}

int toll_probes(struct kernel *k, const struct features *f, bool placed, double *ret_ns)
{
	struct tls_site sites[2] = {{.prog = TLS_READ}, {.prog = TLS_RETURN, .at_return = true}};
	struct tls_links *links;
	double without;

	if (!f->has[FEATURE_UPROBES])
		return -ENOTSUP;
	sites[0].offset = sites[1].offset = offset_of((uintptr_t)toll_function);
	if (placed) {
#if defined(__x86_64__)
		sites[0] = (struct tls_site){.prog = TLS_READ_COUNTED, .offset = offset_of((uintptr_t)toll_at_call)};
		sites[1] = (struct tls_site){.prog = TLS_RETURN, .offset = offset_of((uintptr_t)toll_at_jump)};
#else
		return -ENOTSUP;
#endif
	}
	without = time_of(call_function, PROBED_OF_A_ROUND);
	links = kernel__attach_tls(k, "/proc/self/exe", (uint32_t)getpid(), sites, 2);
	if (!links)
		return -errno;
	*ret_ns = time_of(call_function, PROBED_OF_A_ROUND) - without;
	kernel__detach_tls(links);
	return 0;
}

const struct hook_costs toll_usual = {.call = 600, .tls_inside = 1200, .tls_entry = 9000};

uint32_t toll_believed(double measured_ns, uint32_t usual)
{
	double least = (double)usual / TOLL_FACTOR_MAX, most = (double)usual * TOLL_FACTOR_MAX;

	/* No number at all fails both. */
	if (measured_ns >= most)
		return (uint32_t)most;
	return measured_ns > least ? (uint32_t)measured_ns : (uint32_t)least;
}

bool toll_measure(struct kernel *k, const struct features *f, struct hook_costs *ret)
{
	double inside = 0, entry = 0;
	bool has_inside = toll_probes(k, f, true, &inside) == 0, has_entry = toll_probes(k, f, false, &entry) == 0;

	*ret = toll_usual;
	if (has_inside)
		ret->tls_inside = toll_believed(inside, toll_usual.tls_inside);
	if (has_entry)
		ret->tls_entry = toll_believed(entry, toll_usual.tls_entry);
	return has_inside || has_entry;
}

void toll_sum__add(struct toll_sum *t, uint64_t runs, uint32_t ns_each)
{
	if (runs <= t->runs)
		return;
	t->ns += (runs - t->runs) * ns_each;
	t->runs = runs;
}

static void call_read(void)
{
	syscall(SYS_read, -1, NULL, 0);
}

static void call_getppid(void)
{
	syscall(SYS_getppid);
}

void toll_calls(struct toll_calls *ret)
{
	ret->hooked = time_of(call_read, CALLS_OF_A_ROUND);
	ret->other = time_of(call_getppid, CALLS_OF_A_ROUND);
}
