/* mediatype: which bodies a list of media types speaks of. */
#ifndef KT_WIRE_MEDIATYPE_H
#define KT_WIRE_MEDIATYPE_H

#include "wire/headers.h"

/* Each is a type and a subtype, or a type and a star for all of it, with a slash between them and without parameters.
 * Letter case is ignored. Borrowed. */
struct media_types {
	char *const *v;
	size_t n;
};

/* Is one of the types that a Content-Type names in the list? Its parameters are ignored; of several types, comma
 * between them (several fields are one list: RFC 9110, 5.3), any counts. */
bool media_types__have(const struct media_types *l, struct span value);
/* The same of all Content-Type fields of a section. *ret_known: there is one. */
bool media_types__have_of(const struct media_types *l, const struct headers *h, bool *ret_known);

#endif
