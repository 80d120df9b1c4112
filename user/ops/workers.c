#include "ops/workers.h"

static struct worker_row *find(struct worker_table *t, uint32_t pid)
{
	/* Records come in runs of one worker. */
	if (t->last < t->n && t->rows[t->last].pid == pid)
		return &t->rows[t->last];
	for (uint32_t i = 0; i < t->n; i++) {
		if (t->rows[i].pid == pid) {
			t->last = i;
			return &t->rows[i];
		}
	}
	return NULL;
}

static struct worker_row *find_or_add(struct worker_table *t, uint32_t pid)
{
	struct worker_row *row = find(t, pid);

	if (row)
		return row;
	if (t->n == OPS_WORKERS_MAX) {
		t->left_out++;
		return NULL;
	}
	row = &t->rows[t->n++];
	memset(row, 0, sizeof(*row));
	row->pid = pid;
	return row;
}

static void copy_text(char to[WORKER_TEXT_MAX], const char from[WORKER_TEXT_MAX])
{
	size_t n = strnlen(from, WORKER_TEXT_MAX - 1);

	memcpy(to, from, n);
	to[n] = '\0';
}

static void on_worker(struct worker_table *t, const struct rec_worker *w)
{
	struct worker_row *row = find_or_add(t, w->pid);

	if (!row)
		return;
	row->node_pid = w->node_pid;
	row->nports = row->tls_ports = 0;
	for (uint32_t i = 0; i < w->nports && i < WORKER_PORTS_MAX; i++) {
		row->nports += w->ports[i].role == PORT_PROXY;
		row->tls_ports += w->ports[i].role == PORT_PROXY && w->ports[i].ssl;
	}
	copy_text(row->prefix, w->prefix);
	copy_text(row->pod, w->pod);
	copy_text(row->pod_namespace, w->pod_namespace);
	copy_text(row->container, w->container);
}

/* Rows keep their order, so that the page does not jump. */
static void on_exit_record(struct worker_table *t, uint32_t pid)
{
	struct worker_row *row = find(t, pid);
	size_t after;

	if (!row)
		return;
	after = (size_t)(&t->rows[t->n] - row) - 1;
	memmove(row, row + 1, after * sizeof(*row));
	t->n--;
}

static void on_data(struct worker_table *t, uint64_t t_ns, const struct rec_data *d)
{
	struct worker_row *row = find(t, d->key.pid);

	if (!row)
		return;
	*(d->key.tls ? &row->tls_bytes : &row->clear_bytes) += d->data.n + d->gap;
	row->seen_ns = t_ns;
}

void worker_table__on_record(struct worker_table *t, const struct record *rec)
{
	if (rec->kind == REC_DATA)
		on_data(t, rec->t_ns, &rec->data);
	else if (rec->kind == REC_WORKER)
		on_worker(t, &rec->worker);
	else if (rec->kind == REC_EXIT)
		on_exit_record(t, rec->exit.pid);
}
