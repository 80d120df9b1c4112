/* left_out: with bodies left out, every exchange is what it would be without: its heads, its end, the length of its
 * bodies and as much of them as is wanted (-k BYTES), whatever calls the bytes come in. An actor process (watched)
 * speaks a random script of HTTP/1 or HTTP/2 in random calls; we are the other end and know the script, too. What the
 * source says goes through the real wire. With -x bodies of some media types are not wanted, requests come behind
 * bodies (long ones with -k 0), and heads and bodies are odder. left_out [-f FEATURES-TO-DO-WITHOUT] [-s SEED] [-n
 * SCRIPTS]
 * [-k BYTES] [-x]
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <nghttp2/nghttp2.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/stats.h"
#include "capture/source.h"
#include "wire/conns.h"
#include "wire/h2frame.h"

#define CALLS_MAX 96
#define TURNS_MAX 512

/* A script: whose turn it is, and what it says. */
struct turn {
	bool request;
	size_t off, n;
};

struct body_seen {
	uint64_t len;
	unsigned char first; /* its bytes go up from there … */
	bool evil;	     /* … or are those of messages that are none */
	bool excluded;	     /* by its type */
	bool framed;	     /* chunked: where it is left out, its length counts framing, too */
	bool outrun;	     /* the answer was there before all of it was */
};

struct call_said {
	char target[32];
	unsigned status;
	struct body_seen req, resp;
	bool refused; /* nobody knows where the request ends */
};

struct script {
	struct buf bytes;
	struct turn turns[TURNS_MAX];
	unsigned nturns;
	struct call_said calls[CALLS_MAX];
	unsigned ncalls;
	bool h2, upstream;
	bool plain;    /* requests are read into one buffer, as nginx does */
	bool followed; /* … and each says plainly where it ends, so far */
};

static uint32_t keep = 100000; /* of a body */
static bool exclude, loopless;
static char *const exclude_list[] = {
	"image/*", "Application/PDF", "text/x-0123456789012345678901234567890123456789012345678901234567890"};
#define EXCLUDED (sizeof(exclude_list) / sizeof(*exclude_list))
static const struct {
	const char *line;
	bool excluded;
} types[] = {
	{"Content-Type: application/json", false},
	{"content-type:image/png", true},
	{"CONTENT-TYPE: Image/GIF;x=y", true},
	{"Content-Type: application/pdf  ", true},
	{"Content-Type: application/pdfx", false},
	{"Content-Type:  \timage/png", true},
	{"Content-Type: text/plain, image/png", true},
	{"Content-Type: text/plain; a=\"x, image/png\"", false},
	{"X-Content-Type: image/png", false},
	{"Content-Type-X: image/png", false},
	{"Content-Type: image", false},
	{"Content-Type: imag/e", false},
	{"Content-Type: text/x-012345678901234567890123456789012345678901234567890123456789", false},
	{"Content-Type: text/x-0123456789012345678901234567890123456789012345678901234567890", true},
	{"Content-Type: text/x-01234567890123456789012345678901234567890123456789012345678901", false},
	{"Content-Type: application/x-01234567890123456789012345678901234567890123456789012345678901", false},
};

static const char evil[] = "POST /0/evil HTTP/1.1\r\nContent-Type: image/png\r\nContent-Length: 70000\r\n\r\n"
			   "HTTP/1.1 200 OK\r\nContent-Type: image/png\r\nContent-Length: 3000\r\n\r\n0\r\n\r\n";

static uint64_t rng_state;

static uint64_t rng(void)
{
	rng_state ^= rng_state << 13;
	rng_state ^= rng_state >> 7;
	rng_state ^= rng_state << 17;
	return rng_state * 0x2545F4914F6CDD1Dull >> 11;
}

static uint64_t below(uint64_t n)
{
	return n ? rng() % n : 0;
}

static void begin(struct script *s, bool request)
{
	struct turn *last = s->nturns ? &s->turns[s->nturns - 1] : NULL;

	if (last && last->request == request && !last->n)
		return;
	if (s->nturns == TURNS_MAX)
		abort();
	s->turns[s->nturns++] = (struct turn){.request = request, .off = s->bytes.n};
}

static void put(struct script *s, const void *p, size_t n)
{
	if (buf__append(&s->bytes, p, n))
		abort();
	s->turns[s->nturns - 1].n += n;
}

static void put_text(struct script *s, const char *text)
{
	put(s, text, strlen(text));
}

static unsigned char body_byte(const struct body_seen *b, uint64_t at)
{
	return b->evil ? (unsigned char)evil[at % (sizeof(evil) - 1)] : (unsigned char)(b->first + at * 7 + (at >> 10));
}

/* The body's bytes from `at` on. */
static void put_body(struct script *s, const struct body_seen *b, uint64_t at, size_t n)
{
	unsigned char piece[4096];

	while (n) {
		size_t m = n < sizeof(piece) ? n : sizeof(piece);

		for (size_t i = 0; i < m; i++)
			piece[i] = body_byte(b, at + i);
		put(s, piece, m);
		at += m;
		n -= m;
	}
}

static uint64_t some_length(void)
{
	switch (below(8)) {
	case 0:
		return 0;
	case 1:
	case 2:
		return below(300);
	case 3:
		return below(20000);
	case 4:
		return 60000 + below(60000);
	case 5:
		return (keep ? keep - 1 : 0) + below(3);
	case 6:
		return 100000 + below(200000);
	default:
		return below(1500000);
	}
}

static struct call_said *new_call(struct script *s)
{
	struct call_said *c = &s->calls[s->ncalls];

	snprintf(c->target, sizeof(c->target), "/%u/%x", s->ncalls, (unsigned)below(1 << 16));
	c->status = 200 + (unsigned)below(3) * 100 + (unsigned)below(3);
	if (c->status == 204)
		c->status = 200;
	c->req = (struct body_seen){.len = below(3) ? 0 : some_length(), .first = (unsigned char)rng()};
	c->resp = (struct body_seen){.len = some_length(), .first = (unsigned char)rng()};
	c->req.evil = exclude && !below(4);
	c->resp.evil = exclude && !below(4);
	c->refused = false;
	s->ncalls++;
	return c;
}

/* HTTP/1. */

static void put_fields(struct script *s)
{
	char line[700];

	for (unsigned n = exclude ? (unsigned)below(4) : 0; n; n--) {
		unsigned length = (unsigned)below(below(3) ? 40 : 600);

		snprintf(line, sizeof(line), "%s: %*s\r\n", below(2) ? "X-Padding" : "Cookie", (int)length, "x");
		put_text(s, line);
	}
}

static void put_type(struct script *s, struct body_seen *b)
{
	size_t i = exclude ? below(2 * sizeof(types) / sizeof(*types)) : ~0ul;

	if (i >= sizeof(types) / sizeof(*types))
		return;
	b->excluded = types[i].excluded;
	put_text(s, types[i].line);
	put_text(s, "\r\n");
}

/* The rest of the head. */
static void put_length(struct script *s, const struct body_seen *b, bool odd)
{
	static const char *const names[] = {"Content-Length: ", "content-length:", "CONTENT-LENGTH: "};
	char line[64];

	snprintf(line, sizeof(line),
		odd && below(2) ? "%s  %llu\r\n"
		: odd		? "%s%llu\n"
				: "%s%llu\r\n",
		names[exclude ? below(3) : 0], (unsigned long long)b->len);
	put_text(s, line);
	put_fields(s);
	put_text(s, "\r\n");
}

static void put_chunks(struct script *s, struct body_seen *b, bool followed)
{
	static const char *const extensions[] = {"", "", ";x", ";x=\"y 5\"; z"};
	/* Of very small ones the kernel looks at some hundred in one call. */
	bool small = followed && b->len < 30000 && !below(4);
	char line[64];

	b->framed = true;
	for (uint64_t at = 0; at < b->len;) {
		uint64_t n = 1 + below(small ? 200 : below(4) ? 9000 : 70000);

		if (n > b->len - at)
			n = b->len - at;
		snprintf(line, sizeof(line), followed && below(2) ? "%04llX%s\r\n" : "%llx%s\r\n",
			(unsigned long long)n, extensions[followed ? below(4) : 0]);
		put_text(s, line);
		put_body(s, b, at, n);
		put_text(s, "\r\n");
		at += n;
	}
	put_text(s, followed && below(2) ? "000\r\n\r\n" : "0\r\n\r\n");
}

/* `followed`: exactly, by the kernel. */
static void put_message_body(struct script *s, struct body_seen *b, bool chunked, bool followed)
{
	put_fields(s);
	put_type(s, b);
	if (!chunked) {
		put_length(s, b, false);
		put_body(s, b, 0, b->len);
		return;
	}
	/* Else, where chunks are left out, their end is found by what it looks like. */
	b->evil &= followed;
	put_text(s, "Transfer-Encoding: chunked\r\n\r\n");
	put_chunks(s, b, followed);
}

static void h1_request(struct script *s, struct call_said *c)
{
	char line[128];

	snprintf(line, sizeof(line), "%s %s HTTP/1.1\r\nHost: a\r\n", c->req.len ? "POST" : "GET", c->target);
	put_text(s, line);
	if (c->req.len) {
		put_message_body(s, &c->req, below(2), s->followed);
	} else {
		put_fields(s);
		put_text(s, "\r\n");
	}
}

/* With others behind it, whatever the kernel makes of it. */
static void h1_pipelined(struct script *s, struct call_said *c)
{
	static const char *const methods[] = {"POST", "PUT", "GET", "DELETE", "PROPFIND"};
	bool odd = !below(12);
	char line[128];

	s->followed &= !odd;
	c->req.len = below(s->followed && !keep && below(2) ? 200000 : 3000);
	snprintf(line, sizeof(line), "%s %s HTTP/1.1\r\nHost: a\r\n", methods[below(5)], c->target);
	put_text(s, line);
	if (s->followed && below(2)) {
		put_message_body(s, &c->req, true, true);
		return;
	}
	put_fields(s);
	if (c->req.len || below(2)) {
		put_type(s, &c->req);
		put_length(s, &c->req, odd);
		put_body(s, &c->req, 0, c->req.len);
	} else {
		put_text(s, "\r\n");
	}
}

/* Its body comes when it is asked for. */
static void h1_expects(struct script *s, struct call_said *c)
{
	char line[128];
	bool chunked;

	c->req.len = below(2) ? below(3000) : some_length();
	chunked = c->req.len && s->followed && below(2);
	snprintf(line, sizeof(line), "POST %s HTTP/1.1\r\nExpect: 100-continue\r\n", c->target);
	put_text(s, line);
	put_type(s, &c->req);
	if (chunked)
		put_text(s, "Transfer-Encoding: chunked\r\n\r\n");
	else
		put_length(s, &c->req, false);
	if (!c->req.len)
		return;
	begin(s, false);
	put_text(s, "HTTP/1.1 100 Continue\r\n\r\n");
	begin(s, true);
	if (chunked)
		put_chunks(s, &c->req, true);
	else
		put_body(s, &c->req, 0, c->req.len);
}

/* nginx answers 400 and closes. */
static void h1_refused(struct script *s, struct call_said *c)
{
	static const char *const heads[] = {"Content-Length: 40000\r\nContent-Length: 40000\r\n\r\n",
		"Content-Length: 10\r\nContent-Length: 40000\r\n\r\n",
		"Content-Length: 40000\r\nTransfer-Encoding: chunked\r\n\r\n", "Content-Length: 40000 1\r\n\r\n",
		"Content-Length: +40000\r\n\r\n", "Content-Length: 99999999999999999999\r\n\r\n",
		"Content-Length: \r\n\r\n"};
	char line[64];

	c->refused = true;
	c->status = 400;
	snprintf(line, sizeof(line), "POST %s HTTP/1.1\r\n", c->target);
	put_text(s, line);
	put_text(s, heads[below(7)]);
	c->req.evil = true;
	put_body(s, &c->req, 0, below(50000));
	begin(s, false);
	put_text(s, "HTTP/1.1 400 No\r\nConnection: close\r\n");
	put_message_body(s, &c->resp, false, false);
}

static void h1_response(struct script *s, struct call_said *c)
{
	char line[128];

	begin(s, false);
	if (!below(8))
		put_text(s, "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n");
	snprintf(line, sizeof(line), "HTTP/1.1 %u Fine\r\nServer: a\r\n", c->status);
	put_text(s, line);
	put_message_body(s, &c->resp, below(2), false);
}

/* nginx answers as soon as it knows what, and reads the rest of the request's body then: up to its end, no further. */
static void answer_early(struct script *s, struct call_said *c)
{
	struct turn *t = &s->turns[s->nturns - 2], rest = *t;
	const char *bytes = s->bytes.p + t->off, *body = memmem(bytes, t->n, "\r\n\r\n", 4);

	if (!body || s->nturns == TURNS_MAX)
		abort();
	body += 4;
	t->n = (size_t)(body - bytes) + below(t->n - (size_t)(body - bytes));
	rest.off += t->n;
	rest.n -= t->n;
	s->turns[s->nturns++] = rest;
	c->req.outrun = true;
}

static void put_preamble(struct script *s)
{
	static const char v2[] = "\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\1\2\3\4\5\6\7\x8\0\1\0\2";

	begin(s, true);
	if (below(2))
		put_text(s, "PROXY TCP4 192.0.2.1 192.0.2.2 56324 443\r\n");
	else
		put(s, v2, sizeof(v2) - 1);
}

static void h1_script(struct script *s)
{
	unsigned n = 1 + (unsigned)below(6);

	if (exclude && !s->upstream && !below(3))
		put_preamble(s);
	for (unsigned i = 0; i < n; i++) {
		/* A client may ask for several things at once; those that bring bodies wait for their turn. */
		unsigned at_once = s->upstream || below(4) ? 1 : 2 + (unsigned)below(12);
		struct call_said *c = &s->calls[s->ncalls];

		bool expects = exclude && at_once == 1 && !s->upstream && !below(6);

		begin(s, true);
		for (unsigned j = 0; j < at_once; j++) {
			struct call_said *one = new_call(s);

			if (expects) {
				h1_expects(s, one);
			} else if (at_once > 1 && exclude) {
				h1_pipelined(s, one);
			} else {
				if (at_once > 1)
					one->req.len = 0;
				h1_request(s, one);
			}
		}
		/* nginx writes each of them by itself, so each is a turn of its own here. */
		for (unsigned j = 0; j < at_once; j++)
			h1_response(s, &c[j]);
		if (at_once == 1 && !expects && c->req.len && !s->upstream && !below(3))
			answer_early(s, c);
	}
	if (exclude && !s->upstream && !below(4)) {
		begin(s, true);
		h1_refused(s, new_call(s));
	}
}

/* HTTP/2, with literal fields only: no table is needed. */

static void frame(struct script *s, uint8_t type, uint8_t flags, uint32_t stream, const void *payload, size_t n)
{
	unsigned char h[9] = {(unsigned char)(n >> 16), (unsigned char)(n >> 8), (unsigned char)n, type, flags,
		(unsigned char)(stream >> 24), (unsigned char)(stream >> 16), (unsigned char)(stream >> 8),
		(unsigned char)stream};

	put(s, h, sizeof(h));
	if (payload)
		put(s, payload, n);
}

/* Without Huffman coding. */
static size_t string(unsigned char *out, const char *text)
{
	size_t n = strlen(text), at = 0;

	if (n < 127) {
		out[at++] = (unsigned char)n;
	} else {
		out[at++] = 127;
		if (n - 127 >= 128)
			out[at++] = (unsigned char)((n - 127) | 128);
		out[at++] = (unsigned char)((n - 127) >> (n - 127 >= 128 ? 7 : 0));
	}
	memcpy(out + at, text, n);
	return at + n;
}

static void noise(struct script *s)
{
	static const unsigned char window[4] = {0, 0, 16, 0}, ping[8] = {1};

	if (below(3) == 0)
		frame(s, H2_WINDOW_UPDATE, 0, 0, window, 4);
	if (below(10) == 0)
		frame(s, H2_PING, 0, 0, ping, 8);
}

/* A head's fields as nginx codes them, by no table, or as clients do, with what was sent before in one. */
struct head {
	unsigned char block[4096];
	size_t n;
	nghttp2_hd_deflater *table; /* or NULL */
	nghttp2_nv fields[16];
	size_t nfields;
};

static void head_add(struct head *h, const char *name, const char *value)
{
	uint8_t flags = below(6) ? NGHTTP2_NV_FLAG_NONE : NGHTTP2_NV_FLAG_NO_INDEX;

	h->fields[h->nfields++] = (nghttp2_nv){
		(uint8_t *)(uintptr_t)name, (uint8_t *)(uintptr_t)value, strlen(name), strlen(value), flags};
}

/* The type by its index in the static table, others with their names: literals without indexing. */
static void code_plainly(struct head *h)
{
	for (size_t i = 0; i < h->nfields; i++) {
		const char *name = (const char *)h->fields[i].name;

		if (!strcmp(name, "content-type")) {
			h->block[h->n++] = 0x40 | 31;
		} else {
			h->block[h->n++] = 0;
			h->n += string(h->block + h->n, name);
		}
		h->n += string(h->block + h->n, (const char *)h->fields[i].value);
	}
}

static void head_code(struct head *h)
{
	ssize_t n;

	h->n = 0;
	if (!h->table) {
		code_plainly(h);
		return;
	}
	n = nghttp2_hd_deflate_hd(h->table, h->block, sizeof(h->block), h->fields, h->nfields);
	if (n < 0)
		abort();
	h->n = (size_t)n;
}

/* Some values of those above, and words around them. */
static void head_type(struct head *h, struct body_seen *b)
{
	static const char *const words[] = {"x-padding", "cookie", "server", "accept"};
	static const char padding[] =
		"a value that is longer than others, up to where a length takes more than one byte of its own: "
		"one hundred and twenty-seven ........................................................ "
		"and then more than two hundred and fifty-five ......................................";
	size_t i = below(2 * sizeof(types) / sizeof(*types));

	for (unsigned n = (unsigned)below(5); n; n--)
		head_add(h, words[below(4)], padding + below(sizeof(padding) - 1));
	if (i < sizeof(types) / sizeof(*types) && strncasecmp(types[i].line, "content-type:", 13) == 0) {
		b->excluded = types[i].excluded;
		head_add(h, "content-type", types[i].line + 13 + strspn(types[i].line + 13, " \t"));
	}
	for (unsigned n = (unsigned)below(3); n; n--)
		head_add(h, words[below(4)], padding + below(sizeof(padding) - 1));
}

static void put_head(struct script *s, struct head *h, uint8_t flags, uint32_t stream)
{
	static const unsigned char priority[5] = {0, 0, 0, 0, 15};
	size_t before = flags & H2_PRIORITY_FLAG ? sizeof(priority) : 0;

	head_code(h);
	frame(s, H2_HEADERS, flags, stream, NULL, before + h->n);
	put(s, priority, before);
	put(s, h->block, h->n);
	h->nfields = 0;
}

struct flow {
	uint32_t stream;
	struct body_seen *body;
	uint64_t at;
};

/* One DATA frame; true: it was the last. */
static bool flow_on(struct script *s, struct flow *f)
{
	uint64_t left = f->body->len - f->at, n = below(4) ? 8192 : below(16385);
	bool padded = !below(30), last;

	if (n > left)
		n = left;
	if (padded && n > 8000)
		n = 8000;
	last = n == left && (below(4) || !left);
	if (padded) {
		unsigned char pad[32] = {0}, length = (unsigned char)below(32);

		frame(s, H2_DATA, (uint8_t)(H2_PADDED | (last ? H2_END_STREAM : 0)), f->stream, NULL, n + 1 + length);
		put(s, &length, 1);
		put_body(s, f->body, f->at, n);
		put(s, pad, length);
	} else {
		frame(s, H2_DATA, last ? H2_END_STREAM : 0, f->stream, NULL, n);
		put_body(s, f->body, f->at, n);
	}
	f->at += n;
	return last;
}

static void put_flows(struct script *s, struct flow *f, unsigned n)
{
	while (n) {
		unsigned i = (unsigned)below(n);

		noise(s);
		for (unsigned k = 1 + (unsigned)below(12); k; k--) {
			if (!flow_on(s, &f[i]))
				continue;
			f[i] = f[--n];
			break;
		}
	}
}

static void h2_script(struct script *s)
{
	struct span preface = H2_PREFACE;
	unsigned rounds = 1 + (unsigned)below(4);
	uint32_t stream = 1;
	bool server_first = below(2);
	struct head up_head = {0}, down_head = {0};

	if (below(2) && nghttp2_hd_deflate_new(&up_head.table, 4096))
		abort();
	if (below(2) && nghttp2_hd_deflate_new(&down_head.table, 4096))
		abort();

	if (server_first) {
		begin(s, false);
		frame(s, H2_SETTINGS, 0, 0, "\0\3\0\0\0\144", 6);
	}
	begin(s, true);
	put(s, preface.p, preface.n);
	frame(s, H2_SETTINGS, 0, 0, NULL, 0);
	for (unsigned r = 0; r < rounds; r++) {
		unsigned n = 1 + (unsigned)below(7);
		struct flow up[8], down[8];
		unsigned nup = 0;
		struct call_said *first = &s->calls[s->ncalls];

		begin(s, true);
		for (unsigned i = 0; i < n; i++) {
			struct call_said *c = new_call(s);

			head_add(&up_head, ":method", c->req.len ? "POST" : "GET");
			head_add(&up_head, ":scheme", "http");
			head_add(&up_head, ":path", c->target);
			head_add(&up_head, ":authority", "a");
			if (exclude)
				head_type(&up_head, &c->req);
			put_head(s, &up_head,
				(uint8_t)(H2_END_HEADERS | (c->req.len ? 0 : H2_END_STREAM) |
					  (below(3) ? 0 : H2_PRIORITY_FLAG)),
				stream + 2 * i);
			if (c->req.len)
				up[nup++] = (struct flow){stream + 2 * i, &c->req, 0};
		}
		put_flows(s, up, nup);
		begin(s, false);
		if (!r && !server_first)
			frame(s, H2_SETTINGS, 0, 0, NULL, 0);
		for (unsigned i = 0; i < n; i++) {
			char status[8];

			/* What an interim response says of its body holds for none. */
			if (exclude && !below(8)) {
				head_add(&down_head, ":status", "103");
				head_add(&down_head, "content-type", "image/png");
				put_head(s, &down_head, H2_END_HEADERS, stream + 2 * i);
			}
			snprintf(status, sizeof(status), "%u", first[i].status);
			head_add(&down_head, ":status", status);
			if (exclude)
				head_type(&down_head, &first[i].resp);
			put_head(s, &down_head, H2_END_HEADERS, stream + 2 * i);
			down[i] = (struct flow){stream + 2 * i, &first[i].resp, 0};
		}
		put_flows(s, down, n);
		stream += 2 * n;
	}
	if (up_head.table)
		nghttp2_hd_deflate_del(up_head.table);
	if (down_head.table)
		nghttp2_hd_deflate_del(down_head.table);
}

static void write_script(struct script *s, uint64_t seed)
{
	buf__clear(&s->bytes);
	s->nturns = s->ncalls = 0;
	rng_state = seed * 0x9E3779B97F4A7C15ull + 1;
	for (int i = 0; i < 8; i++)
		rng();
	s->h2 = below(2);
	s->upstream = below(2);
	s->plain = exclude && below(4);
	s->followed = s->plain && !s->upstream && !loopless;
	if (s->h2)
		h2_script(s);
	else
		h1_script(s);
}

/* The actor: its calls are the script's bytes, cut anywhere. */

static void die(const char *what)
{
	fprintf(stderr, "actor: %s: %s\n", what, strerror(errno));
	_exit(2);
}

/* Segments of random lengths, as nginx has them. */
static size_t segments(struct iovec *v, const char *p, size_t n)
{
	size_t k = 0;

	while (n && k < 63) {
		size_t m = below(3) ? 1 + below(8192) : 1 + below(40);

		if (m > n)
			m = n;
		v[k++] = (struct iovec){(void *)p, m};
		p += m;
		n -= m;
	}
	if (n)
		v[k++] = (struct iovec){(void *)p, n};
	return k;
}

static size_t call_size(size_t left)
{
	/* Of more than call_bytes the rest is left out whatever it is. */
	size_t n = below(3) ? 1 + below(16384) : 1 + below(below(3) ? 65536 : 250000);

	/* nginx writes the end of a chunked body with what comes before it, or by itself. */
	return n > left || left - n < 8 ? left : n;
}

static void act_write(int fd, const char *p, size_t n)
{
	struct iovec v[64];

	while (n) {
		size_t m = call_size(n);
		ssize_t w = below(2) ? writev(fd, v, (int)segments(v, p, m)) : write(fd, p, m);

		if (w <= 0)
			die("write");
		p += w;
		n -= (size_t)w;
	}
}

static void act_read(int fd, const char *want, size_t n, bool plain)
{
	static char room[300000];

	while (n) {
		bool whole = plain && n <= 107; /* as it reads what a load balancer says first */
		size_t m = whole ? n : call_size(n);
		struct iovec v[2] = {{room, m / 3}, {room + m / 3, m - m / 3}};
		ssize_t r =
			!plain && below(2) ? readv(fd, v, 2) : recv(fd, room, m, whole || below(2) ? MSG_WAITALL : 0);

		if (r <= 0)
			die("read");
		if (memcmp(room, want, (size_t)r))
			die("other bytes than the script has");
		want += r;
		n -= (size_t)r;
	}
}

static int act_connection(const struct script *s, int listener, uint16_t port)
{
	struct sockaddr_in a = {
		.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd;

	if (!s->upstream)
		return accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	fd = socket(AF_INET, SOCK_STREAM, 0);
	if (connect(fd, (struct sockaddr *)&a, sizeof(a)))
		die("connect");
	return fd;
}

static void act(int channel, int listener, uint16_t port)
{
	static struct script s;
	uint64_t seed;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	buf__init(&s.bytes, 1u << 30);
	while (read(channel, &seed, sizeof(seed)) == sizeof(seed)) {
		int fd;

		write_script(&s, seed);
		fd = act_connection(&s, listener, port);
		if (fd < 0)
			die("connection");
		for (unsigned i = 0; i < s.nturns; i++) {
			const struct turn *t = &s.turns[i];

			if (t->request == s.upstream)
				act_write(fd, s.bytes.p + t->off, t->n);
			else
				act_read(fd, s.bytes.p + t->off, t->n, s.plain && !s.upstream);
		}
		if (write(channel, &seed, sizeof(seed)) != sizeof(seed) || read(channel, &seed, sizeof(seed)) <= 0)
			die("channel");
		close(fd);
	}
	_exit(0);
}

/* Ours: the other end, and the judge. */

static struct source *source;
static struct conns *conns;
static struct script script;
static unsigned passed, failed, judged;
static uint64_t bytes_copied;
static uint64_t told_ns[2]; /* when the latest that was told moved, by direction */
static char wrong[256];

static void complain(const struct call_said *c, const char *what, uint64_t got, uint64_t want)
{
	if (!wrong[0])
		snprintf(wrong, sizeof(wrong), "%s: %s %llu, expected %llu", c->target, what, (unsigned long long)got,
			(unsigned long long)want);
}

static void judge_body(const struct call_said *c, const char *what, const struct message *m, const struct body_seen *b)
{
	uint64_t want = script.upstream || b->excluded ? 0 : b->len < keep ? b->len : keep;

	if (m->end != MSG_COMPLETE)
		complain(c, what, m->end, MSG_COMPLETE);
	/* Without its framing, where that was seen. */
	if (m->body_len != b->len && !(b->framed && b->outrun) &&
		!(b->framed && m->body_len_framed && m->body_gap && m->body_len > b->len))
		complain(c, what, m->body_len, b->len);
	/* More than is kept is left out as a whole, where its length was known before. */
	if (b->len <= keep && m->body.n != want)
		complain(c, what, m->body.n, want);
	for (size_t i = 0; i < m->body.n; i++)
		if ((unsigned char)m->body.p[i] != body_byte(b, i)) {
			complain(c, what, i, b->len);
			break;
		}
	if (m->gap_causes & ~(1u << GAP_LIMIT))
		complain(c, what, m->gap_causes, 1u << GAP_LIMIT);
}

static void on_done(void *ctx, struct exchange *x)
{
	unsigned i = ~0u;
	struct span path = message__target(&x->req);
	char target[32] = "";

	(void)ctx;
	if (path.n && path.n < sizeof(target))
		memcpy(target, path.p, path.n);
	if (sscanf(target, "/%u/", &i) == 1 && i < script.ncalls && !strcmp(target, script.calls[i].target)) {
		const struct call_said *c = &script.calls[i];

		if (x->resp.status != c->status)
			complain(c, "status", x->resp.status, c->status);
		if (!c->refused)
			judge_body(c, "request", &x->req, &c->req);
		judge_body(c, "response", &x->resp, &c->resp);
		judged++;
	} else if (!wrong[0]) {
		snprintf(wrong, sizeof(wrong), "an exchange that nobody had: %s %u", target, x->resp.status);
	}
	exchange__free(x);
}

static void on_record(void *ctx, const struct record *rec)
{
	(void)ctx;
	if (rec->kind == REC_OPEN)
		told_ns[DIR_IN] = told_ns[DIR_OUT] = rec->t_ns;
	if (rec->kind == REC_DATA) {
		bytes_copied += rec->data.data.n;
		if (rec->t_ns < told_ns[rec->data.dir] && !wrong[0])
			snprintf(wrong, sizeof(wrong), "what moved at position %llu is older than what is before it",
				(unsigned long long)rec->data.pos);
		told_ns[rec->data.dir] = rec->t_ns;
	}
	if (conns)
		conns__on_record(conns, rec);
}

static void on_skip(void *ctx, const struct conn_key *key, const struct byte_range useless[2])
{
	(void)ctx;
	source__skip(source, key, useless);
}

static void on_ignore(void *ctx, const struct conn_key *key)
{
	(void)ctx;
	source__ignore(source, key);
}

/* The other end of the connection: says its turns and reads the actor's. */
static void speak(int fd, int channel, bool slow)
{
	static char room[1 << 16];
	bool over = false;
	uint64_t seed;
	unsigned at = 0;
	size_t done = 0;

	while (!over) {
		struct pollfd p[2] = {{.fd = fd, .events = POLLIN}, {.fd = channel, .events = POLLIN}};
		struct turn *t = at < script.nturns ? &script.turns[at] : NULL;
		bool ours = t && t->request != script.upstream;

		if (ours)
			p[0].events |= POLLOUT;
		if (poll(p, 2, 10000) <= 0) {
			snprintf(wrong, sizeof(wrong), "turn %u of %u stands still", at, script.nturns);
			return;
		}
		if (ours && (p[0].revents & POLLOUT)) {
			ssize_t w = send(fd, script.bytes.p + t->off + done, t->n - done, MSG_NOSIGNAL | MSG_DONTWAIT);

			if (w > 0)
				done += (size_t)w;
		} else if (!ours && (p[0].revents & POLLIN)) {
			ssize_t r = recv(fd, room, t && t->n - done < sizeof(room) ? t->n - done : sizeof(room), 0);

			if (r > 0)
				done += (size_t)r;
		}
		if (p[1].revents && read(channel, &seed, sizeof(seed)) != sizeof(seed)) {
			snprintf(wrong, sizeof(wrong), "the actor failed");
			return;
		}
		over = p[1].revents != 0;
		if (t && done == t->n) {
			at++;
			done = 0;
		}
		/* A reader that lags behind says late what it does not need. */
		if (!slow || !below(200))
			source__poll(source, 0);
	}
}

static void settle(unsigned want)
{
	uint64_t until = clock_mono_ns() + 2000000000ull;

	while (judged < want && clock_mono_ns() < until) {
		source__poll(source, 0);
		usleep(1000);
	}
}

static void run(uint64_t seed, int channel, int listener, uint16_t port, struct exchange_sink sink)
{
	struct wire_limits limits;
	bool slow;
	int fd;

	wire_limits_default(&limits);
	limits.total_bytes = 1u << 30;
	limits.conn_bytes = 1u << 30;
	limits.request_body = limits.response_body = keep;
	if (exclude)
		limits.exclude_types = (struct media_types){.v = exclude_list, .n = EXCLUDED};
	conns = conns__new(&limits, sink, (struct conn_ignore_sink){.fn = on_ignore, .skip = on_skip});
	judged = 0;
	wrong[0] = '\0';
	write_script(&script, seed);
	if (write(channel, &seed, sizeof(seed)) != sizeof(seed))
		exit(2);
	if (script.upstream) {
		fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	} else {
		struct sockaddr_in a = {
			.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};

		fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		if (connect(fd, (struct sockaddr *)&a, sizeof(a)))
			exit(2);
	}
	slow = below(2);
	speak(fd, channel, slow);
	/* While the connection is open still: nobody has to wait for its end to know that of a message. */
	settle(script.ncalls);
	if (judged != script.ncalls && !wrong[0])
		snprintf(
			wrong, sizeof(wrong), "%u of %u exchanges before the connection closed", judged, script.ncalls);
	if (write(channel, &seed, sizeof(seed)) != sizeof(seed))
		exit(2);
	close(fd);
	for (int i = 0; i < 3; i++) {
		source__poll(source, 0);
		usleep(1000);
	}
	if (wrong[0]) {
		printf("FAIL - script %llu, HTTP/%d, %s leg: %s\n", (unsigned long long)seed, script.h2 ? 2 : 1,
			script.upstream ? "upstream" : "client", wrong);
		failed++;
	}
	conns__free(conns);
	conns = NULL;
}

static int open_listener(uint16_t *port)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	socklen_t n = sizeof(a);

	if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof(a)) || listen(fd, 8) ||
		getsockname(fd, (struct sockaddr *)&a, &n))
		exit(2);
	*port = ntohs(a.sin_port);
	return fd;
}

int main(int argc, char **argv)
{
	struct exchange_sink sink = {.done = on_done};
	uint64_t seed = 1, n = 25, moved = 0;
	struct capture_options o;
	uint16_t theirs, ours;
	int pair[2], listener, mine, c;
	uint32_t pid;
	pid_t actor;

	capture_options_default(&o);
	log_set_level(LOG_LVL_ERR);
	while ((c = getopt(argc, argv, "f:s:n:k:x")) != -1) {
		if (c == 'f')
			o.force = optarg;
		else if (c == 's')
			seed = strtoull(optarg, NULL, 0);
		else if (c == 'n')
			n = strtoull(optarg, NULL, 0);
		else if (c == 'k')
			keep = (uint32_t)strtoul(optarg, NULL, 0);
		else if (c == 'x')
			exclude = true;
	}
	loopless = o.force && strstr(o.force, "loop");
	setvbuf(stdout, NULL, _IOLBF, 0);
	buf__init(&script.bytes, 1u << 30);
	listener = open_listener(&theirs);
	mine = open_listener(&ours);
	if (socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair))
		return 2;
	actor = fork();
	if (actor == 0) {
		close(pair[0]);
		act(pair[1], listener, ours);
	}
	close(pair[1]);
	pid = (uint32_t)actor;
	o.pids = &pid;
	o.npids = 1;
	source = source_bpf__open(&o, (struct record_sink){on_record, NULL});
	if (!source) {
		printf("FAIL - the programs load and attach: see above\n");
		return 1;
	}
	source__bodies(source, keep, keep);
	if (exclude)
		source__exclude(source, exclude_list, EXCLUDED);
	source__activate(source);
	source__poll(source, 0);
	for (uint64_t i = 0; i < n; i++) {
		run(seed + i, pair[0], mine, theirs, sink);
		moved += script.bytes.n;
	}
	if (!failed) {
		printf("ok - %llu scripts: every exchange is what it was\n", (unsigned long long)n);
		passed++;
	}
	printf("# %llu bytes moved, %llu copied, %llu lost\n", (unsigned long long)moved,
		(unsigned long long)bytes_copied, (unsigned long long)stats_get(STAT_capture_lost_data));
	/* Frames of HTTP/2 are followed where the kernel has loops. */
	if (bytes_copied < moved / 4 * 3) {
		printf("ok - a good part of the bytes is not copied\n");
		passed++;
	} else {
		printf("FAIL - a good part of the bytes is not copied: %llu of %llu are\n",
			(unsigned long long)bytes_copied, (unsigned long long)moved);
		failed++;
	}
	source__close(source);
	kill(actor, SIGKILL);
	waitpid(actor, NULL, 0);
	printf("%u passed, %u failed\n", passed, failed);
	return failed != 0;
}
