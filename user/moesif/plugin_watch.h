/* plugin_watch: notices a Moesif plugin that still runs in the Kong which kongtap watches: every call would be counted
 * twice.
 */
#ifndef KT_MOESIF_PLUGIN_WATCH_H
#define KT_MOESIF_PLUGIN_WATCH_H

#include "wire/exchange.h"

/* Zeroed: nothing noticed. */
struct plugin_watch {
	bool warned;
};

/* A worker's own call to a collector (POST …/v1/events/batch that no client asked for). */
void plugin_watch__on_begun(struct plugin_watch *w, const struct exchange *x);
/* A response that carried the plugin's transaction id. */
void plugin_watch__on_id(struct plugin_watch *w);

#endif
