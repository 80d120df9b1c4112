#include "capture/tls_report.h"

#include <stdio.h>
#include <stdlib.h>

struct row {
	struct list node;
	struct source_tls tls;
};

void tls_report__init(struct tls_report *r)
{
	list_init(&r->rows);
}

static struct row *find(const struct tls_report *r, uint32_t pid)
{
	for (struct list *i = r->rows.next; i != &r->rows; i = i->next) {
		struct row *row = list_entry(i, struct row, node);

		if (row->tls.pid == pid)
			return row;
	}
	return NULL;
}

void tls_report__set(struct tls_report *r, uint32_t pid, const struct tls_plan *p)
{
	struct row *row = find(r, pid);

	if (!row) {
		row = calloc(1, sizeof(*row));
		if (!row)
			return;
		list_push_back(&r->rows, &row->node);
	}
	row->tls.pid = pid;
	row->tls.probed = p->n > 0;
	row->tls.placed = p->placed;
	snprintf(row->tls.library, sizeof(row->tls.library), "%s", p->lib.path);
	snprintf(row->tls.text, sizeof(row->tls.text), "%s", p->text);
}

void tls_report__drop(struct tls_report *r, uint32_t pid)
{
	struct row *row = find(r, pid);

	if (!row)
		return;
	list_remove(&row->node);
	free(row);
}

void tls_report__each(const struct tls_report *r, void (*fn)(void *ctx, const struct source_tls *t), void *ctx)
{
	for (struct list *i = r->rows.next; i != &r->rows; i = i->next)
		fn(ctx, &list_entry(i, struct row, node)->tls);
}

void tls_report__free(struct tls_report *r)
{
	struct list *it, *next;

	list_for_each_safe (it, next, &r->rows)
		free(list_entry(it, struct row, node));
	list_init(&r->rows);
}
