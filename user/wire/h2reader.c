#include "wire/h2reader.h"

#include <errno.h>

/* What the block's buffer may keep allocated between header blocks. */
#define BLOCK_KEPT 1024u

void h2reader__init(struct h2reader *r)
{
	/* Compressed is hardly longer than decoded; where it is, the block is not worth its memory. */
	buf__init(&r->block, (size_t)r->limits->header_bytes + H2_FRAME_DEFAULT);
}

/* Keeps the charge in step with the buffer. False: there is more than the budget has. */
static bool account(struct h2reader *r)
{
	r->budget->used += r->block.cap - r->mem;
	r->mem = r->block.cap;
	return wire_budget__room(r->budget, 0);
}

static void drop_block(struct h2reader *r)
{
	buf__free(&r->block);
	(void)account(r);
}

static void clear_block(struct h2reader *r)
{
	r->in_block = false;
	r->whole = span_of(NULL, 0);
	buf__clear(&r->block);
	if (r->block.cap > BLOCK_KEPT)
		drop_block(r);
}

/* A response where requests go, or the other way round: what was taken for the one direction is the other. */
static bool is_astray(const struct h2reader *r, const struct h2head *head)
{
	return !r->promise && (r->is_request ? head->has_status : head->method.n != 0);
}

static int decode_block(struct h2reader *r, struct h2head *head)
{
	struct span block = r->whole.p ? r->whole : buf_span(&r->block);
	int err;

	if (r->broken) {
		h2hpack__lost(r->hpack);
		head->lost = true;
		return 0;
	}
	err = h2hpack__decode(r->hpack, block.p ? block : SPAN_LIT(""), head);
	if (!err && is_astray(r, head))
		err = -EPROTO;
	if (err)
		head->lost = true;
	else
		h2head__end(head, r->limits);
	return err;
}

/* The header block is complete, or as much of it as there will be. */
static int end_block(struct h2reader *r, uint64_t t_ns)
{
	struct h2head head;
	int err;

	h2head__init(&head, r->limits);
	err = decode_block(r, &head);
	r->at.t_ns = t_ns;
	if (!r->promise)
		h2streams__head(r->streams, &head, &r->at);
	h2head__free(&head);
	clear_block(r);
	/* For want of memory the block is lost, and not the place. */
	return err == -EBADMSG || err == -EPROTO ? err : 0;
}

static void begin_block(struct h2reader *r, const struct h2frame *f)
{
	r->in_block = true;
	r->promise = f->type == H2_PUSH_PROMISE;
	r->broken = false;
	r->whole = span_of(NULL, 0);
	r->at = (struct h2block_place){
		.stream = f->stream,
		.is_request = r->is_request,
		.end_stream = f->type == H2_HEADERS && (f->flags & H2_END_STREAM),
		.t_first_ns = r->frame_ns,
	};
}

static int frame_begin(struct h2reader *r)
{
	const struct h2frame *f = &r->split.frame;
	bool goes_on = f->type == H2_CONTINUATION;

	if (!h2frame_legal(f) || goes_on != r->in_block || (goes_on && f->stream != r->at.stream))
		return -EBADMSG;
	r->prefix = h2frame_prefix(f);
	r->content = f->length - r->prefix;
	r->small_n = 0;
	r->small_lost = false;
	if (f->type == H2_HEADERS || f->type == H2_PUSH_PROMISE)
		begin_block(r, f);
	if (r->in_block)
		r->at.wire_bytes += H2_HEAD_LEN + f->length;
	else if (f->type == H2_DATA)
		h2streams__data_begin(r->streams, r->is_request, f->stream, H2_HEAD_LEN + f->length);
	return 0;
}

/* The pad length, which says where the content ends, is the first byte that is still to come. */
static bool awaits_pad_length(const struct h2reader *r)
{
	const struct h2frame *f = &r->split.frame;

	return r->prefix && (f->flags & H2_PADDED) && r->prefix == h2frame_prefix(f);
}

/* Takes what comes before the content off the front. */
static int take_prefix(struct h2reader *r, struct span *piece)
{
	uint32_t n;

	if (awaits_pad_length(r) && piece->n) {
		unsigned char pad = (unsigned char)piece->p[0];

		if (pad > r->content)
			return -EBADMSG;
		r->content -= pad;
	}
	n = piece->n < r->prefix ? (uint32_t)piece->n : r->prefix;
	r->prefix -= n;
	*piece = span_skip(*piece, n);
	if (piece->n > r->content)
		piece->n = r->content; /* padding follows */
	r->content -= (uint32_t)piece->n;
	return 0;
}

static void block_piece(struct h2reader *r, struct span piece)
{
	const struct h2frame *f = &r->split.frame;

	if (r->broken || !piece.n)
		return;
	if (f->type != H2_CONTINUATION && (f->flags & H2_END_HEADERS) && !r->block.n && !r->split.left)
		r->whole = piece;
	else if (buf__append_span(&r->block, piece) || !account(r))
		r->broken = true;
	if (r->broken)
		drop_block(r);
}

static void control_piece(struct h2reader *r, struct span piece)
{
	bool settings = r->split.frame.type == H2_SETTINGS;

	for (size_t i = 0; i < piece.n && !r->small_lost; i++) {
		if (r->small_n < H2_SMALL_MAX)
			r->small[r->small_n++] = (unsigned char)piece.p[i];
		if (!settings || r->small_n < 6)
			continue;
		r->small_n = 0;
		if (!r->small[0] && r->small[1] == H2_SET_HEADER_TABLE_SIZE)
			h2hpack__allow(r->peer_hpack, h2_u32(r->small + 2));
	}
}

static int frame_piece(struct h2reader *r, struct span piece, uint64_t t_ns)
{
	const struct h2frame *f = &r->split.frame;
	int err;

	switch (f->type) {
	case H2_DATA:
		err = take_prefix(r, &piece);
		if (!err)
			h2streams__data(r->streams, r->is_request, f->stream, piece, t_ns);
		return err;
	case H2_HEADERS:
	case H2_PUSH_PROMISE:
	case H2_CONTINUATION:
		err = take_prefix(r, &piece);
		if (!err)
			block_piece(r, piece);
		return err;
	case H2_RST_STREAM:
	case H2_SETTINGS:
	case H2_GOAWAY:
		control_piece(r, piece);
		return 0;
	default:
		return 0;
	}
}

static int frame_end(struct h2reader *r, uint64_t t_ns)
{
	const struct h2frame *f = &r->split.frame;
	bool refused;

	switch (f->type) {
	case H2_DATA:
		h2streams__data_end(r->streams, r->is_request, f->stream, f->flags & H2_END_STREAM, t_ns);
		return 0;
	case H2_HEADERS:
	case H2_PUSH_PROMISE:
	case H2_CONTINUATION:
		return (f->flags & H2_END_HEADERS) ? end_block(r, t_ns) : 0;
	case H2_RST_STREAM:
		refused = r->small_n == 4 && h2_u32(r->small) == H2_REFUSED_STREAM;
		h2streams__reset(r->streams, r->is_request, f->stream, refused, t_ns);
		return 0;
	case H2_GOAWAY:
		if (!r->is_request && r->small_n == H2_SMALL_MAX)
			h2streams__goaway(r->streams, h2_u32(r->small) & 0x7fffffffu, t_ns);
		return 0;
	default:
		return 0;
	}
}

int h2reader__read(struct h2reader *r, struct span *data, uint64_t t_ns)
{
	struct span piece = {0};
	int err = 0;

	while (!err) {
		if (!r->split.in_frame && !r->split.have)
			r->frame_ns = t_ns;
		switch (h2split__next(&r->split, data, &piece)) {
		case H2_MORE:
			return 0;
		case H2_BEGIN:
			err = frame_begin(r);
			break;
		case H2_PIECE:
			err = frame_piece(r, piece, t_ns);
			break;
		case H2_END:
			err = frame_end(r, t_ns);
			break;
		}
	}
	return err;
}

/* n bytes of the current frame's payload are missing. */
static void frame_gap(struct h2reader *r, uint32_t n, enum gap_cause cause)
{
	const struct h2frame *f = &r->split.frame;
	bool data = f->type == H2_DATA;
	uint32_t content;

	r->small_lost = true;
	r->small_n = 0;
	if (!data && !r->in_block)
		return;
	if (awaits_pad_length(r)) {
		/* Where the content ends went with it. */
		r->prefix = r->content = 0;
		r->broken = true;
		if (data)
			h2streams__data_unsure(r->streams, r->is_request, f->stream);
		return;
	}
	if (n <= r->prefix) {
		r->prefix -= n;
		return;
	}
	n -= r->prefix;
	r->prefix = 0;
	content = n < r->content ? n : r->content;
	r->content -= content;
	if (data)
		h2streams__data_gap(r->streams, r->is_request, f->stream, content, cause);
	else if (content)
		r->broken = true;
}

int h2reader__gap(struct h2reader *r, uint64_t n, enum gap_cause cause, uint64_t t_ns)
{
	uint32_t inside = h2split__gap(&r->split, n);
	struct span none = {0};
	int err;

	if (inside)
		frame_gap(r, inside, cause);
	/* The end of the frame, where that was it. */
	err = h2reader__read(r, &none, t_ns);
	return err ? err : n > inside ? -ESPIPE : 0;
}

void h2reader__lose(struct h2reader *r, uint64_t t_ns)
{
	if (r->in_block) {
		r->broken = true;
		(void)end_block(r, t_ns);
	}
	h2hpack__lost(r->hpack);
	r->split = (struct h2split){0};
	h2streams__lost(r->streams, r->is_request, t_ns);
}

void h2reader__free(struct h2reader *r)
{
	buf__free(&r->block);
	if (r->budget)
		(void)account(r);
}
