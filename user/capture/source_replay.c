/* A recording as a source: JSON lines, plain or gzip. Lines with "gen" are kongtap's own and become records as they
 * stand; lines without are calls (replay_calls.h).
 */
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

#include "base/base64.h"
#include "base/log.h"
#include "capture/replay_calls.h"
#include "capture/source_ops.h"

#define LINE_BYTES_MAX (16u << 20)
#define LIVES_MAX 262144
#define LINES_PER_POLL 256
#define TICK_NS 100000000ull /* a recording of calls has no ticks: they are made of its own time */

struct replay {
	struct source base;
	gzFile file;
	char *path;
	struct record_sink sink;
	struct replay_calls *calls;
	struct buf line, data; /* data: the decoded payload of the line at hand */
	unsigned long line_no;
	uint64_t seed;
	int64_t wall_offset_ns;
	uint64_t last_tick;
	bool pending; /* the first line was read at open and is no header */
};

static int64_t int_of(const json_t *o, const char *name, int64_t otherwise)
{
	const json_t *v = json_object_get(o, name);

	return json_is_integer(v) ? (int64_t)json_integer_value(v) : otherwise;
}

static const char *str_of(const json_t *o, const char *name)
{
	const char *s = json_string_value(json_object_get(o, name));

	return s ? s : "";
}

/* 1 a line, 0 end, negative errno. */
static int read_line(struct replay *r)
{
	char chunk[65536];
	int zerr;

	buf__clear(&r->line);
	for (;;) {
		if (!gzgets(r->file, chunk, sizeof(chunk))) {
			gzerror(r->file, &zerr);
			if (zerr == Z_ERRNO)
				return errno ? -errno : -EIO;
			if (zerr != Z_OK && zerr != Z_BUF_ERROR)
				return -EBADMSG;
			return r->line.n > 0;
		}
		size_t n = strlen(chunk);
		if (buf__append(&r->line, chunk, n))
			return -EBADMSG;
		if (n && chunk[n - 1] == '\n') {
			r->line_no++;
			return 1;
		}
	}
}

static int decode_data(struct replay *r, const json_t *o, struct span *ret)
{
	const json_t *v = json_object_get(o, "data");
	struct span text;
	long n;

	*ret = span_of("", 0);
	if (!v)
		return 0;
	if (!json_is_string(v))
		return -EBADMSG;
	text = span_of(json_string_value(v), json_string_length(v));
	buf__clear(&r->data);
	if (buf__reserve(&r->data, base64_decoded_max(text.n)))
		return -ENOMEM;
	n = base64_decode(text, r->data.p);
	if (n < 0)
		return -EBADMSG;
	*ret = span_of(r->data.p, (size_t)n);
	return 0;
}

static struct endpoint endpoint_of(const json_t *o, const char *name)
{
	struct endpoint e = {0};
	struct span text = span_str(str_of(o, name));

	if (text.n)
		endpoint_parse(text, &e);
	return e;
}

static uint64_t ssl_of(const json_t *o)
{
	return strtoull(str_of(o, "ssl"), NULL, 16);
}

static struct conn_key key_of(const json_t *o)
{
	bool tls = json_object_get(o, "ssl") != NULL;

	return (struct conn_key){
		.gen = (uint64_t)int_of(o, "gen", 0),
		.obj = tls ? ssl_of(o) : (uint64_t)int_of(o, "fd", 0),
		.pid = (uint32_t)int_of(o, "pid", 0),
		.tls = tls,
	};
}

static enum conn_origin origin_of(const json_t *o)
{
	const char *s = str_of(o, "origin");

	return !strcmp(s, "accepted") ? CONN_ACCEPTED : !strcmp(s, "connected") ? CONN_CONNECTED : CONN_UNKNOWN;
}

static void copy_text(char out[WORKER_TEXT_MAX], const char *s)
{
	size_t n = strnlen(s, WORKER_TEXT_MAX - 1);

	memcpy(out, s, n);
	out[n] = '\0';
}

static void worker_of(const json_t *o, struct rec_worker *w)
{
	const json_t *ports = json_object_get(o, "ports"), *p;
	size_t i;

	*w = (struct rec_worker){.pid = (uint32_t)int_of(o, "pid", 0), .node_pid = (uint32_t)int_of(o, "node_pid", 0)};
	json_array_foreach((json_t *)ports, i, p)
	{
		if (w->nports == WORKER_PORTS_MAX)
			break;
		w->ports[w->nports++] = (struct listen_port){
			.port = (uint16_t)json_integer_value(json_array_get(p, 0)),
			.role = (uint8_t)json_integer_value(json_array_get(p, 1)),
			.ssl = (uint8_t)json_integer_value(json_array_get(p, 2)),
		};
	}
	copy_text(w->prefix, str_of(o, "prefix"));
	copy_text(w->container, str_of(o, "container"));
	copy_text(w->pod_uid, str_of(o, "pod_uid"));
	copy_text(w->pod, str_of(o, "pod"));
	copy_text(w->pod_namespace, str_of(o, "pod_namespace"));
}

/* Lines of kongtap's own. 1 handed on, 0 not one of these, negative errno. */
static int own_line(struct replay *r, const json_t *o, const char *call, struct record *rec)
{
	int err = 0;

	if (!strcmp(call, "tick")) {
		rec->kind = REC_TICK;
	} else if (!strcmp(call, "loss")) {
		rec->kind = REC_LOSS;
	} else if (!strcmp(call, "worker")) {
		rec->kind = REC_WORKER;
		worker_of(o, &rec->worker);
	} else if (!strcmp(call, "exit")) {
		rec->kind = REC_EXIT;
		rec->exit.pid = (uint32_t)int_of(o, "pid", 0);
	} else if (!strcmp(call, "clock")) {
		rec->kind = REC_CLOCK;
		rec->clock.wall_offset_ns = r->wall_offset_ns = int_of(o, "wall_offset_ns", 0);
	} else if (!strcmp(call, "remote")) {
		rec->kind = REC_REMOTE;
		err = decode_data(r, o, &rec->remote.config);
	} else if (!strcmp(call, "govern")) {
		rec->kind = REC_GOVERN;
		rec->govern = (struct rec_govern){.bodies = json_is_true(json_object_get(o, "bodies")),
			.detached = json_is_true(json_object_get(o, "detached")),
			.shift = (uint32_t)int_of(o, "shift", 0) & 31};
	} else if (!json_object_get(o, "gen")) {
		return 0;
	} else if (!strcmp(call, "open")) {
		rec->kind = REC_OPEN;
		rec->open = (struct rec_open){.key = key_of(o),
			.fd = (int32_t)int_of(o, "fd", -1),
			.origin = origin_of(o),
			.late = json_is_true(json_object_get(o, "late")),
			.local = endpoint_of(o, "local"),
			.peer = endpoint_of(o, "peer")};
	} else if (!strcmp(call, "close") || !strcmp(call, "ssl_free")) {
		rec->kind = REC_CLOSE;
		rec->close = (struct rec_close){.key = key_of(o),
			.in_pos = (uint64_t)int_of(o, "in_pos", 0),
			.out_pos = (uint64_t)int_of(o, "out_pos", 0),
			.limited = json_is_true(json_object_get(o, "limited"))};
	} else if (strstr(call, "read") || strstr(call, "write")) {
		int64_t cause = int_of(o, "cause", 0);

		rec->kind = REC_DATA;
		rec->data = (struct rec_data){.key = key_of(o),
			.dir = strstr(call, "read") ? DIR_IN : DIR_OUT,
			.pos = (uint64_t)int_of(o, "pos", 0),
			.gap = (uint64_t)int_of(o, "gap", 0),
			.cause = cause > GAP_NONE && cause <= GAP_FAULT ? (enum gap_cause)cause : GAP_NONE};
		err = decode_data(r, o, &rec->data.data);
	} else {
		return -EBADMSG;
	}
	if (err)
		return err;
	r->sink.fn(r->sink.ctx, rec);
	return 1;
}

static const struct {
	const char *name;
	enum call_kind kind;
} call_names[] = {
	{"accept", CALL_ACCEPT},
	{"connect", CALL_CONNECT},
	{"close", CALL_CLOSE},
	{"read", CALL_READ},
	{"write", CALL_WRITE},
	{"ssl_set_fd", CALL_SSL_SET_FD},
	{"ssl_read", CALL_SSL_READ},
	{"ssl_write", CALL_SSL_WRITE},
	{"ssl_free", CALL_SSL_FREE},
};

static void tick_before(struct replay *r, uint64_t t_ns)
{
	struct record rec = {.kind = REC_TICK, .t_ns = t_ns};

	if (t_ns < r->last_tick + TICK_NS)
		return;
	r->last_tick = t_ns;
	r->sink.fn(r->sink.ctx, &rec);
}

/* A call as the kernel saw it. Calls that move nothing (peek) and kinds of later versions are passed over. */
static int call_line(struct replay *r, const json_t *o, const char *name, uint64_t t_ns)
{
	struct call c = {.t_ns = t_ns};
	int err;

	for (size_t i = 0; i < sizeof(call_names) / sizeof(*call_names); i++) {
		if (strcmp(call_names[i].name, name) != 0)
			continue;
		c.kind = call_names[i].kind;
		c.pid = (uint32_t)int_of(o, "pid", 0);
		c.fd = (int32_t)int_of(o, "fd", -1);
		c.ssl = ssl_of(o);
		c.ret = int_of(o, "ret", 0);
		c.off = (uint64_t)int_of(o, "off", 0);
		c.ciphertext = json_is_true(json_object_get(o, "ciphertext"));
		c.local = endpoint_of(o, "local");
		c.peer = endpoint_of(o, "peer");
		err = decode_data(r, o, &c.data);
		if (err)
			return err;
		tick_before(r, t_ns);
		return replay_calls__on_call(r->calls, &c);
	}
	return 0;
}

static int hand_on(struct replay *r)
{
	json_error_t why;
	json_t *o = json_loadb(r->line.p, r->line.n, JSON_REJECT_DUPLICATES, &why);
	struct record rec = {0};
	const char *call;
	int err;

	if (!json_is_object(o)) {
		json_decref(o);
		return -EBADMSG;
	}
	call = str_of(o, "call");
	rec.t_ns = (uint64_t)int_of(o, "t_ns", 0);
	err = own_line(r, o, call, &rec);
	if (!err)
		err = call_line(r, o, call, rec.t_ns);
	json_decref(o);
	return err < 0 ? err : 0;
}

static int replay_poll(struct source *s, int timeout_ms)
{
	struct replay *r = (struct replay *)s;
	int n = 0, got, err;

	(void)timeout_ms;
	for (; n < LINES_PER_POLL; n++) {
		got = r->pending ? 1 : read_line(r);
		r->pending = false;
		if (got == 0)
			return n ? n : -ENODATA;
		err = got < 0 ? got : hand_on(r);
		if (err) {
			log_err("replay",
				"%s: line %lu is not a line of a recording (expected a JSON object with t_ns, pid and "
				"call); stopped there",
				r->path, r->line_no);
			return err;
		}
	}
	return n;
}

static int replay_fd(const struct source *s)
{
	(void)s;
	return -1;
}

static int replay_activate(struct source *s)
{
	(void)s;
	return 0;
}

static void replay_ignore(struct source *s, const struct conn_key *key)
{
	(void)s;
	(void)key;
}

static size_t replay_workers(const struct source *s)
{
	(void)s;
	return 0;
}

static int64_t replay_wall_offset(const struct source *s)
{
	return ((const struct replay *)s)->wall_offset_ns;
}

static void replay_close(struct source *s)
{
	struct replay *r = (struct replay *)s;

	if (r->file)
		gzclose(r->file);
	replay_calls__free(r->calls);
	buf__free(&r->line);
	buf__free(&r->data);
	free(r->path);
	free(r);
}

static const struct source_ops replay_ops = {
	.fd = replay_fd,
	.activate = replay_activate,
	.poll = replay_poll,
	.ignore = replay_ignore,
	.workers = replay_workers,
	.wall_offset = replay_wall_offset,
	.close = replay_close,
};

/* The first line may be the header; anything else is kept for the first poll. */
static int read_header(struct replay *r)
{
	int got = read_line(r);
	json_t *o;

	if (got <= 0)
		return got;
	o = json_loadb(r->line.p, r->line.n, 0, NULL);
	if (json_object_get(o, "kongtap_recording")) {
		r->seed = (uint64_t)int_of(o, "seed", 0);
		if (int_of(o, "kongtap_recording", 0) != 1) {
			log_err("replay", "%s: a recording of version %" PRId64 "; this kongtap reads version 1",
				r->path, int_of(o, "kongtap_recording", 0));
			json_decref(o);
			return -ENOTSUP;
		}
	} else {
		r->pending = true;
	}
	json_decref(o);
	return 0;
}

struct source *source_replay__open(const char *path, struct record_sink sink)
{
	struct replay *r = calloc(1, sizeof(*r));
	int err = ENOMEM;

	if (!r)
		return NULL;
	r->base.ops = &replay_ops;
	r->sink = sink;
	buf__init(&r->line, LINE_BYTES_MAX);
	buf__init(&r->data, LINE_BYTES_MAX);
	r->path = strdup(path);
	r->calls = replay_calls__new(LIVES_MAX, sink);
	if (!r->path || !r->calls)
		goto err_out;
	errno = 0;
	r->file = strcmp(path, "-") ? gzopen(path, "rbe") : gzdopen(dup(STDIN_FILENO), "rb");
	if (!r->file) {
		err = errno ? errno : ENOMEM;
		goto err_out;
	}
	gzbuffer(r->file, 1u << 18);
	err = -read_header(r);
	if (err)
		goto err_out;
	return &r->base;
err_out:
	replay_close(&r->base);
	errno = err;
	return NULL;
}

uint64_t source_replay__seed(const struct source *s)
{
	return ((const struct replay *)s)->seed;
}
