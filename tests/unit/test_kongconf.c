/* kongconf: ports and roles out of generated configuration, whatever else is in it. */
#include "kt_cmocka.h"

#include <stdlib.h>

#include "capture/kongconf.h"

static const char kong[] =
	"# a comment with server { listen 1; }\n"
	"charset UTF-8;\n"
	"init_by_lua_block {\n"
	"    -- don't stumble: }\n"
	"    local t = { a = '}', b = \"}\", c = [[ } ]], d = [==[ ]] } ]==] }\n"
	"    --[[ server { listen 2; } ]]\n"
	"    Kong = require 'kong'\n"
	"}\n"
	"upstream kong_upstream { server 0.0.0.1; balancer_by_lua_block { Kong.balancer() } keepalive 512; }\n"
	"server {\n"
	"    server_name kong;\n"
	"    listen 0.0.0.0:8000 reuseport backlog=16384;\n"
	"    listen [::]:8443 ssl http2 reuseport;\n"
	"    listen unix:/usr/local/kong/sockets/x;\n"
	"    location / { proxy_pass http://upstream:81; listen 3; }\n"
	"}\n"
	"server{server_name kong_admin;listen 127.0.0.1:8001;listen 127.0.0.1:8444 ssl;}\n"
	"server { server_name kong_gui; listen *:8002; }\n"
	"server { server_name \"kong_status\"; listen 8007; }\n"
	"server { server_name kong_cluster_listener; listen 0.0.0.0:8005 ssl; }\n"
	"server { listen 9999; server_name injected; }\n"
	"server { server_name kong; listen localhost; listen 0.0.0.0:70000; listen 8000; }\n";

static const struct listen_port wanted[] = {{8000, PORT_PROXY, 0}, {8443, PORT_PROXY, 1}, {8001, PORT_ADMIN, 0},
	{8444, PORT_ADMIN, 1}, {8002, PORT_MANAGER, 0}, {8007, PORT_STATUS, 0}, {8005, PORT_CLUSTER, 1},
	{9999, PORT_OTHER, 0}, {80, PORT_PROXY, 0}};

static void kongs_own(void **state)
{
	struct listen_port p[WORKER_PORTS_MAX];
	size_t n = 0;

	(void)state;
	kongconf_ports(span_of(kong, sizeof(kong) - 1), false, p, WORKER_PORTS_MAX, &n);
	assert_int_equal(n, sizeof(wanted) / sizeof(*wanted));
	for (size_t i = 0; i < n; i++) {
		assert_int_equal(p[i].port, wanted[i].port);
		assert_int_equal(p[i].role, wanted[i].role);
		assert_int_equal(p[i].ssl, wanted[i].ssl);
	}
	kongconf_ports(SPAN_LIT("server { listen 0.0.0.0:9000; listen 8000; }"), true, p, WORKER_PORTS_MAX, &n);
	assert_int_equal(n, sizeof(wanted) / sizeof(*wanted) + 1);
	assert_int_equal(p[n - 1].port, 9000);
	assert_int_equal(p[n - 1].role, PORT_STREAM);
}

/* Cut off anywhere: no crash, no more ports than there are, and no read beyond the end. */
static void cut_anywhere(void **state)
{
	struct listen_port p[WORKER_PORTS_MAX];

	(void)state;
	for (size_t n = 0; n < sizeof(kong); n++) {
		char *copy = malloc(n ? n : 1);
		size_t ports = 0;

		assert_non_null(copy);
		memcpy(copy, kong, n);
		kongconf_ports(span_of(copy, n), false, p, WORKER_PORTS_MAX, &ports);
		assert_true(ports <= sizeof(wanted) / sizeof(*wanted));
		free(copy);
	}
}

static void bounded(void **state)
{
	struct listen_port p[4];
	size_t n = 0;

	(void)state;
	kongconf_ports(span_of(kong, sizeof(kong) - 1), false, p, 4, &n);
	assert_int_equal(n, 4);
}

static void defaults(void **state)
{
	(void)state;
	assert_int_equal(kongconf_default_role(8000), PORT_PROXY);
	assert_int_equal(kongconf_default_role(8444), PORT_ADMIN);
	assert_int_equal(kongconf_default_role(8005), PORT_CLUSTER);
	assert_int_equal(kongconf_default_role(8100), PORT_STATUS);
	assert_int_equal(kongconf_default_role(8445), PORT_MANAGER);
	assert_int_equal(kongconf_default_role(443), PORT_PROXY);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(kongs_own),
		cmocka_unit_test(cut_anywhere),
		cmocka_unit_test(bounded),
		cmocka_unit_test(defaults),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
