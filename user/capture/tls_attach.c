#include "capture/tls_attach.h"

#include <elf.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/list.h"
#include "base/log.h"
#include "capture/elfsym.h"
#include "capture/placement.h"
#include "capture/procfs.h"

/* Long enough for the beginning of any function that we know the pattern of. */
#define CODE_MAX 192

struct attachment {
	struct list node;
	uint64_t dev, inode;
	uint32_t pid; /* 0: every process */
	size_t users;
	struct tls_plan plan;
	struct tls_links *links;
};

struct user {
	struct list node;
	uint32_t pid;
	bool all_only;
	struct attachment *at; /* NULL: probes are paused */
};

struct tls_attach {
	struct kernel *kernel;
	const struct features *features;
	struct list attachments, users;
	bool paused;
};

/* The mapped file itself, or what lies at its path if that is still the same. */
static int open_lib(const struct features *f, uint32_t pid, const struct tlslib *l)
{
	struct stat st;
	int fd = -1;

	if (f->has[FEATURE_MAP_FILES])
		fd = open(l->open_path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	if (fd < 0)
		fd = proc_open_file(pid, l->path);
	if (fd < 0)
		return fd;
	if (fstat(fd, &st) || st.st_ino != l->inode) {
		close(fd);
		return -ESTALE;
	}
	return fd;
}

static void add(struct tls_plan *p, enum tls_prog prog, uint64_t offset, bool at_return)
{
	if (p->n < TLS_SITES_MAX)
		p->sites[p->n++] = (struct tls_site){.prog = prog, .offset = offset, .at_return = at_return};
}

/* SSL_read or SSL_write: on the instructions inside, or at entry and return. -ENOENT: the library has no such function.
 */
static int plan_call(const struct features *f, const struct elfsym *e, const char *name, enum tls_prog plain,
	enum tls_prog counted, struct tls_plan *p, bool *placed)
{
	struct elf_func func;
	struct placement at;
	uint8_t code[CODE_MAX];
	size_t n;

	if (elfsym__find(e, name, &func))
		return -ENOENT;
	n = elfsym__code(e, &func, code, sizeof(code));
	*placed = f->has[FEATURE_PLACEMENT] && elfsym__machine(e) == EM_X86_64 && placement_find(code, n, &at);
	if (*placed) {
		add(p, counted, func.offset + at.call, false);
		add(p, TLS_RETURN, func.offset + at.jump, false);
	} else {
		add(p, plain, func.offset, false);
		add(p, TLS_RETURN, func.offset, true);
	}
	return 0;
}

/* Calls that nginx may be built to make besides; their fourth argument is where the count goes. */
static void plan_counted(
	const struct elfsym *e, const struct elfsym *program, const char *name, enum tls_prog prog, struct tls_plan *p)
{
	struct elf_func func;

	if ((program && !elfsym__imports(program, name)) || elfsym__find(e, name, &func))
		return;
	add(p, prog, func.offset, false);
	add(p, TLS_RETURN, func.offset, true);
}

static void plan_event(
	const struct features *f, const struct elfsym *e, const char *name, enum tls_prog prog, struct tls_plan *p)
{
	struct elf_func func;
	uint8_t code[CODE_MAX];
	size_t n;

	if (elfsym__find(e, name, &func))
		return;
	n = elfsym__code(e, &func, code, sizeof(code));
	if (f->has[FEATURE_PLACEMENT] && elfsym__machine(e) == EM_X86_64)
		func.offset += placement_entry(code, n);
	add(p, prog, func.offset, false);
}

static void plan_sites(const struct features *f, uint32_t pid, const struct elfsym *e, struct tls_plan *p)
{
	bool read_placed, write_placed;
	struct elfsym *program = NULL;
	char exe[64];
	int fd;

	if (plan_call(f, e, "SSL_read", TLS_READ, TLS_READ_COUNTED, p, &read_placed) ||
		plan_call(f, e, "SSL_write", TLS_WRITE, TLS_WRITE_COUNTED, p, &write_placed)) {
		p->n = 0;
		snprintf(p->text, sizeof(p->text), "%s: no SSL_read and SSL_write to probe (stripped, or no TLS)",
			p->lib.path);
		return;
	}
	p->placed = read_placed && write_placed;
	plan_event(f, e, "SSL_set_fd", TLS_SET_FD, p);
	plan_event(f, e, "SSL_free", TLS_FREE, p);
	/* What the program calls only: another probe is another cost. Linked into the program they cannot be told. */
	snprintf(exe, sizeof(exe), "/proc/%u/exe", pid);
	fd = open(exe, O_RDONLY | O_CLOEXEC);
	if (fd >= 0)
		program = elfsym__new(fd);
	if (program && !p->lib.is_program) {
		plan_counted(e, program, "SSL_read_ex", TLS_READ_COUNTED, p);
		plan_counted(e, program, "SSL_write_ex", TLS_WRITE_COUNTED, p);
		plan_counted(e, program, "SSL_read_early_data", TLS_READ_COUNTED, p);
		plan_counted(e, program, "SSL_write_early_data", TLS_WRITE_COUNTED, p);
	}
	elfsym__free(program);
	if (fd >= 0)
		close(fd);
	p->one_process = tlslib_is_shared(&p->lib);
	snprintf(p->text, sizeof(p->text), "%s%s, probed at %s%s", p->lib.path,
		p->lib.is_program ? " (linked in)"
		: p->lib.deleted  ? " (file replaced since)"
				  : "",
		p->placed ? "cheap instructions" : "entry and return", p->one_process ? ", in the workers alone" : "");
}

/* What the process maps; ret->lib.inode 0: it lives, and the text says why that cannot be seen. -ESRCH: it is gone, or
 * at its end, when it maps nothing any more. */
static int find_lib(uint32_t pid, struct tls_plan *ret)
{
	int err;

	memset(ret, 0, sizeof(*ret));
	err = tlslib_find(pid, &ret->lib);
	if (err == -ENOENT || err == -ESRCH)
		return -ESRCH;
	if (err)
		snprintf(ret->text, sizeof(ret->text), "its TLS library cannot be looked for: %s", strerror(-err));
	return 0;
}

int tls_plan(const struct features *f, uint32_t pid, struct tls_plan *ret, int *ret_fd)
{
	struct elfsym *e;
	int fd, err = find_lib(pid, ret);

	if (ret_fd)
		*ret_fd = -1;
	if (err || !ret->lib.inode)
		return err;
	if (!f->has[FEATURE_UPROBES]) {
		snprintf(ret->text, sizeof(ret->text), "%s: this kernel has no uprobes", ret->lib.path);
		return 0;
	}
	fd = open_lib(f, pid, &ret->lib);
	if (fd < 0) {
		snprintf(ret->text, sizeof(ret->text), "%s: cannot be opened: %s", ret->lib.path, strerror(-fd));
		return 0;
	}
	e = elfsym__new(fd);
	if (e)
		plan_sites(f, pid, e, ret);
	else
		snprintf(ret->text, sizeof(ret->text), "%s: not an ELF file that can be read", ret->lib.path);
	elfsym__free(e);
	if (ret_fd && ret->n)
		*ret_fd = fd;
	else
		close(fd);
	return 0;
}

struct tls_attach *tls_attach__new(struct kernel *k, const struct features *f)
{
	struct tls_attach *t = calloc(1, sizeof(*t));

	if (!t)
		return NULL;
	t->kernel = k;
	t->features = f;
	list_init(&t->attachments);
	list_init(&t->users);
	return t;
}

static struct attachment *find(const struct tls_attach *t, const struct tlslib *l, uint32_t pid)
{
	for (struct list *i = t->attachments.next; i != &t->attachments; i = i->next) {
		struct attachment *a = list_entry(i, struct attachment, node);

		if (a->dev == l->dev && a->inode == l->inode && a->pid == pid)
			return a;
	}
	return NULL;
}

static int attach_new(struct tls_attach *t, uint32_t pid, const struct tls_plan *p, int fd, struct attachment **ret)
{
	struct attachment *a = calloc(1, sizeof(*a));
	char path[32];
	int err;

	if (!a)
		return -ENOMEM;
	a->dev = p->lib.dev;
	a->inode = p->lib.inode;
	a->pid = pid;
	a->plan = *p;
	/* By the descriptor: the very file that was looked at. */
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	a->links = kernel__attach_tls(t->kernel, path, pid, p->sites, p->n);
	if (!a->links) {
		err = -errno;
		free(a);
		return err;
	}
	list_push_back(&t->attachments, &a->node);
	*ret = a;
	return 0;
}

static struct user *user_of(const struct tls_attach *t, uint32_t pid)
{
	for (struct list *i = t->users.next; i != &t->users; i = i->next) {
		struct user *u = list_entry(i, struct user, node);

		if (u->pid == pid)
			return u;
	}
	return NULL;
}

/* a NULL: it waits for the end of a pause. */
static int use(struct tls_attach *t, uint32_t pid, bool all_only, struct attachment *a)
{
	struct user *u = calloc(1, sizeof(*u));

	if (!u)
		return -ENOMEM;
	u->pid = pid;
	u->all_only = all_only;
	u->at = a;
	if (a)
		a->users++;
	list_push_back(&t->users, &u->node);
	return 0;
}

static void unuse(struct attachment *a)
{
	if (a->users && --a->users)
		return;
	kernel__detach_tls(a->links);
	list_remove(&a->node);
	free(a);
}

/* The probes of what this process maps, there already or made now; *ret_at NULL: none, *ret says why. */
static int attach(struct tls_attach *t, uint32_t pid, bool all_only, struct tls_plan *ret, struct attachment **ret_at)
{
	int err, failed, fd = -1;

	*ret_at = NULL;
	err = find_lib(pid, ret);
	if (err || !ret->lib.inode)
		return err;
	/* Nothing of a library that is probed already needs to be read again. */
	*ret_at = find(t, &ret->lib, tlslib_is_shared(&ret->lib) ? pid : 0);
	if (*ret_at) {
		*ret = (*ret_at)->plan;
		return 0;
	}
	err = tls_plan(t->features, pid, ret, &fd);
	if (err || !ret->n || (ret->one_process && all_only))
		goto out;
	failed = attach_new(t, ret->one_process ? pid : 0, ret, fd, ret_at);
	if (failed) {
		snprintf(ret->text, sizeof(ret->text), "%s: cannot be probed: %s", ret->lib.path, strerror(-failed));
		ret->n = 0;
	}
out:
	if (fd >= 0)
		close(fd);
	return err;
}

int tls_attach__process(struct tls_attach *t, uint32_t pid, bool all_only, struct tls_plan *ret)
{
	struct user *u = user_of(t, pid);
	struct attachment *a;
	int err;

	if (u && u->at) {
		*ret = u->at->plan;
		return 0;
	}
	if (t->paused) {
		err = tls_plan(t->features, pid, ret, NULL);
		return err || u ? err : use(t, pid, all_only, NULL);
	}
	err = attach(t, pid, all_only, ret, &a);
	if (err || !a)
		return err;
	err = use(t, pid, all_only, a);
	if (err && !a->users)
		unuse(a);
	return err;
}

static void forget(struct user *u)
{
	list_remove(&u->node);
	if (u->at)
		unuse(u->at);
	free(u);
}

void tls_attach__forget(struct tls_attach *t, uint32_t pid)
{
	struct user *u = user_of(t, pid);

	if (u)
		forget(u);
}

void tls_attach__pause(struct tls_attach *t)
{
	t->paused = true;
	for (struct list *i = t->users.next; i != &t->users; i = i->next) {
		struct user *u = list_entry(i, struct user, node);

		if (u->at)
			unuse(u->at);
		u->at = NULL;
	}
}

void tls_attach__resume(
	struct tls_attach *t, void (*fn)(void *ctx, uint32_t pid, const struct tls_plan *why), void *ctx)
{
	struct tls_plan plan;
	struct list *i, *tmp;
	int err;

	t->paused = false;
	/* Each as if it had just been found: its library may be another one by now. */
	list_for_each_safe (i, tmp, &t->users) {
		struct user *u = list_entry(i, struct user, node);

		err = attach(t, u->pid, u->all_only, &plan, &u->at);
		if (u->at) {
			u->at->users++;
			continue;
		}
		if (!u->all_only && !err) {
			log_warn("capture", "worker %u: its TLS is not captured any more: %s", u->pid, plan.text);
			fn(ctx, u->pid, &plan);
		}
		forget(u);
	}
}

void tls_attach__free(struct tls_attach *t)
{
	struct list *i, *tmp;

	if (!t)
		return;
	list_for_each_safe (i, tmp, &t->users) {
		forget(list_entry(i, struct user, node));
	}
	free(t);
}
