/* tlscalls: each call of the TLS library and its effect on positions, held against the truth. An actor process
 * (watched) makes the calls with a library of its own or with the host's, a peer process (not watched) is at the other
 * end. tlscalls [-f FEATURES-TO-DO-WITHOUT] [-n LIVES-OF-ONE-SSL]
 */
#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "judge.h"

#define WANT_READ 2
#define WANT_WRITE 3
#define CTRL_MODE 33
#define CTRL_READ_AHEAD 41
#define CTRL_MAX_VERSION 124
#define TLS12 0x0303

/* The few functions needed, by hand: which library they come from is what is tested. */
static struct {
	void *(*server_method)(void), *(*client_method)(void);
	void *(*ctx_new)(void *);
	long (*ctx_ctrl)(void *, int, long, void *);
	int (*ciphers)(void *, const char *);
	void *(*new)(void *);
	int (*set_fd)(void *, int);
	void (*set_bio)(void *, void *, void *);
	void *(*bio_new_socket)(int, int);
	int (*accept)(void *), (*connect)(void *);
	int (*read)(void *, void *, int), (*write)(void *, const void *, int);
	int (*error)(const void *, int);
	int (*shutdown)(void *);
	void (*free)(void *);
} tls;

static void *symbol(void *library, const char *name)
{
	void *p = dlsym(library, name);

	if (!p) {
		fprintf(stderr, "%s is missing\n", name);
		_exit(2);
	}
	return p;
}

static void load_tls(const char *path)
{
	void *l = dlopen(path, RTLD_NOW | RTLD_GLOBAL);

	if (!l) {
		fprintf(stderr, "%s\n", dlerror());
		_exit(2);
	}
	*(void **)&tls.server_method = symbol(l, "TLS_server_method");
	*(void **)&tls.client_method = symbol(l, "TLS_client_method");
	*(void **)&tls.ctx_new = symbol(l, "SSL_CTX_new");
	*(void **)&tls.ctx_ctrl = symbol(l, "SSL_CTX_ctrl");
	*(void **)&tls.ciphers = symbol(l, "SSL_CTX_set_cipher_list");
	*(void **)&tls.new = symbol(l, "SSL_new");
	*(void **)&tls.set_fd = symbol(l, "SSL_set_fd");
	*(void **)&tls.set_bio = symbol(l, "SSL_set_bio");
	*(void **)&tls.bio_new_socket = symbol(l, "BIO_new_socket");
	*(void **)&tls.accept = symbol(l, "SSL_accept");
	*(void **)&tls.connect = symbol(l, "SSL_connect");
	*(void **)&tls.read = symbol(l, "SSL_read");
	*(void **)&tls.write = symbol(l, "SSL_write");
	*(void **)&tls.error = symbol(l, "SSL_get_error");
	*(void **)&tls.shutdown = symbol(l, "SSL_shutdown");
	*(void **)&tls.free = symbol(l, "SSL_free");
}

static void *context(bool server)
{
	void *ctx = tls.ctx_new(server ? tls.server_method() : tls.client_method());

	/* No certificates needed, and every library since 1.1 has it. */
	if (!ctx || !tls.ciphers(ctx, "AECDH-AES128-SHA:@SECLEVEL=0"))
		_exit(2);
	tls.ctx_ctrl(ctx, CTRL_MAX_VERSION, TLS12, NULL);
	tls.ctx_ctrl(ctx, CTRL_READ_AHEAD, 1, NULL);
	return ctx;
}

struct message {
	char op; /* actor to judge: D done, E failed; judge to actor: G; actor to peer: S send, R read, K connect, C
		    close */
	uint16_t port;
	uint64_t n, in, out;
};

static void send_message(int fd, char op, uint16_t port, uint64_t n, const uint64_t moved[2])
{
	struct message m = {.op = op, .port = port, .n = n, .in = moved ? moved[0] : 0, .out = moved ? moved[1] : 0};

	if (write(fd, &m, sizeof(m)) != sizeof(m))
		_exit(3);
}

static uint16_t port_of(int fd)
{
	struct sockaddr_in a;
	socklen_t n = sizeof(a);

	return getsockname(fd, (struct sockaddr *)&a, &n) ? 0 : ntohs(a.sin_port);
}

static int connect_to(uint16_t port)
{
	struct sockaddr_in a = {
		.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	return connect(fd, (struct sockaddr *)&a, sizeof(a)) ? -1 : fd;
}

static int listener(uint16_t *port)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	if (bind(fd, (struct sockaddr *)&a, sizeof(a)) || listen(fd, 64))
		_exit(2);
	*port = port_of(fd);
	return fd;
}

/* The peer: obeys, with blocking calls. */

static void peer_send(void *ssl, uint64_t *sent, uint64_t n)
{
	static char buffer[8192];

	while (n) {
		uint64_t m = n < sizeof(buffer) ? n : sizeof(buffer);

		for (uint64_t i = 0; i < m; i++)
			buffer[i] = (char)pattern(DIR_IN, *sent + i);
		if (tls.write(ssl, buffer, (int)m) != (int)m)
			_exit(4);
		*sent += m;
		n -= m;
	}
}

static void peer(int listen_fd, int orders)
{
	static char buffer[65536];
	void *server, *client, *ssl = NULL;
	uint64_t sent = 0, left;
	struct message m;
	int fd = -1;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	load_tls("libssl.so.3");
	server = context(true);
	client = context(false);
	while (read(orders, &m, sizeof(m)) == sizeof(m)) {
		switch (m.op) {
		case 'A':
		case 'K':
			fd = m.op == 'A' ? accept(listen_fd, NULL, NULL) : connect_to(m.port);
			ssl = tls.new(m.op == 'A' ? server : client);
			sent = 0;
			if (fd < 0 || !tls.set_fd(ssl, fd) || (m.op == 'A' ? tls.accept(ssl) : tls.connect(ssl)) != 1)
				_exit(4);
			break;
		case 'S':
			peer_send(ssl, &sent, m.n);
			break;
		case 'R':
			for (left = m.n; left;) {
				int r = tls.read(ssl, buffer, left < sizeof(buffer) ? (int)left : (int)sizeof(buffer));

				if (r <= 0)
					_exit(4);
				left -= (uint64_t)r;
			}
			break;
		case 'C':
			tls.free(ssl);
			close(fd);
			break;
		default:
			_exit(4);
		}
	}
	_exit(0);
}

/* The actor. */

static int judge_fd, peer_fd;
static uint16_t peer_port;
static uint64_t moved[2];
static void *client_ctx, *server_ctx;
static unsigned lives = 200;
static char *scratch;

static void die(const char *what)
{
	fprintf(stderr, "actor: %s: %s\n", what, strerror(errno));
	send_message(judge_fd, 'E', 0, 0, NULL);
	_exit(2);
}

static void order(char op, uint64_t n)
{
	send_message(peer_fd, op, 0, n, NULL);
}

static char *filled(uint64_t n)
{
	for (uint64_t i = 0; i < n; i++)
		scratch[i] = (char)pattern(DIR_OUT, moved[1] + i);
	return scratch;
}

struct tls_conn {
	int fd;
	void *ssl;
	uint16_t port;
};

static struct tls_conn client_conn(bool by_bio)
{
	struct tls_conn c;

	order('A', 0);
	c.fd = connect_to(peer_port);
	c.port = port_of(c.fd);
	c.ssl = tls.new(client_ctx);
	if (by_bio) {
		void *bio = tls.bio_new_socket(c.fd, 0);

		tls.set_bio(c.ssl, bio, bio);
	} else if (!tls.set_fd(c.ssl, c.fd)) {
		die("SSL_set_fd");
	}
	moved[0] = moved[1] = 0;
	if (tls.connect(c.ssl) != 1)
		die("SSL_connect");
	return c;
}

static void put(struct tls_conn *c, uint64_t n)
{
	if (tls.write(c->ssl, filled(n), (int)n) != (int)n)
		die("SSL_write");
	moved[1] += n;
	order('R', n);
}

static void get(struct tls_conn *c, uint64_t n, int at_once)
{
	order('S', n);
	while (n) {
		int r = tls.read(c->ssl, scratch, n < (uint64_t)at_once ? (int)n : at_once);

		if (r <= 0)
			die("SSL_read");
		moved[0] += (uint64_t)r;
		n -= (uint64_t)r;
	}
}

static void end(struct tls_conn *c)
{
	tls.shutdown(c->ssl);
	tls.free(c->ssl);
	close(c->fd);
	order('C', 0);
}

static void done(struct tls_conn *c)
{
	end(c);
	send_message(judge_fd, 'D', c->port, 0, moved);
}

static void act_read_write(void)
{
	struct tls_conn c = client_conn(false);

	put(&c, 100);
	get(&c, 5000, 1024);
	put(&c, 1);
	put(&c, 16384);
	put(&c, 20000);
	get(&c, 70000, 8192);
	put(&c, 5);
	done(&c);
}

static void act_by_bio(void)
{
	struct tls_conn c = client_conn(true);

	put(&c, 100);
	get(&c, 3000, 700);
	done(&c);
}

static void act_accepted(void)
{
	struct tls_conn c;
	int l = listener(&c.port);

	send_message(peer_fd, 'K', c.port, 0, NULL);
	c.fd = accept4(l, NULL, NULL, 0);
	c.ssl = tls.new(server_ctx);
	moved[0] = moved[1] = 0;
	if (!tls.set_fd(c.ssl, c.fd) || tls.accept(c.ssl) != 1)
		die("SSL_accept");
	get(&c, 500, 1024);
	put(&c, 1500);
	close(l);
	done(&c);
}

/* A write that finds the socket full is made again, with the same buffer, until it goes through: it moves its bytes
 * once. Reads that find nothing move none. */
static void act_retry(void)
{
	struct tls_conn c = client_conn(false);
	struct pollfd p = {.fd = c.fd, .events = POLLOUT};
	uint64_t owed = 0;
	int small = 8192, retries = 0, r;

	setsockopt(c.fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
	fcntl(c.fd, F_SETFL, O_NONBLOCK);
	if (tls.read(c.ssl, scratch, 100) > 0)
		die("something was there");
	for (int i = 0; i < 400; i++) {
		filled(16000);
		while ((r = tls.write(c.ssl, scratch, 16000)) <= 0) {
			if (tls.error(c.ssl, r) != WANT_WRITE)
				die("SSL_write");
			retries++;
			if (owed) {
				order('R', owed);
				owed = 0;
			}
			poll(&p, 1, 1000);
		}
		moved[1] += (uint64_t)r;
		owed += (uint64_t)r;
	}
	if (!retries)
		die("no write had to be made again");
	fcntl(c.fd, F_SETFL, 0);
	if (owed)
		order('R', owed);
	get(&c, 10, 100);
	done(&c);
}

/* The same memory for the next SSL, again and again. */
static void act_many(void)
{
	struct tls_conn c;

	for (unsigned i = 0; i < lives; i++) {
		c = client_conn(false);
		put(&c, 77);
		get(&c, 33, 100);
		end(&c);
	}
	send_message(judge_fd, 'D', 0, 0, moved);
}

static struct tls_conn old;

static void act_old(void)
{
	moved[0] = moved[1] = 0;
	put(&old, 100);
	done(&old);
}

static const struct scenario {
	const char *name;
	void (*act)(void);
	enum conn_origin origin;
	bool late;
} scenarios[] = {
	{"established before the agent", act_old, CONN_UNKNOWN, true},
	{"SSL_read, SSL_write", act_read_write, CONN_CONNECTED, false},
	{"no SSL_set_fd: the socket is found in the structure, and its beginning may have been missed", act_by_bio,
		CONN_CONNECTED, true},
	{"accepted", act_accepted, CONN_ACCEPTED, false},
	{"writes that are made again, reads of nothing", act_retry, CONN_CONNECTED, false},
	{"connections in the same memory", act_many, CONN_CONNECTED, false},
};

#define SCENARIOS (sizeof(scenarios) / sizeof(*scenarios))

static void actor(const char *library)
{
	struct message m;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	signal(SIGPIPE, SIG_IGN);
	load_tls(library);
	scratch = calloc(1, 1 << 20);
	client_ctx = context(false);
	server_ctx = context(true);
	old = client_conn(false);
	if (tls.write(old.ssl, "before", 6) != 6)
		die("SSL_write");
	order('R', 6);
	send_message(judge_fd, 'D', 0, 0, moved);
	while (read(judge_fd, &m, sizeof(m)) == sizeof(m) && m.n < SCENARIOS)
		scenarios[m.n].act();
	_exit(0);
}

/* The judge. */

static struct source *source;
static int actor_fd;

static bool wait_done(struct message *m)
{
	uint64_t until = clock_mono_ns() + 120000000000ull;
	struct pollfd p = {.fd = actor_fd, .events = POLLIN};

	while (clock_mono_ns() < until) {
		if (source)
			source__poll(source, 0);
		if (poll(&p, 1, 1) > 0)
			return read(actor_fd, m, sizeof(*m)) == sizeof(*m) && m->op == 'D';
	}
	return false;
}

static size_t clear_conns(void)
{
	size_t n = 0;

	for (size_t i = 0; i < nseen; i++)
		n += !seen[i].key.tls;
	return n;
}

static void judge_many(const char *name, const struct scenario *s)
{
	size_t good = 0;
	char why[96];

	for (size_t i = 0; i < nseen; i++)
		good += seen[i].closed && seen[i].stream[0].bytes == 33 && seen[i].stream[1].bytes == 77 &&
			!seen[i].stream[0].bad && !seen[i].stream[1].bad && seen[i].open.origin == s->origin;
	snprintf(why, sizeof(why), "%zu of %zu good, %zu strays", good, nseen, stray);
	check(good == lives && nseen == lives && !stray, name, why);
}

static void run(const char *label, size_t i)
{
	const struct scenario *s = &scenarios[i];
	struct want w = {.origin = s->origin, .late = s->late};
	struct message m;
	char name[160], why[64];

	snprintf(name, sizeof(name), "%s: %s", label, s->name);
	forget_all();
	send_message(actor_fd, 'G', 0, i, NULL);
	if (!wait_done(&m)) {
		check(false, name, "the actor failed");
		exit(1);
	}
	for (int j = 0; j < 5; j++) {
		usleep(2000);
		source__poll(source, 0);
	}
	w.pos[0] = m.in;
	w.pos[1] = m.out;
	if (m.port)
		judge(name, seen_port(m.port, 0), &w);
	else
		judge_many(name, s);
	if (clear_conns()) {
		snprintf(why, sizeof(why), "%zu clear connections", clear_conns());
		check(false, "ciphertext is left alone", why);
	}
}

static void run_library(const char *label, const char *library, char *force)
{
	struct capture_options o;
	int orders[2], channel[2], listen_fd = listener(&peer_port);
	pid_t children[2];
	struct message m;
	uint32_t pid;

	workers_seen = 0;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET, 0, orders) || socketpair(AF_UNIX, SOCK_SEQPACKET, 0, channel))
		exit(2);
	children[0] = fork();
	if (children[0] == 0)
		peer(listen_fd, orders[1]);
	children[1] = fork();
	if (children[1] == 0) {
		judge_fd = channel[1];
		peer_fd = orders[0];
		close(listen_fd);
		actor(library);
	}
	actor_fd = channel[0];
	pid = (uint32_t)children[1];
	capture_options_default(&o);
	o.pids = &pid;
	o.npids = 1;
	o.force = force;
	if (!wait_done(&m)) {
		check(false, label, "the actor did not start");
		exit(1);
	}
	source = source_bpf__open(&o, (struct record_sink){on_record, NULL});
	if (source) {
		source__activate(source);
		source__poll(source, 0);
		for (size_t i = 0; i < SCENARIOS; i++)
			run(label, i);
		source__close(source);
		source = NULL;
	} else {
		check(false, label, "the programs do not load");
	}
	for (int i = 0; i < 2; i++) {
		kill(children[i], SIGKILL);
		waitpid(children[i], NULL, 0);
	}
	close(orders[0]);
	close(orders[1]);
	close(channel[0]);
	close(channel[1]);
	close(listen_fd);
}

int main(int argc, char **argv)
{
	char private[] = "/tmp/kt-libssl-XXXXXX", path[128], command[512], *force = NULL;
	int c;

	setvbuf(stdout, NULL, _IOLBF, 0);
	log_set_level(LOG_LVL_WARN);
	while ((c = getopt(argc, argv, "f:n:")) != -1)
		if (c == 'f')
			force = optarg;
		else if (c == 'n')
			lives = (unsigned)atoi(optarg);
	if (!mkdtemp(private))
		return 2;
	snprintf(path, sizeof(path), "%s/libssl.so.3", private);
	snprintf(
		command, sizeof(command), "cp $(ldconfig -p | sed -n 's,.*libssl.so.3 .*=> ,,p' | head -n 1) %s", path);
	if (system(command) == 0) {
		run_library("own library", path, force);
		run_library("the host's library", "libssl.so.3", force);
	} else {
		check(false, "the library is copied", "libssl.so.3 is missing");
	}
	unlink(path);
	rmdir(private);
	printf("%u passed, %u failed\n", passed, failed);
	return failed != 0;
}
