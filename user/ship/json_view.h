/* json_view: looks into a JSON text without unpacking it: values are the spans of text that hold them. For texts that
 * were found valid before; whatever they are, it stays within them and ends.
 */
#ifndef KT_SHIP_JSON_VIEW_H
#define KT_SHIP_JSON_VIEW_H

#include "base/span.h"

/* Walks the members of an object or the items of an array. */
struct view_walk {
	struct span rest;
	bool object;
};

/* Anything else than an object or array has no members. */
struct view_walk view_walk(struct span value);
/* The next member: its key as text without quotes, escapes in place (n 0 in an array), and its value. */
bool view_walk__next(struct view_walk *w, struct span *key, struct span *value);

/* The value of the first member of that name (one without escapes); n 0: there is none. */
struct span view_member(struct span object, const char *name);
/* The same down a path of names with dots between them. */
struct span view_at(struct span object, const char *path);

static inline bool view_is_string(struct span value)
{
	return value.n >= 2 && value.p[0] == '"';
}

/* The text between the quotes, escapes in place; empty when it is no string. */
static inline struct span view_inside(struct span value)
{
	return view_is_string(value) ? (struct span){value.p + 1, value.n - 2} : (struct span){NULL, 0};
}

/* A whole number from 0 up; digits after a point are passed over; -1: none. */
int64_t view_integer(struct span value);

#endif
