#include "wire/h1line.h"

#include <errno.h>

#define METHOD_MAX 32 /* of a method that is believed without more evidence */
#define VERSION_MAX 100

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool is_method_char(char c)
{
	return (c >= 'A' && c <= 'Z') || c == '_' || c == '-';
}

static bool begins_target(char c)
{
	unsigned char l = ascii_lower((unsigned char)c);

	return c == '/' || c == '*' || (l >= 'a' && l <= 'z') || is_digit(c) || c == '[';
}

static size_t digits(struct span s, unsigned *ret)
{
	size_t n = 0;
	unsigned v = 0;

	while (n < s.n && n < 3 && is_digit(s.p[n]))
		v = v * 10 + (unsigned)(s.p[n++] - '0');
	*ret = v;
	return n;
}

/* "HTTP/1.1" at the front: its length, or 0. */
static size_t version(struct span s, uint8_t *major, uint8_t *minor)
{
	unsigned hi, lo;
	size_t at = 5, n;

	if (!span_starts(s, SPAN_LIT("HTTP/")))
		return 0;
	n = digits(span_skip(s, at), &hi);
	if (!n || hi >= VERSION_MAX || at + n >= s.n || s.p[at + n] != '.')
		return 0;
	at += n + 1;
	n = digits(span_skip(s, at), &lo);
	if (!n || lo >= VERSION_MAX)
		return 0;
	*major = (uint8_t)hi;
	*minor = (uint8_t)lo;
	return at + n;
}

static struct span skip_spaces(struct span s)
{
	while (s.n && s.p[0] == ' ')
		s = span_skip(s, 1);
	return s;
}

int h1line_request(struct span line, struct h1line_request *ret)
{
	struct span s = line;
	size_t n = 0;

	*ret = (struct h1line_request){0};
	while (n < s.n && is_method_char(s.p[n]))
		n++;
	if (!n || n >= s.n || s.p[n] != ' ')
		return -EBADMSG;
	ret->method = span_of(s.p, n);
	s = skip_spaces(span_skip(s, n));
	if (!s.n || !begins_target(s.p[0]))
		return -EBADMSG;
	for (n = 0; n < s.n && s.p[n] != ' '; n++)
		if ((unsigned char)s.p[n] < 0x20 || s.p[n] == 0x7f)
			return -EBADMSG;
	ret->target = span_of(s.p, n);
	s = skip_spaces(span_skip(s, n));
	if (!s.n) {
		/* Without a version it is HTTP/0.9, which has no other method. */
		ret->minor = 9;
		return span_eq(ret->method, SPAN_LIT("GET")) ? 0 : -EBADMSG;
	}
	n = version(s, &ret->major, &ret->minor);
	if (!n || skip_spaces(span_skip(s, n)).n)
		return -EBADMSG;
	return 0;
}

int h1line_status(struct span line, struct h1line_status *ret)
{
	struct h1line_status st = {0};
	size_t n = version(line, &st.major, &st.minor);
	struct span s = skip_spaces(span_skip(line, n));
	unsigned status;

	if (!n || s.n == line.n - n)
		return -EBADMSG;
	if (digits(s, &status) != 3 || status < 100)
		return -EBADMSG;
	if (s.n > 3 && s.p[3] != ' ' && s.p[3] != '.')
		return -EBADMSG;
	st.status = (uint16_t)status;
	*ret = st;
	return 0;
}

/* The line at the front of data without its end; false when its end is not there. */
static bool first_line(struct span data, struct span *ret)
{
	const char *lf = memchr(data.p, '\n', data.n);
	size_t n;

	if (!lf)
		return false;
	n = (size_t)(lf - data.p);
	if (n && data.p[n - 1] == '\r')
		n--;
	*ret = span_of(data.p, n);
	return true;
}

/* Is it a usual method, or (not whole) the beginning of one? */
static bool is_usual(struct span method, bool whole)
{
	static const char *const usual[] = {"GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "CONNECT",
		"TRACE", "PROPFIND", "PROPPATCH", "MKCOL", "COPY", "MOVE", "LOCK", "UNLOCK", "REPORT", "SEARCH",
		"PURGE", "QUERY"};

	for (size_t i = 0; i < sizeof(usual) / sizeof(usual[0]); i++) {
		struct span u = span_str(usual[i]);

		if (whole ? span_eq(u, method) : span_starts(u, method))
			return true;
	}
	return false;
}

bool h1line_usual_method(struct span method)
{
	return is_usual(method, true);
}

static bool is_uri(struct span target)
{
	const struct span http = SPAN_LIT("http://"), https = SPAN_LIT("https://");

	return (target.n >= http.n && span_ieq(span_of(target.p, http.n), http)) ||
	       (target.n >= https.n && span_ieq(span_of(target.p, https.n), https));
}

int h1line_looks_request(struct span data, bool certain)
{
	struct h1line_request r;
	struct span line;
	size_t n = 0;

	if (!data.n)
		return -EAGAIN;
	if (first_line(data, &line))
		return !h1line_request(line, &r) && r.major == 1 && r.method.n <= METHOD_MAX &&
		       (!certain || is_usual(r.method, true));
	while (n < data.n && is_method_char(data.p[n]))
		n++;
	if (n > METHOD_MAX || (n < data.n && (n == 0 || data.p[n] != ' ')))
		return 0;
	if (certain && !is_usual(span_of(data.p, n), n < data.n))
		return 0;
	if (n == data.n)
		return -EAGAIN;
	data = skip_spaces(span_skip(data, n));
	if (!data.n)
		return -EAGAIN;
	if (!begins_target(data.p[0]))
		return 0;
	for (size_t i = 0; i < data.n; i++)
		if ((unsigned char)data.p[i] < 0x20 && data.p[i] != '\r')
			return 0;
	/* Many text protocols have a word, a space and a letter: only a path is proof enough, or a URI. */
	return data.p[0] == '/' || is_uri(data) ? 1 : -EAGAIN;
}

int h1line_looks_response(struct span data)
{
	static const char want[] = "HTTP/1.";
	struct h1line_status st;
	struct span line;
	size_t n = data.n < sizeof(want) - 1 ? data.n : sizeof(want) - 1;

	if (!n)
		return -EAGAIN;
	if (memcmp(data.p, want, n) != 0)
		return 0;
	if (first_line(data, &line))
		return !h1line_status(line, &st) && st.major == 1;
	return n == sizeof(want) - 1 ? 1 : -EAGAIN;
}
