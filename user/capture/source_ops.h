/* source_ops: what each kind of source implements behind source.h. A source embeds struct source as its first member.
 */
#ifndef KT_CAPTURE_SOURCE_OPS_H
#define KT_CAPTURE_SOURCE_OPS_H

#include "capture/source.h"

struct source_ops {
	int (*fd)(const struct source *s);
	int (*activate)(struct source *s);
	int (*poll)(struct source *s, int timeout_ms);
	void (*ignore)(struct source *s, const struct conn_key *key);
	size_t (*workers)(const struct source *s);
	int64_t (*wall_offset)(const struct source *s);
	/* NULL: it has no such thing. */
	void (*skip)(struct source *s, const struct conn_key *key, const struct byte_range useless[2]);
	void (*over)(struct source *s, const struct conn_key *key);
	void (*bodies)(struct source *s, uint32_t request, uint32_t response);
	void (*exclude)(struct source *s, char *const *types, size_t n);
	void (*each_tls)(const struct source *s, void (*fn)(void *ctx, const struct source_tls *t), void *ctx);
	void (*ring)(struct source *s, uint64_t *ret_size, uint64_t *ret_peak);
	void (*count)(struct source *s);
	int (*govern)(struct source *s, const struct rec_govern *g);
	uint64_t (*probe_ns)(const struct source *s);
	void (*costs)(const struct source *s, struct hook_costs *ret);
	void (*close)(struct source *s);
};

struct source {
	const struct source_ops *ops;
};

#endif
