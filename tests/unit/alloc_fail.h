/* alloc_fail: the n-th allocation of our own fails, for every n. What a library allocates inside itself is not touched.
 * A test that includes this begins with the line link:
 * -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc,--wrap=reallocarray,--wrap=strdup,--wrap=strndup
 */
#ifndef KT_TESTS_ALLOC_FAIL_H
#define KT_TESTS_ALLOC_FAIL_H

#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
void *__real_reallocarray(void *p, size_t n, size_t size);
char *__real_strdup(const char *s);
char *__real_strndup(const char *s, size_t n);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t n);
void *__wrap_reallocarray(void *p, size_t n, size_t size);
char *__wrap_strdup(const char *s);
char *__wrap_strndup(const char *s, size_t n);

/* Until one fails, in whichever thread; below 0: none does. */
static atomic_long alloc_left = -1;
static atomic_bool alloc_for_good; /* and all after it */
static atomic_ulong alloc_made, alloc_failures;
static atomic_bool alloc_failed;

static bool alloc_fails(void)
{
	long left = atomic_load(&alloc_left);

	atomic_fetch_add(&alloc_made, 1);
	while (left >= 0 && !(left == 0 && atomic_load(&alloc_for_good)) &&
		!atomic_compare_exchange_weak(&alloc_left, &left, left - 1))
		;
	if (left != 0)
		return false;
	atomic_store(&alloc_failed, true);
	atomic_fetch_add(&alloc_failures, 1);
	errno = ENOMEM;
	return true;
}

void *__wrap_malloc(size_t n)
{
	return alloc_fails() ? NULL : __real_malloc(n);
}

void *__wrap_calloc(size_t n, size_t size)
{
	return alloc_fails() ? NULL : __real_calloc(n, size);
}

void *__wrap_realloc(void *p, size_t n)
{
	return alloc_fails() ? NULL : __real_realloc(p, n);
}

void *__wrap_reallocarray(void *p, size_t n, size_t size)
{
	return alloc_fails() ? NULL : __real_reallocarray(p, n, size);
}

char *__wrap_strdup(const char *s)
{
	return alloc_fails() ? NULL : __real_strdup(s);
}

char *__wrap_strndup(const char *s, size_t n)
{
	return alloc_fails() ? NULL : __real_strndup(s, n);
}

/* From here on: the allocation after `n` more fails, or none any more. */
static inline void alloc_fail_after(long n)
{
	atomic_store(&alloc_failed, false);
	atomic_store(&alloc_left, n);
}

static inline void alloc_fail_no_more(void)
{
	atomic_store(&alloc_left, -1);
}

/* One has failed since alloc_fail_after. */
static inline bool alloc_has_failed(void)
{
	return atomic_load(&alloc_failed);
}

/* Calls fn until it went through without a failed allocation; how many there are in it. */
static inline unsigned alloc_sweep(void (*fn)(void))
{
	unsigned n = 0;

	do {
		alloc_fail_after((long)n++);
		fn();
		alloc_fail_no_more();
	} while (alloc_has_failed());
	return n - 1;
}

#endif
