#include "capture/kongconf.h"

#define SERVER_PORTS 32

struct lexer {
	struct span rest;
};

enum token { TOKEN_END, TOKEN_WORD, TOKEN_OPEN, TOKEN_CLOSE, TOKEN_SEMICOLON };

static bool is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static void skip_line(struct lexer *l)
{
	const char *nl = memchr(l->rest.p, '\n', l->rest.n);

	l->rest = span_skip(l->rest, nl ? (size_t)(nl - l->rest.p) : l->rest.n);
}

static struct span quoted(struct lexer *l)
{
	char quote = l->rest.p[0];
	size_t i = 1;
	struct span w;

	while (i < l->rest.n && l->rest.p[i] != quote)
		i += l->rest.p[i] == '\\' && i + 1 < l->rest.n ? 2 : 1;
	w = (struct span){l->rest.p + 1, i - 1};
	l->rest = span_skip(l->rest, i + 1);
	return w;
}

static enum token next(struct lexer *l, struct span *word)
{
	size_t i = 0;

	for (;;) {
		while (l->rest.n && is_space(l->rest.p[0]))
			l->rest = span_skip(l->rest, 1);
		if (!l->rest.n)
			return TOKEN_END;
		if (l->rest.p[0] != '#')
			break;
		skip_line(l);
	}
	switch (l->rest.p[0]) {
	case '{':
		l->rest = span_skip(l->rest, 1);
		return TOKEN_OPEN;
	case '}':
		l->rest = span_skip(l->rest, 1);
		return TOKEN_CLOSE;
	case ';':
		l->rest = span_skip(l->rest, 1);
		return TOKEN_SEMICOLON;
	case '"':
	case '\'':
		*word = quoted(l);
		return TOKEN_WORD;
	default:
		break;
	}
	while (i < l->rest.n && !is_space(l->rest.p[i]) && l->rest.p[i] != ';' && l->rest.p[i] != '{' &&
		l->rest.p[i] != '}')
		i++;
	*word = (struct span){l->rest.p, i};
	l->rest = span_skip(l->rest, i);
	return TOKEN_WORD;
}

static bool ends_with(struct span s, struct span tail)
{
	return s.n >= tail.n && memcmp(s.p + s.n - tail.n, tail.p, tail.n) == 0;
}

/* Length of "[[", "[==[" … or of its counterpart at p, 0 when there is none. */
static size_t long_bracket(struct span s, char bracket)
{
	size_t i = 1;

	if (!s.n || s.p[0] != bracket)
		return 0;
	while (i < s.n && s.p[i] == '=')
		i++;
	return i < s.n && s.p[i] == bracket ? i + 1 : 0;
}

static struct span skip_long(struct span s, size_t level)
{
	s = span_skip(s, level);
	while (s.n && long_bracket(s, ']') != level)
		s = span_skip(s, 1);
	return span_skip(s, level);
}

/* Lua code up to the brace that ends its block: braces in strings and comments do not count. */
static void skip_lua(struct lexer *l)
{
	size_t depth = 1, level;

	while (l->rest.n) {
		char c = l->rest.p[0];

		level = long_bracket(l->rest, '[');
		if (level) {
			l->rest = skip_long(l->rest, level);
		} else if (c == '"' || c == '\'') {
			quoted(l);
		} else if (span_starts(l->rest, SPAN_LIT("--"))) {
			l->rest = span_skip(l->rest, 2);
			level = long_bracket(l->rest, '[');
			if (level)
				l->rest = skip_long(l->rest, level);
			else
				skip_line(l);
		} else {
			l->rest = span_skip(l->rest, 1);
			if (c == '{')
				depth++;
			else if (c == '}' && --depth == 0)
				return;
		}
	}
}

struct server {
	struct listen_port ports[SERVER_PORTS];
	size_t n;
	enum port_role role;
};

static bool parse_port(struct span s, uint16_t *ret)
{
	unsigned port = 0;

	if (!s.n || s.n > 5)
		return false;
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] < '0' || s.p[i] > '9')
			return false;
		port = port * 10 + (unsigned)(s.p[i] - '0');
	}
	if (!port || port > 65535)
		return false;
	*ret = (uint16_t)port;
	return true;
}

/* "8000", "0.0.0.0:8000", "[::]:8000", "*:8000"; a unix socket has none. */
static bool port_of(struct span address, uint16_t *ret)
{
	size_t i = address.n;

	if (span_starts(address, SPAN_LIT("unix:")))
		return false;
	while (i && address.p[i - 1] != ':' && address.p[i - 1] != ']')
		i--;
	if (i && address.p[i - 1] == ']')
		i = address.n;
	if (parse_port(span_skip(address, i), ret))
		return true;
	*ret = 80; /* an address alone */
	return address.n != 0;
}

static enum port_role role_of(struct span name)
{
	static const struct {
		struct span name;
		enum port_role role;
	} names[] = {
		{SPAN_LIT("kong"), PORT_PROXY},
		{SPAN_LIT("kong_admin"), PORT_ADMIN},
		{SPAN_LIT("kong_status"), PORT_STATUS},
		{SPAN_LIT("kong_gui"), PORT_MANAGER},
		{SPAN_LIT("kong_cluster_listener"), PORT_CLUSTER},
		{SPAN_LIT("kong_cluster_telemetry_listener"), PORT_CLUSTER},
	};

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		if (span_eq(name, names[i].name))
			return names[i].role;
	return PORT_OTHER;
}

/* One directive of a server block: words[0] is its name. */
static void directive(struct server *s, const struct span *words, size_t n)
{
	struct listen_port p = {0};

	if (n < 2)
		return;
	if (span_eq(words[0], SPAN_LIT("server_name"))) {
		s->role = role_of(words[1]);
	} else if (span_eq(words[0], SPAN_LIT("listen")) && s->n < SERVER_PORTS && port_of(words[1], &p.port)) {
		for (size_t i = 2; i < n; i++)
			if (span_eq(words[i], SPAN_LIT("ssl")))
				p.ssl = 1;
		s->ports[s->n++] = p;
	}
}

static void give_server(const struct server *s, bool stream, struct listen_port *ret, size_t max, size_t *n)
{
	for (size_t i = 0; i < s->n; i++) {
		size_t j = 0;

		while (j < *n && ret[j].port != s->ports[i].port)
			j++;
		if (j == max)
			return;
		if (j < *n)
			continue;
		ret[j] = s->ports[i];
		ret[j].role = stream ? PORT_STREAM : s->role;
		(*n)++;
	}
}

void kongconf_ports(struct span text, bool stream, struct listen_port *ret, size_t max, size_t *n)
{
	struct lexer l = {text};
	struct server server = {0};
	struct span words[16], word;
	size_t nwords = 0, depth = 0, server_depth = 0;
	enum token t;

	while ((t = next(&l, &word)) != TOKEN_END) {
		switch (t) {
		case TOKEN_WORD:
			if (nwords < sizeof(words) / sizeof(*words))
				words[nwords++] = word;
			break;
		case TOKEN_OPEN:
			if (nwords && ends_with(words[0], SPAN_LIT("_by_lua_block"))) {
				skip_lua(&l);
			} else if (++depth && nwords == 1 && span_eq(words[0], SPAN_LIT("server"))) {
				server = (struct server){.role = PORT_OTHER};
				server_depth = depth;
			}
			nwords = 0;
			break;
		case TOKEN_CLOSE:
			if (server_depth && depth == server_depth) {
				give_server(&server, stream, ret, max, n);
				server_depth = 0;
			}
			if (depth)
				depth--;
			nwords = 0;
			break;
		default:
			if (server_depth && depth == server_depth)
				directive(&server, words, nwords);
			nwords = 0;
			break;
		}
	}
}

enum port_role kongconf_default_role(uint16_t port)
{
	switch (port) {
	case 8001:
	case 8444:
		return PORT_ADMIN;
	case 8002:
	case 8003:
	case 8004:
	case 8445:
	case 8446:
	case 8447:
		return PORT_MANAGER;
	case 8005:
	case 8006:
		return PORT_CLUSTER;
	case 8007:
	case 8100:
		return PORT_STATUS;
	default:
		return PORT_PROXY;
	}
}
