#include "ship/json_view.h"

static bool is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static struct span skip_space(struct span s)
{
	while (s.n && is_space(s.p[0]))
		s = span_skip(s, 1);
	return s;
}

/* Length of the string at s.p[0] == '"', quotes included; s.n when it does not end. */
static size_t string_length(struct span s)
{
	for (size_t i = 1; i < s.n; i++) {
		if (s.p[i] == '\\')
			i++;
		else if (s.p[i] == '"')
			return i + 1;
	}
	return s.n;
}

/* Brackets are counted, not matched against each other: in a valid text that is the same. */
static size_t value_length(struct span s)
{
	size_t depth = 0, i = 0;

	while (i < s.n) {
		char c = s.p[i];

		if (c == '"') {
			i += string_length(span_skip(s, i));
			if (!depth)
				return i;
			continue;
		}
		if (c == '{' || c == '[') {
			depth++;
		} else if (c == '}' || c == ']') {
			if (!depth)
				return i;
			if (!--depth)
				return i + 1;
		} else if (!depth && (c == ',' || is_space(c))) {
			return i;
		}
		i++;
	}
	return s.n;
}

struct view_walk view_walk(struct span value)
{
	struct view_walk w = {.rest = {NULL, 0}};

	value = skip_space(value);
	w.object = value.n && value.p[0] == '{';
	if (w.object || (value.n && value.p[0] == '['))
		w.rest = span_skip(value, 1);
	return w;
}

bool view_walk__next(struct view_walk *w, struct span *key, struct span *value)
{
	struct span s = skip_space(w->rest);
	size_t n;

	if (s.n && s.p[0] == ',')
		s = skip_space(span_skip(s, 1));
	*key = (struct span){NULL, 0};
	if (w->object) {
		if (!s.n || s.p[0] != '"')
			return false;
		n = string_length(s);
		*key = view_inside(span_of(s.p, n));
		s = skip_space(span_skip(s, n));
		if (!s.n || s.p[0] != ':')
			return false;
		s = skip_space(span_skip(s, 1));
	}
	n = value_length(s);
	if (!n)
		return false;
	*value = span_of(s.p, n);
	w->rest = span_skip(s, n);
	return true;
}

static struct span find(struct span object, struct span name)
{
	struct view_walk w = view_walk(object);
	struct span key, value;

	while (view_walk__next(&w, &key, &value))
		if (w.object && span_eq(key, name))
			return value;
	return (struct span){NULL, 0};
}

struct span view_member(struct span object, const char *name)
{
	return find(object, span_str(name));
}

struct span view_at(struct span object, const char *path)
{
	while (*path && object.n) {
		size_t n = strcspn(path, ".");

		object = find(object, span_of(path, n));
		path += n + (path[n] == '.');
	}
	return object;
}

int64_t view_integer(struct span value)
{
	int64_t v = 0;
	size_t i;

	for (i = 0; i < value.n && i < 18 && value.p[i] >= '0' && value.p[i] <= '9'; i++)
		v = v * 10 + (value.p[i] - '0');
	return i ? v : -1;
}
