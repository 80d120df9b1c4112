/* Any bytes as a recording, plain or gzip, of kongtap's own kind and of calls: no crash, the replay comes to an end,
 * and whatever records come of it leave no exchange behind. A worker's texts and ports stay within their bounds.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/log.h"
#include "capture/source.h"
#include "wire/conns.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct world {
	struct conns *conns;
	uint64_t begun, done, t_ns;
};

static void silent(void *ctx, enum log_level level, const char *module, const char *text)
{
	(void)ctx;
	(void)level;
	(void)module;
	(void)text;
}

static void on_begun(void *ctx, const struct exchange *x)
{
	(void)x;
	((struct world *)ctx)->begun++;
}

static void on_done(void *ctx, struct exchange *x)
{
	((struct world *)ctx)->done++;
	exchange__free(x);
}

static void check_worker(const struct rec_worker *w)
{
	if (w->nports > WORKER_PORTS_MAX || !memchr(w->prefix, 0, sizeof(w->prefix)) ||
		!memchr(w->container, 0, sizeof(w->container)) || !memchr(w->pod_uid, 0, sizeof(w->pod_uid)) ||
		!memchr(w->pod, 0, sizeof(w->pod)) || !memchr(w->pod_namespace, 0, sizeof(w->pod_namespace)))
		abort();
}

static void on_record(void *ctx, const struct record *rec)
{
	struct world *w = ctx;

	if (rec->kind == REC_WORKER)
		check_worker(&rec->worker);
	if (rec->t_ns > w->t_ns)
		w->t_ns = rec->t_ns;
	conns__on_record(w->conns, rec);
}

static void replay(struct world *w, const char *path)
{
	struct source *s = source_replay__open(path, (struct record_sink){on_record, w});
	int n;

	if (!s)
		return;
	do
		n = source__poll(s, 0);
	while (n >= 0);
	if (n != -ENODATA && n != -EBADMSG && n != -ENOMEM)
		abort();
	source__close(s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static int fd = -1;
	struct wire_limits limits;
	struct world w = {0};
	char path[32];

	log_set_sink(silent, NULL);
	if (fd < 0)
		fd = memfd_create("recording", MFD_CLOEXEC);
	if (fd < 0 || ftruncate(fd, 0) || pwrite(fd, data, size, 0) != (ssize_t)size)
		abort();
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	wire_limits_default(&limits);
	limits.conns = 64;
	limits.total_bytes = 4u << 20;
	w.conns = conns__new(&limits, (struct exchange_sink){.begun = on_begun, .done = on_done, .ctx = &w},
		(struct conn_ignore_sink){0});
	if (!w.conns)
		abort();
	replay(&w, path);
	conns__flush(w.conns, w.t_ns);
	if (w.done < w.begun || conns__memory(w.conns))
		abort();
	conns__free(w.conns);
	return 0;
}
