#include "capture/node.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "capture/kongconf.h"
#include "capture/procfs.h"

#define CONF_MAX (4u << 20)
#define SOCKETS_MAX 4096
#define CONTAINER_ID_LEN 64
#define UID_LEN 36

static const char master_title[] = "nginx: master process ";

/* The word after " -p ", or what sticks to it. */
static struct span prefix_in(struct span words)
{
	while (words.n) {
		const char *space = memchr(words.p, ' ', words.n);
		struct span word = {words.p, space ? (size_t)(space - words.p) : words.n};

		words = span_skip(words, word.n + (space ? 1 : 0));
		if (!span_starts(word, SPAN_LIT("-p")))
			continue;
		if (word.n > 2)
			return span_skip(word, 2);
		space = memchr(words.p, ' ', words.n);
		return (struct span){words.p, space ? (size_t)(space - words.p) : words.n};
	}
	return (struct span){"", 0};
}

void node_prefix(const char *words, char ret[WORKER_TEXT_MAX])
{
	struct span prefix = prefix_in(span_str(words));

	ret[0] = '\0';
	while (prefix.n > 1 && prefix.p[prefix.n - 1] == '/')
		prefix.n--;
	if (prefix.n < WORKER_TEXT_MAX) {
		memcpy(ret, prefix.p, prefix.n);
		ret[prefix.n] = '\0';
	}
}

bool node_master_title(const char *title, char ret[WORKER_TEXT_MAX])
{
	struct span t = span_str(title);

	ret[0] = '\0';
	if (span_eq(t, (struct span){master_title, sizeof(master_title) - 2}))
		return true;
	if (!span_starts(t, (struct span){master_title, sizeof(master_title) - 1}))
		return false;
	node_prefix(title + sizeof(master_title) - 1, ret);
	return true;
}

bool node_worker_title(const char *title)
{
	return span_starts(span_str(title), SPAN_LIT("nginx: worker process"));
}

bool node_any_title(const char *title)
{
	return span_starts(span_str(title), SPAN_LIT("nginx: "));
}

bool node_is_command(const char *prefix)
{
	const char *slash = strrchr(prefix, '/');

	/* In /tmp, or where TMPDIR says. */
	return slash && strncmp(slash + 1, "resty_", 6) == 0;
}

bool node_is_kong(uint32_t pid, const char *prefix)
{
	char path[WORKER_TEXT_MAX + 32];
	int fd;

	if (prefix[0] != '/' || node_is_command(prefix))
		return false;
	snprintf(path, sizeof(path), "%s/nginx-kong.conf", prefix);
	fd = proc_open_file(pid, path);
	if (fd < 0)
		return false;
	close(fd);
	return true;
}

/* The last run of hexadecimal digits of exactly this length: of containers in containers, the inner one. */
static struct span hex_run(struct span s, size_t len)
{
	struct span found = {NULL, 0};
	size_t run = 0;

	for (size_t i = 0; i <= s.n; i++) {
		bool hex = i < s.n && ((s.p[i] >= '0' && s.p[i] <= '9') || (s.p[i] >= 'a' && s.p[i] <= 'f'));

		if (hex) {
			run++;
			continue;
		}
		if (run == len)
			found = (struct span){s.p + i - len, len};
		run = 0;
	}
	return found;
}

/* 8-4-4-4-12 digits with - or _ between, after "pod". */
static bool pod_uid_at(struct span s, char ret[WORKER_TEXT_MAX])
{
	if (s.n < UID_LEN)
		return false;
	for (size_t i = 0; i < UID_LEN; i++) {
		char c = s.p[i];
		bool dash = i == 8 || i == 13 || i == 18 || i == 23;

		if (dash ? c != '-' && c != '_' : !((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f')))
			return false;
		ret[i] = dash ? '-' : c;
	}
	ret[UID_LEN] = '\0';
	return true;
}

static void pod_in(struct span line, char ret[WORKER_TEXT_MAX])
{
	char uid[WORKER_TEXT_MAX];

	for (size_t i = 0; i + 3 < line.n; i++)
		if (memcmp(line.p + i, "pod", 3) == 0 && pod_uid_at(span_skip(line, i + 3), uid))
			memcpy(ret, uid, UID_LEN + 1);
}

void node_cgroup(struct span text, char container[WORKER_TEXT_MAX], char pod_uid[WORKER_TEXT_MAX])
{
	container[0] = pod_uid[0] = '\0';
	while (text.n && !(container[0] && pod_uid[0])) {
		const char *end = memchr(text.p, '\n', text.n);
		struct span line = {text.p, end ? (size_t)(end - text.p) : text.n},
			    id = hex_run(line, CONTAINER_ID_LEN);

		text = span_skip(text, line.n + (end ? 1 : 0));
		if (id.n && !container[0]) {
			memcpy(container, id.p, id.n);
			container[id.n] = '\0';
		}
		if (!pod_uid[0])
			pod_in(line, pod_uid);
	}
}

/* inodes of a process's sockets, in no order. */
static size_t socket_inodes(uint32_t pid, uint64_t *ret, size_t max)
{
	char path[64], link[64];
	struct dirent *e;
	size_t n = 0;
	DIR *d;

	snprintf(path, sizeof(path), "/proc/%u/fd", pid);
	d = opendir(path);
	if (!d)
		return 0;
	while (n < max && (e = readdir(d))) {
		ssize_t len = readlinkat(dirfd(d), e->d_name, link, sizeof(link) - 1);

		if (len <= 0)
			continue;
		link[len] = '\0';
		if (sscanf(link, "socket:[%" SCNu64 "]", &ret[n]) == 1)
			n++;
	}
	closedir(d);
	return n;
}

static bool among(const uint64_t *v, size_t n, uint64_t what)
{
	for (size_t i = 0; i < n; i++)
		if (v[i] == what)
			return true;
	return false;
}

static size_t add_port(uint16_t *v, size_t n, size_t max, uint16_t port)
{
	size_t i = n;

	for (size_t j = 0; j < n; j++)
		if (v[j] == port)
			return n;
	if (n == max)
		return n;
	for (; i && v[i - 1] > port; i--)
		v[i] = v[i - 1];
	v[i] = port;
	return n + 1;
}

struct listening {
	uint64_t *sockets;
	size_t nsockets;
	uint16_t *ports;
	size_t n, max;
};

/* The kernel lists listening sockets first. What follows can be hundreds of thousands of connections, most of them
 * waiting for their end. */
static bool one_socket(void *ctx, const char *line)
{
	struct listening *l = ctx;
	unsigned port, state;
	uint64_t inode;

	if (sscanf(line, " %*u: %*[0-9A-Fa-f]:%4x %*s %2x %*s %*s %*s %*u %*u %" SCNu64, &port, &state, &inode) != 3)
		return true;
	if (state != TCP_LISTEN)
		return false;
	if (port && among(l->sockets, l->nsockets, inode))
		l->n = add_port(l->ports, l->n, l->max, (uint16_t)port);
	return true;
}

size_t node_listening(uint32_t pid, uint16_t *ret, size_t max)
{
	struct listening l = {.sockets = calloc(SOCKETS_MAX, sizeof(*l.sockets)), .ports = ret, .max = max};

	if (!l.sockets)
		return 0;
	l.nsockets = socket_inodes(pid, l.sockets, SOCKETS_MAX);
	proc_each_line(pid, "net/tcp", one_socket, &l);
	proc_each_line(pid, "net/tcp6", one_socket, &l);
	free(l.sockets);
	return l.n;
}

static size_t conf_ports(uint32_t pid, const char *prefix, struct listen_port *ret, size_t max)
{
	static const struct {
		const char *name;
		bool stream;
	} files[] = {{"nginx-kong.conf", false}, {"nginx-kong-stream.conf", true}};
	char path[WORKER_TEXT_MAX + 32];
	size_t n = 0, len;

	for (size_t i = 0; i < 2 && prefix[0] == '/'; i++) {
		char *text;

		snprintf(path, sizeof(path), "%s/%s", prefix, files[i].name);
		text = proc_file(pid, path, CONF_MAX, &len);
		if (!text)
			continue;
		kongconf_ports(span_of(text, len), files[i].stream, ret, max, &n);
		free(text);
	}
	return n;
}

/* Roles from the files, presence from the sockets: the files may be newer than the process. Where one of the two cannot
 * be read the other serves alone. */
static void describe_ports(uint32_t pid, const char *prefix, struct rec_worker *w)
{
	struct listen_port conf[WORKER_PORTS_MAX];
	uint16_t live[WORKER_PORTS_MAX];
	size_t nconf = conf_ports(pid, prefix, conf, WORKER_PORTS_MAX);
	size_t nlive = node_listening(pid, live, WORKER_PORTS_MAX);

	w->nports = 0;
	if (!nlive) {
		memcpy(w->ports, conf, nconf * sizeof(*conf));
		w->nports = (uint32_t)nconf;
		return;
	}
	for (size_t i = 0; i < nlive; i++) {
		struct listen_port *p = &w->ports[w->nports++];

		*p = (struct listen_port){.port = live[i], .role = (uint8_t)kongconf_default_role(live[i])};
		for (size_t j = 0; j < nconf; j++)
			if (conf[j].port == live[i])
				*p = conf[j];
	}
}

/* A file of one short line. */
static void one_line(uint32_t pid, const char *path, char ret[WORKER_TEXT_MAX])
{
	size_t len, n;
	char *text = proc_file(pid, path, 4096, &len);

	ret[0] = '\0';
	if (!text)
		return;
	n = strcspn(text, "\r\n");
	if (n < WORKER_TEXT_MAX) {
		memcpy(ret, text, n);
		ret[n] = '\0';
	}
	free(text);
}

void node_describe(uint32_t pid, const char *prefix, struct rec_worker *ret)
{
	char text[8192];
	ssize_t n = proc_read(pid, "cgroup", text, sizeof(text));

	describe_ports(pid, prefix, ret);
	node_cgroup(span_of(text, n > 0 ? (size_t)n : 0), ret->container, ret->pod_uid);
	/* Only of a pod: elsewhere the host's name says nothing of Kong. */
	if (ret->pod_uid[0]) {
		if (!proc_has_hosts_name(pid))
			one_line(pid, "/etc/hostname", ret->pod);
		one_line(pid, "/var/run/secrets/kubernetes.io/serviceaccount/namespace", ret->pod_namespace);
	}
}
