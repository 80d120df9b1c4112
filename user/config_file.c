/* Reading configuration files: bounded, regular or a pipe, whole. */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config_option.h"

int config_read_file(const char *path, size_t max, struct buf *ret, unsigned *mode)
{
	char chunk[16384];
	struct stat st;
	ssize_t n;
	int fd, err = 0;

	buf__init(ret, max);
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	if (fd < 0)
		return -errno;
	if (fstat(fd, &st)) {
		err = -errno;
		goto out;
	}
	if (S_ISDIR(st.st_mode)) {
		err = -EISDIR;
		goto out;
	}
	do {
		n = read(fd, chunk, sizeof(chunk));
		if (n > 0)
			err = buf__append(ret, chunk, (size_t)n);
		else if (n < 0 && errno != EINTR)
			err = -errno;
	} while (!err && n != 0);
	if (err == -ENOSPC)
		err = -EFBIG;
	if (err)
		buf__free(ret);
	else if (mode)
		*mode = st.st_mode & 07777;
	explicit_bzero(chunk, sizeof(chunk));
out:
	close(fd);
	return err;
}
