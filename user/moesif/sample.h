/* sample: whether a call becomes an event, and how many calls that event stands for. */
#ifndef KT_MOESIF_SAMPLE_H
#define KT_MOESIF_SAMPLE_H

#include "moesif/remote.h"

/* Percent by Moesif's documented rule: the user's rate, else the company's; of that and the matching rule's the lower;
 * the global rate when there is none of them. plugin_rule: the lowest of the three. */
int sample_rate(
	struct remote *r, bool plugin_rule, struct span user, struct span company, const struct remote_facts *facts);
/* `dice` is evenly spread over 64 bits. */
bool sample_keep(int rate, uint64_t dice);
/* 1 for a rate of 0; else how many whole times the rate goes into 100, as all of Moesif's clients have it. */
uint32_t sample_weight(int rate);

#endif
