/* h1calls: the calls that are open on one HTTP/1.x connection, eldest first. Answers come in the order of requests, so
 * this is a queue; a call leaves it when both its messages are over.
 */
#ifndef KT_WIRE_H1CALLS_H
#define KT_WIRE_H1CALLS_H

#include "wire/proto.h"

struct h1call {
	struct exchange *x; /* NULL: handed on already, what remains of its messages is passed over */
	bool turn; /* its request came with a read or write of its own, not behind another one: whatever came before
		    * it had been answered by then, since nginx takes one request after the other */
	bool owed; /* when it began, the answer to an earlier one was not known to be over */
	bool hole; /* bytes of the direction of responses were lost since it began */
	bool overtaken; /* bytes of the direction of requests were lost since, other than of its body */
	bool doubtful;	/* its response came after such a hole, which may have held its own and a whole other call: held
			 * back until the next position of the direction of requests says that there was none */
	bool patched;	/* chunks of its response were lost and found again: whether they are all its own is known then,
			   too */
	bool torn; /* the bytes of its response that are missing were not left out on purpose, or not all of them */
	bool begun;
	bool tentative; /* found while looking for a place to go on; not believed before its start line was read */
	bool unasked;	/* only its response was seen */
	bool unsure;	/* its response's length is not certain: the method of its request was not seen, or not whole */
	bool is_bare;	/* HTTP/0.9 */
	bool req_over, resp_over;
};

struct h1calls {
	struct h1call *v;
	uint32_t n, cap, max;
};

void h1calls__init(struct h1calls *q, uint32_t max);
/* A zeroed call at the end, or NULL and errno: ENOSPC (maximum), ENOMEM. Moves the others. */
struct h1call *h1calls__push(struct h1calls *q);
/* Drops the eldest. */
void h1calls__pop(struct h1calls *q);
/* Drops the youngest. */
void h1calls__unpush(struct h1calls *q);
/* NULL when there is none. */
struct h1call *h1calls__first(struct h1calls *q);
struct h1call *h1calls__last(struct h1calls *q);
/* The exchanges are not freed. */
void h1calls__free(struct h1calls *q);

#endif
