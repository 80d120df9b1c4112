#include "wire/h2static.h"

#define F(n, v)                                                                                                        \
	{                                                                                                              \
		{"" n, sizeof(n) - 1},                                                                                 \
		{                                                                                                      \
			"" v, sizeof(v) - 1                                                                            \
		}                                                                                                      \
	}

static const struct h2field fields[H2_STATIC_COUNT] = {
	F(":authority", ""),
	F(":method", "GET"),
	F(":method", "POST"),
	F(":path", "/"),
	F(":path", "/index.html"),
	F(":scheme", "http"),
	F(":scheme", "https"),
	F(":status", "200"),
	F(":status", "204"),
	F(":status", "206"),
	F(":status", "304"),
	F(":status", "400"),
	F(":status", "404"),
	F(":status", "500"),
	F("accept-charset", ""),
	F("accept-encoding", "gzip, deflate"),
	F("accept-language", ""),
	F("accept-ranges", ""),
	F("accept", ""),
	F("access-control-allow-origin", ""),
	F("age", ""),
	F("allow", ""),
	F("authorization", ""),
	F("cache-control", ""),
	F("content-disposition", ""),
	F("content-encoding", ""),
	F("content-language", ""),
	F("content-length", ""),
	F("content-location", ""),
	F("content-range", ""),
	F("content-type", ""),
	F("cookie", ""),
	F("date", ""),
	F("etag", ""),
	F("expect", ""),
	F("expires", ""),
	F("from", ""),
	F("host", ""),
	F("if-match", ""),
	F("if-modified-since", ""),
	F("if-none-match", ""),
	F("if-range", ""),
	F("if-unmodified-since", ""),
	F("last-modified", ""),
	F("link", ""),
	F("location", ""),
	F("max-forwards", ""),
	F("proxy-authenticate", ""),
	F("proxy-authorization", ""),
	F("range", ""),
	F("referer", ""),
	F("refresh", ""),
	F("retry-after", ""),
	F("server", ""),
	F("set-cookie", ""),
	F("strict-transport-security", ""),
	F("transfer-encoding", ""),
	F("user-agent", ""),
	F("vary", ""),
	F("via", ""),
	F("www-authenticate", ""),
};

const struct h2field *h2static_at(uint32_t index)
{
	return &fields[index - 1];
}
