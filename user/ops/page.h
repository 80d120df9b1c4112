/* page: the status page, page.html, and the policy that lets a browser run its one script and nothing else. */
#ifndef KT_OPS_PAGE_H
#define KT_OPS_PAGE_H

#include "base/span.h"

struct span page_text(void);

#define PAGE_POLICY_LEN 320
/* The Content-Security-Policy of the page: its script and its style by their digests. 0 or -EBADMSG (no such part). */
int page_policy(char out[PAGE_POLICY_LEN]);

#endif
