#include "moesif/clientip.h"

#include <arpa/inet.h>

static bool is_address(struct span s, int family)
{
	unsigned char addr[16];
	char text[INET6_ADDRSTRLEN];

	if (!s.n || s.n >= sizeof(text) || memchr(s.p, 0, s.n))
		return false;
	memcpy(text, s.p, s.n);
	text[s.n] = 0;
	return inet_pton(family, text, addr) == 1;
}

static bool is_port(struct span s)
{
	if (!s.n || s.n > 5)
		return false;
	for (size_t i = 0; i < s.n; i++)
		if (s.p[i] < '0' || s.p[i] > '9')
			return false;
	return true;
}

static struct span unquoted(struct span s)
{
	s = span_trim(s);
	if (s.n >= 2 && s.p[0] == '"' && s.p[s.n - 1] == '"')
		s = span_trim(span_of(s.p + 1, s.n - 2));
	return s;
}

struct span clientip_address(struct span token)
{
	static const struct span none;
	struct span s = unquoted(token), host;
	const char *mark;

	if (!s.n)
		return none;
	if (s.p[0] == '[') {
		mark = memchr(s.p, ']', s.n);
		if (!mark)
			return none;
		host = span_of(s.p + 1, (size_t)(mark - s.p - 1));
		s = span_skip(s, host.n + 2);
		if (s.n && (s.p[0] != ':' || !is_port(span_skip(s, 1))))
			return none;
		return is_address(host, AF_INET6) ? host : none;
	}
	if (is_address(s, AF_INET) || is_address(s, AF_INET6))
		return s;
	mark = memchr(s.p, ':', s.n);
	if (!mark)
		return none;
	host = span_of(s.p, (size_t)(mark - s.p));
	return is_address(host, AF_INET) && is_port(span_skip(s, host.n + 1)) ? host : none;
}

/* RFC 7239: the value of `for=` among the pairs of one element. */
static struct span forwarded_for(struct span element)
{
	while (element.n) {
		const char *semi = memchr(element.p, ';', element.n);
		struct span pair = span_of(element.p, semi ? (size_t)(semi - element.p) : element.n);

		element = span_skip(element, pair.n + 1);
		pair = span_trim(pair);
		if (pair.n > 4 && span_ieq(span_of(pair.p, 4), SPAN_LIT("for=")))
			return clientip_address(span_skip(pair, 4));
	}
	return (struct span){NULL, 0};
}

/* The left-most element of a comma-separated list that is an address. */
static struct span first_address(struct span list)
{
	while (list.n) {
		const char *comma = memchr(list.p, ',', list.n);
		struct span element = span_of(list.p, comma ? (size_t)(comma - list.p) : list.n), found;

		list = span_skip(list, element.n + 1);
		found = clientip_address(element);
		if (!found.n)
			found = forwarded_for(element);
		if (found.n)
			return found;
	}
	return (struct span){NULL, 0};
}

struct span clientip_from_headers(const struct known_index *client)
{
	static const enum known order[] = {KNOWN_X_CLIENT_IP, KNOWN_X_FORWARDED_FOR, KNOWN_CF_CONNECTING_IP,
		KNOWN_FASTLY_CLIENT_IP, KNOWN_TRUE_CLIENT_IP, KNOWN_X_REAL_IP, KNOWN_X_CLUSTER_CLIENT_IP,
		KNOWN_X_FORWARDED, KNOWN_FORWARDED_FOR, KNOWN_FORWARDED};

	for (size_t i = 0; i < sizeof(order) / sizeof(order[0]); i++) {
		for (int at = client->first[order[i]]; at >= 0; at = known_next(client, order[i], at)) {
			struct span found = first_address(headers__value_at(client->h, (uint32_t)at));

			if (found.n)
				return found;
		}
	}
	return (struct span){NULL, 0};
}
