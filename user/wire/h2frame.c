#include "wire/h2frame.h"

/* A stream that jumps ahead of the highest one known by more than this is not believed while looking for a place. */
#define STREAM_JUMP 200000u
/* … and where none is known yet, one beyond this: a connection's first 8 million calls. */
#define STREAM_FIRST 0x1000000u

void h2frame_parse(const unsigned char head[H2_HEAD_LEN], struct h2frame *ret)
{
	ret->length = (uint32_t)head[0] << 16 | (uint32_t)head[1] << 8 | head[2];
	ret->type = head[3];
	ret->flags = head[4];
	ret->stream = h2_u32(head + 5) & 0x7fffffffu;
}

uint32_t h2frame_prefix(const struct h2frame *f)
{
	uint32_t n = 0;

	if (f->type != H2_DATA && f->type != H2_HEADERS && f->type != H2_PUSH_PROMISE)
		return 0;
	if (f->flags & H2_PADDED)
		n += 1;
	if (f->type == H2_HEADERS && (f->flags & H2_PRIORITY_FLAG))
		n += 5;
	if (f->type == H2_PUSH_PROMISE)
		n += 4;
	return n;
}

bool h2frame_legal(const struct h2frame *f)
{
	switch (f->type) {
	case H2_DATA:
	case H2_HEADERS:
	case H2_PUSH_PROMISE:
		return f->stream && f->length >= h2frame_prefix(f);
	case H2_CONTINUATION:
		return f->stream;
	case H2_PRIORITY:
		return f->stream && f->length == 5;
	case H2_RST_STREAM:
		return f->stream && f->length == 4;
	case H2_SETTINGS:
		return !f->stream && f->length % 6 == 0 && (!(f->flags & H2_ACK) || !f->length);
	case H2_PING:
		return !f->stream && f->length == 8;
	case H2_GOAWAY:
		return !f->stream && f->length >= 8;
	case H2_WINDOW_UPDATE:
		return f->length == 4;
	default:
		return true;
	}
}

static bool stream_plausible(uint32_t stream, uint32_t top)
{
	if (!(stream & 1))
		return false; /* nobody pushes through nginx any more; a place is not found by a pushed stream */
	return stream <= (top ? top + STREAM_JUMP : STREAM_FIRST);
}

bool h2frame_plausible(const struct h2frame *f, bool is_request, uint32_t top_stream)
{
	static const uint8_t flags[] = {
		[H2_DATA] = H2_END_STREAM | H2_PADDED,
		[H2_HEADERS] = H2_END_STREAM | H2_END_HEADERS | H2_PADDED | H2_PRIORITY_FLAG,
		[H2_SETTINGS] = H2_ACK,
		[H2_PUSH_PROMISE] = H2_END_HEADERS | H2_PADDED,
		[H2_PING] = H2_ACK,
		[H2_CONTINUATION] = H2_END_HEADERS,
	};

	if (!h2frame_legal(f) || f->length > H2_FRAME_DEFAULT)
		return false;
	if (f->type == H2_PRIORITY_UPDATE)
		return is_request && !f->stream && !f->flags && f->length >= 4;
	if (f->type >= sizeof(flags) || (f->flags & ~flags[f->type]))
		return false;
	if (f->stream && !stream_plausible(f->stream, top_stream))
		return false;
	if (f->type == H2_PUSH_PROMISE && is_request)
		return false;
	/* Zeroes look like frames of no length; these two never are empty. */
	return (f->type != H2_HEADERS && f->type != H2_CONTINUATION) || f->length > h2frame_prefix(f);
}

/* May a header block that begins so go in this direction? Requests begin with their pseudo-header fields, responses
 * with :status, and those are mostly named by their place in the static table (RFC 7541, Appendix A). Where the first
 * field is not, the block says nothing of its direction. */
static bool block_plausible(struct span block, bool is_request)
{
	unsigned int index;
	unsigned char c;

	/* Size updates of one byte and of two, as there are before a first field. */
	while (block.n && ((unsigned char)block.p[0] & 0xe0) == 0x20)
		block = span_skip(block, block.p[0] == 0x3f ? 2 : 1);
	if (!block.n)
		return true;
	c = (unsigned char)block.p[0];
	if (c & 0x80)
		index = c & 0x7f;
	else
		index = (c & 0x40) ? c & 0x3f : c & 0x0f;
	if (index >= 1 && index <= 7)
		return is_request;
	return index < 8 || index > 14 || !is_request;
}

/* What a payload's first bytes say against the frame, as far as they are there. */
static bool payload_plausible(const struct h2frame *f, struct span payload, bool is_request)
{
	uint32_t prefix = h2frame_prefix(f);

	if (payload.n && (f->flags & H2_PADDED) && prefix && (unsigned char)payload.p[0] > f->length - prefix)
		return false;
	if (f->type == H2_HEADERS)
		return block_plausible(
			span_skip(span_of(payload.p, payload.n < f->length ? payload.n : f->length), prefix),
			is_request);
	if (f->type == H2_WINDOW_UPDATE && payload.n >= 4)
		return h2_u32(payload.p) - 1 < 0x7fffffffu; /* 1 to 2^31 - 1 */
	if (f->type == H2_RST_STREAM && payload.n >= 4)
		return h2_u32(payload.p) < 256;
	if (f->type == H2_SETTINGS && payload.n >= 2)
		return payload.p[0] == 0 || payload.p[0] == 0x0a; /* registered ones, and those set aside for grease */
	return true;
}

enum h2_chain h2frame_chain(struct span data, bool is_request, uint32_t top_stream)
{
	uint32_t block = 0; /* stream whose header block is not complete: nothing but its CONTINUATION may follow */
	unsigned int frames = 0;
	struct h2frame f;

	while (data.n >= H2_HEAD_LEN) {
		h2frame_parse((const unsigned char *)data.p, &f);
		/* A block whose beginning is not here is of no use: the chain may not begin within one. */
		if ((f.type == H2_CONTINUATION) != (block != 0) || (block && f.stream != block))
			return H2_CHAIN_NO;
		data = span_skip(data, H2_HEAD_LEN);
		if (!h2frame_plausible(&f, is_request, top_stream) || !payload_plausible(&f, data, is_request))
			return H2_CHAIN_NO;
		if (f.type == H2_HEADERS || f.type == H2_PUSH_PROMISE || f.type == H2_CONTINUATION)
			block = (f.flags & H2_END_HEADERS) ? 0 : f.stream;
		frames++;
		if (f.length > data.n)
			return frames >= 2 ? H2_CHAIN_YES : H2_CHAIN_SO_FAR;
		data = span_skip(data, f.length);
	}
	if (frames >= 2 || (frames == 1 && !data.n))
		return H2_CHAIN_YES;
	/* A piece of a header is left: the first byte of a length of 16384 at most. */
	return data.n && data.p[0] ? H2_CHAIN_NO : H2_CHAIN_SO_FAR;
}

enum h2_step h2split__next(struct h2split *s, struct span *data, struct span *piece)
{
	size_t n;

	if (s->in_frame && !s->left) {
		s->in_frame = false;
		return H2_END;
	}
	if (!data->n)
		return H2_MORE;
	if (s->in_frame) {
		n = data->n < s->left ? data->n : s->left;
		*piece = span_of(data->p, n);
		*data = span_skip(*data, n);
		s->left -= (uint32_t)n;
		return H2_PIECE;
	}
	n = H2_HEAD_LEN - s->have;
	if (n > data->n)
		n = data->n;
	memcpy(s->head + s->have, data->p, n);
	s->have += (uint32_t)n;
	*data = span_skip(*data, n);
	if (s->have < H2_HEAD_LEN)
		return H2_MORE;
	h2frame_parse(s->head, &s->frame);
	s->have = 0;
	s->left = s->frame.length;
	s->in_frame = true;
	return H2_BEGIN;
}

uint32_t h2split__gap(struct h2split *s, uint64_t n)
{
	uint32_t inside = !s->in_frame ? 0 : n < s->left ? (uint32_t)n : s->left;

	s->left -= inside;
	return inside;
}
