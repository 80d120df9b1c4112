#!/usr/bin/env python3
"""Long bodies: the kernel copies what is wanted of them and little more, and every position stays exact: the call itself
and the ones after it on the same connection are the access log's."""
import contextlib
import http.client
import re
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "soak"))

from client import PORTS
from h1life import inside
from lib import Agent, Checks, EventView, Gateway, GatewayError, Workdir, read_jsonl, wait_for
from soak import filled, maps_of

MIB = 1 << 20
LONG = 256 * MIB
LIMIT = 100000  # of a body; the default
METRICS = 19467


def counters():
    connection = http.client.HTTPConnection("127.0.0.1", METRICS, timeout=10)
    connection.request("GET", "/metrics")
    text = connection.getresponse().read().decode()
    connection.close()
    return {name: int(float(value)) for name, value in re.findall(r"^kongtap_(\w+?)(?:_total)?(?:\{.*\})? (\S+)$", text, re.M)}


def lost(now):
    return {name: now.get(name, 0) for name in ("capture_lost_data", "capture_lost_control", "wire_gap_lost", "wire_gap_fault")}


def curl(gateway, target, tls, http2, *more):
    """The call, then a small one on the same connection. What curl says of each: status, bytes down and up, connections."""
    port = "proxy_tls" if tls else "proxy_h2c" if http2 else "proxy"
    base = f"{'https' if tls else 'http'}://127.0.0.1:{PORTS[port]}"
    usual = ["-sk", "--http1.1" if not http2 else "--http2" if tls else "--http2-prior-knowledge", "-o", "/dev/null", "-w",
             "%{http_code} %{size_download} %{size_upload} %{num_connects}\\n"]
    long, small = [*usual, *more, base + target], [*usual, base + "/open/bytes?n=700"]
    text = ""
    for argv in [[*long, "--next", *small]] if tls or not http2 else [long, small]:
        text += subprocess.run(gateway.in_netns("curl", *argv), capture_output=True, text=True, timeout=200).stdout
    return [tuple(map(int, line.split())) for line in text.splitlines()]


def about(event):
    return (event.event.get("metadata") or {}).get("kong") or {}


class Bed:
    def __init__(self, t, directory, *options):
        self.t, self.upload = t, directory / "upload"
        self.gateway = Gateway(directory / "gateway", oracle="lines")
        self.output = directory / "events.jsonl"
        self.options = options
        self.seen = 0
        with open(self.upload, "wb") as file:
            file.truncate(LONG // 4)

    def __enter__(self):
        self.gateway.__enter__()
        self.agent = Agent("--output", "jsonl", "--output-file", self.output, "--prefix", self.gateway.prefix,
                           "--metrics-listen", f"127.0.0.1:{METRICS}", *self.options)
        self.agent.wait_ready()
        self.before = counters()
        return self

    def __exit__(self, *args):
        self.agent.__exit__(*args)
        self.gateway.__exit__(*args)

    def events(self, wanted):
        def there():
            return len(read_jsonl(self.output)) >= self.seen + wanted
        try:
            wait_for(there, 20, "the events")
        except GatewayError:
            pass
        found = [EventView(event) for event in read_jsonl(self.output)[self.seen:]]
        self.seen += len(found)
        return found

    def ring_bytes(self):
        """Payload bytes since the last time; the kernel's own counters come every quarter of a second."""
        now = counters()
        passed = now["capture_bytes"] - self.before["capture_bytes"]
        self.t.equal("nothing is lost", lost(now), lost(self.before))
        self.before = now
        return passed

    def call(self, what, target, *more, tls=False, http2=False, sent=0, received=LONG, most=4 * LIMIT, chunked=False):
        t = self.t
        said = curl(self.gateway, target, tls, http2, *more)
        t.equal(f"{what}: curl", [line[:2] for line in said], [(200, received), (200, 700)])
        # curl counts the framing of chunks. It makes a connection for each call of HTTP/2 without TLS.
        t.check(f"{what}: curl sent all", said and said[0][2] >= sent)
        if not http2:
            t.equal(f"{what}: one connection", [line[3] for line in said], [1, 0])
        first, second = (self.events(2) + [None, None])[:2]
        if not t.check(f"{what}: two events", first and second):
            return
        kong = about(first)
        t.equal(f"{what}: complete", (kong.get("request"), kong.get("response")), ("complete", "complete"))
        # Of chunks that were left out nobody knows how much of them is framing.
        lengths = (None if chunked and sent else sent, None if chunked and not sent else received)
        t.equal(f"{what}: body lengths", (kong.get("request_body_bytes"), kong.get("response_body_bytes")), lengths)
        t.equal(f"{what}: the long body is left out", kong.get("request_body_truncated" if sent else "response_body_truncated"), True)
        t.equal(f"{what}: joined", (kong.get("join"), kong.get("upstream_status")), ("id", 200))
        t.equal(f"{what}: the call after it", (second.status, second.target, second.body("response")[2]),
                (200, "/open/bytes?n=700", 700))
        passed = self.ring_bytes()
        t.check(f"{what}: {passed} bytes of {2 * max(sent, received)} passed the ring", passed <= most,
                f"more than {most}")


def long_bodies(t):
    with Workdir() as directory, Bed(t, directory) as bed:
        put = ("-H", "Expect:", "-T", str(bed.upload))
        for tls in (False, True):
            name = "TLS" if tls else "clear"
            bed.call(f"{name}, download", f"/open/bytes?n={LONG}", tls=tls)
            bed.call(f"{name}, download in chunks", f"/open/large?n={LONG}&chunked=1", tls=tls, chunked=True)
            bed.call(f"{name}, upload", "/open/status/200", *put, tls=tls, sent=LONG // 4, received=14)
            bed.call(f"{name}, upload in chunks", "/open/status/200", *put, "-H", "Transfer-Encoding: chunked", tls=tls,
                     sent=LONG // 4, received=14, chunked=True)
            bed.call(f"{name}, HTTP/2, download", f"/open/bytes?n={LONG}", tls=tls, http2=True)
            bed.call(f"{name}, HTTP/2, upload", "/open/status/200", *put, tls=tls, http2=True, sent=LONG // 4, received=14)
        bed.agent.stop()


def upstream_bodies(t):
    """Of the service's answers the heads are wanted, and of what Kong sends it: each body is copied once."""
    calls, size = 30, 16384
    with Workdir() as directory, Bed(t, directory) as bed:

        def talk():
            connection = http.client.HTTPConnection("127.0.0.1", PORTS["proxy"], timeout=30)
            for n in range(calls):
                if n % 2:
                    connection.request("GET", f"/open/bytes?n={size}")
                else:
                    connection.request("POST", "/open/status/200", b"x" * size)
                connection.getresponse().read()
            connection.close()

        inside(bed.gateway, talk)
        events = bed.events(calls)
        t.equal("16 KiB: bodies", [(event.body("request")[2], event.body("response")[2]) for event in events],
                [(size, 14), (0, size)] * (calls // 2))
        t.equal("16 KiB: joined", {about(event).get("join") for event in events}, {"id"})
        passed = bed.ring_bytes()
        t.check(f"16 KiB: {passed} bytes of {2 * calls * size} passed the ring", passed < 1.4 * calls * size)
        bed.agent.stop()


def places_are_free_again(t):
    """What user space says of a connection has a place in the kernel for as long as the connection is there."""
    limits = ("--response-max-body-size-limit", "1000")
    with Workdir() as directory, Bed(t, directory, *limits) as bed:
        places = maps_of(bed.agent.pid)["skips"]

        def connections():
            kept = [http.client.HTTPConnection("127.0.0.1", PORTS["proxy"], timeout=30) for _ in range(8)]
            for connection in kept:
                connection.request("GET", f"/open/bytes?n={MIB}")
                connection.getresponse().read()
            wait_for(lambda: filled(places) >= len(kept), 10, "a place of each connection")
            for connection in kept:
                connection.close()

        inside(bed.gateway, connections)
        # Each worker has kept one to the service behind the gateway, which goes with the worker.
        wait_for(lambda: filled(places) <= 2, 10, "the places of the clients to be free again")
        t.check("connections close: their places are free again", True)
        bed.gateway.reload()
        wait_for(lambda: filled(places) == 0, 30, "all places to be free again")
        t.check("the workers go: all are", True)
        bed.agent.stop()


def perf_events(pid):
    """Each hook of a system call is one, in the agent's table of files."""
    found = 0
    for file in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            found += "perf_event" in file.readlink().as_posix()
    return found


def hooks_only_while_somebody_is_watched(t):
    with Workdir() as directory:
        output = directory / "events.jsonl"
        with Agent("--output", "jsonl", "--output-file", output, "--prefix", directory / "gateway" / "kong",
                   "--metrics-listen", "none") as agent:
            agent.wait_line("waiting for one")
            agent.wait_ready()
            t.equal("no gateway yet: hooks of system calls", perf_events(agent.pid), 0)
            with Gateway(directory / "gateway", oracle="lines") as gateway:
                agent.wait_line("worker .* ports")
                t.check("a gateway: hooks of system calls", perf_events(agent.pid) > 0)
                for n in range(3):
                    curl(gateway, f"/open/bytes?n={n}", False, False)
                wait_for(lambda: len(read_jsonl(output)) >= 6, 10, "six events")
                t.equal("a gateway that came later: events", len(read_jsonl(output)), 6)
            wait_for(lambda: perf_events(agent.pid) == 0, 30, "the hooks to go")
            t.check("no gateway any more: no hook of system calls", True)
            t.equal("exit code", agent.stop(), 0)


if __name__ == "__main__":
    sys.exit(Checks().run(long_bodies, upstream_bodies, places_are_free_again, hooks_only_while_somebody_is_watched))
