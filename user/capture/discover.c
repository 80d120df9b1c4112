#include "capture/discover.h"

#include <unistd.h>

#include <errno.h>
#include <fnmatch.h>
#include <limits.h>
#include <stdlib.h>

#include "base/list.h"
#include "capture/node.h"
#include "capture/procfs.h"

/* Far beyond any host; a bound all the same. */
#define PROCESSES_MAX 4096
/* Looks that a forked process is given to take a worker's title; longer if it is still its master's image, since Kong
 * does much in a worker before it takes one. */
#define PATIENCE 20
/* A master takes its title when it has read its configuration and Kong has done its part: connected to its database,
 * read what there is. Seconds after which an nginx without one is something else. */
#define STARTING_MAX 600
/* Looks for which a starting nginx is remembered: it goes into the background as another process. */
#define STARTING_LOOKS 3
/* Looks after which a node's files are read again, should nothing point at a change before. */
#define REREAD 30

struct process {
	struct list link;
	uint32_t pid;
	uint64_t start; /* 0: not read yet */
	bool seen;	/* in this scan */
};

struct node {
	struct process p;
	struct proc_stat st;
	struct rec_worker facts; /* what its workers have in common */
	unsigned fresh;		 /* looks for which they are good; 0: read them anew */
};

struct worker {
	struct process p;
	uint32_t node_pid;
	unsigned looks;	 /* that found it without a title; 0: it has one */
	unsigned missed; /* looks in a row that did not find it */
	unsigned fresh;	 /* of one that is described by itself: as in struct node */
	struct rec_worker told;
};

/* A worker's title, seen in this scan. */
struct candidate {
	uint32_t pid, ppid;
	uint64_t start;
};

#define EXITED_KEPT 64

struct discover {
	const struct capture_options *options;
	struct discover_sink sink;
	struct list nodes, workers;
	size_t nnodes, nworkers;
	struct candidate *candidates;
	size_t ncandidates;
	unsigned starting; /* looks that an nginx without a title is still good for */
	/* The latest that the kernel said have exited: /proc shows them as running for a moment more. */
	struct exited {
		uint32_t pid;
		uint64_t start;
	} exited[EXITED_KEPT];
	unsigned nexited;
};

#define node_at(l) list_entry(l, struct node, p.link)
#define worker_at(l) list_entry(l, struct worker, p.link)

struct discover *discover__new(const struct capture_options *o, const struct discover_sink *sink)
{
	struct discover *d = calloc(1, sizeof(*d));

	if (!d)
		return NULL;
	d->candidates = calloc(PROCESSES_MAX, sizeof(*d->candidates));
	if (!d->candidates) {
		free(d);
		errno = ENOMEM;
		return NULL;
	}
	d->options = o;
	d->sink = *sink;
	list_init(&d->nodes);
	list_init(&d->workers);
	return d;
}

static struct node *find_node(const struct discover *d, uint32_t pid)
{
	for (struct list *i = d->nodes.next; i != &d->nodes; i = i->next)
		if (node_at(i)->p.pid == pid)
			return node_at(i);
	return NULL;
}

static struct worker *find_worker(const struct discover *d, uint32_t pid)
{
	for (struct list *i = d->workers.next; i != &d->workers; i = i->next)
		if (worker_at(i)->p.pid == pid)
			return worker_at(i);
	return NULL;
}

static bool pid_wanted(const struct capture_options *o, uint32_t pid)
{
	for (size_t i = 0; i < o->npids; i++)
		if (o->pids[i] == pid)
			return true;
	return false;
}

/* As a prefix is kept, without a slash at the end. */
static bool glob_matches(const char *glob, const char *prefix)
{
	char text[PATH_MAX];
	size_t n = strlen(glob);

	if (n >= sizeof(text))
		return false;
	memcpy(text, glob, n + 1);
	while (n > 1 && text[n - 1] == '/')
		text[--n] = '\0';
	return fnmatch(text, prefix, 0) == 0;
}

static bool prefix_wanted(const struct capture_options *o, const char *prefix)
{
	for (size_t i = 0; i < o->nprefixes; i++)
		if (glob_matches(o->prefixes[i], prefix) &&
			(!node_is_command(prefix) || node_is_command(o->prefixes[i])))
			return true;
	return false;
}

/* Is this master one to follow? What was named, if anything was; else what is Kong. */
static bool node_wanted(const struct capture_options *o, uint32_t pid, const char *prefix)
{
	if (o->npids || o->nprefixes)
		return pid_wanted(o, pid) || (prefix[0] && prefix_wanted(o, prefix));
	return node_is_kong(pid, prefix);
}

static void drop_worker(struct discover *d, struct worker *w)
{
	uint32_t pid = w->p.pid;

	list_remove(&w->p.link);
	d->nworkers--;
	free(w);
	d->sink.worker_gone(d->sink.ctx, pid);
}

static void drop_node(struct discover *d, struct node *n)
{
	uint32_t pid = n->p.pid;

	list_remove(&n->p.link);
	d->nnodes--;
	free(n);
	d->sink.node_gone(d->sink.ctx, pid);
}

/* Tells of a worker if there is news. */
static void tell(struct discover *d, struct worker *w, const struct rec_worker *facts, bool fresh)
{
	struct rec_worker now = *facts;

	now.pid = w->p.pid;
	now.node_pid = w->node_pid;
	if (!fresh && memcmp(&now, &w->told, sizeof(now)) == 0)
		return;
	w->told = now;
	d->sink.worker(d->sink.ctx, &w->told, fresh);
}

static struct worker *add_worker(struct discover *d, uint32_t pid, uint32_t node_pid, uint64_t start)
{
	struct worker *w;

	if (d->nworkers >= PROCESSES_MAX)
		return NULL;
	w = calloc(1, sizeof(*w));
	if (!w)
		return NULL;
	w->p.pid = pid;
	w->p.start = start;
	w->p.seen = true;
	w->node_pid = node_pid;
	list_push_back(&d->workers, &w->p.link);
	d->nworkers++;
	return w;
}

static void describe(struct node *n)
{
	node_describe(n->p.pid, n->facts.prefix, &n->facts);
	n->fresh = REREAD;
}

static void see_master(struct discover *d, uint32_t pid, const struct proc_stat *st, const char *prefix)
{
	struct node *n = find_node(d, pid);

	if (n && n->p.start != st->start) {
		drop_node(d, n);
		n = NULL;
	}
	if (!n) {
		if (d->nnodes >= PROCESSES_MAX || !node_wanted(d->options, pid, prefix))
			return;
		n = calloc(1, sizeof(*n));
		if (!n)
			return;
		n->p.pid = pid;
		n->p.start = st->start;
		memcpy(n->facts.prefix, prefix, strlen(prefix) + 1);
		list_push_back(&d->nodes, &n->p.link);
		d->nnodes++;
		d->sink.node(d->sink.ctx, pid, prefix);
	}
	n->p.seen = true;
	n->st = *st;
	if (n->fresh)
		n->fresh--;
	if (!n->fresh)
		describe(n);
}

/* What there is to say of one that is described by itself is good for a while once its ports are known: the kernel's
 * list of sockets is long on a busy host, and each look at it passes all of it. */
static bool still_fresh(struct worker *w)
{
	if (w->fresh && w->told.nports) {
		w->fresh--;
		return true;
	}
	w->fresh = REREAD;
	return false;
}

/* A process that was named by --pid and is no nginx: watched as it is. */
static void see_named(struct discover *d, uint32_t pid, const struct proc_stat *st)
{
	struct rec_worker facts = {0};
	struct worker *w = find_worker(d, pid);
	bool fresh = !w;

	if (fresh)
		w = add_worker(d, pid, st->ppid, st->start);
	if (!w)
		return;
	w->p.seen = true;
	if (still_fresh(w))
		return;
	node_describe(pid, "", &facts);
	tell(d, w, &facts, fresh);
}

/* Forked just now, it may still bear its master's title. True: it is taken care of. */
static bool see_forked(struct discover *d, uint32_t pid, const struct proc_stat *st, bool master)
{
	const struct worker *w = find_worker(d, pid);
	const struct node *n = find_node(d, st->ppid);

	if (w && w->looks)
		return true;
	if (!n)
		return false;
	/* The news of the fork is on its way to us. */
	if (!find_node(d, pid) && d->sink.captured && d->sink.captured(d->sink.ctx, pid))
		return true;
	/* Nobody told of it: it is older than our watch. A new master of a binary upgrade is a child of the old one
	 * too, but became another program since. */
	return master && proc_same_image(&n->st, st) && discover__forked(d, st->ppid, pid);
}

/* An nginx that has no title yet. */
static void see_starting(struct discover *d, const char *title, const struct proc_stat *st)
{
	char prefix[WORKER_TEXT_MAX];

	node_prefix(title, prefix);
	if (!node_is_command(prefix) && proc_age(st) < STARTING_MAX)
		d->starting = STARTING_LOOKS;
}

static bool has_exited(const struct discover *d, uint32_t pid, uint64_t start)
{
	for (unsigned i = 0; i < EXITED_KEPT; i++)
		if (d->exited[i].pid == pid && d->exited[i].start == start)
			return true;
	return false;
}

static bool see_process(void *ctx, uint32_t pid)
{
	struct discover *d = ctx;
	char title[4096], prefix[WORKER_TEXT_MAX];
	bool named = pid_wanted(d->options, pid), master;
	struct proc_stat st;

	if (proc_stat(pid, &st) || st.state == 'Z' || st.state == 'X' || has_exited(d, pid, st.start))
		return true;
	if (strcmp(st.comm, "nginx") != 0 && !named)
		return true;
	if (proc_title(pid, title, sizeof(title)) < 0)
		return true;
	master = node_master_title(title, prefix);
	if (!node_worker_title(title) && see_forked(d, pid, &st, master))
		return true;
	if (master) {
		see_master(d, pid, &st, prefix);
	} else if (node_worker_title(title)) {
		if (d->ncandidates < PROCESSES_MAX)
			d->candidates[d->ncandidates++] = (struct candidate){pid, st.ppid, st.start};
	} else if (named) {
		see_named(d, pid, &st);
	} else if (!node_any_title(title)) {
		see_starting(d, title, &st);
	}
	return true;
}

/* A worker that was named by --pid while its master was not: what the master is tells about it all the same. */
static void see_worker_alone(struct discover *d, const struct candidate *c)
{
	char title[4096], prefix[WORKER_TEXT_MAX] = "";
	struct rec_worker facts = {0};
	struct worker *w = find_worker(d, c->pid);
	bool fresh = !w;

	if (proc_title(c->ppid, title, sizeof(title)) >= 0)
		node_master_title(title, prefix);
	if (fresh)
		w = add_worker(d, c->pid, c->ppid, c->start);
	if (!w)
		return;
	w->p.seen = true;
	if (still_fresh(w))
		return;
	memcpy(facts.prefix, prefix, sizeof(prefix));
	node_describe(c->pid, prefix, &facts);
	tell(d, w, &facts, fresh);
}

static void see_worker(struct discover *d, const struct candidate *c)
{
	struct node *n = find_node(d, c->ppid);
	struct worker *w = find_worker(d, c->pid);
	bool fresh;

	if (w && w->p.start && w->p.start != c->start) {
		drop_worker(d, w);
		w = NULL;
	}
	if (!n) {
		/* A worker outlives its master for a while: whoever is known stays known. */
		if (w)
			w->p.seen = true;
		else if (pid_wanted(d->options, c->pid))
			see_worker_alone(d, c);
		return;
	}
	fresh = !w;
	if (fresh) {
		/* Made by a reload, it may listen elsewhere than the others did. */
		if (n->fresh < REREAD)
			describe(n);
		w = add_worker(d, c->pid, c->ppid, c->start);
	}
	if (!w)
		return;
	w->p.start = c->start;
	w->p.seen = true;
	w->looks = 0;
	tell(d, w, &n->facts, fresh);
}

static bool is_image_of_master(const struct discover *d, const struct worker *w)
{
	const struct node *n = find_node(d, w->node_pid);
	struct proc_stat st;

	return n && proc_stat(w->p.pid, &st) == 0 && proc_same_image(&n->st, &st);
}

/* Forked, and not a worker by its title: given some time to become one, unless it says that it is something else. */
static void see_unsettled(struct discover *d)
{
	struct list *i, *tmp;
	char title[4096], prefix[WORKER_TEXT_MAX];

	list_for_each_safe (i, tmp, &d->workers) {
		struct worker *w = worker_at(i);

		if (!w->looks || w->p.seen)
			continue;
		if (proc_title(w->p.pid, title, sizeof(title)) <= 0 || !node_master_title(title, prefix) ||
			(w->looks > PATIENCE && !is_image_of_master(d, w)))
			continue; /* not seen: dropped below */
		if (w->looks <= PATIENCE)
			w->looks++;
		w->p.seen = true;
	}
}

static void unsee(struct discover *d)
{
	for (struct list *i = d->nodes.next; i != &d->nodes; i = i->next)
		node_at(i)->p.seen = false;
	for (struct list *i = d->workers.next; i != &d->workers; i = i->next)
		worker_at(i)->p.seen = false;
	d->ncandidates = 0;
	if (d->starting)
		d->starting--;
}

static void drop_unseen_nodes(struct discover *d)
{
	struct list *i, *tmp;

	list_for_each_safe (i, tmp, &d->nodes) {
		if (!node_at(i)->p.seen)
			drop_node(d, node_at(i));
	}
}

/* The kernel reports an exit in its place among the calls (discover__ended). A look at /proc does not know that place:
 * the rings may still hold the last calls of a worker that is gone already. So it goes at the second look, and between
 * two looks the rings are read to their end. */
static void drop_unseen_workers(struct discover *d)
{
	struct list *i, *tmp;

	list_for_each_safe (i, tmp, &d->workers) {
		struct worker *w = worker_at(i);

		if (w->p.seen)
			w->missed = 0;
		else if (++w->missed > 1)
			drop_worker(d, w);
	}
}

int discover__scan(struct discover *d)
{
	int err;

	unsee(d);
	err = proc_each(see_process, d);
	if (err)
		return err;
	/* Nodes before workers: what was taken for a master while it was being forked may be a worker by now. */
	drop_unseen_nodes(d);
	for (size_t i = 0; i < d->ncandidates; i++)
		see_worker(d, &d->candidates[i]);
	see_unsettled(d);
	drop_unseen_workers(d);
	return 0;
}

bool discover__forked(struct discover *d, uint32_t parent, uint32_t child)
{
	struct node *n = find_node(d, parent);
	struct worker *w;

	if (!n)
		return false;
	w = find_worker(d, child);
	if (w)
		return true;
	/* A look at /proc in between may have taken it for what its title said. */
	if (find_node(d, child))
		drop_node(d, find_node(d, child));
	w = add_worker(d, child, parent, 0);
	if (!w)
		return false;
	w->looks = 1;
	n->fresh = 0;
	tell(d, w, &n->facts, true);
	return true;
}

bool discover__ended(struct discover *d, uint32_t pid)
{
	struct worker *w = find_worker(d, pid);
	struct node *n = find_node(d, pid);

	if (w)
		drop_worker(d, w);
	if (n)
		drop_node(d, n);
	return w || n;
}

bool discover__exited(struct discover *d, uint32_t pid)
{
	struct proc_stat st;

	/* Where it is gone from there, too, nothing shows it any more. */
	if (proc_stat(pid, &st) == 0)
		d->exited[d->nexited++ % EXITED_KEPT] = (struct exited){pid, st.start};
	return discover__ended(d, pid);
}

size_t discover__workers(const struct discover *d)
{
	return d->nworkers;
}

size_t discover__nodes(const struct discover *d)
{
	return d->nnodes;
}

/* Taken for a master because it was met before its parent was. */
static bool is_misjudged(const struct discover *d, const struct node *n)
{
	const struct node *parent = find_node(d, n->st.ppid);

	return parent && proc_same_image(&parent->st, &n->st);
}

bool discover__unsettled(const struct discover *d)
{
	for (struct list *i = d->nodes.next; i != &d->nodes; i = i->next)
		if (is_misjudged(d, node_at(i)))
			return true;
	for (struct list *i = d->workers.next; i != &d->workers; i = i->next)
		if ((worker_at(i)->looks && worker_at(i)->looks <= PATIENCE) || worker_at(i)->missed)
			return true;
	return false;
}

bool discover__starting(const struct discover *d)
{
	return d->starting > 0;
}

void discover__free(struct discover *d)
{
	struct list *i, *tmp;

	if (!d)
		return;
	list_for_each_safe (i, tmp, &d->workers) {
		free(worker_at(i));
	}
	list_for_each_safe (i, tmp, &d->nodes) {
		free(node_at(i));
	}
	free(d->candidates);
	free(d);
}
