/* zalloc: calloc for what is allocated and freed with every call. */
#ifndef KT_BASE_ZALLOC_H
#define KT_BASE_ZALLOC_H

#include <stdlib.h>
#include <string.h>

/* n bytes, zeroed, for free(); NULL: no memory. glibc's calloc (2.36) passes the thread's cache of freed memory by, and
 * the compiler makes one of malloc and memset where it sees both. */
static inline void *zalloc(size_t n)
{
	void *p = malloc(n);

#ifndef __clang_analyzer__ /* it takes p for another one behind this */
	__asm__("" : "+r"(p));
#endif
	return p ? memset(p, 0, n) : NULL;
}

#endif
