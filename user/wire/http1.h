/* http1: reads the messages of one direction of an HTTP/1.x connection, one after the other.
 * Resumable at any byte, and across gaps whose length is known to lie within a body.
 */
#ifndef KT_WIRE_HTTP1_H
#define KT_WIRE_HTTP1_H

#include "wire/message.h"

enum http1_step {
	HTTP1_MORE, /* everything was taken, the message goes on */
	HTTP1_HEAD, /* the head is whole */
	HTTP1_BODY, /* *body is the next piece of the body */
	HTTP1_END,  /* the message is over; what is left in *in is not its own */
	HTTP1_BAD, /* not HTTP as nginx reads it; or the head did not fit (headers.overflow), so its length is not known
		    */
};

struct http1_reader;

/* NULL and errno ENOMEM. */
struct http1_reader *http1_reader__new(uint32_t line_max);
/* Bytes that it holds at the moment, itself included. NULL: none. */
size_t http1_reader__mem(const struct http1_reader *r);
/* The next byte begins a message; it is filled into m, which must stay valid until END, BAD, forget or reset. */
void http1_reader__begin(struct http1_reader *r, struct message *m, bool is_request);
/* As an answer in HTTP/0.9: no head, everything up to the close is body. */
void http1_reader__begin_bare(struct http1_reader *r, struct message *m);
/* Take from the front of *in up to the next step. Call until MORE, END or BAD: with an empty *in too. */
enum http1_step http1_reader__next(struct http1_reader *r, struct span *in, struct span *body);
/* After HEAD: whatever its fields say, no body follows (answer to HEAD, 1xx, 204, 304). */
void http1_reader__no_body(struct http1_reader *r);
/* The message goes no further: what its unfinished start line tells is filled in. NULL is fine. */
void http1_reader__salvage(struct http1_reader *r);
/* How many of the n bytes that are missing now belong to the body and are passed over. Fewer than n: the rest is not
 * known to be anything; call reset unless next (with an empty *in) says END. */
uint64_t http1_reader__gap(struct http1_reader *r, uint64_t n);
/* More than its data was lost in a chunked body: pass everything over until chunks are found again, if that is where
 * it is. False: it is not in chunks. */
bool http1_reader__search(struct http1_reader *r);
bool http1_reader__searching(const struct http1_reader *r);
/* While searching, at the beginning of what a call moved: go on here if chunks begin here; `last`: if the last one
 * does, since bytes of a body may look like chunks. */
bool http1_reader__resume(struct http1_reader *r, struct span in, bool last);
/* How many of the bytes to come are body for certain, as far as that is known; *ret_last: the message ends with them.
 */
uint64_t http1_reader__body_ahead(const struct http1_reader *r, bool *ret_last);
/* The message was handed on: go on reading without it. The head must be whole. */
void http1_reader__forget(struct http1_reader *r);
/* The present message ends with the connection. */
bool http1_reader__until_close(const struct http1_reader *r);
/* Stop in the middle of a message; begin comes next. NULL is fine. */
void http1_reader__reset(struct http1_reader *r);
void http1_reader__free(struct http1_reader *r); /* NULL is fine */

#endif
