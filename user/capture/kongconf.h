/* kongconf: which port of a Kong node serves what, as its generated nginx configuration says: `listen` lines by the
 * `server_name` of their server block.
 */
#ifndef KT_CAPTURE_KONGCONF_H
#define KT_CAPTURE_KONGCONF_H

#include "capture/record.h"

/* Adds the ports that a configuration file listens on to ret[*n] (at most max; a port that is there already keeps its
 * place). `stream`: all of them are stream ports. Never fails: what cannot be understood is passed over. */
void kongconf_ports(struct span text, bool stream, struct listen_port *ret, size_t max, size_t *n);
/* The role of a port that no file explains: Kong's defaults, else proxy. */
enum port_role kongconf_default_role(uint16_t port);

#endif
