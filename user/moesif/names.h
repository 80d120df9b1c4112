/* names: sets of names that a configuration gives (masks, credentials), asked once per header, key or parameter. */
#ifndef KT_MOESIF_NAMES_H
#define KT_MOESIF_NAMES_H

#include "wire/headers.h"

/* A name with its header_hash. */
struct hname {
	struct span name;
	uint32_t hash;
};

struct names {
	struct hname *v;
	uint32_t n, cap;
	uint16_t *slots; /* index + 1 into v; 0: free */
	uint32_t mask;
	bool icase;
};

#define NAMES_MAX 4096

/* A zeroed set is empty and valid. icase is for ASCII. */
void names__init(struct names *s, bool icase);
/* The name is borrowed for the life of the set. A name that is there already is fine. 0, -ENOMEM, -ENOSPC (NAMES_MAX).
 */
int names__add(struct names *s, struct span name);
bool names__has(const struct names *s, struct span name);
/* For sets with icase, when the caller has the header_hash already. */
bool names__has_header(const struct names *s, struct span name, uint32_t hash);
void names__free(struct names *s); /* NULL is fine */

struct hname hname_of(struct span name);
/* Index of the first field with this name at or after `from`, or -1. */
int hname_find(const struct headers *h, const struct hname *n, uint32_t from);
/* A token of RFC 9110, 5.6.2: what a header may be called. */
bool name_is_token(struct span s);

#endif
