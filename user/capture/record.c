#include "capture/record.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>

/* Every event has two of them: inet_ntop goes through printf. */
static size_t ip4_text(const uint8_t addr[4], char *out)
{
	char room[DECIMAL_MAX], *at = out;

	for (int i = 0; i < 4; i++) {
		struct span part = span_decimal(room, addr[i]);

		if (i)
			*at++ = '.';
		memcpy(at, part.p, part.n);
		at += part.n;
	}
	*at = '\0';
	return (size_t)(at - out);
}

size_t endpoint_addr_text(const struct endpoint *e, char out[ENDPOINT_TEXT_LEN])
{
	const char *done = NULL;

	if (e->family == ADDR_IP4)
		return ip4_text(e->addr, out);
	if (e->family == ADDR_IP6)
		done = inet_ntop(AF_INET6, e->addr, out, ENDPOINT_TEXT_LEN);
	if (!done)
		snprintf(out, ENDPOINT_TEXT_LEN, "%s", e->family == ADDR_UNIX ? "unix" : "?");
	return strlen(out);
}

size_t endpoint_text(const struct endpoint *e, char out[ENDPOINT_TEXT_LEN])
{
	char addr[ENDPOINT_TEXT_LEN];
	int n;

	endpoint_addr_text(e, addr);
	if (e->family == ADDR_IP4)
		n = snprintf(out, ENDPOINT_TEXT_LEN, "%s:%u", addr, e->port);
	else if (e->family == ADDR_IP6)
		n = snprintf(out, ENDPOINT_TEXT_LEN, "[%s]:%u", addr, e->port);
	else
		n = snprintf(out, ENDPOINT_TEXT_LEN, "%s", addr);
	return n < 0 ? 0 : (size_t)n;
}

static int parse_port(struct span s, uint16_t *ret)
{
	uint32_t v = 0;

	if (!s.n || s.n > 5)
		return -EINVAL;
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] < '0' || s.p[i] > '9')
			return -EINVAL;
		v = v * 10 + (uint32_t)(s.p[i] - '0');
	}
	if (v > UINT16_MAX)
		return -EINVAL;
	*ret = (uint16_t)v;
	return 0;
}

/* ::ffff:a.b.c.d is an IPv4 peer on a dual-stack listener. */
static void unmap_ip4(struct endpoint *e)
{
	static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};

	if (memcmp(e->addr, mapped, sizeof(mapped)) != 0)
		return;
	memmove(e->addr, e->addr + 12, 4);
	memset(e->addr + 4, 0, 12);
	e->family = ADDR_IP4;
}

int endpoint_parse(struct span text, struct endpoint *ret)
{
	struct endpoint e = {0};
	char addr[ENDPOINT_TEXT_LEN];
	const char *colon;
	struct span host;
	int v6;

	if (span_eq(text, SPAN_LIT("unix"))) {
		e.family = ADDR_UNIX;
		*ret = e;
		return 0;
	}
	if (span_eq(text, SPAN_LIT("?"))) {
		*ret = e;
		return 0;
	}
	colon = text.n ? memrchr(text.p, ':', text.n) : NULL;
	if (!colon || parse_port(span_skip(text, (size_t)(colon - text.p) + 1), &e.port))
		return -EINVAL;
	host = span_of(text.p, (size_t)(colon - text.p));
	v6 = host.n >= 2 && host.p[0] == '[' && host.p[host.n - 1] == ']';
	if (v6)
		host = span_of(host.p + 1, host.n - 2);
	if (!host.n || host.n >= sizeof(addr))
		return -EINVAL;
	memcpy(addr, host.p, host.n);
	addr[host.n] = '\0';
	/* An embedded NUL would make the rest of the text invisible to inet_pton. */
	if (strlen(addr) != host.n || inet_pton(v6 ? AF_INET6 : AF_INET, addr, e.addr) != 1)
		return -EINVAL;
	e.family = v6 ? ADDR_IP6 : ADDR_IP4;
	if (v6)
		unmap_ip4(&e);
	*ret = e;
	return 0;
}
