/* workers: what is known of each worker, and its connections. Private to conns. */
#ifndef KT_WIRE_WORKERS_H
#define KT_WIRE_WORKERS_H

#include "base/hmap.h"
#include "base/list.h"
#include "capture/record.h"

struct worker {
	struct hnode node;
	struct list conns;
	struct rec_worker *info; /* NULL: no record of it yet */
	uint32_t pid;
};

struct workers {
	struct hmap map;
	uint32_t max;
};

/* 0 or -ENOMEM. */
int workers__init(struct workers *w, uint32_t max);
/* NULL when it is not known. */
struct worker *workers__find(const struct workers *w, uint32_t pid);
/* Finds or makes it. NULL and errno: ENOSPC, ENOMEM. */
struct worker *workers__get(struct workers *w, uint32_t pid);
/* 0, -ENOSPC, -ENOMEM. */
int workers__learn(struct workers *w, const struct rec_worker *info);
/* Forget one that has no connection left; `gone`: even if something is known of it. */
void workers__drop(struct workers *w, struct worker *it, bool gone);
/* What the worker does on a port, or -1 when it does not listen there; *known: whether its ports are known at all. */
int worker__port_role(const struct worker *it, uint16_t port, bool *known);
void workers__free(struct workers *w);

#endif
