#!/usr/bin/env python3
"""The stand-in itself: what it puts on the wire is what Kong 3.9.1 was recorded to put there, and its log is true."""
import http.client
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "e2e"))

from compare import compare_record, load  # noqa: E402
from gateway import HERE, PORTS, Gateway, alive, join_netns, kong_yml, title_of, wait_for  # noqa: E402
from lib import Checks, Workdir, client  # noqa: E402

UPSTREAM_HEAD = ["Via", "Host", "Connection", "X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host", "X-Forwarded-Port",
                 "X-Forwarded-Path", "X-Forwarded-Prefix", "X-Real-IP", "X-Kong-Request-Id"]
CONSUMER = ["X-Consumer-ID", "X-Consumer-Custom-ID", "X-Consumer-Username", "X-Credential-Identifier"]
PROXIED = ["Content-Type", "Content-Length", "Connection", "Date", "Server", "X-Kong-Upstream-Latency", "X-Kong-Proxy-Latency",
           "Via", "X-Kong-Request-Id"]
OWN = ["Date", "Content-Type", "Connection", "Content-Length", "X-Kong-Response-Latency", "Server", "X-Kong-Request-Id"]


def call(target, headers=(), method="GET", body=None, port=PORTS["proxy"]):
    """(status, [(name, value)], body); the headers in the order of the wire."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.putrequest(method, target, skip_accept_encoding=True)
    for name, value in headers:
        connection.putheader(name, value)
    if body is not None:
        connection.putheader("Content-Length", str(len(body)))
    connection.endheaders(body)
    response = connection.getresponse()
    data = response.read()
    connection.close()
    return response.status, response.getheaders(), data


def names(pairs):
    return [name for name, _ in pairs]


def wire(t):
    status, headers, body = call("/key/hi?x=1", [("Accept", "*/*"), ("apikey", "alice-key-123"), ("X-Kong-Request-Id", "mine")])
    echo = json.loads(body)
    raw = list(zip(echo["raw_headers"][::2], echo["raw_headers"][1::2]))
    t.equal("proxied: response headers and their order", names(headers), PROXIED)
    t.equal("proxied: upstream headers and their order", names(raw), [*UPSTREAM_HEAD, "Accept", "apikey", *CONSUMER])
    values, up = dict(headers), dict(raw)
    t.equal("one request id on both legs", values["X-Kong-Request-Id"], up["X-Kong-Request-Id"])
    t.check("request id is 32 hex digits of Kong's", len(values["X-Kong-Request-Id"]) == 32)
    t.equal("consumer", [up[name] for name in CONSUMER],
            ["b32379d9-3d28-5683-a79c-72139be6e34f", "cust-alice-001", "alice", "d4f35ac5-35bb-483b-946e-f242317e967a"])
    t.equal("forwarded", [up["X-Forwarded-Path"], up["X-Forwarded-Prefix"], up["X-Forwarded-Port"], up["Host"], echo["path"]],
            ["/key/hi", "/key", "8000", "127.0.0.1:9000", "/hi?x=1"])
    t.equal("Via and Server", [values["Via"], values["Server"], up["Via"]], ["1.1 kong/3.9.1", "kong/3.9.1", "1.1 kong/3.9.1"])
    forged = [("apikey", "bob-key-456"), ("X-Consumer-Username", "root"), ("X-Consumer-Custom-ID", "cust-root")]
    echo = json.loads(call("/key/hi", forged)[2])["headers"]
    t.equal("a client's consumer headers do not pass an authenticated route",
            [echo.get("x-consumer-username"), echo.get("x-consumer-custom-id")], ["bob", None])
    _, _, body = call("/open/hi", [("X-Consumer-Username", "root")])
    t.equal("a client's consumer header passes an open route", json.loads(body)["headers"].get("x-consumer-username"), "root")


def own_replies(t):
    for target, status, message, extra in (("/none", 404, "no Route matched with those values", []),
                                           ("/key/x", 401, "No API key found in request", ["WWW-Authenticate"]),
                                           ("/down/x", 502, "An invalid response was received from the upstream server", None),
                                           ("/slowup/delay/900", 504, "The upstream server is timing out", None)):
        got, headers, body = call(target)
        t.equal(f"{status}: status", got, status)
        wanted = [*OWN[:3], *extra, *OWN[3:]] if extra is not None else [*OWN[:4], *PROXIED[5:8], *OWN[5:]]
        t.equal(f"{status}: headers and their order", names(headers), wanted)
        t.equal(f"{status}: body", body.decode(), '{\n  "message":"%s",\n  "request_id":"%s"\n}' % (
            message, dict(headers)["X-Kong-Request-Id"]))
    t.equal("451", call("/terminated/x")[::2], (451, b'{"message":"blocked by kong"}'))
    t.equal("403", call("/acl/x", [("apikey", "bob-key-456")])[0], 403)
    statuses = [call("/limited/hi", [("apikey", "carol-key-789")])[0] for _ in range(45)]
    t.equal("429 comes", 429 in statuses and statuses[0] == 200, True)
    _, headers, body = call("/corr/hi")
    t.equal("correlation id on both legs", dict(headers)["Kong-Request-ID"], json.loads(body)["headers"]["kong-request-id"])


def websocket(t):
    for path in ("/ws", "/open/ws"):
        with socket.create_connection(("127.0.0.1", PORTS["proxy"]), timeout=5) as s:
            s.sendall((f"GET {path} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                       "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n").encode())
            head = b""
            while b"\r\n\r\n" not in head:
                head += s.recv(4096)
            t.check(f"{path}: handshake", b" 101 " in head and b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in head)
            s.sendall(b"\x81\x85\x01\x02\x03\x04" + bytes(c ^ m for c, m in zip(b"hello", b"\x01\x02\x03\x04\x01")))
            t.equal(f"{path}: echo", s.recv(100), b"\x81\x05hello")
            s.sendall(b"\x88\x80\x00\x00\x00\x00")
            t.equal(f"{path}: close", s.recv(100), b"\x88\x00")


def own_calls(t):
    for query in ("", "?tls=1"):
        t.equal(f"a call of the gateway's own{query}", call("/trigger-plugin-post" + query, port=PORTS["status"])[2],
                b"HTTP/1.1 201 Created\n")


def marks(t, gateway):
    for name in ("nginx.conf", "nginx-kong.conf", "nginx-kong-stream.conf", ".kong_env", "pids/nginx.pid"):
        t.check(f"the prefix has {name}", (gateway.prefix / name).exists())
    t.check("the master's title names the prefix", f"-p {gateway.prefix} -c nginx.conf" in title_of(gateway.master()))
    libraries = {line.split()[-1] for line in open(f"/proc/{gateway.workers()[0]}/maps") if "libssl" in line}
    t.equal("the workers' TLS library is the prefix's", libraries, {str(gateway.prefix / "lib" / "libssl.so.3")})
    t.equal("kong.yml is made of routes.json", (HERE / "kong.yml").read_text(), kong_yml())


def life(t, gateway):
    before = gateway.workers()
    gateway.reload()
    t.check("reload: other workers, same master", not set(before) & set(gateway.workers()))
    victim = gateway.kill_worker()
    t.check("a killed worker is replaced", victim not in gateway.workers())
    t.equal("and the gateway answers", call("/open/hi")[0], 200)
    master = gateway.master()
    gateway.quit()
    t.check("quit", not alive(master))
    gateway.start()
    t.equal("started again", call("/open/hi")[0], 200)


def oracle(t, gateway, directory):
    record = directory / "record.jsonl"
    gateway.access_log.write_text("")
    with client(gateway, record, "--calls", 1500, "--connections", "1,16,64") as traffic:
        t.equal("client", traffic.wait(120), 0)
    lines, records = load(gateway, record)
    t.equal("the client made all calls", len(records), 1500)
    t.problems("the access log and the client's record agree", compare_record(lines, records))
    gateway.access_log.write_text("")
    with client(gateway, record, "--calls", 40, "--connections", "8", "--kinds", "timeout,upstream_abort,expect_continue") as traffic:
        t.equal("client, odd calls", traffic.wait(120), 0)
    lines, records = load(gateway, record)
    t.equal("odd calls: a line for each", len(lines), 40)
    t.problems("odd calls: log and record agree", compare_record(lines, records))
    cut = [line for line in lines if line["uri"].startswith("/open/abort")]
    t.check("an upstream that hangs up in mid-body: more promised than sent", cut and all(
        (line["promised"], line["resp_len"]) == ("10000", "3000") for line in cut))


def aborted(t, gateway):
    """A client that leaves before the response: nginx logs 499."""
    with socket.create_connection(("127.0.0.1", PORTS["proxy"])) as s:
        s.sendall(b"GET /open/delay/2000?gone HTTP/1.1\r\nHost: x\r\n\r\n")
        wait_for(lambda: established(PORTS["upstream"]), 5, "the upstream call")
    wait_for(lambda: '"/open/delay/2000?gone","status":499' in gateway.access_log.read_text(), 5, "the line of the abort")
    t.check("a client abort is logged", True)


def established(port):
    return subprocess.run(["ss", "-Htn", "state", "established", f"dport = :{port}"], capture_output=True, text=True).stdout


def everything(t):
    if os.environ.get("KONGTAP_TEST_KONG_PREFIX"):
        return print("# skipped: these are checks of the stand-in, and a real Kong is to be used")
    with Workdir() as directory, Gateway(directory) as gateway:
        join_netns(gateway.netns)
        wire(t)
        own_replies(t)
        websocket(t)
        own_calls(t)
        marks(t, gateway)
        aborted(t, gateway)
        oracle(t, gateway, directory)
        life(t, gateway)
        name = gateway.netns
    t.check("the namespace is gone", not os.path.exists(f"/run/netns/{name}"))


if __name__ == "__main__":
    sys.exit(Checks().run(everything))
