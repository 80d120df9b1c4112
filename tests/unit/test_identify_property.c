/* A gateway in small, and clients that lie at random: whatever they send, nobody becomes somebody else, and who showed
 * a good credential is known.
 */
#include "event_kit.h"

enum route { OPEN, KEY_AUTH, KEY_AUTH_OR_ANONYMOUS };

struct person {
	const char *key, *id, *custom_id, *username, *credential; /* NULL: Kong has none */
};

static const struct person people[] = {
	{"key-alice", "id-alice", "custom-alice", "alice", "cred-alice"},
	{"key-bob", "id-bob", NULL, "bob", "cred-bob"},
	{"key-carol", "id-carol", "custom-carol", NULL, "cred-carol"},
};
static const struct person anonymous = {NULL, "id-anon", NULL, "anon", NULL};
enum { PEOPLE = sizeof(people) / sizeof(people[0]), CALLS = 40000 };

static const char *const names[] = {"X-Consumer-ID", "X-Consumer-Custom-ID", "X-Consumer-Username",
	"X-Credential-Identifier", "X-Anonymous-Consumer"};

static uint64_t dice_state;

static unsigned roll(unsigned n)
{
	dice_state = dice_state * 6364136223846793005ULL + 1442695040888963407ULL;
	return (unsigned)(dice_state >> 33) % n;
}

static const char *said_of(const struct person *p, int name, bool anon)
{
	const char *const values[] = {p->id, p->custom_id, p->username, p->credential, anon ? "true" : NULL};

	return values[name];
}

/* What one client sends. */
struct sent {
	const char *key;
	char lies[1024];
	unsigned lied; /* bit per name */
};

static void lie(struct sent *s)
{
	static const char *const spaces[] = {"", " ", "\t", "  "};
	const struct person *victim = &people[roll(PEOPLE)];

	s->lies[0] = 0;
	s->lied = 0;
	for (unsigned n = roll(4); n > 0; n--) {
		int name = (int)roll(5);
		const char *value = said_of(roll(3) ? victim : &people[roll(PEOPLE)], name, roll(2));

		s->lied |= 1U << name;
		snprintf(s->lies + strlen(s->lies), sizeof(s->lies) - strlen(s->lies), "%s:%s%s%s\n", names[name],
			spaces[roll(4)], value ? value : "", spaces[roll(4)]);
	}
	s->key = roll(6) ? people[roll(PEOPLE)].key : roll(2) ? "key-wrong" : NULL;
}

static const struct person *owner(const char *key)
{
	for (int i = 0; key && i < PEOPLE; i++)
		if (strcmp(people[i].key, key) == 0)
			return &people[i];
	return NULL;
}

/* What goes up: the lies as they are where no auth plugin runs, else what Kong sets; the rest is cleared. */
static void upstream_lines(char *to, size_t size, const struct sent *s, const struct person *who, bool anon)
{
	to[0] = 0;
	if (!who) {
		snprintf(to, size, "%s", s->lies);
		return;
	}
	for (int name = 0; name < 5; name++)
		if (said_of(who, name, anon))
			snprintf(to + strlen(to), size - strlen(to), "%s: %s\n", names[name], said_of(who, name, anon));
}

static bool is_called(const struct person *p, const char *name)
{
	for (int i = 0; i < 3; i++)
		if (said_of(p, i, false) && strcmp(said_of(p, i, false), name) == 0)
			return true;
	return false;
}

struct counts {
	unsigned named, learnt;
};

static void one_call(struct counts *n)
{
	enum route route = (enum route)roll(3);
	struct sent s;
	const struct person *who, *true_who;
	char client[1200], up[1200];
	bool anon, own_answer;
	int status = 200;

	lie(&s);
	true_who = owner(s.key);
	who = route == OPEN ? NULL : true_who;
	anon = route == KEY_AUTH_OR_ANONYMOUS && !who;
	if (anon)
		who = &anonymous;
	own_answer = route == KEY_AUTH && !who;
	if (own_answer) {
		status = 401;
	} else if (!roll(4)) {
		own_answer = true;
		status = 429;
	}
	snprintf(client, sizeof(client), "%s%s%s%s", s.key ? "apikey: " : "", s.key ? s.key : "", s.key ? "\n" : "",
		s.lies);
	upstream_lines(up, sizeof(up), &s, who, anon);
	call_with(client, own_answer ? NULL : up, status);

	assert_int_equal(out.events, 1);
	if (strcmp(user(), "(none)") == 0) {
		/* Nobody lied and Kong said who it is: then it is known. */
		assert_false(who && !own_answer && !s.lied);
		return;
	}
	n->named++;
	n->learnt += own_answer;
	/* Somebody: the one whom Kong let in, or, where Kong answered by itself, the owner of the key. */
	assert_int_not_equal(status, 401);
	assert_true(is_called(own_answer ? (true_who ? true_who : &anonymous) : who ? who : &anonymous, user()));
	assert_true(!own_answer || true_who);
	assert_true(own_answer || route != OPEN);
}

static void test_nobody_becomes_somebody_else(void **state)
{
	struct counts n = {0, 0};

	(void)state;
	for (unsigned seed = 1; seed <= 4; seed++) {
		dice_state = seed * 0x9e3779b97f4a7c15ULL;
		for (int i = 0; i < CALLS / 4; i++)
			one_call(&n);
	}
	/* The properties above are not met by naming nobody at all. */
	assert_true(n.named > CALLS / 4);
	assert_true(n.learnt > CALLS / 20);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		kit_test(test_nobody_becomes_somebody_else),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
