/* config_node: a parsed YAML (or JSON) document. The door to libyaml. Nodes are named by numbers; 0 is no node. */
#ifndef KT_CONFIG_NODE_H
#define KT_CONFIG_NODE_H

#include "config_option.h"

struct document;

/* NULL when the text is no YAML (reported with its line) or memory ran out (reported). `place` is the file's name. The
 * text is not needed afterwards. */
struct document *document__parse(struct span text, const char *place, struct report *r);
void document__free(struct document *d); /* NULL is fine */

int document__root(const struct document *d); /* 0: the document is empty */
/* The line of another document behind it that is not empty (one document is read); 0: there is none. */
unsigned document__second(const struct document *d);
enum value_kind document__kind(const struct document *d, int node);
struct span document__text(const struct document *d, int node); /* of a scalar */
unsigned document__line(const struct document *d, int node);
/* Entries of a list or a map. */
size_t document__count(const struct document *d, int node);
int document__item(const struct document *d, int list, size_t i);
int document__key(const struct document *d, int map, size_t i);
int document__value(const struct document *d, int map, size_t i);
/* The value of a key of a map; 0 when the node is no map or has no such key. */
int document__get(const struct document *d, int map, const char *key);

#endif
