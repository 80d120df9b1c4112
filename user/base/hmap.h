/* hmap: chained hash map with intrusive nodes; the caller owns the entries. The hash is keyed by a per-process random
 * seed (hash_bytes), since keys come from the wire. Grows by doubling; if that fails for want of memory the map goes on
 * with longer chains.
 */
#ifndef KT_BASE_HMAP_H
#define KT_BASE_HMAP_H

#include <stddef.h>
#include <stdint.h>

struct hnode {
	struct hnode *next;
	uint64_t hash;
};

struct hmap {
	struct hnode **slots;
	size_t mask; /* slots - 1; 0 while empty */
	size_t count;
};

#define hmap_entry(node, type, member) ((type *)((char *)(node)-offsetof(type, member)))

/* 0 or -ENOMEM. */
int hmap__init(struct hmap *m);
/* Frees the slots, not the entries. NULL is fine. */
void hmap__free(struct hmap *m);
void hmap__insert(struct hmap *m, struct hnode *n, uint64_t hash);
/* Entry must be in the map. */
void hmap__remove(struct hmap *m, struct hnode *n);
/* First node with this hash (compare the key yourself, go on with hmap__next_same), or NULL. */
struct hnode *hmap__first(const struct hmap *m, uint64_t hash);
struct hnode *hmap__next_same(const struct hnode *n);
/* Iteration in no order: pass NULL to begin; the node returned may be removed before the next call only if the
 * next one was fetched first. */
struct hnode *hmap__next(const struct hmap *m, const struct hnode *after);

uint64_t hash_bytes(const void *p, size_t n);
uint64_t hash_u64(uint64_t v);
/* For tests and replays that must be repeatable. */
void hash_set_seed(uint64_t seed);

#endif
