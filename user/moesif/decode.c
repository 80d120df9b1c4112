#include "moesif/decode.h"

#include <errno.h>
#include <stdlib.h>

#define ZLIB_CONST /* zlib reads its input only */
#include <brotli/decode.h>
#include <zlib.h>
#include <zstd.h>

#define STEP 16384
#define ZSTD_WINDOW_LOG_MAX 23 /* 8 MiB, what RFC 8878 asks of a decoder */

struct decoder {
	struct buf out[2]; /* one coding reads what the one before it wrote */
	z_stream zlib;
	bool zlib_made;
	ZSTD_DStream *zstd;
};

enum coding { CODING_UNKNOWN = 0, CODING_IDENTITY, CODING_GZIP, CODING_DEFLATE, CODING_BR, CODING_ZSTD };

struct decoder *decoder__new(size_t limit)
{
	struct decoder *d = calloc(1, sizeof(*d));

	if (d)
		decoder__set_limit(d, limit);
	return d;
}

void decoder__set_limit(struct decoder *d, size_t limit)
{
	for (int i = 0; i < 2; i++) {
		buf__free(&d->out[i]);
		buf__init(&d->out[i], limit);
	}
}

void decoder__free(struct decoder *d)
{
	if (!d)
		return;
	if (d->zlib_made)
		inflateEnd(&d->zlib);
	ZSTD_freeDStream(d->zstd);
	buf__free(&d->out[0]);
	buf__free(&d->out[1]);
	free(d);
}

/* Room for the next piece of output: at least one byte, at most STEP; -ENOSPC at the limit. */
static long room(struct buf *out)
{
	size_t want = out->max - out->n;
	int r;

	if (!want)
		return -ENOSPC;
	if (want > STEP)
		want = STEP;
	r = buf__reserve(out, want);
	return r < 0 ? r : (long)want;
}

/* Has the limit been met exactly? Then the stream may still have its end to say: hand it a byte that must stay unused.
 */
static int zlib_step(struct decoder *d, struct buf *out, bool *ret_end)
{
	z_stream *z = &d->zlib;
	unsigned char spare;
	long n = room(out);
	int r;

	if (n == -ENOMEM)
		return -ENOMEM;
	z->next_out = n > 0 ? (unsigned char *)out->p + out->n : &spare;
	z->avail_out = n > 0 ? (uInt)n : 1;
	r = inflate(z, Z_NO_FLUSH);
	if (n > 0)
		out->n += (size_t)n - z->avail_out;
	else if (!z->avail_out)
		return -ENOSPC;
	*ret_end = r == Z_STREAM_END;
	if (r == Z_MEM_ERROR)
		return -ENOMEM;
	return r == Z_OK || r == Z_STREAM_END ? 0 : -EBADMSG;
}

static int zlib_reset(struct decoder *d, int bits)
{
	int r = d->zlib_made ? inflateReset2(&d->zlib, bits) : inflateInit2(&d->zlib, bits);

	if (r != Z_OK)
		return -ENOMEM;
	d->zlib_made = true;
	return 0;
}

static bool is_gzip(const z_stream *z)
{
	return z->avail_in > 1 && z->next_in[0] == 0x1f && z->next_in[1] == 0x8b;
}

/* One zlib stream, or several gzip members one behind the other (RFC 1952, 2.2). What follows the last member and does
 * not begin as one does is left away, as gzip(1) and zlib's gzread do. */
static int run_zlib(struct decoder *d, struct span in, int bits, bool members, struct buf *out)
{
	bool end = false;
	int r = zlib_reset(d, bits);

	d->zlib.next_in = (z_const unsigned char *)in.p;
	d->zlib.avail_in = (uInt)in.n;
	while (r == 0) {
		r = zlib_step(d, out, &end);
		if (r < 0 || !end)
			continue;
		if (!d->zlib.avail_in || (members && !is_gzip(&d->zlib)))
			return 0;
		r = members && inflateReset(&d->zlib) == Z_OK ? 0 : -EBADMSG;
	}
	return r;
}

/* "deflate" is zlib (RFC 9110, 8.4.1.2), but bare deflate is sent under that name too. */
static int run_deflate(struct decoder *d, struct span in, struct buf *out)
{
	int r = run_zlib(d, in, MAX_WBITS, false, out);

	if (r != -EBADMSG)
		return r;
	buf__clear(out);
	return run_zlib(d, in, -MAX_WBITS, false, out);
}

static int run_brotli(struct span in, struct buf *out)
{
	BrotliDecoderState *b = BrotliDecoderCreateInstance(NULL, NULL, NULL);
	const uint8_t *next_in = (const uint8_t *)in.p;
	size_t avail_in = in.n;
	int r = b ? 0 : -ENOMEM;

	while (r == 0) {
		long n = room(out);
		uint8_t spare, *next_out = n > 0 ? (uint8_t *)out->p + out->n : &spare;
		size_t avail_out = n > 0 ? (size_t)n : 1;
		BrotliDecoderResult got;

		if (n == -ENOMEM) {
			r = -ENOMEM;
			break;
		}
		got = BrotliDecoderDecompressStream(b, &avail_in, &next_in, &avail_out, &next_out, NULL);
		if (n > 0)
			out->n += (size_t)n - avail_out;
		if (n <= 0 && !avail_out)
			r = -ENOSPC;
		else if (got == BROTLI_DECODER_RESULT_SUCCESS)
			break;
		else if (got != BROTLI_DECODER_RESULT_NEEDS_MORE_OUTPUT)
			r = -EBADMSG;
	}
	if (r == 0 && avail_in)
		r = -EBADMSG;
	if (b)
		BrotliDecoderDestroyInstance(b);
	return r;
}

static int zstd_reset(struct decoder *d)
{
	if (!d->zstd)
		d->zstd = ZSTD_createDStream();
	if (!d->zstd)
		return -ENOMEM;
	ZSTD_DCtx_reset(d->zstd, ZSTD_reset_session_only);
	ZSTD_DCtx_setParameter(d->zstd, ZSTD_d_windowLogMax, ZSTD_WINDOW_LOG_MAX);
	return 0;
}

static int run_zstd(struct decoder *d, struct span in, struct buf *out)
{
	ZSTD_inBuffer from = {in.p, in.n, 0};
	int r = zstd_reset(d);

	while (r == 0) {
		long n = room(out);
		char spare;
		ZSTD_outBuffer to = {n > 0 ? out->p + out->n : &spare, n > 0 ? (size_t)n : 1, 0};
		size_t before = from.pos, left;

		if (n == -ENOMEM)
			return -ENOMEM;
		left = ZSTD_decompressStream(d->zstd, &to, &from);
		if (ZSTD_isError(left))
			return -EBADMSG;
		if (n > 0)
			out->n += to.pos;
		else if (to.pos)
			return -ENOSPC;
		if (left == 0 && from.pos == from.size)
			return 0;
		if (from.pos == before && to.pos == 0)
			return -EBADMSG;
	}
	return r;
}

static enum coding coding_of(struct span name)
{
	static const struct {
		struct span name;
		enum coding coding;
	} list[] = {{{"gzip", 4}, CODING_GZIP}, {{"x-gzip", 6}, CODING_GZIP}, {{"deflate", 7}, CODING_DEFLATE},
		{{"br", 2}, CODING_BR}, {{"zstd", 4}, CODING_ZSTD}, {{"identity", 8}, CODING_IDENTITY},
		{{"", 0}, CODING_IDENTITY}};

	name = span_trim(name);
	for (size_t i = 0; i < sizeof(list) / sizeof(list[0]); i++)
		if (span_ieq(name, list[i].name))
			return list[i].coding;
	return CODING_UNKNOWN;
}

/* The codings of the header, identity left out. Their number, or -ENOTSUP. */
static int codings(struct span encoding, enum coding list[DECODE_CODINGS_MAX])
{
	int n = 0;

	while (encoding.n) {
		const char *comma = memchr(encoding.p, ',', encoding.n);
		struct span one = span_of(encoding.p, comma ? (size_t)(comma - encoding.p) : encoding.n);
		enum coding c = coding_of(one);

		encoding = span_skip(encoding, one.n + 1);
		if (c == CODING_IDENTITY)
			continue;
		if (c == CODING_UNKNOWN || n == DECODE_CODINGS_MAX)
			return -ENOTSUP;
		list[n++] = c;
	}
	return n;
}

bool decode_is_encoded(struct span encoding)
{
	enum coding list[DECODE_CODINGS_MAX];

	return codings(encoding, list) != 0;
}

static int run_one(struct decoder *d, enum coding c, struct span in, struct buf *out)
{
	buf__clear(out);
	if (in.n > UINT32_MAX)
		return -ENOSPC;
	switch (c) {
	case CODING_GZIP:
		return run_zlib(d, in, MAX_WBITS + 16, true, out);
	case CODING_DEFLATE:
		return run_deflate(d, in, out);
	case CODING_BR:
		return run_brotli(in, out);
	default:
		return run_zstd(d, in, out);
	}
}

int decoder__run(struct decoder *d, struct span encoding, struct span in, struct span *ret)
{
	enum coding list[DECODE_CODINGS_MAX];
	int n = codings(encoding, list), r;

	if (n < 0)
		return n;
	for (int turn = 0; n > 0; turn ^= 1) {
		r = run_one(d, list[--n], in, &d->out[turn]);
		if (r < 0)
			return r;
		in = buf_span(&d->out[turn]);
	}
	*ret = in;
	return 0;
}
