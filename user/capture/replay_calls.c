#include "capture/replay_calls.h"

#include <errno.h>
#include <stdlib.h>

#include "base/hmap.h"
#include "base/list.h"

/* One life of one fd or SSL pointer. */
struct life {
	struct hnode node;
	struct list age;
	struct conn_key key;
	int32_t fd;
	enum conn_origin origin;
	struct endpoint local, peer;
	bool opened;		   /* OPEN was handed on */
	bool is_tls;		   /* an fd that carries TLS records: its bytes are of no use */
	uint64_t base[2], next[2]; /* by direction: where the current call began, where the next one will */
};

struct replay_calls {
	struct hmap lives;
	struct list by_age;
	size_t max;
	uint64_t next_gen;
	struct record_sink sink;
};

static uint64_t life_hash(uint32_t pid, bool tls, uint64_t obj)
{
	return hash_u64(obj ^ (uint64_t)pid << 40 ^ (uint64_t)tls << 63);
}

static struct life *find(struct replay_calls *r, uint32_t pid, bool tls, uint64_t obj)
{
	struct hnode *n = hmap__first(&r->lives, life_hash(pid, tls, obj));

	for (; n; n = hmap__next_same(n)) {
		struct life *l = hmap_entry(n, struct life, node);

		if (l->key.pid == pid && l->key.tls == (uint32_t)tls && l->key.obj == obj)
			return l;
	}
	return NULL;
}

static void end_life(struct replay_calls *r, struct life *l, uint64_t t_ns)
{
	struct record rec = {.kind = REC_CLOSE, .t_ns = t_ns};

	if (l->opened) {
		rec.close.key = l->key;
		rec.close.in_pos = l->next[DIR_IN];
		rec.close.out_pos = l->next[DIR_OUT];
		r->sink.fn(r->sink.ctx, &rec);
	}
	hmap__remove(&r->lives, &l->node);
	list_remove(&l->age);
	free(l);
}

static struct life *begin_life(struct replay_calls *r, const struct call *c, bool tls, uint64_t obj, int32_t fd)
{
	struct life *l = find(r, c->pid, tls, obj);

	if (l)
		end_life(r, l, c->t_ns);
	if (r->lives.count >= r->max)
		end_life(r, list_entry(r->by_age.next, struct life, age), c->t_ns);
	l = calloc(1, sizeof(*l));
	if (!l)
		return NULL;
	l->key = (struct conn_key){.gen = ++r->next_gen, .obj = obj, .pid = c->pid, .tls = tls};
	l->fd = fd;
	l->local = c->local;
	l->peer = c->peer;
	hmap__insert(&r->lives, &l->node, life_hash(c->pid, tls, obj));
	list_push_back(&r->by_age, &l->age);
	return l;
}

static void hand_open(struct replay_calls *r, struct life *l, uint64_t t_ns)
{
	struct record rec = {.kind = REC_OPEN, .t_ns = t_ns};

	rec.open =
		(struct rec_open){.key = l->key, .fd = l->fd, .origin = l->origin, .local = l->local, .peer = l->peer};
	l->opened = true;
	r->sink.fn(r->sink.ctx, &rec);
}

static int on_socket(struct replay_calls *r, const struct call *c, enum conn_origin origin)
{
	struct life *l;

	/* connect(2) that fails at once leaves nothing behind; EINPROGRESS is how a non-blocking one begins. */
	if (c->fd < 0 || (c->ret < 0 && c->ret != -EINPROGRESS))
		return 0;
	l = begin_life(r, c, false, (uint64_t)c->fd, c->fd);
	if (!l)
		return -ENOMEM;
	l->origin = origin;
	return 0;
}

static int on_set_fd(struct replay_calls *r, const struct call *c)
{
	struct life *fd = c->fd >= 0 ? find(r, c->pid, false, (uint64_t)c->fd) : NULL;
	struct life *l = begin_life(r, c, true, c->ssl, c->fd);

	if (!l)
		return -ENOMEM;
	if (!fd)
		return 0;
	fd->is_tls = true;
	l->origin = fd->origin;
	if (!l->local.family) {
		l->local = fd->local;
		l->peer = fd->peer;
	}
	return 0;
}

/* An fd that closes takes the SSL object on it along: whatever comes later under that pointer is another life. */
static void on_close(struct replay_calls *r, const struct call *c)
{
	struct life *l = c->fd >= 0 ? find(r, c->pid, false, (uint64_t)c->fd) : NULL;
	bool tls = l && l->is_tls;

	if (l)
		end_life(r, l, c->t_ns);
	if (!tls)
		return;
	for (struct hnode *n = hmap__next(&r->lives, NULL), *next; n; n = next) {
		struct life *t = hmap_entry(n, struct life, node);

		next = hmap__next(&r->lives, n);
		if (t->key.tls && t->key.pid == c->pid && t->fd == c->fd)
			end_life(r, t, c->t_ns);
	}
}

/* TLS records on an fd whose SSL_set_fd was not seen: content type 20 to 23 and a major version of 3 (RFC 8446, 5.1).
 */
static bool looks_tls(struct span d)
{
	return d.n >= 3 && d.p[0] >= 20 && d.p[0] <= 23 && d.p[1] == 3 && (unsigned char)d.p[2] <= 4;
}

static int on_data(struct replay_calls *r, const struct call *c, bool tls, enum direction dir)
{
	uint64_t obj = tls ? c->ssl : (uint64_t)c->fd;
	struct life *l;
	struct record rec = {.kind = REC_DATA, .t_ns = c->t_ns};
	struct span data = c->data;

	if (!tls && c->fd < 0)
		return 0;
	l = find(r, c->pid, tls, obj);
	if (!l) {
		if (c->ret <= 0)
			return 0;
		l = begin_life(r, c, tls, obj, tls ? -1 : c->fd);
		if (!l)
			return -ENOMEM;
	}
	if (c->ciphertext || (!tls && !l->opened && looks_tls(data)))
		l->is_tls = true;
	if (c->ret <= 0 || l->is_tls)
		return 0;
	if (!l->opened)
		hand_open(r, l, c->t_ns);
	if (c->off >= (uint64_t)c->ret)
		return 0;
	if (c->off == 0) {
		l->base[dir] = l->next[dir];
		l->next[dir] += (uint64_t)c->ret;
	} else if (!l->next[dir]) {
		/* A recording that was cut inside a vectored call: the direction begins with this segment. */
		l->base[dir] = 0 - c->off;
		l->next[dir] = (uint64_t)c->ret - c->off;
	}
	if (data.n > (uint64_t)c->ret - c->off)
		data.n = (size_t)((uint64_t)c->ret - c->off);
	rec.data = (struct rec_data){.key = l->key, .dir = dir, .pos = l->base[dir] + c->off, .data = data};
	r->sink.fn(r->sink.ctx, &rec);
	return 0;
}

int replay_calls__on_call(struct replay_calls *r, const struct call *c)
{
	struct life *l;

	switch (c->kind) {
	case CALL_ACCEPT:
		return on_socket(r, c, CONN_ACCEPTED);
	case CALL_CONNECT:
		return on_socket(r, c, CONN_CONNECTED);
	case CALL_CLOSE:
		on_close(r, c);
		return 0;
	case CALL_READ:
		return on_data(r, c, false, DIR_IN);
	case CALL_WRITE:
		return on_data(r, c, false, DIR_OUT);
	case CALL_SSL_READ:
		return on_data(r, c, true, DIR_IN);
	case CALL_SSL_WRITE:
		return on_data(r, c, true, DIR_OUT);
	case CALL_SSL_SET_FD:
		return on_set_fd(r, c);
	case CALL_SSL_FREE:
		l = find(r, c->pid, true, c->ssl);
		if (l)
			end_life(r, l, c->t_ns);
		return 0;
	}
	return 0;
}

struct replay_calls *replay_calls__new(size_t max, struct record_sink sink)
{
	struct replay_calls *r = calloc(1, sizeof(*r));

	if (!r)
		return NULL;
	if (hmap__init(&r->lives)) {
		free(r);
		errno = ENOMEM;
		return NULL;
	}
	list_init(&r->by_age);
	r->max = max ? max : 1;
	r->sink = sink;
	return r;
}

void replay_calls__free(struct replay_calls *r)
{
	struct list *it, *tmp;

	if (!r)
		return;
	list_for_each_safe (it, tmp, &r->by_age)
		free(list_entry(it, struct life, age));
	hmap__free(&r->lives);
	free(r);
}
