/* The splitter and the search for a place: frames cut anywhere, gaps in them, and what is not to be taken for frames.
 */
#include "h2kit.h"

/* One line a frame: type, flags, stream, payload. */
static void split(struct h2split *s, struct span data, struct buf *out)
{
	struct span piece;
	enum h2_step step;

	while ((step = h2split__next(s, &data, &piece)) != H2_MORE) {
		if (step == H2_BEGIN)
			buf__printf(out, "%u/%x/%u:", s->frame.type, s->frame.flags, s->frame.stream);
		else if (step == H2_PIECE)
			buf__append_span(out, piece);
		else
			buf__append_char(out, '\n');
	}
	assert_int_equal(data.n, 0);
}

static void frames_cut_anywhere(void **state)
{
	static const char wanted[] = "0/1/1:hello\n4/1/0:\n1/25/2147483647:x\n9/0/3:\n";
	struct talk t;

	(void)state;
	talk__init(&t);
	call(&t, REQ);
	frame(&t, H2_DATA, H2_END_STREAM, 1, "hello", 5);
	frame(&t, H2_SETTINGS, H2_ACK, 0, "", 0);
	frame(&t, H2_HEADERS, 0x25, 0xffffffffu, "x", 1); /* the highest bit is reserved */
	frame(&t, H2_CONTINUATION, 0, 3, "", 0);
	for (size_t a = 0; a <= t.bytes.n; a++) {
		for (size_t b = a; b <= t.bytes.n; b++) {
			struct h2split s = {0};
			struct buf out;

			buf__init(&out, 1000);
			split(&s, span_of(t.bytes.p, a), &out);
			split(&s, span_of(t.bytes.p + a, b - a), &out);
			split(&s, span_of(t.bytes.p + b, t.bytes.n - b), &out);
			buf__append_char(&out, 0);
			assert_string_equal(out.p, wanted);
			buf__free(&out);
		}
	}
	talk__free(&t);
}

static void gaps_take_from_the_payload_alone(void **state)
{
	struct h2split s = {0};
	struct buf out;

	(void)state;
	buf__init(&out, 1000);
	assert_int_equal(h2split__gap(&s, 5), 0);
	split(&s, span_of("\0\0\5\0\0\0\0\0\1ab", 11), &out);
	assert_int_equal(h2split__gap(&s, 1), 1);
	assert_int_equal(h2split__gap(&s, 100), 2);
	assert_int_equal(h2split__gap(&s, 100), 0);
	split(&s, span_of("", 0), &out);
	assert_int_equal(s.in_frame, false);
	buf__append_char(&out, 0);
	assert_string_equal(out.p, "0/0/1:ab\n");
	buf__free(&out);
}

static void shapes(void **state)
{
	static const struct {
		struct h2frame f;
		bool legal, plausible;
	} rows[] = {
		{{5, 1, H2_DATA, 0}, true, true}, {{5, 1, H2_DATA, 4}, true, false}, {{5, 2, H2_DATA, 0}, true, false},
		{{5, 0, H2_DATA, 0}, false, false}, {{0, 1, H2_DATA, H2_PADDED}, false, false},
		{{20000, 1, H2_DATA, 0}, true, false}, {{0, 1, H2_HEADERS, 0}, true, false},
		{{5, 1, H2_HEADERS, H2_PRIORITY_FLAG}, true, false}, {{6, 1, H2_HEADERS, H2_PRIORITY_FLAG}, true, true},
		{{4, 1, H2_HEADERS, H2_PRIORITY_FLAG}, false, false}, {{5, 1, H2_PRIORITY, 0}, true, true},
		{{4, 1, H2_PRIORITY, 0}, false, false}, {{4, 1, H2_RST_STREAM, 0}, true, true},
		{{4, 0, H2_RST_STREAM, 0}, false, false}, {{6, 0, H2_SETTINGS, 0}, true, true},
		{{6, 0, H2_SETTINGS, H2_ACK}, false, false}, {{7, 0, H2_SETTINGS, 0}, false, false},
		{{10, 1, H2_PUSH_PROMISE, H2_END_HEADERS}, true, false}, /* not by a client */
		{{8, 0, H2_PING, H2_ACK}, true, true}, {{8, 3, H2_PING, 0}, false, false},
		{{8, 0, H2_GOAWAY, 0}, true, true}, {{7, 0, H2_GOAWAY, 0}, false, false},
		{{4, 0, H2_WINDOW_UPDATE, 0}, true, true}, {{5, 0, H2_WINDOW_UPDATE, 0}, false, false},
		{{9, 0, H2_PRIORITY_UPDATE, 0}, true, true},
		{{9, 5, 0x2a, 0xff}, true, false}, /* unknown: to be ignored, and no ground to stand on */
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		assert_int_equal(h2frame_legal(&rows[i].f), rows[i].legal);
		assert_int_equal(h2frame_plausible(&rows[i].f, true, 0), rows[i].plausible);
	}
	/* Streams go up by small steps. */
	assert_false(h2frame_plausible(&(struct h2frame){5, 0x20000001, H2_DATA, 0}, true, 0));
	assert_false(h2frame_plausible(&(struct h2frame){5, 1000001, H2_DATA, 0}, true, 101));
	assert_true(h2frame_plausible(&(struct h2frame){5, 1000001, H2_DATA, 0}, true, 999001));
}

/* Nothing but the beginning of frames is taken for it: of a conversation, a call that begins elsewhere is refused, or
 * waited for, but not believed. */
static void a_place_is_found_at_frames_only(void **state)
{
	struct talk t;
	size_t believed = 0;

	(void)state;
	talk__init(&t);
	call(&t, REQ);
	for (uint32_t id = 1; id < 40; id += 2) {
		head(&t, 0, id, ":method: POST\n:scheme: https\n:path: /echo\n:authority: a\nx-a: 1\n");
		frame(&t, H2_DATA, 0, id, "\0\0\0\0\7\n\5world{\"a\": 1, \"b\": [0, 0, 0]}", 36);
		frame(&t, H2_DATA, H2_END_STREAM, id, "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 16);
	}
	for (size_t at = 0, next = 0; at < t.bytes.n; at++) {
		struct span rest = span_skip(buf_span(&t.bytes), at);
		struct h2frame f;

		if (at == next) {
			h2frame_parse((const unsigned char *)rest.p, &f);
			next += H2_HEAD_LEN + f.length;
			assert_int_equal(h2frame_chain(rest, true, 0), H2_CHAIN_YES);
			believed++;
			continue;
		}
		assert_int_not_equal(h2frame_chain(rest, true, 0), H2_CHAIN_YES);
	}
	assert_int_equal(believed, 60);
	talk__free(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(frames_cut_anywhere),
		cmocka_unit_test(gaps_take_from_the_payload_alone),
		cmocka_unit_test(shapes),
		cmocka_unit_test(a_place_is_found_at_frames_only),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
