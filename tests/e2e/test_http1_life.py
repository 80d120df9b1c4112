#!/usr/bin/env python3
"""HTTP/1 and the life of its connections, end to end: whatever clients, workers and services do, the events say what the
access log and the client say, or what is missing.

KONGTAP_TEST_SECONDS sets the length of the load of new connections through the gateway (20),
KONGTAP_TEST_CHURN_SECONDS that of 10,000 of them a second without one (5)."""
import contextlib
import json
import os
import re
import resource
import signal
import socket
import subprocess
import sys
import threading

from client import Closed, Connection
from compare import compare, compare_record
from h1life import Call, frame, inside, json_text, read_frame, reset, taken, websocket_call, worker_of
from lib import HERE, Agent, Checks, EventView, Gateway, GatewayError, Process, Workdir, client, read_jsonl, sha256, wait_for

SECONDS = float(os.environ.get("KONGTAP_TEST_SECONDS", "20"))
BODY_LIMIT = 1000000
CHURN = HERE.parent.parent / "build" / "tests" / "bpf" / "churn"


def about(event):
    return (event.get("metadata") or {}).get("kong") or {}


def tap(gateway, output, *args):
    return Agent("--output", "jsonl", "--output-file", output, "--prefix", gateway.prefix, "--metrics-listen", "none",
                 "--request-max-body-size-limit", BODY_LIMIT, "--response-max-body-size-limit", BODY_LIMIT, *args)


class Bed:
    """A gateway, an agent that watches it from the start, and what both wrote down."""

    def __init__(self, directory, gateway, agent, output, ready):
        self.directory, self.gateway, self.agent, self.output, self.ready = directory, gateway, agent, output, ready

    def inside(self, function, *args):
        return inside(self.gateway, function, *args)

    def lines(self):
        return read_jsonl(self.gateway.access_log)

    def events(self):
        return read_jsonl(self.output)

    def line_of(self, call):
        return next((line for line in self.lines() if line["uri"] == call.target), None)

    def wait_log(self, call):
        wait_for(lambda: call.target.encode() in self.gateway.access_log.read_bytes(), 10, f"the log of {call.target}")

    def wait_event(self, call):
        wait_for(lambda: any(EventView(event).target == call.target for event in self.events()), 10,
                 f"the event of {call.target}")

    def said(self, text):
        return self.gateway.error_log.read_text(errors="replace").count(text)

    def end(self, t, what):
        t.equal(f"{what}: exit code after SIGTERM", self.agent.stop(), 0)
        lost = re.search(r"(\d+) records and (\d+) stream bytes lost", self.agent.stderr)
        t.equal(f"{what}: nothing lost in the kernel", lost and lost.groups(), ("0", "0"))


@contextlib.contextmanager
def bed(*options, **how):
    with Workdir() as directory, Gateway(directory / "gateway", **how) as gateway:
        output = directory / "events.jsonl"
        with tap(gateway, output, *options) as agent:
            yield Bed(directory, gateway, agent, output, agent.wait_ready())


def judge(t, what, place, calls, cut=()):
    """Calls with whole responses: one right event each. Calls that were cut: by the checks of `cut`, (call, function)."""
    apart = {call.target for call, _ in cut}
    place.end(t, what)
    lines = [line for line in place.lines() if line["uri"] not in apart]
    events = place.events()
    records = [call.record for call in calls]
    t.problems(f"{what}: access log and client agree", compare_record(lines, records))
    whole = [event for event in events if EventView(event).target not in apart]
    t.problems(f"{what}: {len(whole)} events for {len(lines)} whole calls agree",
               compare(lines, whole, records, place.ready, BODY_LIMIT))
    t.problems(f"{what}: whole calls are said to be whole", [
        f"marked: {event['request']['uri']} {about(event)}" for event in whole
        if (about(event)["request"], about(event)["response"]) != ("complete", "complete")])
    by_target = {}
    for event in events:
        by_target.setdefault(EventView(event).target, []).append(event)
    for call, check in cut:
        check(t, what, place, call, by_target.get(call.target, []))


# -- messages

def pipelined(tls):
    """Twenty requests of all kinds at once, and what comes for them."""
    calls = []
    for i in range(5):
        calls += [Call("GET", f"/open/chunked?n={i}"), Call("POST", "/open/echo", [("Content-Type", "application/json")],
                                                            json_text(100 + i)),
                  Call("HEAD", "/open/bytes?n=500"), Call("PUT", "/open/echo", [], b"GET /no HTTP/1.1\r\n\r\n" * 9, chunks=7)]
    connection = Connection(tls)
    connection.send(b"".join(call.bytes for call in calls))
    for call in calls:
        call.answered(connection)
    connection.close()
    return calls


def kept_alive(tls):
    calls = []
    connection = Connection(tls)
    for target in ("/open/text", "/open/status/204", "/open/status/304", "/open/empty", "/open/gzip?n=9", "/terminated/x",
                   "/no/route", "/key/hi", "/down/x", "/open/bytes?n=5000", "/open/close?n=3000"):
        calls.append(Call("GET", target).on(connection))
    calls.append(Call("DELETE", "/open/x", connection="close").on(connection))
    connection.close()
    calls.append(Call("POST", "/open/echo", [("Content-Type", "application/json")], json_text(60)).alone(tls, piece=1))
    return calls


def http_1_0(tls):
    calls = [Call("GET", "/open/chunked?n=4", version="1.0", host=None).alone(tls),
             Call("GET", "/open/bytes?n=900", version="1.0").alone(tls),
             Call("POST", "/open/echo", [("Content-Type", "application/json")], json_text(40), version="1.0").alone(tls)]
    connection = Connection(tls)
    for target in ("/open/bytes?n=10", "/open/text", "/open/bytes?n=20"):
        calls.append(Call("GET", target, version="1.0", connection="keep-alive").on(connection))
        if not calls[-1].keep:
            break
    connection.close()
    return calls


def odd_heads(tls):
    """Hundreds of headers, and lines of nearly 32 KB: what the gateway still takes."""
    many = [(f"X-Many-{i}", f"value {i}") for i in range(600)]
    large = [(f"X-Large-{i}", chr(97 + i) * 10000) for i in range(3)]
    odd = [("X-Bytes", "\xff\xfe\x80 \t\x7f"), ("X-Empty", ""), ("X-Twice", "1"), ("x-twice", "2")]
    calls = [Call("GET", "/open/hi", many).alone(tls, 1000), Call("GET", "/open/hi", large).alone(tls),
             Call("GET", "/open/hi", [("X-Line", "z" * 32000)]).alone(tls, 4096),
             Call("GET", "/open/hi", odd).alone(tls),
             Call("GET", "/open/hi?" + "q=" + "a%20" * 1500).alone(tls),
             Call("POST", "/open/echo", [], b"trailed" * 50, chunks=33,
                  trailers="X-Trailer: t\r\nX-Second: s\r\n").alone(tls)]
    return calls


def continued(tls):
    """Expect: 100-continue, with the body when asked for it and, refused, without one."""
    calls = []
    connection = Connection(tls)
    for body in (json_text(50), json_text(20000)):
        call = Call("POST", "/open/echo", [("Expect", "100-continue"), ("Content-Type", "application/json")], body)
        connection.send(call.head)
        connection.until(b"100 Continue\r\n\r\n")
        connection.send(call.payload)
        calls.append(call.answered(connection))
    connection.close()
    return calls


def on_disk(tls):
    """Bodies that are too large for the gateway's memory: of a request, and of responses to a client that does not read."""
    calls = [Call("POST", "/open/bytes?n=10", [("Content-Type", "application/octet-stream")], os.urandom(300000)).alone(tls),
             Call("PUT", "/open/bytes?n=10", [], os.urandom(300000), chunks=9000).alone(tls, 50000)]
    return calls


def slow_reader(place, tls):
    before = place.said("buffered to a temporary file")
    connection = Connection(tls)
    call = Call("GET", "/open/bytes?n=9000000")
    connection.send(call.bytes)
    wait_for(lambda: place.said("an upstream response is buffered to a temporary file") and
             place.said("buffered to a temporary file") > before, 10, "a response on disk")
    call.answered(connection)
    connection.close()
    return [call]


def messages(t):
    what = "messages"
    with bed(large_headers="4 32k") as place:
        calls = []
        for tls in (False, True):
            for function in (pipelined, kept_alive, http_1_0, odd_heads, continued, on_disk):
                calls += place.inside(function, tls)
            calls += place.inside(slow_reader, place, tls)
        t.check(f"{what}: the gateway wrote request bodies to disk", place.said("a client request body is buffered") >= 4)
        judge(t, what, place, calls)
        large = [event for event in place.events() if "n=9000000" in EventView(event).target]
        t.equal(f"{what}: bodies past the limit are counted to the byte",
                [(about(e)["response_body_bytes"], about(e)["response_body_truncated"]) for e in large], [(9000000, True)] * 2)


# -- ends

def one_event(t, name, events):
    return events[0] if t.equal(f"{name}: one event", len(events), 1) else None


def only_counted(t, what, place, call, events):
    """The head was never whole: there is no call to tell of."""
    t.equal(f"{what}, {call.name}: no event", events, [])


def client_gone(t, what, place, call, events):
    """The client left before there was an answer: 499, whatever the gateway wrote down when it could not read on."""
    name = f"{what}, {call.name}"
    line = place.line_of(call)
    t.check(f"{name}: the access log has {line['status']}", line["status"] in (499, 400) and line["resp_len"] == "0")
    if event := one_event(t, name, events):
        view = EventView(event)
        t.equal(f"{name}: event", (view.status, view.verb, view.body("response")[0], about(event)["response"]),
                (499, line["method"], "none", "missing"))
        whole = call.sent == len(call.bytes)
        t.equal(f"{name}: request", (about(event)["request"], about(event)["request_body_bytes"]),
                ("complete" if whole else "closed", call.sent - len(call.head)))
        t.check(f"{name}: no body that is not whole", whole or view.body("request")[0] == "none")


def answer_cut(t, what, place, call, events):
    """The answer began and did not end: its status, and that it is not whole."""
    name = f"{what}, {call.name}"
    line = place.line_of(call)
    if event := one_event(t, name, events):
        view, kong = EventView(event), about(event)
        t.equal(f"{name}: event", (view.id, view.verb, view.status, kong["request"], kong["response"]),
                (line["id"], line["method"], line["status"], "complete", "closed"))
        t.check(f"{name}: no body that is not whole", view.body("response")[0] == "none" and kong["response_body_truncated"],
                f"{view.body('response')} {kong}")
        # Of a body without chunks nginx counts what it sent.
        if line["promised"]:
            t.equal(f"{name}: bytes of the body", kong["response_body_bytes"], line["body_bytes_sent"])
        else:
            t.check(f"{name}: bytes of the body", call.read <= kong["response_body_bytes"] <= int(line["resp_len"]),
                    str(kong))


def early_answer(t, what, place, call, events):
    """Answered before its body was there, which then never came, or came for nothing."""
    name = f"{what}, {call.name}"
    line = place.line_of(call)
    if event := one_event(t, name, events):
        view, kong = EventView(event), about(event)
        t.equal(f"{name}: event", (view.id, view.verb, view.status, kong["request"], kong["response"],
                                        kong["request_body_bytes"]),
                (line["id"], "POST", line["status"], "complete" if call.sent == len(call.bytes) else "closed", "complete",
                 call.sent - len(call.head)))
        t.equal(f"{name}: the answer's body", view.body("response")[1], call.record["recv_json"])


def not_repeated(t, what, place, call, events):
    """A POST is not tried a second time. The access log calls it GET: it is written after the detour to the error page."""
    name = f"{what}, {call.name}"
    line = place.line_of(call)
    if event := one_event(t, name, events):
        view, kong = EventView(event), about(event)
        t.equal(f"{name}: event", (view.id, view.verb, view.status, kong["tries"], kong["request"], kong["response"]),
                (line["id"], "POST", 502, 1, "complete", "complete"))
        t.equal(f"{name}: the request's body", view.body("request")[1], call.record["sent_json"])


def left_by_client(place, cut):
    """A client that goes at each stage, by FIN and by RST, in clear and under TLS."""
    def leave(name, call, check, count=None, read=None):
        """Sends so many bytes of the call, or all of them, reads what is to be read, and goes."""
        call.name, call.sent = f"{word} {name}" + (", TLS" if tls else ""), len(call.bytes) if count is None else count
        connection = Connection(tls)
        connection.send(call.bytes[:call.sent])
        if read:
            connection.head()
            call.read = read(connection)
        else:
            taken(connection)
        how(connection)
        place.wait_log(call)
        cut.append((call, check))

    def half_close(connection):
        connection.socket.shutdown(socket.SHUT_WR)
        connection.socket.recv(1)
        connection.close()

    for tls in (False, True):
        for how, word in ((Connection.close, "FIN"), (reset, "RST")):
            call = Call("GET", "/open/x")
            leave("in the head", call, only_counted, len(call.head) - 8)
            call = Call("POST", "/open/x", [], b"x" * 5000)
            leave("after the head", call, client_gone, len(call.head))
            call = Call("POST", "/open/x", [], b"x" * 5000)
            leave("in the body", call, client_gone, len(call.head) + 1700)
            call = Call("POST", "/open/x", [], b"x" * 5000, chunks=5000)
            leave("in a chunk", call, chunk_cut, len(call.head) + 1017)
            leave("while waiting", Call("GET", "/open/delay/400"), client_gone)
            leave("while waiting, with a body", Call("POST", "/open/delay/400", [], b"y" * 3000), client_gone)
            leave("while receiving", Call("GET", "/open/bytes?n=20000000"), answer_cut,
                  read=lambda connection: len(connection.exactly(50000)))
            leave("in a stream", Call("GET", "/open/stream?n=60&ms=50&nobuf=1"), answer_cut,
                  read=lambda connection: connection.until(b"chunk 1\n").count(b"chunk") * len("chunk 0\n"))
    tls, how, word = False, half_close, "half closed"
    leave("while waiting", Call("GET", "/open/delay/400"), client_gone)


def chunk_cut(t, what, place, call, events):
    call.sent -= len(b'1388;ext="a;b"\r\n')
    client_gone(t, what, place, call, events)


def left_by_service(place, calls, cut):
    for tls in (False, True):
        word = ", TLS" if tls else ""
        call = Call("GET", "/open/abort")
        call.name = "service hangs up in its answer" + word
        with contextlib.suppress(Closed):
            call.alone(tls)
        place.wait_log(call)
        cut.append((call, answer_cut))
        for target in ("/down/x", "/broken/x", "/slowup/delay/1000", "/retry/hi"):
            calls.append(Call("GET", target).alone(tls))
        calls.append(Call("PUT", "/retry/echo", [("Content-Type", "application/json")], json_text(500)).alone(tls))
        call = Call("POST", "/retry/echo", [("Content-Type", "application/json")], json_text(500)).alone(tls)
        call.name = "POST, which is not tried again" + word
        cut.append((call, not_repeated))


def answered_early(place, calls, cut):
    for tls in (False, True):
        for name, all_of_it in (("401 before the body, which stops", False), ("401 before the body, which comes", True)):
            call = Call("POST", "/key/hi", [], b"y" * 300000)
            call.name, call.sent = name + (", TLS" if tls else ""), len(call.bytes) if all_of_it else 50000
            connection = Connection(tls)
            connection.send(call.bytes[:50000])
            call.answered(connection)
            if all_of_it:
                connection.send(call.bytes[50000:])
                calls.append(Call("GET", "/open/hi").on(connection))
            else:
                taken(connection)
            connection.close()
            cut.append((call, early_answer))


def websocket(place, calls):
    """Bytes of all frames that were sent and that came."""
    sent = came = 0
    for tls in (False, True):
        call, connection = websocket_call(), Connection(tls)
        connection.send(call.bytes)
        status, headers = connection.head()
        for payload in (b"GET /evil HTTP/1.1\r\nHost: evil\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
                        b"x" * 9000):
            connection.send(frame(1, payload))
            sent += len(frame(1, payload))
            if read_frame(connection) != payload:
                raise ValueError("another frame than was sent")
            came += len(payload) + (2 if len(payload) < 126 else 4)
        connection.send(frame(8, b""))
        sent += len(frame(8, b""))
        came += 2 + len(read_frame(connection))
        connection.close()
        call.record.update(id=headers["x-kong-request-id"], status=status, port=connection.port, recv_len=0,
                           client_port=connection.local_port, recv_sha256=sha256(b""), plain_sha256=None, recv_json=None)
        place.wait_log(call)
        calls.append(call)
        calls.append(Call("GET", "/open/ws").alone(tls))
    return sent, came


def logged(agent, name):
    """A counter, as the agent logs it when it is asked to for the first time."""
    os.kill(agent.pid, signal.SIGUSR1)
    return int(agent.wait_line(rf"\b{name} \d+", 10).split()[-1])


def refused(t, what, place, call, events):
    """The gateway did not take the request; what it wrote down calls every method GET, after the detour to its error page."""
    name = f"{what}, {call.name}"
    line = place.line_of(call)
    t.equal(f"{name}: access log", (line["status"], line["id"]), (call.record["status"], call.record["id"]))
    if event := one_event(t, name, events):
        view, kong = EventView(event), about(event)
        t.equal(f"{name}: event", (view.id, view.verb, view.status, view.host, view.user, kong["request"], kong["response"]),
                (line["id"], call.method, line["status"], line["host"], None, call.mark, "complete"))
        t.equal(f"{name}: the answer's body", view.body("response")[1], call.record["recv_json"])


def refused_in_head(t, what, place, call, events):
    """The gateway answers before it has read the whole head; when it never reads the rest, there is no call to tell of."""
    if events:
        refused(t, what, place, call, events)
    else:
        t.equal(f"{what}, {call.name}: access log", place.line_of(call)["status"], call.record["status"])


def not_taken(place, cut):
    """What the gateway refuses: it answers and closes."""
    chunked = [("Transfer-Encoding", "chunked")]

    def refuse(name, call, more=b"", mark="complete", check=refused):
        call.name, call.mark = name + (", TLS" if tls else ""), mark
        connection = Connection(tls)
        connection.send(call.bytes + more)
        call.answered(connection)
        connection.close()
        place.wait_log(call)
        cut.append((call, check))

    for tls in (False, True):
        refuse("chunk without a size", Call("POST", "/open/x", chunked), b"zz\r\n", "invalid")
        refuse("chunk without a size after one with", Call("POST", "/open/x", chunked), b"5\r\nhello\r\nzz\r\n", "invalid")
        refuse("length that is no number", Call("POST", "/open/x", [("Content-Length", "abc")]), b"", "invalid")
        refuse("length and chunks", Call("POST", "/open/x", [("Content-Length", "5"), *chunked]), b"0\r\n\r\n", "invalid")
        refuse("CONNECT", Call("CONNECT", "/open/x"))
        refuse("no host", Call("GET", "/open/x", host=None))
        refuse("header with a space in its name", Call("GET", "/open/x", [("bad header", "a")]))
        refuse("folded header", Call("GET", "/open/x", [("X-Folded", "a\r\n b")]))
        refuse("header that is too long", Call("GET", "/open/x", [("X-Large", "a" * 40000)]), check=refused_in_head)


def ends(t):
    what = "ends"
    with bed() as place:
        calls, cut = [], []
        place.inside(left_by_client, place, cut)
        place.inside(left_by_service, place, calls, cut)
        place.inside(answered_early, place, calls, cut)
        frames = place.inside(websocket, place, calls)
        place.inside(not_taken, place, cut)
        calls.append(place.inside(lambda: Call("GET", "/sse?n=5&ms=20").alone()))
        place.wait_event(calls[-1])
        t.equal(f"{what}: bytes of WebSocket frames from and to clients",
                (logged(place.agent, "wire_tunnel_in_bytes"), logged(place.agent, "wire_tunnel_out_bytes")), frames)
        judge(t, what, place, calls, cut)
        events = {EventView(event).target: event for event in place.events()}
        for call in calls:
            kong = about(events.get(call.target) or {})
            if call.target.startswith("/retry"):
                t.equal(f"{what}: {call.method} that was tried twice",
                        (kong.get("tries"), kong.get("join"), kong.get("upstream_status")), (2, "id", 200))
            if call.target.startswith("/ws"):
                t.equal(f"{what}: WebSocket", (kong.get("upgraded"), kong.get("upstream_status")), (True, 101))
        t.check(f"{what}: nothing in a frame became a call", not any("evil" in (target or "") for target in events))


def open_stream(t):
    """A stream that is quiet for long becomes an event while it is open, and no second one when it ends."""
    what = "open stream"
    with bed("--stream-idle", "300") as place:
        call = Call("GET", "/sse?n=2&ms=2500")

        def run():
            connection = Connection(False)
            connection.send(call.bytes)
            connection.until(b"tick\":0}\n\n")
            place.wait_event(call)
            still_open = place.line_of(call) is None
            connection.until(b"tick\":1}\n\n")
            connection.until(b"0\r\n\r\n")
            after = Call("GET", "/open/hi").on(connection)
            connection.close()
            return still_open, after

        still_open, after = place.inside(run)
        t.check(f"{what}: the event came while it was open", still_open)
        place.wait_event(after)
        place.end(t, what)
        events = [event for event in place.events() if EventView(event).target == call.target]
        if event := one_event(t, what, events):
            t.equal(f"{what}: event", (EventView(event).status, about(event)["request"], about(event)["response"],
                                       about(event)["response_body_bytes"]),
                    (200, "complete", "idle", len(b'id: 0\ndata: {"tick":0}\n\n')))
        t.problems(f"{what}: the call after it on the same connection",
                   compare([place.line_of(after)], [e for e in place.events() if e not in events], [after.record],
                           place.ready))


# -- workers that go

class Streams:
    """Long answers under way while something happens to the workers."""

    def __init__(self, place, count):
        self.calls = [Call("GET", "/open/stream?n=40&ms=50&nobuf=1") for _ in range(count)]
        self.connections = place.inside(lambda: [Connection(i % 2 == 1) for i in range(count)])
        for call, connection in zip(self.calls, self.connections):
            connection.send(call.bytes)
        for connection in self.connections:
            while b"chunk 0" not in connection.buffer:
                connection.more()

    def finish(self):
        """Those that came whole, and those that did not."""
        whole, broken = [], []
        for call, connection in zip(self.calls, self.connections):
            try:
                whole.append(call.answered(connection))
            except (Closed, OSError):
                broken.append(call)
            connection.close()
        return whole, broken


def under_load(t, what, place, happen, seed):
    """Traffic, long answers, and in the midst of both `happen`, told of the answers; then the records, and the answers that
    came whole and those that did not."""
    record, gate = place.directory / f"{seed}.jsonl", place.directory / f"{seed}.gate"
    with client(place.gateway, record, "--calls", 1000, "--seed", seed, "--connections", "16", "--gate", gate) as traffic:
        traffic.wait_line("client: half", 60, "stdout")
        streams = Streams(place, 12)
        happen(streams)
        gate.touch()
        t.equal(f"{what}: client", traffic.wait(60), 0)
        whole, broken = streams.finish()
    return read_jsonl(record), whole, broken


def settled(place):
    """Lines of the log, once all have their events or no more come."""
    with contextlib.suppress(GatewayError):
        wait_for(lambda: place.output.read_bytes().count(b"\n") >= answered_of(place.gateway), 5, "the events")


def reload_in_traffic(t):
    what = "reload"
    with bed() as place:
        old = set(place.gateway.workers())
        records, whole, broken = under_load(t, what, place, lambda _: place.gateway.reload(), "reload")
        t.equal(f"{what}: answers that were under way came whole", len(broken), 0)
        settled(place)
        place.end(t, what)
        lines, events = place.lines(), place.events()
        ids = {call.record["id"] for call in whole}
        t.check(f"{what}: they came from workers that were leaving",
                {line["pid"] for line in lines if line["id"] in ids} <= old)
        t.check(f"{what}: old and new workers served", len({line["pid"] for line in lines}) > len(old))
        records += [call.record for call in whole]
        t.problems(f"{what}: access log and client agree", compare_record(lines, records))
        t.problems(f"{what}: {len(events)} events for {len(lines)} calls agree",
                   compare(lines, events, records, place.ready, BODY_LIMIT))


def killed_worker(t):
    what = "kill -9"
    with bed() as place:
        def kill(streams):
            place.gateway.kill_worker(place.inside(worker_of, place.gateway, streams.connections[0]))

        records, whole, broken = under_load(t, what, place, kill, "kill")
        t.check(f"{what}: {len(broken)} long answers were cut, {len(whole)} came whole", broken)
        settled(place)
        place.end(t, what)
        lines, events = place.lines(), place.events()
        records += [call.record for call in whole]
        known = {line["id"] for line in lines}
        t.problems(f"{what}: calls that were logged have their events",
                   compare(lines, [e for e in events if EventView(e).id in known], records, place.ready, BODY_LIMIT))
        # The killed worker logged nothing of its open calls; the client knows which they can be.
        open_calls = {record["target"] for record in records if "error" in record or record["id"] not in known}
        open_calls |= {call.target for call in broken}
        wrong = []
        for event in (event for event in events if EventView(event).id not in known):
            view, kong = EventView(event), about(event)
            ended = kong["response"] == "complete"
            name = f"{view.verb} {view.target} {view.status} {kong}"
            if view.target not in open_calls:
                wrong.append(f"unknown: {name}")
            elif not ended and (view.body("response")[0] != "none" or kong["response"] not in ("missing", "closed")):
                wrong.append(f"not marked: {name}")
            elif view.target in {call.target for call in broken} and (view.status != 200 or ended):
                wrong.append(f"cut answer: {name}")
        t.problems(f"{what}: calls that died with it are told as far as they came", wrong)
        told = {EventView(event).target for event in events}
        t.equal(f"{what}: cut answers without an event", [call.target for call in broken if call.target not in told], [])


# -- many connections

def resident_kib(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as status:
        return int(re.search(r"VmRSS:\s+(\d+)", status.read())[1])


def bpftool_map(verb, number):
    return json.loads(subprocess.run(["bpftool", "-j", "map", verb, "id", number], capture_output=True, check=True).stdout)


def map_entries(pid, name):
    """Entries of the agent's map of that name, counted by bpftool."""
    for fd in os.listdir(f"/proc/{pid}/fdinfo"):
        with open(f"/proc/{pid}/fdinfo/{fd}", encoding="ascii") as info:
            found = re.search(r"^map_id:\s*(\d+)", info.read(), re.M)
        if not found:
            continue
        shown = bpftool_map("show", found[1])
        if shown.get("name") == name:
            return len(bpftool_map("dump", found[1]))
    raise GatewayError(f"process {pid} has no map {name}")


def answered_of(gateway):
    return gateway.access_log.read_bytes().count(b"\n") if gateway.access_log.exists() else 0


def churn(t):
    what, idle = "churn", 2000
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 3 * idle)), hard))
    with bed(oracle="lines") as place:
        pid = place.agent.pid
        held = place.inside(lambda: [Connection(False) for _ in range(idle)])
        wait_for(lambda: map_entries(pid, "conns") >= idle, 10, "the idle connections")
        command = place.gateway.in_netns(sys.executable, str(HERE / "h1life.py"), "churn", str(SECONDS))
        with Process(command) as one, Process(command) as two:
            middle = threading.Event()
            middle.wait(SECONDS / 2)
            half, half_rss, half_map = answered_of(place.gateway), resident_kib(pid), map_entries(pid, "conns")
            t.equal(f"{what}: clients", (one.wait(60), two.wait(60)), (0, 0))
            made = sum(int(re.search(r"churn: (\d+)", process.stdout)[1]) for process in (one, two))
        wait_for(lambda: answered_of(place.gateway) >= made, 10, "the access log")
        settled(place)
        rss, entries = resident_kib(pid), map_entries(pid, "conns")
        print(f"# {made} connections in {SECONDS:.0f} s, RSS {half_rss} then {rss} KiB, conns {half_map} then {entries}")
        t.check(f"{what}: memory did not grow after the first {half} of {made} connections", rss <= half_rss + 1024,
                f"{half_rss} KiB in the middle, {rss} KiB at the end")
        t.check(f"{what}: nor did the kernel's map of connections", entries <= max(half_map, idle) + 128,
                    f"{half_map}, then {entries}")
        woken = place.inside(lambda: [Call("GET", "/open/hi").on(connection) for connection in held[::20]])
        for connection in held:
            connection.close()
        wait_for(lambda: map_entries(pid, "conns") < idle // 10, 10, "the end of the idle connections in the map")
        settled(place)
        place.end(t, what)
        # Descriptors are used again at once: nothing of one connection may be seen in the call of another.
        lines = {line["id"]: (line["method"], line["uri"], line["status"], line["client"]) for line in
                 map(json.loads, place.gateway.access_log.read_text().splitlines())}
        events = [EventView(event) for event in map(json.loads, place.output.read_text().splitlines())]
        t.equal(f"{what}: one event for each of {len(lines)} lines of the log", len(events), len(lines))
        t.problems(f"{what}: the right one", [
            f"event: {view.verb} {view.target} {view.status} {view.client} for {lines.get(view.id)}" for view in events
            if lines.get(view.id) != (view.verb, view.target, view.status, view.client)])
        ids = {view.id for view in events}
        t.equal(f"{what}: calls on connections that were idle all the time", len({call.record["id"] for call in woken} & ids),
                len(woken))


def churn_at_rate(t):
    """10,000 connections opened and closed each second, without a gateway whose own work would leave no time for that."""
    what, rate = "churn at a rate", 10000
    seconds = int(os.environ.get("KONGTAP_TEST_CHURN_SECONDS", "5"))
    with Workdir() as directory:
        gate = directory / "gate"
        with Process([CHURN, str(seconds), str(rate), gate]) as calls:
            workers = calls.wait_line("^port", stream="stdout").split()[-2:]
            with Agent("--output", "none", "--metrics-listen", "none", "--pid", workers[0], "--pid", workers[1]) as agent:
                agent.wait_ready()
                gate.touch()
                threading.Event().wait(seconds / 2)
                half_rss, half_map = resident_kib(agent.pid), map_entries(agent.pid, "conns")
                said = calls.wait_line("^made", seconds + 60, "stdout")
                made = int(said.split()[1])
                t.equal(f"{what}: clients", calls.wait(60), 0)
                with contextlib.suppress(GatewayError):
                    wait_for(lambda: map_entries(agent.pid, "conns") == 0, 10, "the end of the connections in the map")
                rss, entries, events = resident_kib(agent.pid), map_entries(agent.pid, "conns"), logged(agent, "txn_events")
                print(f"# {said}, RSS {half_rss} then {rss} KiB, conns {half_map} then {entries}, {events} events")
                t.check(f"{what}: memory did not grow in the second half", rss <= half_rss + 1024, f"{half_rss}, then {rss} KiB")
                t.check(f"{what}: the kernel's map of connections neither", half_map < 1024 and entries == 0,
                        f"{half_map}, then {entries}")
                t.equal(f"{what}: an event for each connection's call", events, made)
                t.equal(f"{what}: exit code after SIGTERM", agent.stop(), 0)
                lost = re.search(r"(\d+) records and (\d+) stream bytes lost", agent.stderr)
                t.equal(f"{what}: nothing lost in the kernel", lost and lost.groups(), ("0", "0"))


if __name__ == "__main__":
    sys.exit(Checks().run(messages, ends, open_stream, reload_in_traffic, killed_worker, churn, churn_at_rate))
