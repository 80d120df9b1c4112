"""Both legs of a plugin case (tests/replay/plugin-cases) as a recording that `kongtap replay` reads.

A case has the client leg's heads as text and the body of the answer; most answers echo the request that the service
got, which is the upstream leg. What is not in the file (request bodies, large answers) is made to measure.
"""
import base64
import json
import struct

# Bodies that a case names only by a file of its own machine.
REQUEST_BODIES = {"post_json_bad_utf8": b'{"s":"\xff\xfe\x80"}'}
WORKER, CLIENT_FD, UPSTREAM_FD = 4711, 21, 28


def header(lines, name):
    for line in lines:
        key, colon, value = line.partition(":")
        if colon and key.lower() == name:
            return value.strip()
    return None


def padded(size, as_json):
    """A body of this size."""
    return b'{"data":"' + b"x" * (size - 11) + b'"}' if as_json else b"x" * size


def event_body(message):
    """What the plugin's event says the body was, when it says it exactly."""
    body = message.get("body")
    if message.get("transfer_encoding") == "base64" and body:
        return base64.b64decode(body)
    if isinstance(body, dict) and body and message.get("transfer_encoding") == "json":
        return json.dumps(body, separators=(",", ":")).encode()
    return None


def echo(case):
    """The request that the service says it got, or None."""
    try:
        answer = json.loads(case.get("response_body", ""))
    except ValueError:
        return None
    return answer if isinstance(answer, dict) and "raw_headers" in answer else None


def request_body(case):
    lines = case["wire_request"]
    length = header(lines, "content-length")
    if length is None and header(lines, "transfer-encoding") is None:
        return b""
    if case["case"] in REQUEST_BODIES:
        return REQUEST_BODIES[case["case"]]
    told = echo(case)
    candidates = [event_body(case["event"]["request"]), told["body"].encode() if told and "body" in told else None]
    if length is None:
        return next((body for body in candidates if body), padded(200000, True))
    for body in candidates:
        if body and len(body) == int(length):
            return body
    return padded(int(length), True)


def response_body(case):
    lines = case["wire_response"]
    length = header(lines, "content-length")
    size = int(length) if length else case["response_body_bytes"]
    if case["wire_request"][0].startswith("HEAD ") or not size:
        return b""
    candidates = [case["response_body"].encode() if "response_body" in case else None,
                  event_body(case["event"].get("response", {}))]
    for body in candidates:
        if body and len(body) == size:
            return body
    return padded(size, "json" in (header(lines, "content-type") or ""))


def http1(lines, body):
    """A message as bytes; `lines` may hold an interim answer before the final one."""
    lines = [line for line in lines if line]
    out = b""
    if lines[0].startswith("HTTP/1.1 100"):
        out = lines.pop(0).encode() + b"\r\n\r\n"
    out += "\r\n".join(lines).encode() + b"\r\n\r\n"
    if header(lines, "transfer-encoding") == "chunked":
        chunk = b"%x\r\n%s\r\n" % (len(body), body) if body else b""
        return out + chunk + b"0\r\n\r\n"
    return out + body


def frame(kind, flags, stream, payload):
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def hpack(fields):
    """Literals without indexing, no Huffman code (RFC 7541, 6.2.2)."""
    def text(value):
        value = value.encode()
        size = bytes([len(value)])
        if len(value) >= 127:
            rest, size = len(value) - 127, b"\x7f"
            while rest >= 128:
                size += bytes([rest % 128 | 128])
                rest //= 128
            size += bytes([rest])
        return size + value

    return b"".join(b"\0" + text(name) + text(value) for name, value in fields)


def http2(lines, body, request, tls):
    first = lines[0].split(" ")
    fields = [tuple(part.strip() for part in line.split(":", 1)) for line in lines[1:] if line]
    if request:
        host = header(lines, "host")
        pseudo = [(":method", first[0]), (":path", first[1]), (":scheme", "https" if tls else "http"),
                  (":authority", host)]
        fields = [field for field in fields if field[0].lower() != "host"]
        out = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0, b"")
    else:
        pseudo = [(":status", first[1])]
        out = frame(4, 0, 0, b"")
    block = hpack(pseudo + [(name.lower(), value) for name, value in fields])
    out += frame(1, 4 if body else 5, 1, block)
    return out + (frame(0, 1, 1, body) if body else b"")


def upstream_request(case, body):
    """The upstream leg's request, or None when Kong answered by itself."""
    lines, answer = case["wire_request"], case["wire_response"]
    # Nothing listens behind the route /down: no connection, no leg.
    if header(answer, "x-kong-upstream-latency") is None or case["case"] == "kong_502":
        return None
    method, target = lines[0].split(" ")[:2]
    told = echo(case)
    if told:
        names = told["raw_headers"]
        fields = [f"{names[i]}: {names[i + 1]}" for i in range(0, len(names), 2)]
        return http1([f"{told['method']} {told['path']} HTTP/1.1"] + fields, body)
    host = header(lines, "host")
    path = target.split("?")[0]
    own = ["Host: 127.0.0.1:9000", "Connection: keep-alive", "X-Forwarded-For: 127.0.0.1", "X-Forwarded-Proto: http",
           f"X-Forwarded-Host: {host.rsplit(':', 1)[0]}", "X-Forwarded-Port: 8000", f"X-Forwarded-Path: {path}",
           "X-Forwarded-Prefix: /open", "X-Real-IP: 127.0.0.1",
           f"X-Kong-Request-Id: {header(answer, 'x-kong-request-id')}"]
    passed = [line for line in lines[1:] if line and line.split(":")[0].lower() not in
              ("host", "connection", "expect", "te", "upgrade")]
    return http1([f"{method} {target.removeprefix('/open')} HTTP/1.1"] + own + passed, body)


class Recording:
    def __init__(self, local, tls):
        self.lines, self.local, self.peer, self.tls = [], local, "127.0.0.1:45678", tls

    def add(self, t_ns, call, **more):
        self.lines.append(json.dumps({"t_ns": t_ns, "pid": WORKER, "call": call, **more}))

    def open(self, t_ns):
        self.add(t_ns, "accept", fd=CLIENT_FD, local=self.local, peer=self.peer, ret=CLIENT_FD)
        if self.tls:
            self.add(t_ns, "ssl_set_fd", fd=CLIENT_FD, ssl="5500aa", local=self.local, peer=self.peer, ret=0)

    def data(self, t_ns, call, where, data):
        step = 16384
        for at in range(0, len(data), step):
            part = data[at:at + step]
            self.add(t_ns, call, **where, ret=len(part), off=0, len=len(part), data=base64.b64encode(part).decode())

    def client(self, t_ns, call, data):
        where = {"ssl": "5500aa"} if self.tls else {"fd": CLIENT_FD, "local": self.local, "peer": self.peer}
        self.data(t_ns, ("ssl_" if self.tls else "") + call, where, data)

    def upstream(self, t_ns, call, data):
        where = {"fd": UPSTREAM_FD, "local": "127.0.0.1:50000", "peer": "127.0.0.1:9000"}
        self.data(t_ns, call, where, data)


def rebuild(case, begin_ns, end_ns):
    """Lines of a recording in which the case's request begins and its answer ends at these times."""
    uri = case["event"]["request"]["uri"]
    tls = uri.startswith("https:")
    h2 = case["wire_request"][0].endswith("HTTP/2")
    port = uri.split("/")[2].rsplit(":", 1)[1]
    record = Recording(f"127.0.0.1:{port}", tls)
    asked, answered = request_body(case), response_body(case)
    up = upstream_request(case, asked)
    record.open(begin_ns)
    request = http2(case["wire_request"], asked, True, tls) if h2 else http1(case["wire_request"], asked)
    response = http2(case["wire_response"], answered, False, tls) if h2 else http1(case["wire_response"], answered)
    record.client(begin_ns, "read", request)
    if up:
        record.add(begin_ns, "connect", fd=UPSTREAM_FD, local="127.0.0.1:50000", peer="127.0.0.1:9000", ret=0)
        record.upstream(begin_ns, "write", up)
        status = case["wire_response"][0].split(" ")[1]
        if status == "100":
            status = case["wire_response"][1].split(" ")[1]
        record.upstream(end_ns, "read", f"HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n".encode())
    record.client(end_ns, "write", response)
    record.add(end_ns, "close", fd=CLIENT_FD, ret=0)
    if up:
        record.add(end_ns, "close", fd=UPSTREAM_FD, ret=0)
    return record.lines
