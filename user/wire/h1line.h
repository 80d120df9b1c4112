/* h1line: the start lines of HTTP/1.x as nginx reads them, and whether bytes may be the beginning of one.
 *
 * llhttp is not asked about start lines: it knows a fixed list of methods, nginx passes on any of A-Z, _ and -; and a
 * stream that lost its place must look at bytes without having to believe them.
 */
#ifndef KT_WIRE_H1LINE_H
#define KT_WIRE_H1LINE_H

#include "base/span.h"

struct h1line_request {
	struct span method, target;
	uint8_t major, minor; /* 0.9: no version was given, there are no header fields */
};

struct h1line_status {
	uint16_t status;
	uint8_t major, minor;
};

/* The line without its end. 0; -EBADMSG: nginx refuses it (what could be read is in *ret all the same, the rest of
 * *ret is zero). Spans point into the line. */
int h1line_request(struct span line, struct h1line_request *ret);
/* 0; -EBADMSG, *ret untouched. */
int h1line_status(struct span line, struct h1line_status *ret);

/* May a message begin with these bytes? 1 yes, 0 no, -EAGAIN too few to tell. A whole line must be right to its end,
 * a piece as far as it goes. `certain`: nothing else says so, the method must be a usual one ("GET" whose first byte
 * was lost would be a method, too). */
int h1line_looks_request(struct span data, bool certain);
/* A method that is believed where nothing else says that a request begins. */
bool h1line_usual_method(struct span method);
int h1line_looks_response(struct span data);

#endif
