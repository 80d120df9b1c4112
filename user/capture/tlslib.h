/* tlslib: which file of a process is its TLS library. */
#ifndef KT_CAPTURE_TLSLIB_H
#define KT_CAPTURE_TLSLIB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TLSLIB_PATH_MAX 256

struct tlslib {
	uint64_t dev, inode;	    /* as the process's map names them */
	char path[TLSLIB_PATH_MAX]; /* as the process sees it; " (deleted)" cut off */
	char open_path[64];	    /* under /proc/PID/map_files: the very file that is mapped */
	bool deleted;
	bool is_program; /* the program itself: the library is linked into it, or absent */
};

/* The mapped libssl, else the program itself. 0 or negative errno (-ENOENT: the process maps nothing, or is gone). */
int tlslib_find(uint32_t pid, struct tlslib *ret);
/* The same on the text of a maps file, for tests; NUL-terminated, taken apart in place. */
int tlslib_parse(uint32_t pid, char *maps, struct tlslib *ret);
/* A file that everybody on the host may use (or another nginx, if it is the program), by where it lies: probes there go
 * into one process at a time. */
bool tlslib_is_shared(const struct tlslib *l);

#endif
