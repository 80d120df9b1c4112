/* Which calls become events: lists of globs and ports. */
#include "base/glob.h"
#include "config.h"

static bool any_glob(const struct strlist *l, struct span text, bool fold)
{
	for (size_t i = 0; i < l->n; i++)
		if (glob_match(span_str(l->v[i]), text, fold))
			return true;
	return false;
}

static bool any_port(const struct u32list *l, uint16_t port)
{
	for (size_t i = 0; i < l->n; i++)
		if (l->v[i] == port)
			return true;
	return false;
}

/* example.com:8000 and [::1]:8000 without the port. */
static struct span host_only(struct span host)
{
	const char *end;

	if (host.n && host.p[0] == '[') {
		end = memchr(host.p, ']', host.n);
		return end ? span_of(host.p, (size_t)(end - host.p) + 1) : host;
	}
	end = host.n ? memchr(host.p, ':', host.n) : NULL;
	return end ? span_of(host.p, (size_t)(end - host.p)) : host;
}

static struct span path_only(struct span path)
{
	const char *end = path.n ? memchr(path.p, '?', path.n) : NULL;

	return end ? span_of(path.p, (size_t)(end - path.p)) : path;
}

bool config_filter_pass(const struct config_filter *f, struct span host, struct span path, uint16_t port)
{
	host = host_only(host);
	path = path_only(path);
	if (any_glob(&f->exclude_hosts, host, true) || any_glob(&f->exclude_paths, path, false) ||
		any_port(&f->exclude_ports, port))
		return false;
	return (f->include_hosts.n == 0 || any_glob(&f->include_hosts, host, true)) &&
	       (f->include_paths.n == 0 || any_glob(&f->include_paths, path, false)) &&
	       (f->include_ports.n == 0 || any_port(&f->include_ports, port));
}

static bool listed(const struct strlist *include, const struct strlist *exclude, struct span text)
{
	return !any_glob(exclude, text, false) && (include->n == 0 || any_glob(include, text, false));
}

bool config_filter_pass_pod(const struct config_filter *f, struct span pod_namespace, struct span pod)
{
	return listed(&f->include_namespaces, &f->exclude_namespaces, pod_namespace) &&
	       listed(&f->include_pods, &f->exclude_pods, pod);
}
