/* tls_report: how the TLS of each watched worker is captured, for whoever asks. */
#ifndef KT_CAPTURE_TLS_REPORT_H
#define KT_CAPTURE_TLS_REPORT_H

#include "base/list.h"
#include "capture/source.h"
#include "capture/tls_attach.h"

struct tls_report {
	struct list rows;
};

void tls_report__init(struct tls_report *r);
/* What was said of this worker before is replaced. Without memory the worker has no row: nothing depends on it. */
void tls_report__set(struct tls_report *r, uint32_t pid, const struct tls_plan *p);
void tls_report__drop(struct tls_report *r, uint32_t pid);
void tls_report__each(const struct tls_report *r, void (*fn)(void *ctx, const struct source_tls *t), void *ctx);
void tls_report__free(struct tls_report *r); /* the rows */

#endif
