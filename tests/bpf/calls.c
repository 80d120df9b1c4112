/* calls: each system call's effect on positions, held against the truth. An actor process (watched) makes the calls; we
 * are the other end of its connections (not watched), read the source, and judge. calls [-f FEATURES-TO-DO-WITHOUT]
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "capture/features.h"
#include "judge.h"

#define PEERS_MAX 4096
#define CALL_BYTES (256u << 10)

/* What passes between the actor and us. */
struct message {
	char op; /* D: done, L: connect to port, R: begin to read, S: send n bytes, E: an error in errno n, G: go */
	uint16_t port;
	uint64_t n, in, out;
};

/* The actor's side. */

static int channel; /* in the actor: to the judge; in the judge: to the actor */
static uint16_t peer_port, peer_port6;
static uint64_t moved[2]; /* of the connection at hand, as the calls say */
static uint16_t local_port;
static char *scratch; /* 4 MiB */

static void die(const char *what)
{
	struct message m = {.op = 'E', .n = (uint64_t)errno};

	fprintf(stderr, "actor: %s: %s\n", what, strerror(errno));
	if (write(channel, &m, sizeof(m)) < 0)
		_exit(3);
	_exit(2);
}

static void say(char op, uint16_t port, uint64_t n)
{
	struct message m = {.op = op, .port = port, .n = n, .in = moved[0], .out = moved[1]};

	if (write(channel, &m, sizeof(m)) != sizeof(m))
		die("channel");
}

static void await_go(void)
{
	struct message m;

	if (read(channel, &m, sizeof(m)) != sizeof(m))
		_exit(0);
}

static uint16_t port_of(int fd)
{
	struct sockaddr_in6 a;
	socklen_t n = sizeof(a);

	if (getsockname(fd, (struct sockaddr *)&a, &n))
		die("getsockname");
	return ntohs(a.sin6_port); /* in the same place for both families */
}

static int connect_to(uint16_t port)
{
	struct sockaddr_in a = {
		.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	if (fd < 0 || connect(fd, (struct sockaddr *)&a, sizeof(a)))
		die("connect");
	moved[0] = moved[1] = 0;
	local_port = port_of(fd);
	return fd;
}

static char *filled(uint64_t n)
{
	for (uint64_t i = 0; i < n; i++)
		scratch[i] = (char)pattern(DIR_OUT, moved[1] + i);
	return scratch;
}

static void count_out(ssize_t n)
{
	if (n < 0)
		die("write");
	moved[1] += (uint64_t)n;
}

static void count_in(ssize_t n)
{
	if (n < 0)
		die("read");
	moved[0] += (uint64_t)n;
}

static void read_all(int fd, uint64_t n)
{
	while (n) {
		ssize_t r = read(fd, scratch, n < 3000 ? n : 3000);

		if (r <= 0)
			die("read");
		count_in(r);
		n -= (uint64_t)r;
	}
}

static void done(int fd)
{
	close(fd);
	say('D', local_port, 0);
}

static void act_read_write(void)
{
	int fd = connect_to(peer_port);

	count_out(write(fd, filled(100), 100));
	say('S', 0, 5000);
	read_all(fd, 5000);
	count_out(send(fd, filled(1), 1, 0));
	count_out(sendto(fd, filled(4097), 4097, MSG_NOSIGNAL, NULL, 0));
	say('S', 0, 300);
	for (uint64_t left = 300; left;) {
		ssize_t r = recvfrom(fd, scratch, left, 0, NULL, NULL);

		count_in(r);
		left -= (uint64_t)r;
	}
	done(fd);
}

static void vector(int fd, size_t segments, size_t each, bool as_message)
{
	struct iovec v[1024];
	struct msghdr m = {.msg_iov = v, .msg_iovlen = segments};

	filled(segments * each);
	for (size_t i = 0; i < segments; i++)
		v[i] = (struct iovec){scratch + i * each, each};
	count_out(as_message ? sendmsg(fd, &m, MSG_NOSIGNAL) : writev(fd, v, (int)segments));
}

static void act_vectors(void)
{
	int fd = connect_to(peer_port);
	struct iovec v[5];
	struct msghdr m = {.msg_iov = v, .msg_iovlen = 3};

	vector(fd, 3, 100, false);
	vector(fd, 1, 1024, false);
	vector(fd, 64, 15, false);
	vector(fd, 64, 60, false);
	vector(fd, 16, 1024, false);
	vector(fd, 2, 9000, true);
	vector(fd, 7, 3, true);
	/* empty segments among the others */
	filled(30);
	v[0] = (struct iovec){scratch, 0};
	v[1] = (struct iovec){scratch, 10};
	v[2] = (struct iovec){NULL, 0};
	v[3] = (struct iovec){scratch + 10, 20};
	v[4] = (struct iovec){scratch, 0};
	count_out(writev(fd, v, 5));
	say('S', 0, 700);
	usleep(50000);
	v[0] = (struct iovec){scratch, 10};
	v[1] = (struct iovec){scratch + 1000, 200};
	v[2] = (struct iovec){scratch + 2000, 3000};
	count_in(readv(fd, v, 3));
	say('S', 0, 150);
	usleep(50000);
	count_in(recvmsg(fd, &m, 0));
	done(fd);
}

/* More than what is copied of one call, and more segments than nginx uses. */
static void act_segments(void)
{
	int fd = connect_to(peer_port);

	vector(fd, 70, 300, false);
	done(fd);
}

static void act_many_segments(void)
{
	int fd = connect_to(peer_port);

	vector(fd, 1000, 30, false);
	done(fd);
}

static void act_large(void)
{
	int fd = connect_to(peer_port);

	count_out(write(fd, filled(16384), 16384));
	count_out(write(fd, filled(16385), 16385));
	count_out(write(fd, filled(200000), 200000));
	say('S', 0, 200000);
	count_in(recv(fd, scratch, 200000 - 1, MSG_WAITALL));
	count_in(recv(fd, scratch, 1, MSG_WAITALL));
	done(fd);
}

static void act_beyond(void)
{
	int fd = connect_to(peer_port);

	count_out(write(fd, filled(1000000), 1000000));
	count_out(write(fd, filled(10), 10));
	vector(fd, 4, 100000, false);
	done(fd);
}

static void act_partial(void)
{
	int fd = connect_to(peer_port), small = 16384, partial = 0;
	uint64_t left = 3000000;

	setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
	fcntl(fd, F_SETFL, O_NONBLOCK);
	while (left) {
		uint64_t n = left < 65536 ? left : 65536;
		struct iovec v[2] = {{filled(n), n / 2}, {scratch + n / 2, n - n / 2}};
		ssize_t r = writev(fd, v, 2);
		struct pollfd p = {.fd = fd, .events = POLLOUT};

		if (r < 0 && errno == EAGAIN) {
			poll(&p, 1, 1000);
			continue;
		}
		partial += r < (ssize_t)n;
		count_out(r);
		left -= (uint64_t)r;
	}
	if (!partial)
		die("no write was partial");
	done(fd);
}

static void act_peek(void)
{
	int fd = connect_to(peer_port);
	struct iovec v = {scratch, 50};
	struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1};

	fcntl(fd, F_SETFL, O_NONBLOCK);
	if (recv(fd, scratch, 1, 0) >= 0 || read(fd, scratch, 10) >= 0)
		die("something was there");
	fcntl(fd, F_SETFL, 0);
	say('S', 0, 50);
	if (recv(fd, scratch, 1, MSG_PEEK) != 1 || recv(fd, scratch, 50, MSG_PEEK | MSG_WAITALL) != 50 ||
		recvmsg(fd, &m, MSG_PEEK) != 50)
		die("peek");
	count_in(recv(fd, scratch, 20, 0));
	count_in(recv(fd, scratch, 30, MSG_WAITALL));
	say('S', 0, 40);
	count_in(recv(fd, scratch, 40, MSG_TRUNC | MSG_WAITALL)); /* taken, not given */
	say('S', 0, 5);
	count_in(recv(fd, scratch, 5, MSG_WAITALL));
	done(fd);
}

static void act_sendfile(void)
{
	int fd = connect_to(peer_port), file = memfd_create("body", 0);
	off_t from = 0;

	count_out(write(fd, filled(200), 200));
	if (write(file, filled(100000), 100000) != 100000)
		die("file");
	while (from < 100000)
		count_out(sendfile(fd, file, &from, 100000 - (size_t)from));
	count_out(write(fd, filled(77), 77));
	close(file);
	done(fd);
}

/* The same descriptor at once for the next connection: `done` of the first is said by the second's port. */
static void act_reuse(void)
{
	int a = connect_to(peer_port), b;

	count_out(write(a, filled(100), 100));
	close(a);
	say('D', local_port, 0);
	await_go();
	b = connect_to(peer_port);
	if (a != b)
		die("another descriptor");
	count_out(write(b, filled(50), 50));
	done(b);
}

static void act_dup2(void)
{
	int a = connect_to(peer_port), b;

	count_out(write(a, filled(100), 100));
	say('D', local_port, 0);
	await_go();
	b = connect_to(peer_port);
	dup2(b, a); /* closes what a was */
	close(b);
	count_out(write(a, filled(40), 40));
	done(a);
}

static int listener(int family, uint16_t *port)
{
	struct sockaddr_in6 a = {.sin6_family = AF_INET6, .sin6_addr = in6addr_any};
	int fd = socket(family, SOCK_STREAM, 0), zero = 0;

	if (family == AF_INET6) {
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &zero, sizeof(zero));
		if (bind(fd, (struct sockaddr *)&a, sizeof(a)))
			die("bind");
	}
	if (fd < 0 || listen(fd, 8))
		die("listen");
	*port = port_of(fd);
	return fd;
}

static void accepted(bool four)
{
	uint16_t port;
	int l = listener(AF_INET, &port), fd;

	say('L', port, 0);
	fd = four ? accept4(l, NULL, NULL, SOCK_CLOEXEC) : accept(l, NULL, NULL);
	if (fd < 0)
		die("accept");
	moved[0] = moved[1] = 0;
	local_port = port;
	say('S', 0, 64);
	read_all(fd, 64);
	count_out(write(fd, filled(128), 128));
	close(l);
	done(fd);
}

static void act_accept(void)
{
	accepted(false);
}

static void act_accept4(void)
{
	accepted(true);
}

/* An IPv4 client on an IPv6 listener. */
static void act_mapped(void)
{
	uint16_t port;
	int l = listener(AF_INET6, &port), fd;

	say('L', port, 0);
	fd = accept(l, NULL, NULL);
	moved[0] = moved[1] = 0;
	local_port = port;
	count_out(write(fd, filled(10), 10));
	close(l);
	done(fd);
}

static void act_six(void)
{
	struct sockaddr_in6 a = {
		.sin6_family = AF_INET6, .sin6_port = htons(peer_port6), .sin6_addr = in6addr_loopback};
	int fd = socket(AF_INET6, SOCK_STREAM, 0);

	if (connect(fd, (struct sockaddr *)&a, sizeof(a)))
		die("connect");
	moved[0] = moved[1] = 0;
	local_port = port_of(fd);
	count_out(write(fd, filled(10), 10));
	done(fd);
}

static void act_nonblocking(void)
{
	struct sockaddr_in a = {
		.sin_family = AF_INET, .sin_port = htons(peer_port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), err;
	struct pollfd p = {.fd = fd, .events = POLLOUT};
	socklen_t n = sizeof(err);

	if (connect(fd, (struct sockaddr *)&a, sizeof(a)) && errno != EINPROGRESS)
		die("connect");
	poll(&p, 1, 1000);
	getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &n);
	connect(fd, (struct sockaddr *)&a, sizeof(a)); /* asks how it went */
	moved[0] = moved[1] = 0;
	local_port = port_of(fd);
	count_out(write(fd, filled(10), 10));
	done(fd);
}

/* Everything that is no TCP. */
static void act_others(void)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t n = sizeof(a);
	int udp = socket(AF_INET, SOCK_DGRAM, 0), pair[2], pipes[2], file = memfd_create("f", 0);

	bind(udp, (struct sockaddr *)&a, sizeof(a));
	getsockname(udp, (struct sockaddr *)&a, &n);
	connect(udp, (struct sockaddr *)&a, sizeof(a));
	if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) || pipe(pipes))
		die("pair");
	if (send(udp, filled(10), 10, 0) != 10 || recv(udp, scratch, 10, 0) != 10 || write(pair[0], "x", 1) != 1 ||
		read(pair[1], scratch, 1) != 1 || write(pipes[1], "x", 1) != 1 || read(pipes[0], scratch, 1) != 1 ||
		write(file, "x", 1) != 1 || pread(file, scratch, 1, 0) != 1)
		die("others");
	close(udp);
	close(pair[0]);
	close(pair[1]);
	close(pipes[0]);
	close(pipes[1]);
	moved[0] = moved[1] = 0;
	local_port = 0;
	done(file);
}

/* TLS by somebody whose library is not probed: recognised and left alone. */
static void act_cipher(void)
{
	static const char hello[] = "\x16\x03\x01\x00\x05hello";
	int fd = connect_to(peer_port);

	count_out(write(fd, hello, 5));
	count_out(write(fd, hello + 5, 5));
	done(fd);
}

/* Opened before anything was attached. */
static int old_fd;

static void act_old(void)
{
	moved[0] = moved[1] = 0;
	local_port = port_of(old_fd);
	count_out(write(old_fd, filled(10), 10));
	say('S', 0, 90);
	read_all(old_fd, 90);
	done(old_fd);
}

static void act_ignored(void)
{
	int fd = connect_to(peer_port);

	count_out(write(fd, filled(1000), 1000));
	say('W', local_port, 0); /* now it will be ignored */
	await_go();
	count_out(write(fd, filled(2000), 2000));
	count_out(write(fd, filled(3000), 3000));
	say('S', 0, 10);
	read_all(fd, 10);
	done(fd);
}

/* Some bytes of each direction will be of no use: USELESS_OUT, from within the third call to the end of the thirtieth,
 * and the first 5000 that come in. */
#define USELESS_CALL 4096
#define USELESS_OUT                                                                                                    \
	{                                                                                                              \
		.from = 1000 + 2 * USELESS_CALL + 5, .until = 1000 + 30 * USELESS_CALL                                 \
	}

static void act_useless(void)
{
	int fd = connect_to(peer_port);

	count_out(write(fd, filled(1000), 1000));
	say('W', local_port, 0);
	await_go();
	for (int i = 0; i < 30; i++)
		count_out(write(fd, filled(USELESS_CALL), USELESS_CALL));
	say('S', 0, 5000);
	read_all(fd, 5000);
	say('W', local_port, 0);
	await_go();
	for (int i = 0; i < 10; i++)
		count_out(write(fd, filled(USELESS_CALL), USELESS_CALL));
	say('S', 0, 100);
	read_all(fd, 100);
	done(fd);
}

static void act_many(void)
{
	moved[0] = moved[1] = 0;
	for (int i = 0; i < 500; i++) {
		int fd = connect_to(peer_port);

		count_out(write(fd, filled(33), 33));
		close(fd);
	}
	say('D', 0, 0);
}

/* While nobody reads the rings: more connections than the control ring holds, and more bytes than the other holds. */
static void act_unread_connections(void)
{
	for (int i = 0; i < 3000; i++) {
		int fd = connect_to(peer_port);

		count_out(write(fd, filled(33), 33));
		close(fd);
	}
	say('D', 0, 0);
}

static void act_unread_bytes(void)
{
	int fd = connect_to(peer_port);

	for (int i = 0; i < 600; i++) {
		count_out(write(fd, filled(50000), 50000));
		count_out(write(fd, filled(10), 10));
	}
	say('W', 0, 0);
	await_go();
	count_out(write(fd, filled(500), 500));
	done(fd);
}

#define OVERWRITTEN 3000

/* The second segment cannot be read: the call moves the first or nothing, and says which. */
static void act_fault(void)
{
	int fd = connect_to(peer_port);
	char *none = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct iovec v[2] = {{filled(20), 20}, {none, 100}};
	ssize_t n = writev(fd, v, 2);

	if (n > 0) /* the kernel may also refuse the call as a whole */
		count_out(n);
	count_out(write(fd, filled(5), 5));
	munmap(none, 4096);
	done(fd);
}

/* What comes in overwrites the segments' descriptors: where the last of them is cannot be known when the call is over.
 */
static void act_overwritten(void)
{
	int fd = connect_to(peer_port);
	struct iovec v[3];
	struct msghdr m = {.msg_iov = v, .msg_iovlen = 3};

	v[0] = (struct iovec){scratch, 10};
	v[1] = (struct iovec){&v[2], sizeof(v[2])};
	v[2] = (struct iovec){scratch + 10, OVERWRITTEN};
	say('S', 0, 10 + sizeof(v[2]) + OVERWRITTEN);
	count_in(recvmsg(fd, &m, MSG_WAITALL));
	say('S', 0, 5);
	read_all(fd, 5);
	done(fd);
}

static void act_end(void)
{
	_exit(0);
}

/* The judge's side. */

struct peer {
	int fd;
	uint64_t sent, to_send;
	bool reading;
};

static struct peer peers[PEERS_MAX];
static size_t npeers;
static int listen4, listen6;
static struct source *source;
static pid_t actor;
static bool reading = true; /* the rings, meanwhile */

static int open_listener(int family, uint16_t *port)
{
	struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_addr = in6addr_loopback};
	struct sockaddr_in four = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	struct sockaddr *a = family == AF_INET ? (struct sockaddr *)&four : (struct sockaddr *)&six;

	if (fd < 0 || bind(fd, a, family == AF_INET ? sizeof(four) : sizeof(six)) || listen(fd, 64))
		return -1;
	*port = port_of(fd);
	return fd;
}

static void add_peer(int fd)
{
	if (npeers == PEERS_MAX) {
		close(fd);
		return;
	}
	fcntl(fd, F_SETFL, O_NONBLOCK);
	peers[npeers++] = (struct peer){.fd = fd, .reading = true};
}

static void serve_peer(size_t i)
{
	static char buffer[65536];
	struct peer *p = &peers[i];
	ssize_t n;

	while (p->to_send) {
		uint64_t m = p->to_send < sizeof(buffer) ? p->to_send : sizeof(buffer);

		for (uint64_t j = 0; j < m; j++)
			buffer[j] = (char)pattern(DIR_IN, p->sent + j);
		n = send(p->fd, buffer, m, MSG_NOSIGNAL);
		if (n <= 0)
			break;
		p->sent += (uint64_t)n;
		p->to_send -= (uint64_t)n;
	}
	while (p->reading && (n = recv(p->fd, buffer, sizeof(buffer), 0)) >= 0)
		if (n == 0) {
			close(p->fd);
			peers[i] = peers[--npeers];
			return;
		}
}

static void serve(void)
{
	int fd;

	while ((fd = accept(listen4, NULL, NULL)) >= 0 || (listen6 >= 0 && (fd = accept(listen6, NULL, NULL)) >= 0))
		add_peer(fd);
	for (size_t i = npeers; i-- > 0;)
		serve_peer(i);
}

static void connect_peer(uint16_t port)
{
	struct sockaddr_in a = {
		.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (connect(fd, (struct sockaddr *)&a, sizeof(a)) == 0)
		add_peer(fd);
	else
		close(fd);
}

static void go(int scenario)
{
	struct message m = {.op = 'G', .n = (uint64_t)scenario};

	if (write(channel, &m, sizeof(m)) != sizeof(m))
		perror("channel");
}

/* To the newest connection, which may not have been accepted yet. */
static void send_more(uint64_t n)
{
	serve();
	if (npeers)
		peers[npeers - 1].to_send += n;
}

/* Lets the actor work until it says that it is done (or waits: W). False: it failed. */
static bool run_until_done(struct message *m)
{
	uint64_t until = clock_mono_ns() + 120000000000ull;

	while (clock_mono_ns() < until) {
		struct pollfd p = {.fd = channel, .events = POLLIN};

		serve();
		if (reading)
			source__poll(source, 0);
		if (poll(&p, 1, 1) <= 0)
			continue;
		if (read(channel, m, sizeof(*m)) != sizeof(*m) || m->op == 'E')
			return false;
		if (m->op == 'L')
			connect_peer(m->port);
		else if (m->op == 'S')
			send_more(m->n);
		else
			return true;
	}
	return false;
}

static void settle(void)
{
	for (int i = 0; i < 5; i++) {
		serve();
		source__poll(source, 0);
		usleep(2000);
	}
}

static const struct scenario {
	const char *name;
	void (*act)(void);
	struct want want; /* positions are what the actor says it moved */
} scenarios[] = {
	{"read, write, send, recv", act_read_write, {.origin = CONN_CONNECTED}},
	{"vectored calls of all sizes", act_vectors, {.origin = CONN_CONNECTED}},
	{"70 segments of 300 bytes", act_segments, {.origin = CONN_CONNECTED}},
	{"large calls in pieces", act_large, {.origin = CONN_CONNECTED}},
	{"beyond the limit of one call: gaps of known length", act_beyond,
		{.origin = CONN_CONNECTED, .gaps = {[1] = {[GAP_LIMIT] = 1000000 - CALL_BYTES + 400000 - CALL_BYTES}}}},
	{"partial writes on a full socket", act_partial, {.origin = CONN_CONNECTED}},
	{"peeking is not reading; discarding is", act_peek,
		{.origin = CONN_CONNECTED, .gaps = {[0] = {[GAP_NODATA] = 40}}}},
	{"sendfile: length without bytes", act_sendfile,
		{.origin = CONN_CONNECTED, .gaps = {[1] = {[GAP_NODATA] = 100000}}}},
	{"accept", act_accept, {.origin = CONN_ACCEPTED}},
	{"accept4", act_accept4, {.origin = CONN_ACCEPTED}},
	{"connect that takes its time", act_nonblocking, {.origin = CONN_CONNECTED}},
	{"open before the agent", act_old, {.origin = CONN_UNKNOWN}},
	{"a segment that cannot be read", act_fault, {.origin = CONN_CONNECTED}},
	{"a segment that cannot be found any more", act_overwritten,
		{.origin = CONN_CONNECTED, .gaps = {[0] = {[GAP_FAULT] = OVERWRITTEN}}}},
};

enum {
	ACT_MANY_SEGMENTS = 100,
	ACT_REUSE,
	ACT_DUP2,
	ACT_MAPPED,
	ACT_SIX,
	ACT_OTHERS,
	ACT_CIPHER,
	ACT_IGNORED,
	ACT_USELESS,
	ACT_MANY,
	ACT_UNREAD_CONNECTIONS,
	ACT_UNREAD_BYTES,
	ACT_END
};

static void (*const others[])(void) = {act_many_segments, act_reuse, act_dup2, act_mapped, act_six, act_others,
	act_cipher, act_ignored, act_useless, act_many, act_unread_connections, act_unread_bytes, act_end};

static void act(void)
{
	struct message m;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	signal(SIGPIPE, SIG_IGN);
	scratch = malloc(4 << 20);
	if (!scratch)
		_exit(2);
	memset(scratch, 1, 4 << 20);
	old_fd = connect_to(peer_port);
	count_out(write(old_fd, "before", 6));
	while (read(channel, &m, sizeof(m)) == sizeof(m)) {
		if (m.n < sizeof(scenarios) / sizeof(*scenarios))
			scenarios[m.n].act();
		else
			others[m.n - ACT_MANY_SEGMENTS]();
	}
	_exit(0);
}

static bool run(const char *name, int scenario, struct message *m)
{
	forget_all();
	go(scenario);
	if (!run_until_done(m)) {
		check(false, name, "the actor failed");
		exit(1);
	}
	settle();
	return true;
}

static void run_table(void)
{
	struct message m;

	for (size_t i = 0; i < sizeof(scenarios) / sizeof(*scenarios); i++) {
		struct want w = scenarios[i].want;

		if (!run(scenarios[i].name, (int)i, &m))
			continue;
		w.pos[0] = m.in;
		w.pos[1] = m.out;
		judge(scenarios[i].name, seen_port(m.port, 0), &w);
	}
}

/* 1,000 segments: all of them where the kernel has loops, else the first and a gap of known length. */
static void run_many_segments(const char *force)
{
	struct features f;
	struct want w = {.origin = CONN_CONNECTED};
	struct message m;

	if (!run("1000 segments", ACT_MANY_SEGMENTS, &m))
		return;
	w.pos[1] = m.out;
	if (features_probe(force, NULL, &f) || !f.has[FEATURE_LOOP])
		w.gaps[1][GAP_LIMIT] = (1000 - 80) * 30;
	judge("1000 segments", seen_port(m.port, 0), &w);
}

/* Two connections, one after the other, under one descriptor. */
static void run_pair(const char *name, int scenario, bool closed_by_hand)
{
	struct want first = {.origin = CONN_CONNECTED, .pos = {0, 100}}, second = {.origin = CONN_CONNECTED};
	struct message a, b;
	char text[128];

	if (!run(name, scenario, &a))
		return;
	go(0);
	if (!run_until_done(&b)) {
		check(false, name, "the actor failed");
		return;
	}
	settle();
	second.pos[1] = b.out;
	snprintf(text, sizeof(text), "%s: the first", name);
	judge(text, seen_port(a.port, 0), &first);
	snprintf(text, sizeof(text), "%s: the second", name);
	/* After dup2 the connection lives under a number that no connect returned. */
	if (!closed_by_hand)
		second.origin = CONN_UNKNOWN;
	judge(text, seen_port(b.port, 0), &second);
}

static void run_addresses(void)
{
	struct want w = {.origin = CONN_ACCEPTED, .pos = {0, 10}};
	char local[ENDPOINT_TEXT_LEN] = "", peer[ENDPOINT_TEXT_LEN] = "", expected[64];
	struct message m;
	struct seen *c;

	if (run("IPv4 client of an IPv6 listener", ACT_MAPPED, &m)) {
		c = seen_port(m.port, 0);
		judge("IPv4 client of an IPv6 listener", c, &w);
		if (c)
			endpoint_addr_text(&c->open.peer, peer);
		check(strcmp(peer, "127.0.0.1") == 0, "IPv4 client of an IPv6 listener: its address", peer);
	}
	w.origin = CONN_CONNECTED;
	if (listen6 >= 0 && run("IPv6", ACT_SIX, &m)) {
		c = seen_port(m.port, 0);
		judge("IPv6", c, &w);
		if (c) {
			endpoint_text(&c->open.local, local);
			endpoint_text(&c->open.peer, peer);
		}
		snprintf(expected, sizeof(expected), "[::1]:%u", m.port);
		check(strcmp(local, expected) == 0, "IPv6: local address", local);
		snprintf(expected, sizeof(expected), "[::1]:%u", peer_port6);
		check(strcmp(peer, expected) == 0, "IPv6: peer address", peer);
	}
}

static void run_silent(void)
{
	char why[64];
	struct message m;

	if (run("files, pipes, UDP, unix sockets", ACT_OTHERS, &m)) {
		snprintf(why, sizeof(why), "%zu connections, %zu strays", nseen, stray);
		check(nseen == 0 && stray == 0, "files, pipes, UDP, unix sockets: nothing", why);
	}
	if (run("TLS records at the system call", ACT_CIPHER, &m)) {
		snprintf(why, sizeof(why), "%zu connections, %zu strays", nseen, stray);
		check(nseen == 0 && stray == 0, "TLS records at the system call: nothing", why);
	}
}

static void run_ignored(void)
{
	struct want w = {.origin = CONN_CONNECTED, .gaps = {{[GAP_LIMIT] = 10}, {[GAP_LIMIT] = 5000}}};
	struct message m;
	struct seen *c;

	if (!run("ignored", ACT_IGNORED, &m))
		return;
	c = seen_port(m.port, 0);
	if (c)
		source__ignore(source, &c->key);
	go(0);
	if (!run_until_done(&m)) {
		check(false, "ignored", "the actor failed");
		return;
	}
	settle();
	w.pos[0] = m.in;
	w.pos[1] = m.out;
	judge("ignored from the middle on: the rest is one known gap", c, &w);
	if (c)
		check(c->stream[1].records == 2, "ignored from the middle on: one record for it", "more records");
}

/* Bytes between two positions are passed over. They are told where they end, though no call follows. */
static void run_useless(void)
{
	static const char name[] = "useless between two positions: a gap of known length";
	const uint64_t out = 27 * USELESS_CALL;
	const struct byte_range useless[2] = {[DIR_IN] = {.until = 5000}, [DIR_OUT] = USELESS_OUT};
	struct want w = {.origin = CONN_CONNECTED, .gaps = {{[GAP_LIMIT] = 5000}, {[GAP_LIMIT] = out}}};
	struct message m;
	struct seen *c;

	run(name, ACT_USELESS, &m);
	c = seen_port(m.port, 0);
	if (c)
		source__skip(source, &c->key, useless);
	go(0);
	if (!run_until_done(&m)) {
		check(false, name, "the actor failed");
		return;
	}
	settle();
	w.open = true;
	w.pos[0] = m.in;
	w.pos[1] = m.out;
	judge("useless bytes are told where they end", c, &w);
	go(0);
	if (!run_until_done(&m)) {
		check(false, name, "the actor failed");
		return;
	}
	settle();
	w.open = false;
	w.pos[0] = m.in;
	w.pos[1] = m.out;
	judge(name, c, &w);
}

/* Each of `n` connections is whole. */
static void run_many(const char *name, int scenario, size_t n)
{
	struct message m;
	size_t good = 0;
	char why[64];

	if (!run(name, scenario, &m))
		return;
	for (size_t i = 0; i < nseen; i++)
		good += seen[i].closed && seen[i].stream[1].bytes == 33 && !seen[i].stream[1].bad &&
			!seen[i].after_close && seen[i].opens == 1;
	snprintf(why, sizeof(why), "%zu of %zu good, %zu strays", good, nseen, stray);
	check(good == n && nseen == n && !stray, name, why);
}

/* What did not fit is missing, to the byte, and nothing else is. */
static void run_full_ring(void)
{
	const char *name = "ring full: what is lost is known to the byte";
	struct message m;
	struct seen *c;
	struct seen_stream *s;
	char why[160] = "not seen";

	reading = false;
	run(name, ACT_UNREAD_BYTES, &m);
	reading = true;
	settle();
	go(0);
	if (!run_until_done(&m)) {
		check(false, name, "the actor failed");
		return;
	}
	settle();
	c = seen_port(m.port, 0);
	if (!c) {
		check(false, name, why);
		return;
	}
	s = &c->stream[DIR_OUT];
	snprintf(why, sizeof(why),
		"moved %" PRIu64 ", bytes %" PRIu64 ", lost %" PRIu64 ", end %" PRIu64 ", close %" PRIu64, m.out,
		s->bytes, s->gaps[GAP_LOST], s->end, c->close_pos[DIR_OUT]);
	check(!s->bad && s->gaps[GAP_LOST] > 0 && s->bytes > 0 && s->end == m.out &&
			s->bytes + s->gaps[GAP_LOST] == m.out && c->close_pos[DIR_OUT] == m.out && c->closed &&
			c->opens == 1,
		name, why);
}

static void run_end(void)
{
	unsigned before = exits_seen;

	go(ACT_END);
	for (int i = 0; i < 500 && exits_seen == before; i++) {
		source__poll(source, 0);
		usleep(2000);
	}
	check(exits_seen == before + 1, "the process ends: told once", "not told");
	check(source__workers(source) == 0, "the process ends: nobody is watched", "still watched");
}

int main(int argc, char **argv)
{
	struct capture_options o;
	uint32_t pid;
	int pair[2], c;

	capture_options_default(&o);
	o.call_bytes = CALL_BYTES;
	log_set_level(LOG_LVL_WARN);
	while ((c = getopt(argc, argv, "f:")) != -1)
		if (c == 'f')
			o.force = optarg;
	setvbuf(stdout, NULL, _IOLBF, 0);
	listen4 = open_listener(AF_INET, &peer_port);
	listen6 = open_listener(AF_INET6, &peer_port6);
	if (listen4 < 0 || socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair)) {
		perror("calls");
		return 2;
	}
	actor = fork();
	if (actor == 0) {
		close(pair[0]);
		channel = pair[1];
		act();
	}
	close(pair[1]);
	channel = pair[0];
	pid = (uint32_t)actor;
	o.pids = &pid;
	o.npids = 1;
	usleep(100000);
	serve();
	source = source_bpf__open(&o, (struct record_sink){on_record, NULL});
	check(source != NULL, "the programs load and attach", "see above");
	if (source) {
		source__activate(source);
		source__poll(source, 0);
		check(source__workers(source) == 1 && workers_seen == 1, "the process is found by its id", "not found");
		run_table();
		run_many_segments(o.force);
		run_pair("descriptor used again", ACT_REUSE, true);
		run_pair("descriptor replaced by dup2", ACT_DUP2, false);
		run_addresses();
		run_silent();
		run_ignored();
		run_useless();
		run_many("500 connections one after the other: each whole", ACT_MANY, 500);
		reading = false;
		run_many("3000 connections while nobody reads: each whole", ACT_UNREAD_CONNECTIONS, 3000);
		reading = true;
		run_full_ring();
		run_end();
		source__close(source);
	}
	kill(actor, SIGKILL);
	waitpid(actor, NULL, 0);
	printf("%u passed, %u failed\n", passed, failed);
	return failed != 0;
}
