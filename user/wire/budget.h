/* budget: the memory that the stage holds, and the only way to ask for more of it. What is asked for beyond the maximum
 * takes the bodies of open exchanges first, the eldest first: a call without its body is still a call.
 */
#ifndef KT_WIRE_BUDGET_H
#define KT_WIRE_BUDGET_H

#include "wire/exchange.h"

/* Zeroed but for its maximum it is ready. */
struct wire_budget {
	uint64_t used, max;
	struct exchange *eldest, *newest; /* of those whose bodies may go */
};

/* True: n more bytes fit, now. */
bool wire_budget__room(struct wire_budget *b, uint64_t n);
/* True: they fit, for something new, and as much is left over as what is under way needs to come to its end: a header
 * table that cannot grow is lost for the rest of its connection. */
bool wire_budget__room_for_new(struct wire_budget *b, uint64_t n);
/* x holds a body now, of this budget; again is fine. */
void wire_budget__lend(struct wire_budget *b, struct exchange *x);
/* It holds none any more, or is handed on; again is fine. */
void wire_budget__end_loan(struct wire_budget *b, struct exchange *x);
/* What x holds is now this much in all: with its connection's sum. */
void wire_budget__charge(struct wire_budget *b, struct exchange *x, size_t mem);

#endif
