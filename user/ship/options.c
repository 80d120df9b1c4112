#include <stdlib.h>
#include <string.h>

#include "ship/shipper.h"

void ship_options_default(struct ship_options *o)
{
	*o = (struct ship_options){
		.api_endpoint = strdup("https://api.moesif.net"),
		.connect_timeout = 1000,
		.send_timeout = 5000,
		.keepalive = 5000,
		.event_queue_size = 1000000,
		.batch_size = 50,
		.queue_bytes = 16u << 20,
		.batch_bytes = 4u << 20,
		.batch_age = 1000,
		.spool_bytes = 1u << 30,
		.spool_sync = 1000,
		.shutdown_timeout = 5000,
		.tls_verify = true,
		.remote_config = true,
		.send_parallel = 4,
		.retry_base = 500,
		.retry_max = 30000,
		.refused_probe = 300000,
		.remote_interval = 60000,
	};
}

void ship_options_free(struct ship_options *o)
{
	if (o->application_id)
		explicit_bzero(o->application_id, strlen(o->application_id));
	if (o->proxy)
		explicit_bzero(o->proxy, strlen(o->proxy));
	free(o->application_id);
	free(o->api_endpoint);
	free(o->compression);
	free(o->spool_dir);
	free(o->proxy);
	free(o->ca_file);
	*o = (struct ship_options){0};
}
