/* h2static: the static table of HPACK (RFC 7541, Appendix A). */
#ifndef KT_WIRE_H2STATIC_H
#define KT_WIRE_H2STATIC_H

#include "base/span.h"

#define H2_STATIC_COUNT 61

struct h2field {
	struct span name, value;
};

/* index 1 … H2_STATIC_COUNT */
const struct h2field *h2static_at(uint32_t index);

#endif
