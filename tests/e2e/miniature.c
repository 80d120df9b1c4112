/* miniature: a gateway of one worker, as small as can be, for what nginx as it is packaged cannot show: TLS from any
 * library, or linked in, and ports of any role. It bears nginx's titles, and answers every request with its target.
 *
 *	"nginx: master process nginx -p PREFIX …" CERTIFICATE LIBRARY FD[:tls] …
 *
 * CERTIFICATE.crt and .key; LIBRARY: a path for dlopen, or "-" when linked in (LINKED). The listening sockets are
 * inherited. TERM ends the master, and its worker with it.
 */
#define _GNU_SOURCE
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include <dlfcn.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PEM 1
#define LISTENERS_MAX 16
#define HEAD_MAX 16384

/* By hand: the headers of one library are not those of another. */
#ifdef LINKED
extern void *TLS_server_method(void), *SSL_CTX_new(const void *), *SSL_new(void *);
extern int SSL_CTX_use_certificate_file(void *, const char *, int),
	SSL_CTX_use_PrivateKey_file(void *, const char *, int);
extern int SSL_set_fd(void *, int), SSL_accept(void *), SSL_read(void *, void *, int),
	SSL_write(void *, const void *, int);
extern int SSL_shutdown(void *);
extern void SSL_free(void *);
#define FROM(library, name) ((void *)name)
#else
#define FROM(library, name) symbol(library, #name)
#endif

static struct {
	void *(*method)(void), *(*ctx_new)(const void *), *(*new)(void *);
	int (*certificate)(void *, const char *, int), (*key)(void *, const char *, int);
	int (*set_fd)(void *, int), (*accept)(void *), (*read)(void *, void *, int),
		(*write)(void *, const void *, int);
	int (*shutdown)(void *);
	void (*free)(void *);
} tls;

static void *context;

static _Noreturn void die(const char *what)
{
	fprintf(stderr, "miniature: %s\n", what);
	exit(2);
}

#ifndef LINKED
static void *symbol(void *library, const char *name)
{
	void *p = dlsym(library, name);

	if (!p)
		die(name);
	return p;
}
#endif

static void load_tls(const char *path, const char *certificate)
{
	char file[512];
#ifdef LINKED
	(void)path;
#else
	void *library = dlopen(path, RTLD_NOW | RTLD_GLOBAL);

	if (!library)
		die(dlerror());
#endif
	*(void **)&tls.method = FROM(library, TLS_server_method);
	*(void **)&tls.ctx_new = FROM(library, SSL_CTX_new);
	*(void **)&tls.certificate = FROM(library, SSL_CTX_use_certificate_file);
	*(void **)&tls.key = FROM(library, SSL_CTX_use_PrivateKey_file);
	*(void **)&tls.new = FROM(library, SSL_new);
	*(void **)&tls.set_fd = FROM(library, SSL_set_fd);
	*(void **)&tls.accept = FROM(library, SSL_accept);
	*(void **)&tls.read = FROM(library, SSL_read);
	*(void **)&tls.write = FROM(library, SSL_write);
	*(void **)&tls.shutdown = FROM(library, SSL_shutdown);
	*(void **)&tls.free = FROM(library, SSL_free);
	context = tls.ctx_new(tls.method());
	if (!context)
		die("SSL_CTX_new");
	snprintf(file, sizeof(file), "%s.crt", certificate);
	if (tls.certificate(context, file, PEM) != 1)
		die(file);
	snprintf(file, sizeof(file), "%s.key", certificate);
	if (tls.key(context, file, PEM) != 1)
		die(file);
}

static ssize_t get(void *ssl, int fd, char *p, size_t n)
{
	return ssl ? tls.read(ssl, p, (int)n) : recv(fd, p, n, 0);
}

static bool put(void *ssl, int fd, const char *p, size_t n)
{
	return (ssl ? tls.write(ssl, p, (int)n) : send(fd, p, n, MSG_NOSIGNAL)) == (ssize_t)n;
}

/* One request without a body. False: none came. */
static bool answer(void *ssl, int fd)
{
	static char head[HEAD_MAX], target[HEAD_MAX], out[2 * HEAD_MAX];
	struct pollfd readable = {.fd = fd, .events = POLLIN};
	size_t n = 0;
	int len;

	/* As nginx, which is never in a read while there is nothing to be read. */
	poll(&readable, 1, -1);
	do {
		ssize_t got = get(ssl, fd, head + n, sizeof(head) - 1 - n);

		if (got <= 0)
			return false;
		n += (size_t)got;
		head[n] = '\0';
	} while (!strstr(head, "\r\n\r\n"));
	if (sscanf(head, "%*s %16383s", target) != 1)
		return false;
	len = snprintf(out, sizeof(out),
		"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n{\"target\":\"%s\"}",
		strlen(target) + 13, target);
	return put(ssl, fd, out, (size_t)len);
}

static void serve(int listener, bool with_tls)
{
	int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	void *ssl = NULL;

	if (fd < 0)
		return;
	if (with_tls) {
		ssl = tls.new(context);
		if (!ssl || !tls.set_fd(ssl, fd))
			die("SSL_new");
	}
	if (!ssl || tls.accept(ssl) == 1) {
		while (answer(ssl, fd))
			;
		if (ssl)
			tls.shutdown(ssl);
	}
	if (ssl)
		tls.free(ssl);
	close(fd);
}

static _Noreturn void work(struct pollfd *listeners, const bool *with_tls, nfds_t n)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	signal(SIGPIPE, SIG_IGN);
	puts("serving");
	fflush(stdout);
	for (;;) {
		poll(listeners, n, -1);
		for (nfds_t i = 0; i < n; i++)
			if (listeners[i].revents)
				serve(listeners[i].fd, with_tls[i]);
	}
}

int main(int argc, char **argv)
{
	struct pollfd listeners[LISTENERS_MAX];
	bool with_tls[LISTENERS_MAX];
	char *end = argv[argc - 1] + strlen(argv[argc - 1]);
	nfds_t n = 0;

	if (argc < 4 || argc > LISTENERS_MAX + 3)
		die("wrong use");
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	load_tls(argv[2], argv[1]);
	for (int i = 3; i < argc; i++, n++) {
		listeners[n] = (struct pollfd){.fd = atoi(argv[i]), .events = POLLIN};
		with_tls[n] = strstr(argv[i], ":tls");
	}
	if (fork() == 0) {
		/* As nginx does it: over the words that the program was started with. */
		memset(argv[0], 0, (size_t)(end - argv[0]));
		strcpy(argv[0], "nginx: worker process");
		work(listeners, with_tls, n);
	}
	wait(NULL);
	return 0;
}
