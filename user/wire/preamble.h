/* preamble: the PROXY protocol's header, which a listener with `proxy_protocol` gets before the first byte of HTTP. */
#ifndef KT_WIRE_PREAMBLE_H
#define KT_WIRE_PREAMBLE_H

#include "capture/record.h"

/* Length of the preamble at the front of data; 0: there is none; -EAGAIN: may be one, more bytes wanted; -EBADMSG:
 * there is one and it is broken. *source is set when it names the client's address, else untouched. */
int preamble_parse(struct span data, struct endpoint *source);

#endif
