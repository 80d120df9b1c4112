/* regex: patterns that somebody else wrote (remote configuration), searched in text that somebody else sent: both
 * bounded. PCRE2's door in this stage.
 */
#ifndef KT_MOESIF_REGEX_H
#define KT_MOESIF_REGEX_H

#include "base/span.h"

#define REGEX_PATTERN_MAX 4096
#define REGEX_SUBJECT_MAX 65536

struct regex;

/* NULL and errno: EINVAL (no pattern, or too long or too deep), ENOMEM. */
struct regex *regex__new(struct span pattern);
/* Unanchored search, letter case matters. True: found within the limits of work. */
bool regex__search(struct regex *r, struct span subject);
void regex__free(struct regex *r); /* NULL is fine */

#endif
