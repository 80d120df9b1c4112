/* node: what is known of one gateway: its master process, prefix, ports, container. */
#ifndef KT_CAPTURE_NODE_H
#define KT_CAPTURE_NODE_H

#include "capture/record.h"

/* The prefix of a master's title ("nginx: master process … -p PREFIX …"), without a slash at the end. False: the title
 * is not a master's. No -p: *ret is empty. */
bool node_master_title(const char *title, char ret[WORKER_TEXT_MAX]);
/* The same of any command line. */
void node_prefix(const char *words, char ret[WORKER_TEXT_MAX]);
bool node_worker_title(const char *title);
/* A title of nginx's own making: what has none yet is still reading its configuration. */
bool node_any_title(const char *title);
/* Is it the prefix of an nginx that the kong (or resty) command runs for a moment, to have its Lua code executed? */
bool node_is_command(const char *prefix);
/* Is it a Kong node's prefix: not one of the kong command's own, and with Kong's generated configuration in it, as the
 * process sees it? */
bool node_is_kong(uint32_t pid, const char *prefix);

/* Fills in what the files of the process tell: ports with their roles, container, pod. pid and prefix are set by the
 * caller; what cannot be found out stays empty. */
void node_describe(uint32_t pid, const char *prefix, struct rec_worker *ret);

/* Container id and pod uid out of /proc/PID/cgroup. */
void node_cgroup(struct span text, char container[WORKER_TEXT_MAX], char pod_uid[WORKER_TEXT_MAX]);
/* Ports in LISTEN state of a process, ascending. Number of them, at most max. */
size_t node_listening(uint32_t pid, uint16_t *ret, size_t max);

#endif
