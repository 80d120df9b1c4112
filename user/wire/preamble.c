#include "wire/preamble.h"

#include <errno.h>

#define V1_MAX 107 /* with its CR LF */
#define V2_HEAD 16

static int begins(struct span data, struct span sig)
{
	size_t n = data.n < sig.n ? data.n : sig.n;

	if (memcmp(data.p, sig.p, n) != 0)
		return 0;
	return data.n < sig.n ? -EAGAIN : 1;
}

static struct span word(struct span *s)
{
	const char *sp = s->n ? memchr(s->p, ' ', s->n) : NULL;
	struct span w = span_of(s->p, sp ? (size_t)(sp - s->p) : s->n);

	*s = span_skip(*s, w.n + (sp != NULL));
	return w;
}

static void set_text(struct span family, struct span addr, struct span port, struct endpoint *source)
{
	bool v6 = span_eq(family, SPAN_LIT("TCP6"));
	char text[64];
	size_t n = 0;

	if ((!v6 && !span_eq(family, SPAN_LIT("TCP4"))) || addr.n + port.n + 3 > sizeof(text))
		return;
	if (v6)
		text[n++] = '[';
	memcpy(text + n, addr.p, addr.n);
	n += addr.n;
	if (v6)
		text[n++] = ']';
	text[n++] = ':';
	memcpy(text + n, port.p, port.n);
	endpoint_parse(span_of(text, n + port.n), source);
}

/* PROXY TCP4 192.0.2.1 198.51.100.7 1234 80 */
static int parse_v1(struct span data, struct endpoint *source)
{
	const char *lf = memchr(data.p, '\n', data.n < V1_MAX ? data.n : V1_MAX);
	struct span line, family, from, port;

	if (!lf)
		return data.n < V1_MAX ? -EAGAIN : -EBADMSG;
	line = span_of(data.p, (size_t)(lf - data.p));
	if (line.n && line.p[line.n - 1] == '\r')
		line.n--;
	word(&line);
	family = word(&line);
	from = word(&line);
	word(&line);
	port = word(&line);
	set_text(family, from, port, source);
	return (int)(lf - data.p) + 1;
}

static uint16_t be16(const char *p)
{
	return (uint16_t)((unsigned char)p[0] << 8 | (unsigned char)p[1]);
}

static int parse_v2(struct span data, struct endpoint *source)
{
	struct endpoint e = {0};
	size_t len;

	if (data.n < V2_HEAD)
		return -EAGAIN;
	len = be16(data.p + 14);
	if (((unsigned char)data.p[12] & 0xf0) != 0x20)
		return -EBADMSG;
	if (data.n < V2_HEAD + len)
		return -EAGAIN;
	/* The low half of byte 12 is 1 for a proxied connection, 0 for the proxy's own (a health check). */
	if ((data.p[12] & 0x0f) == 1 && data.p[13] == 0x11 && len >= 12) {
		e.family = ADDR_IP4;
		memcpy(e.addr, data.p + 16, 4);
		e.port = be16(data.p + 24);
		*source = e;
	} else if ((data.p[12] & 0x0f) == 1 && data.p[13] == 0x21 && len >= 36) {
		e.family = ADDR_IP6;
		memcpy(e.addr, data.p + 16, 16);
		e.port = be16(data.p + 48);
		*source = e;
	}
	return (int)(V2_HEAD + len);
}

int preamble_parse(struct span data, struct endpoint *source)
{
	static const char v2[] = "\r\n\r\n\0\r\nQUIT\n";
	int r;

	if (!data.n)
		return -EAGAIN;
	r = begins(data, SPAN_LIT("PROXY "));
	if (r)
		return r < 0 ? r : parse_v1(data, source);
	r = begins(data, span_of(v2, sizeof(v2) - 1));
	if (r)
		return r < 0 ? r : parse_v2(data, source);
	return 0;
}
