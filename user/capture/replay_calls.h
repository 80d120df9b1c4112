/* replay_calls: turns the calls of a recording that holds no positions (shared/reference/kong-recordings) into records:
 * keeps the connections of each worker, their lives and the position of each direction, as the kernel side does live.
 */
#ifndef KT_CAPTURE_REPLAY_CALLS_H
#define KT_CAPTURE_REPLAY_CALLS_H

#include "capture/record.h"

enum call_kind {
	CALL_ACCEPT,
	CALL_CONNECT,
	CALL_CLOSE,
	CALL_READ,
	CALL_WRITE,
	CALL_SSL_SET_FD,
	CALL_SSL_READ,
	CALL_SSL_WRITE,
	CALL_SSL_FREE,
};

struct call {
	enum call_kind kind;
	uint64_t t_ns;
	uint32_t pid;
	int32_t fd;   /* -1: none */
	uint64_t ssl; /* 0: none */
	int64_t ret;
	uint64_t off; /* of data inside what the call moved */
	bool ciphertext;
	struct endpoint local, peer;
	struct span data;
};

struct replay_calls;

/* At most max connections are kept at once (the eldest go first). NULL and errno ENOMEM. */
struct replay_calls *replay_calls__new(size_t max, struct record_sink sink);
/* 0, or -ENOMEM. */
int replay_calls__on_call(struct replay_calls *r, const struct call *c);
void replay_calls__free(struct replay_calls *r);

#endif
