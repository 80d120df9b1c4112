/* txn_id: the UUID by which the collector knows an event again: the same for every retry, replay and restart. */
#ifndef KT_MOESIF_TXN_ID_H
#define KT_MOESIF_TXN_ID_H

#include "moesif/call.h"
#include "moesif/digest.h"

#define TXN_ID_LEN 36

enum txn_id_from { TXN_ID_PLUGIN = 1, TXN_ID_KONG, TXN_ID_DERIVED };

/* `request_id`: txn_kong_request_id's. The plugin's own id when it runs beside kongtap (unless `no_plugin_id`), else
 * Kong's request id, else a UUID (version 8 of RFC 9562) hashed from what identifies the call. What a client could have
 * chosen, or another call have left in a cache, is never taken: the collector would drop the second of two events of
 * one name. */
enum txn_id_from txn_id_make(
	const struct call *c, struct span request_id, bool no_plugin_id, struct digest *d, char out[TXN_ID_LEN + 1]);
/* Kong's id of the request, 32 hex digits; p NULL when neither leg shows it. */
struct span txn_kong_request_id(const struct call *c);
/* The plugin's id, when the Moesif plugin in Kong put one on this call's response; p NULL otherwise. */
struct span txn_plugin_id(const struct call *c);

#endif
