#include "ship/http.h"

#include <curl/curl.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <strings.h>

#include "base/buf.h"
#include "base/stats.h"
#include "ship/compress.h"
#include "version.h"

#define COMPRESSED_MAX (64u << 20)
#define RESPONSE_HEAD_MAX 65536
#define POST_ANSWER_MAX 65536
#define URL_MAX 2048
/* A usual batch goes in one system call, and not in pieces of 64 KiB with a look at all sockets after each. */
#define UPLOAD_BUFFER (256L << 10)

/* One easy handle, used again and again so that its connection stays. */
struct slot {
	struct http *http;
	CURL *easy;
	void *token;	     /* NULL: free */
	struct buf sent;     /* compressed request body */
	struct buf received; /* answer's body, GET only */
	bool keeps_body, compressed, head_too_long;
	size_t head_bytes, body_bytes, body_max;
	struct http_answer answer;
	char error[CURL_ERROR_SIZE];
};

struct http {
	const struct ship_options *o;
	struct http_sink sink;
	CURLM *multi;
	struct curl_slist *get_headers, *post_headers, *plain_headers;
	char base[URL_MAX]; /* endpoint without trailing slash */
	enum encoding encoding;
	bool plain;
	int wake_pending;
	unsigned nslots;
	struct slot slots[];
};

static void init_library(void)
{
	curl_global_init(CURL_GLOBAL_DEFAULT);
}

/* "name: value" from one header line; p NULL if it is another header. */
static struct span header_value(struct span line, const char *name)
{
	size_t n = strlen(name);

	if (line.n <= n || line.p[n] != ':' || !span_ieq(span_of(line.p, n), span_of(name, n)))
		return (struct span){NULL, 0};
	line = span_skip(line, n + 1);
	while (line.n && (line.p[line.n - 1] == '\r' || line.p[line.n - 1] == '\n'))
		line.n--;
	return span_trim(line);
}

static void take_tag(struct span value, char out[HTTP_TAG_MAX])
{
	if (!value.p || value.n == 0 || value.n >= HTTP_TAG_MAX)
		return;
	memcpy(out, value.p, value.n);
	out[value.n] = '\0';
}

static size_t on_header(char *p, size_t size, size_t count, void *ctx)
{
	struct span line = span_of(p, size * count);
	struct slot *slot = ctx;

	slot->head_bytes += line.n;
	slot->head_too_long = slot->head_bytes > RESPONSE_HEAD_MAX;
	if (slot->head_too_long)
		return 0;
	/* A new status line: what came before belonged to an interim answer or to a proxy. */
	if (span_starts(line, SPAN_LIT("HTTP/"))) {
		slot->answer.config_tag[0] = '\0';
		slot->answer.rules_tag[0] = '\0';
	}
	take_tag(header_value(line, "X-Moesif-Config-ETag"), slot->answer.config_tag);
	take_tag(header_value(line, "X-Moesif-Rules-Tag"), slot->answer.rules_tag);
	return line.n;
}

static size_t on_body(char *p, size_t size, size_t count, void *ctx)
{
	struct slot *slot = ctx;
	size_t n = size * count;

	slot->body_bytes += n;
	if (slot->body_bytes > slot->body_max || (slot->keeps_body && buf__append(&slot->received, p, n))) {
		slot->answer.body_too_large = true;
		return 0;
	}
	return n;
}

static struct curl_slist *add_header(struct curl_slist *list, const char *line, bool *failed)
{
	struct curl_slist *longer = *failed ? NULL : curl_slist_append(list, line);

	if (!longer)
		*failed = true;
	return longer ? longer : list;
}

static struct curl_slist *common_headers(const struct ship_options *o, bool *failed)
{
	struct curl_slist *list;
	char *line = NULL;

	if (asprintf(&line, "X-Moesif-Application-Id: %s", o->application_id) < 0) {
		*failed = true;
		return NULL;
	}
	list = add_header(NULL, line, failed);
	explicit_bzero(line, strlen(line));
	free(line);
	return add_header(list, "User-Agent: kongtap/" KONGTAP_VERSION, failed);
}

static int make_headers(struct http *h)
{
	bool failed = false;
	char encoding[64];

	h->get_headers = common_headers(h->o, &failed);
	h->plain_headers = add_header(common_headers(h->o, &failed), "Content-Type: application/json", &failed);
	/* Without this line libcurl asks for leave before larger bodies, which costs a round trip. */
	h->plain_headers = add_header(h->plain_headers, "Expect:", &failed);
	h->post_headers = add_header(common_headers(h->o, &failed), "Content-Type: application/json", &failed);
	h->post_headers = add_header(h->post_headers, "Expect:", &failed);
	if (encoding_name(h->encoding)) {
		snprintf(encoding, sizeof(encoding), "Content-Encoding: %s", encoding_name(h->encoding));
		h->post_headers = add_header(h->post_headers, encoding, &failed);
	}
	return failed ? -ENOMEM : 0;
}

static bool graphic(const char *s)
{
	for (; *s; s++)
		if (*s <= ' ' || *s > '~')
			return false;
	return true;
}

static int check_options(struct http *h, const struct ship_options *o)
{
	const char *url = o->api_endpoint;
	size_t n = url ? strlen(url) : 0;

	if (!o->application_id || !*o->application_id || !graphic(o->application_id))
		return -EINVAL;
	if (n == 0 || n >= URL_MAX - 64 || !graphic(url) || strpbrk(url, "?#@") ||
		(strncasecmp(url, "http://", 7) != 0 && strncasecmp(url, "https://", 8) != 0))
		return -EINVAL;
	while (n && url[n - 1] == '/')
		n--;
	memcpy(h->base, url, n);
	h->base[n] = '\0';
	if (o->compression)
		return encoding_parse(o->compression, &h->encoding);
	h->encoding = o->enable_compression ? ENCODING_DEFLATE : ENCODING_NONE;
	return 0;
}

/* What is the same for all requests of a slot. */
static int slot_init(struct http *h, struct slot *slot)
{
	const struct ship_options *o = h->o;
	CURL *e = curl_easy_init();

	if (!e)
		return -ENOMEM;
	slot->http = h;
	slot->easy = e;
	buf__init(&slot->sent, COMPRESSED_MAX);
	curl_easy_setopt(e, CURLOPT_PRIVATE, slot);
	curl_easy_setopt(e, CURLOPT_ERRORBUFFER, slot->error);
	curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR, "http,https");
	/* A redirect would carry the application id to whomever an answer names. */
	curl_easy_setopt(e, CURLOPT_FOLLOWLOCATION, 0L);
	curl_easy_setopt(e, CURLOPT_CONNECTTIMEOUT_MS, (long)o->connect_timeout);
	curl_easy_setopt(e, CURLOPT_TIMEOUT_MS, (long)o->send_timeout);
	/* Whole seconds, and 0 would mean for ever. */
	curl_easy_setopt(e, CURLOPT_MAXAGE_CONN, o->keepalive < 1000 ? 1L : (long)(o->keepalive / 1000));
	curl_easy_setopt(e, CURLOPT_FORBID_REUSE, o->keepalive ? 0L : 1L);
	/* When the time for a connection is over, the thread that waits for a silent name server is left to itself: to
	 * wait for it would hold up everything that this thread does, writing to the spool included. */
	curl_easy_setopt(e, CURLOPT_QUICK_EXIT, 1L);
	curl_easy_setopt(e, CURLOPT_PIPEWAIT, 1L);
	curl_easy_setopt(e, CURLOPT_UPLOAD_BUFFERSIZE, UPLOAD_BUFFER);
	curl_easy_setopt(e, CURLOPT_SSL_VERIFYPEER, o->tls_verify ? 1L : 0L);
	curl_easy_setopt(e, CURLOPT_SSL_VERIFYHOST, o->tls_verify ? 2L : 0L);
	curl_easy_setopt(e, CURLOPT_HEADERFUNCTION, on_header);
	curl_easy_setopt(e, CURLOPT_HEADERDATA, slot);
	curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, on_body);
	curl_easy_setopt(e, CURLOPT_WRITEDATA, slot);
	if (o->ca_file && curl_easy_setopt(e, CURLOPT_CAINFO, o->ca_file) != CURLE_OK)
		return -ENOMEM;
	if (o->proxy && curl_easy_setopt(e, CURLOPT_PROXY, o->proxy) != CURLE_OK)
		return -ENOMEM;
	return 0;
}

struct http *http__new(const struct ship_options *o, unsigned slots, struct http_sink sink)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	struct http *h = calloc(1, sizeof(*h) + slots * sizeof(h->slots[0]));
	int err;

	if (!h)
		return NULL;
	pthread_once(&once, init_library);
	h->o = o;
	h->sink = sink;
	h->nslots = slots;
	err = check_options(h, o);
	if (!err)
		err = make_headers(h);
	if (!err) {
		h->multi = curl_multi_init();
		err = h->multi ? 0 : -ENOMEM;
	}
	for (unsigned i = 0; i < slots && !err; i++)
		err = slot_init(h, &h->slots[i]);
	if (err) {
		http__free(h);
		errno = -err;
		return NULL;
	}
	return h;
}

/* The lists hold the application id. */
static void free_headers(struct curl_slist *list)
{
	for (struct curl_slist *it = list; it; it = it->next)
		explicit_bzero(it->data, strlen(it->data));
	curl_slist_free_all(list);
}

void http__free(struct http *h)
{
	if (!h)
		return;
	for (unsigned i = 0; i < h->nslots; i++) {
		struct slot *slot = &h->slots[i];

		if (slot->easy && slot->token)
			curl_multi_remove_handle(h->multi, slot->easy);
		if (slot->easy)
			curl_easy_cleanup(slot->easy);
		buf__free(&slot->sent);
		buf__free(&slot->received);
	}
	if (h->multi)
		curl_multi_cleanup(h->multi);
	free_headers(h->get_headers);
	free_headers(h->post_headers);
	free_headers(h->plain_headers);
	free(h);
}

static struct slot *free_slot(struct http *h)
{
	for (unsigned i = 0; i < h->nslots; i++)
		if (!h->slots[i].token)
			return &h->slots[i];
	return NULL;
}

static int start(struct slot *slot, const char *path, void *token)
{
	char url[URL_MAX];

	snprintf(url, sizeof(url), "%s%s", slot->http->base, path);
	slot->answer = (struct http_answer){.compressed = slot->compressed};
	slot->head_bytes = slot->body_bytes = 0;
	slot->head_too_long = false;
	slot->error[0] = '\0';
	if (curl_easy_setopt(slot->easy, CURLOPT_URL, url) != CURLE_OK ||
		curl_multi_add_handle(slot->http->multi, slot->easy) != CURLM_OK)
		return -ENOMEM;
	slot->token = token;
	return 0;
}

int http__post(struct http *h, struct span body, void *token)
{
	struct slot *slot = free_slot(h);
	bool plain = h->plain || h->encoding == ENCODING_NONE;
	int err;

	if (!slot)
		return -EBUSY;
	if (!plain) {
		err = compress_body(h->encoding, body, &slot->sent);
		if (err)
			return -ENOMEM;
		body = buf_span(&slot->sent);
	}
	slot->keeps_body = false;
	slot->compressed = !plain;
	slot->body_max = POST_ANSWER_MAX;
	curl_easy_setopt(slot->easy, CURLOPT_POST, 1L);
	curl_easy_setopt(slot->easy, CURLOPT_POSTFIELDS, body.p);
	curl_easy_setopt(slot->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)body.n);
	curl_easy_setopt(slot->easy, CURLOPT_HTTPHEADER, plain ? h->plain_headers : h->post_headers);
	return start(slot, "/v1/events/batch", token);
}

int http__get(struct http *h, const char *path, size_t max_body, void *token)
{
	struct slot *slot = free_slot(h);

	if (!slot)
		return -EBUSY;
	slot->keeps_body = true;
	slot->compressed = false;
	slot->body_max = max_body;
	buf__free(&slot->received);
	buf__init(&slot->received, max_body);
	curl_easy_setopt(slot->easy, CURLOPT_HTTPGET, 1L);
	curl_easy_setopt(slot->easy, CURLOPT_HTTPHEADER, h->get_headers);
	return start(slot, path, token);
}

static void release(struct http *h, struct slot *slot)
{
	curl_multi_remove_handle(h->multi, slot->easy);
	slot->token = NULL;
}

void http__cancel(struct http *h, void *token)
{
	for (unsigned i = 0; i < h->nslots; i++)
		if (h->slots[i].token == token)
			release(h, &h->slots[i]);
}

/* What went wrong, in words. libcurl quotes a proxy that it cannot use as it was given, with the password in it. */
static const char *error_of(const struct slot *slot, CURLcode code, curl_off_t took_us)
{
	/* It waited for a connection that another one holds (CURLOPT_PIPEWAIT) and has not begun. libcurl finds no
	 * later step than the name's resolution, and says that this failed. */
	if (code == CURLE_OPERATION_TIMEDOUT && took_us == 0)
		return "timed out behind another request that got no answer";
	if (strncmp(slot->error, "Unsupported proxy", 17) == 0)
		return "the URL of the proxy cannot be used";
	if (slot->head_too_long)
		return "its head is longer than 64 KiB";
	/* Both are the same to libcurl, whose lines have their own bound (CURL_MAX_HTTP_HEADER, 100 KiB). */
	if (code == CURLE_OUT_OF_MEMORY)
		return "out of memory, or a line of its head is longer than 100 KiB";
	return slot->error[0] && !strchr(slot->error, '@') ? slot->error : curl_easy_strerror(code);
}

/* An answer that was cut off because it is too long is an answer all the same; one that broke off by itself is not. */
static void finish(struct http *h, struct slot *slot, CURLcode code)
{
	struct http_answer *a = &slot->answer;
	void *token = slot->token;
	curl_off_t retry_after = 0, took_us = 0, sent = 0;

	curl_easy_getinfo(slot->easy, CURLINFO_RESPONSE_CODE, &a->status);
	curl_easy_getinfo(slot->easy, CURLINFO_RETRY_AFTER, &retry_after);
	curl_easy_getinfo(slot->easy, CURLINFO_TOTAL_TIME_T, &took_us);
	stats_inc(STAT_ship_requests);
	stats_add(STAT_ship_request_us, took_us > 0 ? (uint64_t)took_us : 0);
	a->retry_after_s = retry_after <= 0 ? 0 : retry_after > INT32_MAX ? INT32_MAX : (uint32_t)retry_after;
	if (code != CURLE_OK && !(code == CURLE_WRITE_ERROR && a->body_too_large)) {
		a->status = 0;
		a->error = error_of(slot, code, took_us);
		curl_easy_getinfo(slot->easy, CURLINFO_SIZE_UPLOAD_T, &sent);
		a->broke_off = sent > 0;
	} else if (a->status == 0) {
		a->error = "an answer without a status";
	}
	a->body = buf_span(&slot->received);
	curl_multi_remove_handle(h->multi, slot->easy);
	/* The slot stays taken during the callback: what the answer points to is in it. */
	h->sink.fn(h->sink.ctx, token, a);
	slot->token = NULL;
	if (slot->keeps_body)
		buf__free(&slot->received);
}

static bool collect(struct http *h)
{
	bool any = false;
	CURLMsg *msg;
	int left;

	while ((msg = curl_multi_info_read(h->multi, &left))) {
		CURLcode code = msg->data.result;
		struct slot *slot = NULL;

		if (msg->msg != CURLMSG_DONE)
			continue;
		curl_easy_getinfo(msg->easy_handle, CURLINFO_PRIVATE, (char **)&slot);
		if (slot)
			finish(h, slot, code);
		any = true;
	}
	return any;
}

void http__run(struct http *h, int timeout_ms)
{
	int running = 0;

	curl_multi_perform(h->multi, &running);
	/* What has ended may have made work: the caller looks before it waits. */
	if (collect(h))
		return;
	curl_multi_poll(h->multi, NULL, 0, timeout_ms, NULL);
	__atomic_store_n(&h->wake_pending, 0, __ATOMIC_SEQ_CST);
	curl_multi_perform(h->multi, &running);
	collect(h);
}

void http__wake(struct http *h)
{
	/* One write to the wake-up descriptor is enough until it has been seen. */
	if (!__atomic_exchange_n(&h->wake_pending, 1, __ATOMIC_SEQ_CST))
		curl_multi_wakeup(h->multi);
}

void http__plain(struct http *h)
{
	h->plain = true;
}
