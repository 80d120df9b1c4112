/* llhttp reads the header sections (and trailer sections); start lines are read by h1line, bodies by h1body. The aim is
 * not to be strict or lenient but to see the message boundaries that nginx sees, and llhttp differs from nginx in
 * places:
 *
 *  what                         nginx (1.21 and later)         llhttp 8                     here
 *  bare LF as line end          taken                          taken (not built strict)     taken
 *  unknown method A-Z _ -       taken                          refused                      taken (h1line)
 *  space before the colon       400                            part of the name             taken: nginx answers 400
 *  other odd bytes in a name    the line is ignored            refused                      the line is ignored
 *  line without a colon         a field without value          refused                      the line is ignored
 *  line folding                 400                            joined                       joined: nginx answers 400
 *  bytes above 0x7f, controls   taken                          with lenient headers         taken: lenient_headers
 *  NUL in a value               400                            with lenient headers         taken: nginx answers 400
 *  CR CR LF                     taken as a line end            refused                      taken
 *  length and coding together   400 (request)                  with lenient chunked_length  read whole, then refused
 *  two lengths, odd length      400 (request)                  refused                      read whole, then refused
 *  coding other than chunked    501 (request)                  with lenient flag            read whole, then refused
 *  bare LF in chunk framing     taken                          refused                      taken (h1body)
 *
 * Being looser than nginx in a head is harmless: nginx answers 400 and closes, so there is no later boundary to get
 * wrong, and the event shows what was sent. Whatever decides on the length of a body (h1body) is exactly as strict.
 * Where llhttp refuses a line that nginx passes over, the rest of the line is taken here, and llhttp starts again at
 * the next one: at the beginning of a line of a header section it has no memory that matters to us.
 */
#include "wire/http1.h"

#include <errno.h>
#include <llhttp.h>
#include <stdlib.h>

#include "base/zalloc.h"
#include "wire/h1body.h"
#include "wire/h1fields.h"
#include "wire/h1line.h"

/* A body until the close has no known length, and what is taken for one may be a mistake that shows later. */
#define CLOSE_AHEAD (16u << 20)

enum at {
	AT_NOTHING,
	AT_LINE,
	AT_FIELDS,
	AT_REST_OF_LINE, /* of a header line that llhttp refused */
	AT_HEAD,	 /* whole; the body's kind is decided when it is asked for */
	AT_LENGTH,
	AT_CHUNKS,
	AT_SEARCH, /* in chunks, the place lost */
	AT_CLOSE,
	AT_END,
};

struct http1_reader {
	llhttp_t fields;
	struct message *m;	 /* NULL: forgotten */
	struct headers *section; /* where fields go; NULL: nowhere */
	struct buf line;	 /* a start line that came in pieces */
	struct h1chunk chunk;
	uint64_t left;
	enum at at;
	bool is_request, no_body, trailers, in_name, in_value;
	bool at_line; /* in a header section: at the beginning of a line, and the parser has not begun */
};

static int on_name(llhttp_t *p, const char *at, size_t n)
{
	struct http1_reader *r = p->data;

	r->in_value = false;
	if (!r->section)
		return 0;
	if (!r->in_name)
		headers__begin(r->section);
	r->in_name = true;
	/* What does not fit is left out as a whole and marked (headers.overflow); the message goes on. */
	headers__name(r->section, span_of(at, n));
	return 0;
}

static int on_name_complete(llhttp_t *p)
{
	struct http1_reader *r = p->data;

	r->in_name = false;
	r->in_value = true;
	return 0;
}

static int on_value(llhttp_t *p, const char *at, size_t n)
{
	struct http1_reader *r = p->data;

	if (r->section && r->section->open)
		headers__value(r->section, span_of(at, n));
	return 0;
}

static int on_value_complete(llhttp_t *p)
{
	struct http1_reader *r = p->data;

	if (r->section)
		headers__end(r->section);
	r->in_value = false;
	return 0;
}

static int on_section_end(llhttp_t *p)
{
	(void)p;
	return HPE_PAUSED;
}

static const llhttp_settings_t settings = {
	.on_header_field = on_name,
	.on_header_field_complete = on_name_complete,
	.on_header_value = on_value,
	.on_header_value_complete = on_value_complete,
	.on_headers_complete = on_section_end,
};

/* A parser that has just read a start line: copied for each section, so llhttp itself never reads one. */
static llhttp_t template_parser;

static const llhttp_t *section_parser(void)
{
	static const char line[] = "HTTP/1.1 200 \r\n";

	if (template_parser.settings)
		return &template_parser;
	llhttp_init(&template_parser, HTTP_RESPONSE, &settings);
	llhttp_set_lenient_headers(&template_parser, 1);
	llhttp_set_lenient_chunked_length(&template_parser, 1);
	llhttp_set_lenient_transfer_encoding(&template_parser, 1);
	llhttp_execute(&template_parser, line, sizeof(line) - 1);
	return &template_parser;
}

static void begin_section(struct http1_reader *r)
{
	r->at_line = true;
	r->in_name = r->in_value = false;
	r->at = AT_FIELDS;
}

static void begin_parser(struct http1_reader *r)
{
	r->at_line = false;
	r->fields = *section_parser();
	r->fields.data = r;
}

struct http1_reader *http1_reader__new(uint32_t line_max)
{
	struct http1_reader *r = zalloc(sizeof(*r));

	if (r)
		buf__init(&r->line, line_max);
	return r;
}

size_t http1_reader__mem(const struct http1_reader *r)
{
	return r ? sizeof(*r) + r->line.cap : 0;
}

void http1_reader__reset(struct http1_reader *r)
{
	if (!r)
		return;
	/* Start lines rarely come in pieces: nothing is kept for the next one. */
	if (r->line.cap)
		buf__free(&r->line);
	r->m = NULL;
	r->section = NULL;
	r->at = AT_NOTHING;
}

void http1_reader__begin(struct http1_reader *r, struct message *m, bool is_request)
{
	http1_reader__reset(r);
	r->m = m;
	r->is_request = is_request;
	r->no_body = r->trailers = false;
	r->at = AT_LINE;
}

void http1_reader__begin_bare(struct http1_reader *r, struct message *m)
{
	http1_reader__begin(r, m, false);
	r->at = AT_CLOSE;
}

void http1_reader__no_body(struct http1_reader *r)
{
	r->no_body = true;
}

static int take_request_line(struct message *m, struct span line)
{
	struct h1line_request q;
	int err = h1line_request(line, &q);

	m->major = q.major;
	m->minor = q.minor;
	/* Also of a line that nginx refuses: the event shows what could be read. */
	if (headers__keep(&m->headers, q.method, &m->method) || headers__keep(&m->headers, q.target, &m->target))
		return -ENOMEM;
	return err;
}

static int take_status_line(struct message *m, struct span line)
{
	struct h1line_status st;
	int err = h1line_status(line, &st);

	if (err)
		return err;
	m->status = st.status;
	m->major = st.major;
	m->minor = st.minor;
	return 0;
}

void http1_reader__salvage(struct http1_reader *r)
{
	if (!r)
		return;
	if (r->at == AT_LINE && r->is_request && r->line.n)
		take_request_line(r->m, buf_span(&r->line));
	buf__clear(&r->line);
}

static enum http1_step start_line(struct http1_reader *r, struct span line)
{
	struct message *m = r->m;

	if (line.n && line.p[line.n - 1] == '\r')
		line.n--;
	/* Empty lines may precede a request (RFC 9112, 2.2), as after a body with a line end too many. */
	if (!line.n && r->is_request)
		return HTTP1_MORE;
	if (r->is_request ? take_request_line(m, line) : take_status_line(m, line))
		return HTTP1_BAD;
	if (m->major == 0 && m->minor == 9) {
		r->no_body = true;
		r->at = AT_HEAD;
		return HTTP1_HEAD;
	}
	r->section = &m->headers;
	begin_section(r);
	return HTTP1_MORE;
}

static enum http1_step read_line(struct http1_reader *r, struct span *in)
{
	const char *lf = memchr(in->p, '\n', in->n);
	struct span piece = span_of(in->p, lf ? (size_t)(lf - in->p) : in->n);
	enum http1_step step;

	*in = span_skip(*in, piece.n + (lf != NULL));
	if (!lf || r->line.n) {
		if (buf__append_span(&r->line, piece)) {
			http1_reader__salvage(r);
			return HTTP1_BAD;
		}
		if (!lf)
			return HTTP1_MORE;
		piece = buf_span(&r->line);
	}
	step = start_line(r, piece);
	buf__clear(&r->line);
	return step;
}

static enum http1_step section_over(struct http1_reader *r)
{
	if (r->section) {
		headers__end(r->section);
		headers__fit(r->section);
		r->section = NULL;
	}
	r->at = r->trailers ? AT_END : AT_HEAD;
	return r->trailers ? HTTP1_MORE : HTTP1_HEAD;
}

static enum http1_step read_fields(struct http1_reader *r, struct span *in)
{
	enum llhttp_errno e;
	const char *pos;
	size_t n;

	if (r->at_line) {
		if (h1fields__take(in, r->section))
			return section_over(r);
		if (!in->n)
			return HTTP1_MORE;
		begin_parser(r);
	}
	e = llhttp_execute(&r->fields, in->p, in->n);
	pos = llhttp_get_error_pos(&r->fields);
	n = in->n;
	if (e != HPE_OK && pos >= in->p && pos < in->p + in->n)
		n = (size_t)(pos - in->p);
	*in = span_skip(*in, n);
	if (e == HPE_OK)
		return HTTP1_MORE;
	if (e == HPE_PAUSED)
		return section_over(r);
	r->at = AT_REST_OF_LINE;
	return HTTP1_MORE;
}

/* A value that llhttp did not like (a length that is none) is kept as it is; a name that it did not like is not. */
static void end_odd_line(struct http1_reader *r)
{
	struct headers *h = r->section;

	if (h && h->open && r->in_value) {
		struct header_field *f = &h->fields[h->count - 1];

		while (f->value_len && h->bytes[h->n - 1] == '\r') {
			f->value_len--;
			h->n--;
		}
		headers__end(h);
	} else if (h) {
		headers__abandon(h);
	}
	begin_section(r);
}

static enum http1_step read_rest_of_line(struct http1_reader *r, struct span *in)
{
	const char *lf = memchr(in->p, '\n', in->n);
	struct span piece = span_of(in->p, lf ? (size_t)(lf - in->p) : in->n);

	if (r->section && r->section->open && r->in_value)
		headers__value(r->section, piece);
	*in = span_skip(*in, piece.n + (lf != NULL));
	if (lf)
		end_odd_line(r);
	return HTTP1_MORE;
}

static enum http1_step begin_body(struct http1_reader *r)
{
	enum h1body_kind kind = H1BODY_NONE;

	/* Among the fields that found no room may be the one that says how long the body is. */
	if (r->m->headers.overflow && !r->no_body)
		return HTTP1_BAD;
	/* Also where no body follows: the fields' values are wanted (Content-Length of an answer to HEAD). */
	if (h1body_kind(r->m, r->is_request, &kind) && !r->no_body)
		return HTTP1_BAD;
	if (r->no_body)
		kind = H1BODY_NONE;
	switch (kind) {
	case H1BODY_NONE:
		r->at = AT_END;
		break;
	case H1BODY_LENGTH:
		r->left = r->m->content_length;
		r->at = AT_LENGTH;
		break;
	case H1BODY_CHUNKED:
		r->chunk = (struct h1chunk){0};
		r->at = AT_CHUNKS;
		break;
	case H1BODY_CLOSE:
		r->at = AT_CLOSE;
		break;
	}
	return HTTP1_MORE;
}

static enum http1_step read_chunks(struct http1_reader *r, struct span *in, struct span *body)
{
	switch (h1chunk__next(&r->chunk, in, body)) {
	case H1CHUNK_BODY:
		return HTTP1_BODY;
	case H1CHUNK_BAD:
		return HTTP1_BAD;
	case H1CHUNK_LAST:
		r->trailers = true;
		r->section = r->m ? &r->m->trailers : NULL;
		begin_section(r);
		break;
	case H1CHUNK_MORE:
		break;
	}
	return HTTP1_MORE;
}

static enum http1_step read_plain(struct http1_reader *r, struct span *in, struct span *body)
{
	size_t n = in->n;

	if (r->at == AT_LENGTH) {
		n = r->left < n ? (size_t)r->left : n;
		r->left -= n;
		if (!r->left)
			r->at = AT_END;
	}
	*body = span_of(in->p, n);
	*in = span_skip(*in, n);
	return HTTP1_BODY;
}

static enum http1_step read_some(struct http1_reader *r, struct span *in, struct span *body)
{
	switch (r->at) {
	case AT_LINE:
		return read_line(r, in);
	case AT_FIELDS:
		return read_fields(r, in);
	case AT_REST_OF_LINE:
		return read_rest_of_line(r, in);
	case AT_CHUNKS:
		return read_chunks(r, in, body);
	case AT_LENGTH:
	case AT_CLOSE:
		return read_plain(r, in, body);
	case AT_SEARCH:
	case AT_HEAD:
	case AT_END:
	case AT_NOTHING:
		break;
	}
	return HTTP1_BAD;
}

enum http1_step http1_reader__next(struct http1_reader *r, struct span *in, struct span *body)
{
	enum http1_step step = HTTP1_MORE;

	do {
		if (r->at == AT_HEAD)
			step = begin_body(r);
		else if (r->at == AT_END)
			step = HTTP1_END;
		else if (in->n)
			step = read_some(r, in, body);
		else
			break;
	} while (step == HTTP1_MORE);
	if (step == HTTP1_END || step == HTTP1_BAD)
		http1_reader__reset(r);
	return step;
}

uint64_t http1_reader__gap(struct http1_reader *r, uint64_t n)
{
	switch (r->at) {
	case AT_LENGTH:
		if (n > r->left)
			n = r->left;
		r->left -= n;
		if (!r->left)
			r->at = AT_END;
		return n;
	case AT_CHUNKS:
		return h1chunk__gap(&r->chunk, n);
	case AT_SEARCH:
	case AT_CLOSE:
		return n;
	default:
		return 0;
	}
}

bool http1_reader__search(struct http1_reader *r)
{
	if (r->at != AT_CHUNKS && r->at != AT_SEARCH)
		return false;
	r->at = AT_SEARCH;
	return true;
}

bool http1_reader__searching(const struct http1_reader *r)
{
	return r->at == AT_SEARCH;
}

bool http1_reader__resume(struct http1_reader *r, struct span in, bool last)
{
	if (last ? !span_starts(in, SPAN_LIT("0\r\n")) : !h1chunk_looks(in))
		return false;
	r->chunk = (struct h1chunk){0};
	r->at = AT_CHUNKS;
	return true;
}

uint64_t http1_reader__body_ahead(const struct http1_reader *r, bool *ret_last)
{
	*ret_last = r->at == AT_LENGTH;
	switch (r->at) {
	case AT_LENGTH:
		return r->left;
	case AT_CHUNKS:
		return r->chunk.at == H1CHUNK_DATA ? r->chunk.left : 0;
	case AT_CLOSE:
		return CLOSE_AHEAD;
	default:
		return 0;
	}
}

void http1_reader__forget(struct http1_reader *r)
{
	r->m = NULL;
	r->section = NULL;
}

bool http1_reader__until_close(const struct http1_reader *r)
{
	return r->at == AT_CLOSE;
}

void http1_reader__free(struct http1_reader *r)
{
	if (!r)
		return;
	buf__free(&r->line);
	free(r);
}
