/* config_map: a map of options inside a document, wherever it stands. */
#ifndef KT_CONFIG_MAP_H
#define KT_CONFIG_MAP_H

#include "config_node.h"

struct option_source {
	struct document *doc;
	const char *place; /* file name */
	enum config_layer layer;
	struct report *report;
};

/* Sets every option of the map. 0, or -EINVAL when anything was wrong (reported). */
int config_apply_map(struct config *c, struct option_source *src, int map);

#endif
