#include "ship/verdict.h"

#include <stdio.h>

enum verdict verdict_of(const struct http_answer *a)
{
	if (a->status >= 200 && a->status <= 299)
		return VERDICT_DELIVERED;
	if (a->status >= 500 && a->status <= 599)
		return VERDICT_RETRY;
	switch (a->status) {
	case 0:
	case 408:
	case 429:
		return VERDICT_RETRY;
	case 413:
		return VERDICT_TOO_LARGE;
	case 400:
	case 422:
		return VERDICT_POISON;
	case 415:
		return a->compressed ? VERDICT_PLAIN : VERDICT_REFUSED;
	default:
		return VERDICT_REFUSED;
	}
}

static const char *meaning(long status)
{
	switch (status) {
	case 400:
		return "bad request";
	case 401:
		return "the application id is wrong";
	case 402:
		return "the subscription is not active";
	case 403:
		return "the application id may not do this";
	case 404:
	case 405:
	case 410:
		return "this is not the collector's address: see api_endpoint";
	case 407:
		return "the proxy wants a password";
	case 413:
		return "too large";
	case 429:
		return "too many requests";
	default:
		break;
	}
	if (status >= 300 && status <= 399)
		return "redirected, which is not followed: see api_endpoint";
	return status >= 500 ? "the collector has a problem" : "unexpected";
}

void verdict_text(const struct http_answer *a, char *out, size_t size)
{
	if (a->status == 0)
		snprintf(out, size, "no answer: %s", a->error ? a->error : "unknown reason");
	else if (a->status >= 200 && a->status <= 299)
		snprintf(out, size, "HTTP %ld", a->status);
	else
		snprintf(out, size, "HTTP %ld, %s", a->status, meaning(a->status));
}
