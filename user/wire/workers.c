#include "wire/workers.h"

#include <errno.h>
#include <stdlib.h>

int workers__init(struct workers *w, uint32_t max)
{
	*w = (struct workers){.max = max};
	return hmap__init(&w->map);
}

struct worker *workers__find(const struct workers *w, uint32_t pid)
{
	for (struct hnode *n = hmap__first(&w->map, hash_u64(pid)); n; n = hmap__next_same(n)) {
		struct worker *it = hmap_entry(n, struct worker, node);

		if (it->pid == pid)
			return it;
	}
	return NULL;
}

struct worker *workers__get(struct workers *w, uint32_t pid)
{
	struct worker *it = workers__find(w, pid);

	if (it)
		return it;
	if (w->map.count >= w->max) {
		errno = ENOSPC;
		return NULL;
	}
	it = calloc(1, sizeof(*it));
	if (!it)
		return NULL;
	it->pid = pid;
	list_init(&it->conns);
	hmap__insert(&w->map, &it->node, hash_u64(pid));
	return it;
}

static void end_text(char text[WORKER_TEXT_MAX])
{
	text[WORKER_TEXT_MAX - 1] = '\0';
}

int workers__learn(struct workers *w, const struct rec_worker *info)
{
	struct worker *it = workers__get(w, info->pid);

	if (!it)
		return -errno;
	if (!it->info)
		it->info = malloc(sizeof(*it->info));
	if (!it->info) {
		workers__drop(w, it, false);
		return -ENOMEM;
	}
	*it->info = *info;
	if (it->info->nports > WORKER_PORTS_MAX)
		it->info->nports = WORKER_PORTS_MAX;
	end_text(it->info->prefix);
	end_text(it->info->container);
	end_text(it->info->pod_uid);
	end_text(it->info->pod);
	end_text(it->info->pod_namespace);
	return 0;
}

void workers__drop(struct workers *w, struct worker *it, bool gone)
{
	if (!list_empty(&it->conns) || (it->info && !gone))
		return;
	hmap__remove(&w->map, &it->node);
	free(it->info);
	free(it);
}

int worker__port_role(const struct worker *it, uint16_t port, bool *known)
{
	*known = it && it->info && it->info->nports;
	if (!*known)
		return -1;
	for (uint32_t i = 0; i < it->info->nports; i++)
		if (it->info->ports[i].port == port)
			return it->info->ports[i].role;
	return -1;
}

void workers__free(struct workers *w)
{
	struct hnode *n, *next;

	if (!w->map.slots)
		return;
	for (n = hmap__next(&w->map, NULL); n; n = next) {
		struct worker *it = hmap_entry(n, struct worker, node);

		next = hmap__next(&w->map, n);
		free(it->info);
		free(it);
	}
	hmap__free(&w->map);
}
