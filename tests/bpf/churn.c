/* churn: connections of one call each, opened and closed at a rate. Two processes accept and answer (the ones to
 * watch), two others open, ask, read and close; sometimes the server closes first, sometimes the client, and mostly the
 * client with an RST, which leaves no connection waiting for its end.
 *
 *     churn SECONDS RATE GATE
 *
 * Says "port P workers A B", begins when the file GATE exists, and says in the end how many calls were made.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PAIR 2
#define ANSWER "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

/* /proc/sys/net/ipv4/ip_local_port_range, whatever it is, is the more the addresses. */
#define ADDRESSES 250u

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* A head from the peer, which is small and comes in one piece. False: the peer went away. */
static bool read_head(int fd, char *to, size_t size)
{
	ssize_t n = recv(fd, to, size - 1, 0);

	if (n <= 0)
		return false;
	to[n] = '\0';
	return true;
}

static void serve(int listener)
{
	char head[512];

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (;;) {
		int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);

		if (fd < 0)
			continue;
		/* Unless it is asked to close, it waits for the client to do so. */
		if (read_head(fd, head, sizeof(head)) && send(fd, ANSWER, sizeof(ANSWER) - 1, MSG_NOSIGNAL) > 0 &&
			!strstr(head, "close"))
			(void)!read_head(fd, head, sizeof(head));
		close(fd);
	}
}

static int connect_from(uint32_t i, uint16_t port)
{
	struct sockaddr_in to = {
		.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct sockaddr_in from = {
		.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK + ((1 + i % ADDRESSES) << 8))};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;

	/* Many source addresses: ports do not run out while old connections wait for their end. */
	if (fd < 0 || setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof(one)) ||
		bind(fd, (struct sockaddr *)&from, sizeof(from)))
		die("bind");
	if (connect(fd, (struct sockaddr *)&to, sizeof(to)))
		die("connect");
	return fd;
}

static void one_call(uint32_t i, uint16_t port)
{
	struct linger reset = {.l_onoff = 1};
	char text[512];
	int fd = connect_from(i, port);
	int n = snprintf(text, sizeof(text), "GET /churn?n=%u HTTP/1.1\r\nHost: churn\r\nConnection: %s\r\n\r\n", i,
		i % 8 ? "keep-alive" : "close");

	if (send(fd, text, (size_t)n, MSG_NOSIGNAL) != n || !read_head(fd, text, sizeof(text)) ||
		strcmp(text, ANSWER) != 0)
		die("call");
	if (i % 8 > 1 && setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset)))
		die("linger");
	close(fd);
}

/* Its part of the calls: number `which` of every PAIR. Where the machine is too slow for the rate it makes what it can.
 */
static uint32_t ask(uint32_t which, uint16_t port, uint64_t seconds, uint64_t rate)
{
	uint64_t begin = now_ns(), end = begin + seconds * 1000000000u, now;
	uint32_t made = 0;

	while ((now = now_ns()) < end) {
		uint64_t due = begin + (uint64_t)made * PAIR * 1000000000u / rate;

		if (due > now) {
			struct timespec nap = {.tv_nsec = (long)(due - now < 1000000 ? due - now : 1000000)};

			nanosleep(&nap, NULL);
			continue;
		}
		one_call(made * PAIR + which, port);
		made++;
	}
	return made;
}

static int listen_any(uint16_t *port)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t n = sizeof(a);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || bind(fd, (struct sockaddr *)&a, n) || listen(fd, 1024) ||
		getsockname(fd, (struct sockaddr *)&a, &n))
		die("listen");
	*port = ntohs(a.sin_port);
	return fd;
}

static pid_t child(void)
{
	pid_t pid = fork();

	if (pid < 0)
		die("fork");
	return pid;
}

int main(int argc, char **argv)
{
	uint32_t made[PAIR], total = 0;
	pid_t workers[PAIR], clients[PAIR];
	uint64_t begin;
	uint16_t port;
	int listener, pipes[2];

	if (argc != 4 || pipe(pipes)) {
		fprintf(stderr, "churn SECONDS RATE GATE\n");
		return 2;
	}
	listener = listen_any(&port);
	for (uint32_t i = 0; i < PAIR; i++) {
		workers[i] = child();
		if (!workers[i])
			serve(listener);
	}
	printf("port %u workers %d %d\n", port, workers[0], workers[1]);
	fflush(stdout);
	while (access(argv[3], F_OK))
		usleep(10000);
	begin = now_ns();
	for (uint32_t i = 0; i < PAIR; i++) {
		clients[i] = child();
		if (clients[i])
			continue;
		made[0] = ask(i, port, strtoull(argv[1], NULL, 10), strtoull(argv[2], NULL, 10));
		_exit(write(pipes[1], made, sizeof(made[0])) != sizeof(made[0]));
	}
	for (uint32_t i = 0; i < PAIR; i++) {
		int status;

		if (waitpid(clients[i], &status, 0) < 0 || status || read(pipes[0], &made[i], sizeof(made[i])) < 0)
			die("client");
		total += made[i];
	}
	printf("made %u calls in %.1f s\n", total, (double)(now_ns() - begin) / 1e9);
	fflush(stdout);
	/* What the workers do with their last connections. */
	usleep(100000);
	for (uint32_t i = 0; i < PAIR; i++) {
		kill(workers[i], SIGKILL);
		waitpid(workers[i], NULL, 0);
	}
	return 0;
}
