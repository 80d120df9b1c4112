#include "capture/recorder.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/base64.h"
#include "base/buf.h"
#include "version.h"

/* A line never outgrows this: one record carries at most one ring record's payload, or a remote configuration. */
#define LINE_MAX_BYTES (8u << 20)

struct recorder {
	FILE *file;
	struct buf line;
	int err; /* sticky */
};

static int fail(struct recorder *r, int err)
{
	if (!r->err)
		r->err = err;
	return r->err;
}

struct recorder *recorder__open(const char *path, uint64_t seed)
{
	struct recorder *r = calloc(1, sizeof(*r));
	int fd = -1, err;

	if (!r)
		return NULL;
	buf__init(&r->line, LINE_MAX_BYTES);
	/* O_NOFOLLOW and fchmod: the agent is root, and what it writes here is raw customer traffic. */
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0 || fchmod(fd, 0600))
		goto err_out;
	r->file = fdopen(fd, "w");
	if (!r->file)
		goto err_out;
	fd = -1;
	if (fprintf(r->file, "{\"kongtap_recording\":1,\"version\":\"%s\",\"seed\":%" PRIu64 "}\n", KONGTAP_VERSION,
		    seed) < 0)
		goto err_out;
	return r;
err_out:
	err = errno;
	if (fd >= 0)
		close(fd);
	recorder__close(r);
	errno = err;
	return NULL;
}

/* Text that came from another container's files: made harmless for JSON. */
static void put_text(struct buf *b, const char *name, const char *text)
{
	buf__printf(b, ",\"%s\":\"", name);
	for (; *text; text++) {
		unsigned char c = (unsigned char)*text;

		if (c == '"' || c == '\\')
			buf__printf(b, "\\%c", c);
		else if (c < 0x20 || c >= 0x7f)
			buf__printf(b, "\\u%04x", c);
		else
			buf__append_char(b, (char)c);
	}
	buf__append_char(b, '"');
}

static void put_data(struct buf *b, struct span data)
{
	buf__append_str(b, ",\"data\":\"");
	base64_encode(b, data);
	buf__append_char(b, '"');
}

static void put_key(struct buf *b, const struct conn_key *k, const char *call)
{
	buf__printf(b, ",\"pid\":%u,\"call\":\"%s\"", k->pid, call);
	if (k->tls)
		buf__printf(b, ",\"ssl\":\"%" PRIx64 "\"", k->obj);
	else
		buf__printf(b, ",\"fd\":%" PRIu64, k->obj);
	buf__printf(b, ",\"gen\":%" PRIu64, k->gen);
}

static void put_open(struct buf *b, const struct rec_open *o)
{
	static const char *const origin[] = {"unknown", "accepted", "connected"};
	char text[ENDPOINT_TEXT_LEN];

	put_key(b, &o->key, "open");
	if (o->key.tls)
		buf__printf(b, ",\"fd\":%d", o->fd);
	buf__printf(b, ",\"origin\":\"%s\"", origin[o->origin <= CONN_CONNECTED ? o->origin : 0]);
	if (o->late)
		buf__append_str(b, ",\"late\":true");
	endpoint_text(&o->local, text);
	put_text(b, "local", text);
	endpoint_text(&o->peer, text);
	put_text(b, "peer", text);
}

static void put_data_record(struct buf *b, const struct rec_data *d)
{
	static const char *const call[2][2] = {{"read", "write"}, {"ssl_read", "ssl_write"}};

	put_key(b, &d->key, call[d->key.tls != 0][d->dir == DIR_OUT]);
	buf__printf(b, ",\"ret\":%" PRIu64 ",\"pos\":%" PRIu64 ",\"off\":0,\"len\":%zu", (uint64_t)d->data.n + d->gap,
		d->pos, d->data.n);
	if (d->gap)
		buf__printf(b, ",\"gap\":%" PRIu64 ",\"cause\":%d", d->gap, (int)d->cause);
	put_data(b, d->data);
}

static void put_worker(struct buf *b, const struct rec_worker *w)
{
	buf__printf(b, ",\"pid\":%u,\"call\":\"worker\",\"node_pid\":%u,\"ports\":[", w->pid, w->node_pid);
	for (uint32_t i = 0; i < w->nports && i < WORKER_PORTS_MAX; i++)
		buf__printf(b, "%s[%u,%u,%u]", i ? "," : "", w->ports[i].port, w->ports[i].role, w->ports[i].ssl);
	buf__append_char(b, ']');
	put_text(b, "prefix", w->prefix);
	put_text(b, "container", w->container);
	put_text(b, "pod_uid", w->pod_uid);
	put_text(b, "pod", w->pod);
	put_text(b, "pod_namespace", w->pod_namespace);
}

static void put_record(struct buf *b, const struct record *rec)
{
	buf__printf(b, "{\"t_ns\":%" PRIu64, rec->t_ns);
	switch (rec->kind) {
	case REC_OPEN:
		put_open(b, &rec->open);
		break;
	case REC_DATA:
		put_data_record(b, &rec->data);
		break;
	case REC_CLOSE:
		put_key(b, &rec->close.key, rec->close.key.tls ? "ssl_free" : "close");
		buf__printf(b, ",\"in_pos\":%" PRIu64 ",\"out_pos\":%" PRIu64 "%s", rec->close.in_pos,
			rec->close.out_pos, rec->close.limited ? ",\"limited\":true" : "");
		break;
	case REC_WORKER:
		put_worker(b, &rec->worker);
		break;
	case REC_EXIT:
		buf__printf(b, ",\"pid\":%u,\"call\":\"exit\"", rec->exit.pid);
		break;
	case REC_TICK:
		buf__append_str(b, ",\"call\":\"tick\"");
		break;
	case REC_LOSS:
		buf__append_str(b, ",\"call\":\"loss\"");
		break;
	case REC_CLOCK:
		buf__printf(b, ",\"call\":\"clock\",\"wall_offset_ns\":%" PRId64, rec->clock.wall_offset_ns);
		break;
	case REC_REMOTE:
		buf__append_str(b, ",\"call\":\"remote\"");
		put_data(b, rec->remote.config);
		break;
	case REC_GOVERN:
		buf__printf(b, ",\"call\":\"govern\",\"bodies\":%s,\"shift\":%u,\"detached\":%s",
			rec->govern.bodies ? "true" : "false", rec->govern.shift,
			rec->govern.detached ? "true" : "false");
		break;
	}
	buf__append_str(b, "}\n");
}

int recorder__write(struct recorder *r, const struct record *rec)
{
	if (r->err)
		return r->err;
	buf__clear(&r->line);
	/* The room is asked for once, so the appends below cannot fail halfway through a line. */
	if (buf__reserve(&r->line, 8192 + base64_encoded_len(rec->kind == REC_DATA     ? rec->data.data.n
							     : rec->kind == REC_REMOTE ? rec->remote.config.n
										       : 0)))
		return fail(r, -ENOMEM);
	put_record(&r->line, rec);
	if (fwrite(r->line.p, 1, r->line.n, r->file) != r->line.n)
		return fail(r, errno ? -errno : -EIO);
	return 0;
}

int recorder__flush(struct recorder *r)
{
	if (!r->err && fflush(r->file))
		return fail(r, -errno);
	return r->err;
}

int recorder__close(struct recorder *r)
{
	int err = 0;

	if (!r)
		return 0;
	if (r->file) {
		err = recorder__flush(r);
		if (fclose(r->file) && !err)
			err = -errno;
	}
	buf__free(&r->line);
	free(r);
	return err;
}
