#include "capture/tlslib.h"

#include <sys/sysmacros.h>

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "capture/procfs.h"

#define MAPS_MAX (16u << 20)

struct mapping {
	uint64_t from, to, inode;
	unsigned major, minor;
	char perms[5];
	char *path;
};

static bool parse_line(char *line, struct mapping *m)
{
	int at = 0;

	if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %4s %*x %x:%x %" SCNu64 " %n", &m->from, &m->to, m->perms, &m->major,
		    &m->minor, &m->inode, &at) != 6 ||
		!at)
		return false;
	m->path = line + at;
	return m->path[0] == '/' && m->inode && m->from < m->to;
}

/* libssl.so.3, libssl.so.1.1, libssl.so, libssl-3.so … */
static bool is_libssl(const char *path)
{
	const char *base = strrchr(path, '/') + 1;

	return strncmp(base, "libssl", 6) == 0 && (base[6] == '.' || base[6] == '-') && strstr(base, ".so");
}

static void take(struct tlslib *l, uint32_t pid, const struct mapping *m)
{
	static const char deleted[] = " (deleted)";
	size_t n = strlen(m->path);

	memset(l, 0, sizeof(*l));
	l->dev = makedev(m->major, m->minor);
	l->inode = m->inode;
	if (n > sizeof(deleted) - 1 && strcmp(m->path + n - (sizeof(deleted) - 1), deleted) == 0) {
		l->deleted = true;
		n -= sizeof(deleted) - 1;
	}
	if (n >= sizeof(l->path))
		n = sizeof(l->path) - 1;
	memcpy(l->path, m->path, n);
	snprintf(l->open_path, sizeof(l->open_path), "/proc/%u/map_files/%" PRIx64 "-%" PRIx64, pid, m->from, m->to);
}

int tlslib_parse(uint32_t pid, char *maps, struct tlslib *ret)
{
	struct tlslib program = {0};
	struct mapping m;

	for (char *save, *line = strtok_r(maps, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		if (!parse_line(line, &m) || m.perms[2] != 'x')
			continue;
		if (is_libssl(m.path)) {
			take(ret, pid, &m);
			return 0;
		}
		/* The program is the first that is mapped executable. */
		if (!program.inode) {
			take(&program, pid, &m);
			program.is_program = true;
		}
	}
	if (!program.inode)
		return -ENOENT;
	*ret = program;
	return 0;
}

int tlslib_find(uint32_t pid, struct tlslib *ret)
{
	size_t n;
	char *maps = proc_read_all(pid, "maps", MAPS_MAX, &n);
	int err;

	if (!maps)
		return -errno;
	err = tlslib_parse(pid, maps, ret);
	free(maps);
	return err;
}

bool tlslib_is_shared(const struct tlslib *l)
{
	static const char *const trees[] = {"/usr/local/", "/usr/", "/"};
	static const char *const libraries[] = {"lib/", "lib64/", "lib32/", "libx32/"};
	static const char *const programs[] = {"bin/", "sbin/"};
	const char *const *places = l->is_program ? programs : libraries;
	size_t n = l->is_program ? sizeof(programs) / sizeof(*programs) : sizeof(libraries) / sizeof(*libraries);

	for (size_t i = 0; i < sizeof(trees) / sizeof(*trees); i++) {
		size_t tree = strlen(trees[i]);

		if (strncmp(l->path, trees[i], tree) != 0)
			continue;
		for (size_t j = 0; j < n; j++)
			if (strncmp(l->path + tree, places[j], strlen(places[j])) == 0)
				return true;
	}
	return false;
}
