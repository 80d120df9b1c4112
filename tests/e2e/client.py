#!/usr/bin/env python3
"""Sends calls of every kind to the gateway and writes down what it sent and got, one JSON line per call.

    client.py --record FILE [--calls N] [--seed S] [--connections 1,4,16,64] [--gate FILE] [--kinds NAME,...] [--keep-bodies]

The same seed gives every connection the same calls in the same order; which connection gets how far is up to the clock.
With --gate the connections of the first level make half of their calls, say
"client: half", and go on making calls until FILE exists; then they make the other half, on the same connections.
"""
import argparse
import base64
import hashlib
import hmac
import itertools
import json
import os
import random
import signal
import socket
import ssl
import sys
import threading
import time

from lib import inflate, json_digest, sha256
from gateway import CONFIG, PORTS

CONSUMERS = CONFIG["consumers"]
WORDS = ["anvil", "bolt", "crate", "drum", "é€😀", "fuse", "gauge", "hinge", "a/b", "\"quoted\"", "back\\slash", "tab\t"]


TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
TLS.check_hostname, TLS.verify_mode = False, ssl.CERT_NONE
TLS.set_alpn_protocols(["http/1.1"])


class Closed(Exception):
    """The connection ended before the response did."""


class Connection:
    """One HTTP/1.1 connection that reads responses whole."""

    def __init__(self, tls):
        self.tls = tls
        self.port = PORTS["proxy_tls" if tls else "proxy"]
        self.socket = socket.create_connection(("127.0.0.1", self.port), timeout=30)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls:
            self.socket = TLS.wrap_socket(self.socket)
        self.local_port = self.socket.getsockname()[1]
        self.buffer = b""
        self.calls = 0

    def close(self):
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data)

    def more(self):
        data = self.socket.recv(65536)
        if not data:
            raise Closed
        self.buffer += data

    def until(self, mark):
        while mark not in self.buffer:
            self.more()
        found, self.buffer = self.buffer.split(mark, 1)
        return found

    def exactly(self, count):
        pieces, left = [], count
        while left > len(self.buffer):
            pieces.append(self.buffer)
            left -= len(self.buffer)
            self.buffer = b""
            self.more()
        pieces.append(self.buffer[:left])
        self.buffer = self.buffer[left:]
        return b"".join(pieces)

    def head(self):
        lines = self.until(b"\r\n\r\n").decode("latin-1").split("\r\n")
        headers = {}
        for line in lines[1:]:
            name, value = line.split(":", 1)
            headers[name.lower()] = value.strip()
        return int(lines[0].split()[1]), headers

    def response(self, method):
        """(status, headers, body, keep)"""
        status, headers = self.head()
        while 100 <= status < 200 and status != 101:
            status, headers = self.head()
        keep = headers.get("connection", "").lower() != "close"
        if method == "HEAD" or status in (204, 304):
            body = b""
        elif headers.get("transfer-encoding", "").lower() == "chunked":
            body = self.chunked()
        elif "content-length" in headers:
            body = self.exactly(int(headers["content-length"]))
        else:
            body, keep = self.rest(), False
        return status, headers, body, keep

    def chunked(self):
        pieces = []
        while size := int(self.until(b"\r\n").split(b";")[0], 16):
            pieces.append(self.exactly(size))
            self.exactly(2)
        while self.until(b"\r\n"):
            pass
        return b"".join(pieces)

    def rest(self):
        try:
            while True:
                self.more()
        except Closed:
            body, self.buffer = self.buffer, b""
            return body


# -- calls: what is sent, and whose call it is. `user` is who an event must name; `may_be` who it may name besides.

class Call:
    def __init__(self, method, target, headers=(), body=None, chunked=False, user=None, may_be=()):
        self.method, self.target, self.headers = method, target, list(headers)
        self.body, self.chunked, self.user, self.may_be = body, chunked, user, list(may_be)


def body_size(rng):
    """Mostly small, now and then around the sizes of nginx's buffers and of the body limit, seldom 200 KB."""
    pick = rng.random()
    if pick < 0.60:
        return rng.randint(0, 2000)
    if pick < 0.85:
        return rng.randint(2000, 20000)
    if pick < 0.93:
        return rng.choice([1023, 1024, 1025, 8191, 8192, 8193, 16383, 16384, 16385, 99999, 100000, 100001])
    return rng.randint(20000, 200000)


def json_body(rng, size):
    rows = []
    length = 2
    while length < size:
        row = {"id": rng.randint(0, 10 ** 18), "name": rng.choice(WORDS), "price": rng.randint(0, 10000) / 100,
               "tags": rng.sample(WORDS, rng.randint(0, 3)), "in_stock": rng.random() < 0.5, "note": None}
        rows.append(json.dumps(row, ensure_ascii=rng.random() < 0.5))
        length += len(rows[-1]) + 1
    return ("[" + ",".join(rows) + "]").encode()


def make_body(rng):
    """(content type, bytes)"""
    size, kind = body_size(rng), rng.random()
    if kind < 0.6:
        return "application/json", json_body(rng, size)
    if kind < 0.75:
        return "text/plain", (" ".join(rng.choice(WORDS) for _ in range(size // 6 + 1))).encode()[:size].decode(
            "utf-8", "ignore").encode()
    if kind < 0.85:
        return "application/x-www-form-urlencoded", ("a=1&b=" + "x" * size).encode()
    return "application/octet-stream", rng.randbytes(size)


def jwt(issuer, secret, subject):
    def part(data):
        return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
    signed = part(b'{"alg":"HS256","typ":"JWT"}') + "." + part(json.dumps(
        {"iss": issuer, "sub": subject, "name": "Jörg ???>>>"}, ensure_ascii=False).encode())
    return signed + "." + part(hmac.new(secret.encode(), signed.encode(), hashlib.sha256).digest())


def basic(name, password):
    return "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()


def user_of(consumer):
    return consumer.get("custom_id", consumer["username"])


def key_header(consumer):
    return ("apikey", consumer["keys"][0]["key"])


READS = ["/hi", "/a/b%20c", "/bytes?n={n}", "/large?n={n}&json=1", "/large?n={n}&json=1&chunked=1", "/bytes?n={n}&chunked=1",
         "/chunked?n={small}", "/gzip?n={small}", "/status/{code}", "/empty", "/text", "/binary", "/multi", "/json-odd",
         "/json-bad", "/json-space", "/close?n={n}", "/delay/{ms}", "/stream?n=3&ms=5"]


def read_path(rng):
    return rng.choice(READS).format(n=body_size(rng), small=rng.randint(1, 60), ms=rng.randint(1, 40),
                                    code=rng.choice([200, 201, 204, 304, 400, 404, 409, 418, 500, 503]))


def with_serial(target, serial):
    return f"{target}{'&' if '?' in target else '?'}call={serial}"


def open_read(rng):
    return Call(rng.choice(["GET", "GET", "GET", "HEAD", "DELETE", "OPTIONS"]), "/open" + read_path(rng))


def open_write(rng, prefix="/open", headers=(), user=None):
    content_type, body = make_body(rng)
    path = "/echo" if len(body) < 30000 and rng.random() < 0.7 else "/status/200"
    return Call(rng.choice(["POST", "POST", "PUT", "PATCH"]), prefix + path, [("Content-Type", content_type), *headers], body,
                chunked=rng.random() < 0.3, user=user)


def key_read(rng):
    consumer = rng.choice(CONSUMERS)
    prefix = rng.choice(["/key", "/tlskey"])
    if rng.random() < 0.3:
        target = f"{prefix}/hi?apikey={consumer['keys'][0]['key']}"
        return Call("GET", target, user=user_of(consumer))
    return Call("GET", prefix + read_path(rng), [key_header(consumer)], user=user_of(consumer))


def key_write(rng):
    consumer = rng.choice(CONSUMERS)
    return open_write(rng, rng.choice(["/key", "/tlskey"]), [key_header(consumer)], user_of(consumer))


def basic_read(rng):
    consumer = rng.choice(CONSUMERS)
    pair = consumer["basic"][0]
    return Call("GET", "/basic" + read_path(rng), [("Authorization", basic(pair["username"], pair["password"]))],
                user=user_of(consumer))


def jwt_read(rng):
    consumer = rng.choice(CONSUMERS)
    token = jwt(consumer["jwt"][0]["key"], consumer["jwt"][0]["secret"], "sub-is-not-used")
    return Call("GET", "/jwt" + read_path(rng), [("Authorization", "Bearer " + token)], user=user_of(consumer))


def token_on_open(rng):
    """No plugin looks at the credential: the agent finds the user in it."""
    name = f"user-{rng.randint(1, 50)}"
    if rng.random() < 0.5:
        return Call("GET", "/open" + read_path(rng), [("Authorization", "Bearer " + jwt("x", "y", name))], user=name)
    return Call("GET", "/open/hi", [("Authorization", basic(name, "secret"))], user=name)


def spoofed(rng):
    """A client that names itself: cleared where Kong authenticates, not believed elsewhere."""
    forged = [("X-Consumer-Username", "root"), ("X-Consumer-Custom-ID", "cust-root"), ("X-Consumer-ID", "0")]
    if rng.random() < 0.5:
        return Call("GET", "/open/hi", forged)
    return Call("GET", "/key/hi", [*forged, key_header(CONSUMERS[1])], user=user_of(CONSUMERS[1]))


def refused(rng):
    """Calls that the gateway answers itself."""
    alice, bob = CONSUMERS[0], CONSUMERS[1]
    pick = rng.randrange(8)
    if pick == 0:
        return Call("GET", "/no/such/route")
    if pick == 1:
        return Call("GET", "/key/hi")
    if pick == 2:
        return Call("GET", "/key/hi", [("apikey", "wrong")])
    if pick == 3:
        return Call("GET", "/basic/hi", [("Authorization", basic("alice", "wrong"))], may_be=["alice"])
    if pick == 4:
        return Call("GET", "/jwt/hi", [("Authorization", "Bearer " + jwt("alice-iss", "wrong", "mallory"))], may_be=["mallory"])
    if pick == 5:
        return Call("GET", "/terminated/x")
    if pick == 6:
        return Call("GET", "/acl/hi", [key_header(bob)], may_be=[user_of(bob)])
    return Call("POST", "/limited/echo", [key_header(alice), ("Content-Type", "application/json")], json_body(rng, 500),
                may_be=[user_of(alice)])


def failing(rng):
    return Call("GET", rng.choice(["/down/x", "/broken/x", "/retry/hi", "/retry/hi"]))


def other_routes(rng):
    pick = rng.randrange(4)
    if pick == 0:
        return Call("GET", "/hosted/hi", [("Host", "api.example.test")])
    return Call("GET", ["", "/tlsup" + read_path(rng), "/corr/hi", "/sse?n=2&ms=1"][pick])


def acl_allowed(rng):
    return Call("GET", "/acl/hi", [key_header(CONSUMERS[0])], user=user_of(CONSUMERS[0]))


# -- not part of the usual mix

def timeout(rng):
    return Call("GET", "/slowup/delay/1000")


def upstream_abort(rng):
    return Call("GET", "/open/abort")


def expect_continue(rng):
    return Call("POST", "/open/echo", [("Expect", "100-continue"), ("Content-Type", "application/json")],
                json_body(rng, body_size(rng) % 20000))


KINDS = {"open_read": 30, "open_write": 22, "key_read": 14, "key_write": 8, "basic_read": 4, "jwt_read": 4, "token_on_open": 4,
         "spoofed": 3, "refused": 6, "failing": 2, "other_routes": 2, "acl_allowed": 1,
         "timeout": 0, "upstream_abort": 0, "expect_continue": 0}


# -- sending

class Run:
    def __init__(self, args):
        self.args = args
        self.record = open(args.record, "w", encoding="utf-8")
        self.lock = threading.Lock()
        self.serial = itertools.count(1)
        self.done = 0
        self.half_said = False
        self.due = time.monotonic()
        self.failures = 0
        self.over = False

    def end(self, *_):
        """A signal: calls that are under way are finished and written down, no others are begun."""
        self.over = True

    def kinds(self):
        wanted = self.args.kinds.split(",") if self.args.kinds else [name for name, weight in KINDS.items() if weight]
        return [globals()[name] for name in wanted], [KINDS[name] or 1 for name in wanted]

    def level(self, number, connections, quota, gate):
        """`quota` calls on so many connections at once; the gate holds the second half back."""
        state = {"taken": 0, "extra": 0}

        def next_call():
            if self.over:
                return False
            with self.lock:
                half = gate and state["taken"] >= quota // 2
                if half and not self.half_said:
                    self.half_said = True
                    print("client: half", flush=True)
                if half and not state.get("open"):
                    state["open"] = os.path.exists(gate)
                    if not state["open"]:
                        state["extra"] += 1
                        return True
                if state["taken"] >= quota:
                    return False
                state["taken"] += 1
                return True

        def paced_call():
            if self.args.rate:
                with self.lock:
                    self.due += 1 / self.args.rate
                    wait = self.due - time.monotonic()
                time.sleep(max(0, wait))
            return next_call()

        threads = [threading.Thread(target=self.worker, args=(f"{self.args.seed}/{number}/{i}", paced_call))
                   for i in range(connections)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def worker(self, seed, next_call):
        rng = random.Random(seed)
        makers, weights = self.kinds()
        connections = {}
        while next_call():
            call = rng.choices(makers, weights)[0](rng)
            tls = rng.random() < 0.45
            # Some connections serve one call, some all of them.
            last = rng.random() < 0.04
            connection = connections.pop(tls, None)
            if connection is None:
                connection = self.connect(tls)
            if connection and self.one(connection, call, rng) and not last:
                connections[tls] = connection
            elif connection:
                connection.close()
        for connection in connections.values():
            connection.close()

    def connect(self, tls):
        try:
            return Connection(tls)
        except OSError as error:
            self.write({"error": f"connect: {error}", "tls": tls})
            return None

    def one(self, connection, call, rng):
        """Makes the call and writes it down; True when the connection can serve another."""
        with self.lock:
            serial = next(self.serial)
        target = with_serial(call.target, serial)
        names = {name.lower() for name, _ in call.headers}
        head = [f"{call.method} {target} HTTP/1.1"]
        if "host" not in names:
            head.append(f"Host: 127.0.0.1:{connection.port}")
        head += ["User-Agent: kongtap-test/1", *(f"{name}: {value}" for name, value in call.headers)]
        pieces = []
        if call.body is not None and call.chunked:
            head.append("Transfer-Encoding: chunked")
            at = 0
            while at < len(call.body):
                piece = call.body[at:at + rng.choice([1, 100, 1500, 8192, 40000])]
                at += len(piece)
                pieces.append(b"%x\r\n%s\r\n" % (len(piece), piece))
            pieces.append(b"0\r\n\r\n")
        elif call.body is not None:
            head.append(f"Content-Length: {len(call.body)}")
            pieces.append(call.body)
        host = dict(call.headers).get("Host", "127.0.0.1")
        entry = {"serial": serial, "host": host, "method": call.method, "target": target, "port": connection.port,
                 "client_port": connection.local_port, "user": call.user, "may_be": call.may_be,
                 "sent_len": len(call.body or b""), "sent_sha256": sha256(call.body or b""),
                 "sent_json": json_digest(call.body) if ("Content-Type", "application/json") in call.headers else None}
        entry["began"] = time.time()
        keep = False
        try:
            # Head and body leave together, or apart, as real clients do it.
            data = ("\r\n".join(head) + "\r\n\r\n").encode()
            if "expect" in names:
                connection.send(data)
                connection.until(b"100 Continue\r\n\r\n")
            elif pieces and rng.random() < 0.5:
                pieces[0] = data + pieces[0]
            else:
                connection.send(data)
            for piece in pieces:
                connection.send(piece)
            status, headers, body, keep = connection.response(call.method)
            entry.update(id=headers.get("x-kong-request-id"), status=status, recv_len=len(body), recv_sha256=sha256(body))
            if self.args.keep_bodies:
                entry.update(sent=base64.b64encode(call.body or b"").decode(), recv=base64.b64encode(body).decode(),
                             sent_headers=call.headers, recv_headers=headers)
            plain = inflate(body) if headers.get("content-encoding") == "gzip" else body
            if plain is not None:
                entry["plain_sha256"] = sha256(plain)
                if "json" in headers.get("content-type", "").lower():
                    entry["recv_json"] = json_digest(plain)
        except Closed:
            entry["error"] = "closed"
        except (OSError, ValueError) as error:
            entry["error"] = f"{type(error).__name__}: {error}"
        entry["ended"] = time.time()
        self.write(entry)
        return keep

    def write(self, entry):
        with self.lock:
            self.done += 1
            self.failures += "error" in entry
            self.record.write(json.dumps(entry) + "\n")

    def run(self):
        signal.signal(signal.SIGTERM, self.end)
        levels = [int(level) for level in self.args.connections.split(",")]
        quota = [self.args.calls // len(levels)] * len(levels)
        quota[0] += self.args.calls - sum(quota)
        for number, (connections, calls) in enumerate(zip(levels, quota)):
            self.level(number, connections, calls, self.args.gate if number == 0 else None)
        self.record.close()
        print(f"client: {self.done} calls, {self.failures} without a whole response", flush=True)
        return 0


def main():
    parser = argparse.ArgumentParser(description="Traffic for the gateway.")
    parser.add_argument("--record", required=True)
    parser.add_argument("--calls", type=int, default=1000)
    parser.add_argument("--seed", default="1")
    parser.add_argument("--connections", default="1,4,16,64", help="levels of concurrency, one after the other")
    parser.add_argument("--gate", metavar="FILE")
    parser.add_argument("--rate", type=float, help="calls per second; as many as can be when absent")
    parser.add_argument("--keep-bodies", action="store_true", help="also record headers and bodies, in base64")
    parser.add_argument("--kinds", help=", ".join(KINDS))
    return Run(parser.parse_args()).run()


if __name__ == "__main__":
    sys.exit(main())
