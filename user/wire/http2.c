/* http2: HTTP/2 on one connection (RFC 9113): two directions of frames, each with its own header compression.
 *
 * Where a direction was seen from its first byte its header blocks go through nghttp2's decoder, and every field is
 * exact. Where it was not, or after bytes were lost that may have held a part of a header block, that decoder's table
 * is worth nothing: from there on h2block decodes what can be known, and the rest is left out.
 *
 * A direction that has lost the place of its frames finds it again at the beginning of a call (h2frame_chain).
 */
#include <errno.h>
#include <nghttp2/nghttp2.h>
#include <stdlib.h>

#include "base/stats.h"
#include "wire/h2block.h"
#include "wire/h2frame.h"
#include "wire/h2streams.h"

/* Frames that are none, or header blocks that are none, before the connection is given up. */
#define STRIKES_MAX 64u
/* Settings, reset code, last stream: what is read of a control frame at once. */
#define SMALL_MAX 8u
#define TABLE_DEFAULT 4096u
/* What a buffer may keep allocated between header blocks. */
#define SCRATCH_KEPT 1024u
/* The longest frame that is waited for while its place is in doubt, and the beginning of the next. */
#define HELD_MAX (H2_FRAME_DEFAULT + 2 * H2_HEAD_LEN)

struct half {
	bool is_request;
	bool synced;	 /* the place of the frames is known */
	bool touched;	 /* bytes of it were seen */
	bool late;	 /* header blocks went by unseen */
	uint8_t preface; /* bytes of the client's preface still to come */
	struct h2split split;
	struct buf held; /* not synced: what may be the beginning of frames */
	uint64_t held_ns;

	/* the frame being read */
	uint64_t frame_ns;
	uint32_t prefix;  /* bytes before its content still to come */
	uint32_t content; /* bytes of content still to come; right once the prefix is through */
	unsigned char small[SMALL_MAX];
	uint8_t small_n;
	bool small_lost;

	/* the header block being read */
	bool in_block, promise, broken;
	struct h2block_place at;
	struct buf block;
	struct span whole; /* the block, where it lies in one piece in what is being fed */

	nghttp2_hd_inflater *full;
	struct h2table *known;
	uint32_t table_max; /* what the receiver allows, as far as it is followed */
	bool table_raised;
};

struct proto {
	struct proto_env env;
	struct half half[2]; /* by is_request */
	struct h2streams *streams;
	struct buf scratch;
	size_t mem; /* charged for itself and its buffers */
	nghttp2_mem hooks;
	uint32_t strikes;
};

/* Keeps the charge in step with the buffers. False: there is more than the budget has. */
static bool account(struct proto *p)
{
	size_t mem = sizeof(*p) + p->scratch.cap;

	for (int i = 0; i < 2; i++)
		mem += p->half[i].block.cap + p->half[i].held.cap;
	p->env.budget->used += mem - p->mem;
	p->mem = mem;
	return p->env.budget->used <= p->env.budget->max;
}

/* nghttp2's memory is on the budget too: a header tells a block's size when it is freed. */
struct block_head {
	size_t n;
} __attribute__((aligned(16)));

static void *mem_malloc(size_t n, void *budget)
{
	struct wire_budget *b = budget;
	struct block_head *h;

	if (n > b->max || b->used > b->max - n)
		return NULL;
	h = malloc(sizeof(*h) + n);
	if (!h)
		return NULL;
	h->n = n;
	b->used += n;
	return h + 1;
}

static void mem_free(void *p, void *budget)
{
	struct wire_budget *b = budget;
	struct block_head *h = p;

	if (!p)
		return;
	b->used -= h[-1].n;
	free(h - 1);
}

static void *mem_calloc(size_t count, size_t n, void *budget)
{
	void *p;

	if (n && count > SIZE_MAX / n)
		return NULL;
	p = mem_malloc(count * n, budget);
	return p ? memset(p, 0, count * n) : NULL;
}

static void *mem_realloc(void *old, size_t n, void *budget)
{
	struct block_head *h = old;
	void *p = mem_malloc(n, budget);

	if (!p || !old)
		return p;
	memcpy(p, old, h[-1].n < n ? h[-1].n : n);
	mem_free(old, budget);
	return p;
}

static void free_full(struct half *h)
{
	if (h->full)
		nghttp2_hd_inflate_del(h->full);
	h->full = NULL;
}

/* Header blocks of this direction went by, or were not understood. */
static void poison(struct half *h)
{
	free_full(h);
	h->late = true;
	if (h->known)
		h2table__forget(h->known);
}

/* A larger table needs the receiver's leave (SETTINGS) and the sender's word (a size update at the head of a block).
 * Leave that is taken back need not be followed: the sender must say so too. */
static int decode_prepare(struct proto *p, struct half *h)
{
	if (!h->full) {
		if (nghttp2_hd_inflate_new2(&h->full, &p->hooks)) {
			h->full = NULL;
			return -ENOMEM;
		}
	}
	if (h->table_raised && nghttp2_hd_inflate_change_table_size(h->full, h->table_max))
		return -ENOMEM;
	h->table_raised = false;
	return 0;
}

static int decode_full(struct proto *p, struct half *h, struct span in, struct h2head *head)
{
	int err = decode_prepare(p, h);

	while (!err) {
		nghttp2_nv nv = {0};
		int flags = 0;
		ssize_t n = nghttp2_hd_inflate_hd2(h->full, &nv, &flags, (const uint8_t *)in.p, in.n, 1);

		if (n < 0)
			return -EBADMSG;
		in = span_skip(in, (size_t)n);
		if (flags & NGHTTP2_HD_INFLATE_EMIT) {
			struct h2field f = {span_of(nv.name, nv.namelen), span_of(nv.value, nv.valuelen)};

			h2head__field(head, &f);
		}
		if (flags & NGHTTP2_HD_INFLATE_FINAL) {
			nghttp2_hd_inflate_end_headers(h->full);
			return 0;
		}
		if (!(flags & NGHTTP2_HD_INFLATE_EMIT) && !in.n)
			return -EBADMSG;
	}
	return err;
}

static void on_late_field(void *ctx, const struct h2field *f)
{
	h2head__field(ctx, f);
}

static int decode_late(struct proto *p, struct half *h, struct span in, struct h2head *head)
{
	int err;

	if (!h->known)
		h->known = h2table__new(p->env.limits->hpack_table, p->env.budget);
	if (!h->known)
		return -ENOMEM;
	err = h2block_decode(h->known, in, &p->scratch, (struct h2field_sink){on_late_field, head});
	/* The scratch buffer is for the moment only: a connection does not keep a large one. */
	if (p->scratch.cap > SCRATCH_KEPT)
		buf__free(&p->scratch);
	return err;
}

/* The header block is complete. 0; -EBADMSG: it is none, which makes the place of the frames doubtful too. */
static int end_block(struct proto *p, struct half *h, uint64_t t_ns)
{
	struct span block = h->whole.p ? h->whole : buf_span(&h->block);
	struct h2head head;
	int err = 0;

	if (!block.p)
		block = SPAN_LIT("");
	h2head__init(&head, p->env.limits);
	if (!h->broken)
		err = h->late ? decode_late(p, h, block, &head) : decode_full(p, h, block, &head);
	/* A response where requests go: what was taken for the one direction is the other. */
	if (!err && !h->broken && !h->promise && (h->is_request ? head.has_status : head.method.n != 0)) {
		p->strikes = STRIKES_MAX;
		err = -EBADMSG;
	}
	if (err || h->broken) {
		head.lost = true;
		poison(h);
	} else {
		h2head__end(&head, p->env.limits);
	}
	h->at.t_ns = t_ns;
	if (!h->promise)
		h2streams__head(p->streams, &head, &h->at);
	h2head__free(&head);
	h->in_block = false;
	h->whole = span_of(NULL, 0);
	if (h->block.cap > SCRATCH_KEPT)
		buf__free(&h->block);
	buf__clear(&h->block);
	(void)account(p);
	return err == -EBADMSG ? err : 0;
}

/* From here on it is not known where frames begin. */
static void lose_place(struct proto *p, struct half *h, uint64_t t_ns)
{
	if (h->in_block) {
		h->broken = true;
		(void)end_block(p, h, t_ns);
	}
	poison(h);
	h->synced = false;
	h->preface = 0;
	h->split = (struct h2split){0};
	h2streams__lost(p->streams, h->is_request, t_ns);
}

static int begin_block(struct half *h, const struct h2frame *f)
{
	h->in_block = true;
	h->promise = f->type == H2_PUSH_PROMISE;
	h->broken = false;
	h->whole = span_of(NULL, 0);
	h->at = (struct h2block_place){
		.stream = f->stream,
		.is_request = h->is_request,
		.end_stream = f->type == H2_HEADERS && (f->flags & H2_END_STREAM),
		.t_first_ns = h->frame_ns,
	};
	return 0;
}

static int frame_begin(struct proto *p, struct half *h)
{
	const struct h2frame *f = &h->split.frame;
	bool goes_on = f->type == H2_CONTINUATION;

	if (!h2frame_legal(f) || goes_on != h->in_block || (goes_on && f->stream != h->at.stream))
		return -EBADMSG;
	h->prefix = h2frame_prefix(f);
	h->content = f->length - h->prefix;
	h->small_n = 0;
	h->small_lost = false;
	if (f->type == H2_HEADERS || f->type == H2_PUSH_PROMISE)
		begin_block(h, f);
	if (h->in_block)
		h->at.wire_bytes += H2_HEAD_LEN + f->length;
	else if (f->type == H2_DATA)
		h2streams__data_begin(p->streams, h->is_request, f->stream, H2_HEAD_LEN + f->length);
	return 0;
}

/* Takes what comes before the content off the front; the first byte of a padded frame says where the content ends. */
static int take_prefix(struct half *h, struct span *piece)
{
	const struct h2frame *f = &h->split.frame;
	uint32_t n;

	if (h->prefix && piece->n && (f->flags & H2_PADDED) && h->prefix == h2frame_prefix(f)) {
		unsigned char pad = (unsigned char)piece->p[0];

		if (pad > h->content)
			return -EBADMSG;
		h->content -= pad;
	}
	n = piece->n < h->prefix ? (uint32_t)piece->n : h->prefix;
	h->prefix -= n;
	*piece = span_skip(*piece, n);
	if (piece->n > h->content)
		piece->n = h->content; /* padding follows */
	h->content -= (uint32_t)piece->n;
	return 0;
}

static void block_piece(struct proto *p, struct half *h, struct span piece)
{
	const struct h2frame *f = &h->split.frame;

	if (h->broken || !piece.n)
		return;
	if (f->type != H2_CONTINUATION && (f->flags & H2_END_HEADERS) && !h->block.n && !h->split.left)
		h->whole = piece;
	else if (buf__append_span(&h->block, piece) || !account(p))
		h->broken = true;
	if (h->broken)
		buf__free(&h->block);
}

static void settings_entry(struct proto *p, struct half *h)
{
	struct half *sender = &p->half[!h->is_request];
	uint32_t value = h2_u32(h->small + 2);

	h->small_n = 0;
	if (h->small[0] || h->small[1] != H2_SET_HEADER_TABLE_SIZE)
		return;
	if (value > p->env.limits->hpack_table)
		value = p->env.limits->hpack_table;
	if (value <= sender->table_max)
		return;
	sender->table_max = value;
	sender->table_raised = true;
}

static void control_piece(struct proto *p, struct half *h, struct span piece)
{
	bool settings = h->split.frame.type == H2_SETTINGS;

	for (size_t i = 0; i < piece.n && !h->small_lost; i++) {
		if (h->small_n < SMALL_MAX)
			h->small[h->small_n++] = (unsigned char)piece.p[i];
		if (settings && h->small_n == 6)
			settings_entry(p, h);
	}
}

static int frame_piece(struct proto *p, struct half *h, struct span piece, uint64_t t_ns)
{
	const struct h2frame *f = &h->split.frame;
	int err;

	switch (f->type) {
	case H2_DATA:
		err = take_prefix(h, &piece);
		if (!err)
			h2streams__data(p->streams, h->is_request, f->stream, piece, t_ns);
		return err;
	case H2_HEADERS:
	case H2_PUSH_PROMISE:
	case H2_CONTINUATION:
		err = take_prefix(h, &piece);
		if (!err)
			block_piece(p, h, piece);
		return err;
	case H2_RST_STREAM:
	case H2_SETTINGS:
	case H2_GOAWAY:
		control_piece(p, h, piece);
		return 0;
	default:
		return 0;
	}
}

static int frame_end(struct proto *p, struct half *h, uint64_t t_ns)
{
	const struct h2frame *f = &h->split.frame;

	switch (f->type) {
	case H2_DATA:
		h2streams__data_end(p->streams, h->is_request, f->stream, f->flags & H2_END_STREAM, t_ns);
		return 0;
	case H2_HEADERS:
	case H2_PUSH_PROMISE:
	case H2_CONTINUATION:
		return (f->flags & H2_END_HEADERS) ? end_block(p, h, t_ns) : 0;
	case H2_RST_STREAM:
		h2streams__reset(p->streams, h->is_request, f->stream,
			h->small_n == 4 && h2_u32(h->small) == H2_REFUSED_STREAM, t_ns);
		return 0;
	case H2_GOAWAY:
		if (!h->is_request && h->small_n == SMALL_MAX)
			h2streams__goaway(p->streams, h2_u32(h->small) & 0x7fffffffu, t_ns);
		return 0;
	default:
		return 0;
	}
}

/* Reads frames until data is used up. -EBADMSG: these are no frames. */
static int read_frames(struct proto *p, struct half *h, struct span *data, uint64_t t_ns)
{
	struct span piece = {0};
	int err = 0;

	while (!err) {
		if (!h->split.in_frame && !h->split.have)
			h->frame_ns = t_ns;
		switch (h2split__next(&h->split, data, &piece)) {
		case H2_MORE:
			return 0;
		case H2_BEGIN:
			err = frame_begin(p, h);
			break;
		case H2_PIECE:
			err = frame_piece(p, h, piece, t_ns);
			break;
		case H2_END:
			err = frame_end(p, h, t_ns);
			break;
		}
	}
	return err;
}

static enum proto_state give_up(struct proto *p, uint64_t t_ns)
{
	h2streams__close(p->streams, MSG_LIMIT, t_ns);
	return PROTO_GIVE_UP;
}

static enum proto_state strike(struct proto *p, struct half *h, size_t rest, uint64_t t_ns)
{
	stats_inc(STAT_wire_parse_errors);
	stats_add(STAT_wire_unsynced_bytes, rest);
	lose_place(p, h, t_ns);
	return ++p->strikes > STRIKES_MAX ? give_up(p, t_ns) : PROTO_GOOD;
}

/* A connection that was taken for an old one begins here. */
static void begin_anew(struct proto *p)
{
	struct half *req = &p->half[true], *resp = &p->half[false];

	req->synced = true;
	req->late = false;
	req->preface = (uint8_t)H2_PREFACE.n;
	h2streams__from_start(p->streams);
	if (resp->touched)
		return;
	resp->synced = true;
	resp->late = false;
}

static void pass_over(struct proto *p, struct half *h, size_t n, uint64_t t_ns)
{
	stats_add(STAT_wire_unsynced_bytes, n);
	h2streams__lost(p->streams, h->is_request, t_ns);
}

static void drop_held(struct proto *p, struct half *h, uint64_t t_ns)
{
	if (h->held.n)
		pass_over(p, h, h->held.n, t_ns);
	buf__free(&h->held);
	(void)account(p);
}

/* Are these the beginning of frames? What may become it is held until that shows. */
static bool find_place(struct proto *p, struct half *h, struct span data, uint64_t t_ns, bool fragment_start)
{
	enum h2_chain chain;

	if (h->is_request && !h->touched && fragment_start && span_starts(data, H2_PREFACE)) {
		begin_anew(p);
		return true;
	}
	if (h->held.n) {
		chain = buf__append_span(&h->held, data) || !account(p)
				? H2_CHAIN_NO
				: h2frame_chain(buf_span(&h->held), h->is_request, h2streams__top(p->streams));
		if (chain == H2_CHAIN_SO_FAR)
			return false;
		if (chain == H2_CHAIN_YES)
			goto found;
		drop_held(p, h, t_ns);
	}
	chain = fragment_start ? h2frame_chain(data, h->is_request, h2streams__top(p->streams)) : H2_CHAIN_NO;
	if (chain == H2_CHAIN_YES)
		goto found;
	h->held_ns = t_ns;
	if (chain == H2_CHAIN_NO || buf__append_span(&h->held, data) || !account(p)) {
		drop_held(p, h, t_ns);
		pass_over(p, h, data.n, t_ns);
	}
	return false;
found:
	h->synced = true;
	stats_inc(STAT_wire_resyncs);
	return true;
}

/* 0 or -EBADMSG */
static int take_preface(struct half *h, struct span *data)
{
	struct span rest = span_skip(H2_PREFACE, H2_PREFACE.n - h->preface);

	if (rest.n > data->n)
		rest.n = data->n;
	if (!span_starts(*data, rest))
		return -EBADMSG;
	h->preface -= (uint8_t)rest.n;
	*data = span_skip(*data, rest.n);
	return 0;
}

/* The bytes that were held turned out to be frames; `data`, the last that came, are their end. */
static enum proto_state feed_held(struct proto *p, struct half *h, uint64_t t_ns)
{
	struct buf held = h->held;
	struct span data = buf_span(&held);
	int err;

	buf__init(&h->held, held.max);
	err = read_frames(p, h, &data, h->held_ns);
	buf__free(&held);
	(void)account(p);
	return err ? strike(p, h, data.n, t_ns) : PROTO_GOOD;
}

static enum proto_state h2_feed(struct proto *p, bool is_request, struct span data, uint64_t t_ns, bool fragment_start)
{
	struct half *h = &p->half[is_request];

	if (!data.n)
		return PROTO_GOOD;
	if (!h->synced) {
		bool found = find_place(p, h, data, t_ns, fragment_start);

		h->touched = true;
		if (!found)
			return PROTO_GOOD;
		if (h->held.n)
			return feed_held(p, h, t_ns);
	}
	h->touched = true;
	if (h->preface && take_preface(h, &data)) {
		stats_inc(STAT_wire_parse_errors);
		return give_up(p, t_ns);
	}
	if (read_frames(p, h, &data, t_ns))
		return strike(p, h, data.n, t_ns);
	return PROTO_GOOD;
}

/* n bytes of the current frame's payload are missing. */
static void frame_gap(struct proto *p, struct half *h, uint32_t n, enum gap_cause cause)
{
	const struct h2frame *f = &h->split.frame;
	bool data = f->type == H2_DATA;
	uint32_t content;

	h->small_lost = true;
	h->small_n = 0;
	if (!data && !h->in_block)
		return;
	if (h->prefix && (f->flags & H2_PADDED) && h->prefix == h2frame_prefix(f)) {
		/* Where the content ends went with it. */
		h->prefix = h->content = 0;
		h->broken = true;
		if (data)
			h2streams__data_unsure(p->streams, h->is_request, f->stream);
		return;
	}
	if (n <= h->prefix) {
		h->prefix -= n;
		return;
	}
	n -= h->prefix;
	h->prefix = 0;
	content = n < h->content ? n : h->content;
	h->content -= content;
	if (data)
		h2streams__data_gap(p->streams, h->is_request, f->stream, content, cause);
	else if (content)
		h->broken = true;
}

static enum proto_state h2_gap(struct proto *p, bool is_request, uint64_t n, enum gap_cause cause, uint64_t t_ns)
{
	struct half *h = &p->half[is_request];
	struct span none = {0};
	uint32_t inside;

	if (!n)
		return PROTO_GOOD;
	h->touched = true;
	if (!h->synced) {
		drop_held(p, h, t_ns);
		h2streams__lost(p->streams, is_request, t_ns);
		return PROTO_GOOD;
	}
	inside = h->preface ? 0 : h2split__gap(&h->split, n);
	if (inside)
		frame_gap(p, h, inside, cause);
	if (read_frames(p, h, &none, t_ns))
		return strike(p, h, 0, t_ns);
	if (h->synced && n > inside)
		lose_place(p, h, t_ns);
	return PROTO_GOOD;
}

static void h2_free(struct proto *p)
{
	if (!p)
		return;
	for (int i = 0; i < 2; i++) {
		free_full(&p->half[i]);
		h2table__free(p->half[i].known);
		buf__free(&p->half[i].block);
		buf__free(&p->half[i].held);
	}
	buf__free(&p->scratch);
	h2streams__free(p->streams);
	p->env.budget->used -= p->mem;
	free(p);
}

static struct proto *h2_new(const struct proto_env *env, bool synced)
{
	bool whole = synced && env->facts->from_start;
	struct proto *p = calloc(1, sizeof(*p));

	if (!p)
		return NULL;
	p->env = *env;
	p->hooks = (nghttp2_mem){env->budget, mem_malloc, mem_free, mem_calloc, mem_realloc};
	buf__init(&p->scratch, env->limits->header_bytes);
	for (int i = 0; i < 2; i++) {
		p->half[i].is_request = i;
		p->half[i].synced = whole;
		p->half[i].late = !whole;
		p->half[i].table_max = TABLE_DEFAULT;
		/* Compressed is hardly longer than decoded; where it is, the block is not worth its memory. */
		buf__init(&p->half[i].block, (size_t)env->limits->header_bytes + H2_FRAME_DEFAULT);
		buf__init(&p->half[i].held, HELD_MAX);
	}
	(void)account(p);
	if (whole)
		p->half[true].preface = (uint8_t)H2_PREFACE.n;
	p->streams = h2streams__new(env, whole);
	if (!p->streams) {
		h2_free(p);
		errno = ENOMEM;
		return NULL;
	}
	return p;
}

static void h2_close(struct proto *p, uint64_t t_ns)
{
	h2streams__close(p->streams, MSG_CLOSED, t_ns);
}

static void h2_tick(struct proto *p, uint64_t t_ns)
{
	h2streams__tick(p->streams, t_ns);
}

static bool h2_busy(const struct proto *p)
{
	return h2streams__open(p->streams) != 0;
}

static int guess_request_start(struct span data)
{
	struct span preface = H2_PREFACE;

	if (data.n >= preface.n)
		return span_starts(data, preface);
	return span_starts(preface, data) ? -EAGAIN : 0;
}

/* In the middle of a connection: frames, or the header of one alone, as nginx has it in a segment of its own. */
static int guess_frames(struct span data, bool is_request)
{
	enum h2_chain chain = h2frame_chain(data, is_request, 0);

	return chain == H2_CHAIN_YES || (chain == H2_CHAIN_SO_FAR && data.n == H2_HEAD_LEN);
}

static int h2_guess(struct span data, bool is_request, bool from_start)
{
	struct h2frame f;

	if (is_request && (from_start || span_starts(data, H2_PREFACE)))
		return guess_request_start(data);
	if (!from_start)
		return guess_frames(data, is_request);
	/* A server begins with its settings. */
	if (data.n < H2_HEAD_LEN)
		return data.n && data.p[0] ? 0 : -EAGAIN;
	h2frame_parse((const unsigned char *)data.p, &f);
	return f.type == H2_SETTINGS && h2frame_plausible(&f, false, 0) && !(f.flags & H2_ACK);
}

const struct proto_ops http2_ops = {
	.name = "HTTP/2",
	.id = PROTO_HTTP2,
	.guess = h2_guess,
	.new = h2_new,
	.feed = h2_feed,
	.gap = h2_gap,
	.close = h2_close,
	.tick = h2_tick,
	.busy = h2_busy,
	.free = h2_free,
};
