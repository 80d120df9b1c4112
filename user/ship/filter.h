/* filter: which events an output shows: `--filter '5xx,404 POST path=/api/?* user=al*'`.
 *
 * An expression is terms with white space between them; an event passes when every term holds. A term is alternatives
 * with commas between them, one of which must hold; `!` before it turns it round.
 *
 *	5xx  404  400-499  >=400  <300     status
 *	POST                               method, upper case
 *	/api/v1  /api/?*  *.json           path without query, a glob: * any run, ? any one character
 *	status=…  method=…  path=…  user=…  company=…   by name; the last two are globs, `-` is a call without one
 */
#ifndef KT_SHIP_FILTER_H
#define KT_SHIP_FILTER_H

#include "moesif/event.h"

#define FILTER_TEXT_MAX 1024
#define FILTER_ERROR_LEN 160

struct filter;

/* NULL and errno: ENOMEM; EINVAL with what is wrong in `error`. */
struct filter *filter__new(const char *text, char error[FILTER_ERROR_LEN]);
bool filter__pass(const struct filter *f, const struct event *e);
void filter__free(struct filter *f); /* NULL is fine */

#endif
