#!/usr/bin/env python3
"""HTTP/2 and gRPC calls through the gateway become events: all of them, right, whenever the agent came.

KONGTAP_TEST_CALLS sets the number of calls of each run (5000), KONGTAP_TEST_SECONDS the length of each load (4), about."""
import base64
import json
import os
import re
import shutil
import subprocess
import sys

from compare import compare, compare_record, load
from gateway import PORTS
from lib import HERE, Agent, Checks, EventView, Gateway, GatewayError, Process, Workdir, balance, read_jsonl, wait_for

CALLS = int(os.environ.get("KONGTAP_TEST_CALLS", "5000"))
SECONDS = int(os.environ.get("KONGTAP_TEST_SECONDS", "4"))
LONG = 10  # a load that lasts longer is held against the log by its numbers alone


def python(gateway, script, record, *args):
    return Process(gateway.in_netns(sys.executable, str(HERE / script), "--record", str(record), *map(str, args)))


def agent(gateway, output):
    return Agent("--output", "jsonl", "--output-file", output, "--prefix", gateway.prefix)


def wait_for_events(path, wanted):
    """Up to 20 s for the agent to catch up; whether it did is for the comparison to say."""
    try:
        wait_for(lambda: path.exists() and path.read_bytes().count(b"\n") >= wanted, 20, "the events")
    except GatewayError:
        pass


def about(event):
    return (event.get("metadata") or {}).get("kong") or {}


def is_marked(event):
    """Says of itself that its request was not seen whole."""
    return about(event).get("request") != "complete" or about(event).get("request_rebuilt", False)


def marked_for_nothing(events):
    """A gateway that answers by itself may do so before the request is there, and have the rest of it left unsent (RFC 9113,
    section 8.1): whether it does is a matter of who is faster. Any other request was seen whole."""
    return [(EventView(event).target, about(event)) for event in events if is_marked(event)
            and not (about(event)["request"] == "reset" and about(event)["response"] == "complete" and about(event)["tries"] == 0)]


def wrong_headers(events, records):
    """What an event has of the headers that the client sent is what it sent; one that is not marked has all of them."""
    problems, by_id = [], {record["id"]: record for record in records if record.get("id")}
    for event in events:
        record = by_id.get(EventView(event).id)
        found = event["request"].get("headers") or {}
        for name, value in (record or {"headers": {}})["headers"].items():
            if name not in found:
                if not is_marked(event):
                    problems.append(f"no header: {name} in {event['request']['uri']}")
            elif found[name] != value:
                problems.append(f"header: {name} is {found[name]!r}, not {value!r}, in {event['request']['uri']}")
    return problems


def without_what_is_marked(problems, events, lines, unnamed):
    """An event that says that its request was not seen whole may lack the user, and its content type, without which a body
    is bytes; it begins when it was seen, if that was later. A call that the gateway answered by itself, or whose service
    does not listen, has no other leg to name it: it may be missing, if its host was, and then the agent has counted it:
    at most `unnamed` are."""
    marked = {EventView(event).id for event in events if is_marked(event)}
    alone = {line["id"] for line in lines if not line["upstream_status"] or line["uri"].startswith("/down/")}
    kept = []
    for problem in problems:
        words = problem.split()
        if problem.startswith(("user: got None", "request body: none", "request body: bytes where JSON", "request.time")):
            if words[-1] in marked:
                continue
        elif problem.startswith("rebuilt: "):
            # Its head came, and its host stands in a table that is older than the agent.
            continue
        elif problem.startswith("missing: ") and words[4].rstrip(",") in alone and unnamed > 0:
            unnamed -= 1
            continue
        kept.append(problem)
    return kept


def from_the_start(t):
    what = "from the start"
    with Workdir() as directory, Gateway(directory / "gateway") as gateway:
        record, output = directory / "record.jsonl", directory / "events.jsonl"
        with agent(gateway, output) as tap:
            ready = tap.wait_ready()
            with python(gateway, "h2client.py", record, "--calls", CALLS, "--seed", "start", "--keep", 500) as traffic:
                t.equal(f"{what}: client", traffic.wait(900), 0)
            wait_for_events(output, CALLS)
            t.equal(f"{what}: exit code after SIGTERM", tap.stop(), 0)
        lines, records = load(gateway, record)
        events = read_jsonl(output)
        t.problems(f"{what}: access log and client agree", compare_record(lines, records))
        t.problems(f"{what}: {len(events)} events for {len(lines)} calls agree", compare(lines, events, records, ready))
        t.problems(f"{what}: headers as sent", wrong_headers(events, records))
        t.equal(f"{what}: events that are marked", marked_for_nothing(events), [])


def in_the_middle(t):
    """Long-lived connections with filled tables; the agent comes, goes and comes again."""
    what = "in the middle"
    with Workdir() as directory, Gateway(directory / "gateway") as gateway:
        record, gate = directory / "record.jsonl", directory / "gate"
        with python(gateway, "h2client.py", record, "--calls", CALLS, "--seed", "middle", "--gate", gate) as traffic:
            traffic.wait_line("client: half", 600, "stdout")
            runs = []
            for number in range(4):
                output = directory / f"events-{number}.jsonl"
                last = number == 3
                with agent(gateway, output) as tap:
                    ready = tap.wait_ready()
                    if last:
                        gate.touch()
                        t.equal(f"{what}: client", traffic.wait(900), 0)
                    wait_for_events(output, CALLS // 2 if last else 300)
                    t.equal(f"{what}, {number}: exit code after SIGTERM", tap.stop(), 0)
                # The agent of an earlier run left while calls went on: what came later is none of its business.
                runs.append((output, ready if last else float("inf"), balance(tap, "calls")[1].get("dropped (incomplete)", 0)))
        lines, records = load(gateway, record)
        t.problems(f"{what}: access log and client agree", compare_record(lines, records))
        marked = exact = 0
        for number, (output, ready, unnamed) in enumerate(runs):
            events = read_jsonl(output)
            marked += sum(map(is_marked, events))
            exact += len(events) - sum(map(is_marked, events))
            if number < 3:
                # Calls that were open when it left are handed on as they are.
                events = [event for event in events if about(event).get("response") == "complete"
                          and about(event).get("request") in ("complete", "headers_partial", "missing")]
            problems = compare(lines, events, records, ready)
            t.problems(f"{what}, {number}: {len(events)} events are exact or marked",
                       without_what_is_marked(problems, events, lines, unnamed))
            t.problems(f"{what}, {number}: no wrong header", wrong_headers(events, records))
        t.check(f"{what}: {exact} exact events, {marked} marked ones", exact and marked)


def h2load(gateway, url, streams, calls, body):
    """What it said, and how many calls it made in a second."""
    # The gateway ends a connection after 10,000 calls, as Kong does, and h2load makes no other. With 100
    # streams there are 8,000 calls open at once, also when the load is short.
    clients = max(80 if streams == 100 else 8, calls // 9000 + 1)
    done = subprocess.run(gateway.in_netns("h2load", "-c", str(clients), "-m", str(streams), "-n", str(calls), "-d", str(body),
                                           "-H", "content-type: application/octet-stream", url),
                          capture_output=True, text=True, timeout=SECONDS * 10 + 60)
    said = next((line for line in done.stdout.splitlines() if line.startswith("finished")), "")
    rate, succeeded = re.search(r"([\d.]+) req/s", said), re.search(r"(\d+) succeeded", done.stdout)
    return int(succeeded[1]) if succeeded else 0, said, float(rate[1]) if rate else 0


def same_calls(access_log, output):
    """Too many to hold as they are: each line of the log has one event of the same method, target, status and length."""
    wanted, problems = {}, []
    for line in map(json.loads, access_log.open("rb")):
        wanted[line["id"]] = hash((line["method"], line["uri"], line["status"], line["resp_len"]))
    total, events = len(wanted), 0
    for event in map(json.loads, output.open("rb")):
        view, events = EventView(event), events + 1
        if wanted.pop(view.id, None) != hash((view.verb, view.target, view.status, str(about(event)["response_body_bytes"]))):
            problems.append(f"event: {view.verb} {view.target} {view.status} {view.id}")
    return problems + [f"missing: {key}" for key in wanted], total, events


def at_saturation(t, scheme, port):
    if not shutil.which("h2load"):
        print("skip - HTTP/2 at saturation: no h2load here", flush=True)
        return
    what = f"at saturation, {scheme}"
    with Workdir() as directory, Gateway(directory / "gateway") as gateway:
        body = directory / "body"
        body.write_bytes(b"kongtap" * 40)
        output = directory / "events.jsonl"
        with agent(gateway, output) as tap:
            ready = tap.wait_ready()
            for streams in (1, 10, 100):
                url = f"{scheme}://127.0.0.1:{port}/open/bytes?n=700&streams={streams}"
                calls = SECONDS * 2500
                if SECONDS > LONG:
                    calls = int(h2load(gateway, url, streams, 3000, body)[2] * SECONDS)
                succeeded, said, _ = h2load(gateway, url, streams, calls, body)
                t.equal(f"{what}: h2load, {streams} streams, {calls} calls, {said}", succeeded, calls)
            wait_for_events(output, gateway.access_log.read_bytes().count(b"\n"))
            t.equal(f"{what}: exit code after SIGTERM", tap.stop(), 0)
            lost = re.search(r"(\d+) records and (\d+) stream bytes lost", tap.stderr)
            t.equal(f"{what}: nothing lost in the kernel", lost and lost.groups(), ("0", "0"))
        problems, lines, events = same_calls(gateway.access_log, output)
        t.problems(f"{what}: {events} events for {lines} calls", problems)
        if SECONDS <= LONG:
            t.problems(f"{what}: they agree in all",
                       compare(read_jsonl(gateway.access_log), read_jsonl(output), [], ready))


def at_saturation_tls(t):
    at_saturation(t, "https", PORTS["proxy_tls"])


def at_saturation_clear(t):
    at_saturation(t, "http", PORTS["proxy_h2c"])


def other_clients(t):
    """The ways of curl and nghttp: padding, heads in CONTINUATION frames, trailers, tables of other sizes, bodies without a
    length, many streams of one connection."""
    what = "curl and nghttp"
    tls, clear = (f"{scheme}://127.0.0.1:{PORTS[port]}" for scheme, port in (("https", "proxy_tls"), ("http", "proxy_h2c")))
    octets = ("-H", "content-type: application/octet-stream")
    key = ("-H", "apikey: alice-key-123")
    with Workdir() as directory, Gateway(directory / "gateway") as gateway:
        output, small, large = (directory / name for name in ("events.jsonl", "small", "large"))
        small.write_bytes(bytes(range(256)) * 4)
        large.write_bytes(bytes(range(256)) * 350)
        commands = []
        for base, how in ((tls, "--http2"), (clear, "--http2-prior-knowledge")):
            curl = ("curl", "-sSk", how, "--fail-early", "-o", "/dev/null")
            nghttp = ("nghttp", "-n", "-y")
            commands += [
                (*curl, f"{base}/open/bytes?n=20000&by=curl"), (*curl, *key, f"{base}/key/text?by=curl"),
                (*curl, *octets, "--data-binary", f"@{large}", f"{base}/open/bytes?n=50&by=curl"),
                (*curl, "-I", f"{base}/open/bytes?n=300&by=curl"), (*curl, "-X", "DELETE", f"{base}/open/status/204?by=curl"),
                (*nghttp, "-m", "20", *key, f"{base}/key/bytes?n=3000&by=nghttp", f"{base}/key/chunked?n=7&by=nghttp"),
                (*nghttp, "--continuation", "-b", "200", f"{base}/open/text?by=nghttp"),
                (*nghttp, "-c", "0", "-m", "5", f"{base}/open/bytes?n=100&by=nghttp"),
                (*nghttp, "-c", "65536", "--encoder-header-table-size=128", *key, "-m", "5", f"{base}/key/text?by=nghttp"),
                (*nghttp, "-d", small, "-b", "77", "--no-content-length", *octets, f"{base}/open/bytes?n=60&by=nghttp"),
                (*nghttp, "-d", large, "--trailer", "checksum: 12", *octets, f"{base}/open/bytes?n=60&by=nghttp"),
                (*nghttp, f"{base}/no/such/route?by=nghttp", f"{base}/down/x?by=nghttp")]
        with agent(gateway, output) as tap:
            ready = tap.wait_ready()
            said = [subprocess.run(gateway.in_netns(*map(str, command)), capture_output=True, text=True, timeout=60)
                    for command in commands]
            t.equal(f"{what}: commands that failed", [done.args[-3:] + [done.stderr[-200:]] for done in said if done.returncode], [])
            wait_for_events(output, len(read_jsonl(gateway.access_log)))
            t.equal(f"{what}: exit code after SIGTERM", tap.stop(), 0)
        lines, events = read_jsonl(gateway.access_log), read_jsonl(output)
        wanted = sum(int(command[command.index("-m") + 1]) if "-m" in command else 1
                     for command in commands for part in command if "?" in str(part))
        t.equal(f"{what}: lines of the access log", len(lines), wanted)
        t.equal(f"{what}: all of them HTTP/2", {line["protocol"] for line in lines}, {"HTTP/2.0"})
        # Answers of the gateway itself are JSON; their digests are the log's, of the bytes.
        own = {line["id"] for line in lines if not line["upstream_status"] or line["status"] >= 500}
        problems = [each for each in compare(lines, events, [], ready)
                    if not (each.startswith("response body: another JSON value") and each.split()[-1] in own)]
        t.problems(f"{what}: {len(events)} events for {len(lines)} calls", problems)
        t.equal(f"{what}: protocols", {about(event)["protocol"] for event in events}, {"h2", "h2c"})
        t.equal(f"{what}: events that are marked", marked_for_nothing(events), [])


def grpc_problems(event, record):
    name = f"{record['kind']} {record['target']}"
    view, kong = EventView(event), about(event)
    problems = []

    def same(what, got, wanted):
        if got != wanted:
            problems.append(f"{what}: got {str(got)[:80]!r}, wanted {str(wanted)[:80]!r}, in {name}")

    same("verb", view.verb, "POST")
    same("target", view.target, record["target"])
    same("status", view.status, record["status"])
    same("grpc_status", kong.get("grpc_status"), record["grpc_status"])
    same("grpc_message", kong.get("grpc_message"), record["grpc_message"] or None)
    for side, field in (("request", "sent"), ("response", "recv")):
        part = event[side]
        if side == "request" and is_marked(event) and part.get("body") is None:
            continue
        if base64.b64decode(record[field]):
            same(f"{side} body", part.get("body"), record[field])
            same(f"{side} encoding", part.get("transfer_encoding"), "base64")
        else:
            same(f"{side} body", part.get("body"), None)
    return problems


def grpc_judge(t, what, records, events):
    problems, records = [], dict(records)
    for event in events:
        entry = records.pop(EventView(event).id, None)
        if entry is None:
            problems.append(f"unknown: {event['request'].get('uri')}")
        else:
            problems += grpc_problems(event, entry)
    problems += [f"missing: {entry['target']}" for entry in records.values()]
    t.problems(f"{what}: {len(events)} events agree", problems)


def grpc_from_the_start(t, what, program):
    calls = max(60, CALLS // 20)
    with Workdir() as directory, Gateway(directory / "gateway") as gateway:
        record, output = directory / "record.jsonl", directory / "events.jsonl"
        with agent(gateway, output) as tap:
            tap.wait_ready()
            with grpc_calls(gateway, program, record, "--calls", calls) as traffic:
                t.equal(f"{what}: client", traffic.wait(300), 0)
            wait_for_events(output, calls)
            t.equal(f"{what}: exit code after SIGTERM", tap.stop(), 0)
        grpc_judge(t, what, {entry["id"]: entry for entry in read_jsonl(record)}, read_jsonl(output))


def grpc_half_way(t, what, program):
    """Connections to the client and to the service are older than the agent."""
    calls = max(60, CALLS // 20)
    with Workdir() as directory, Gateway(directory / "gateway") as gateway:
        record, output, gate = directory / "record.jsonl", directory / "events.jsonl", directory / "gate"
        with grpc_calls(gateway, program, record, "--calls", calls, "--gate", gate) as traffic:
            traffic.wait_line("client: half", 300, "stdout")
            with agent(gateway, output) as tap:
                ready = tap.wait_ready()
                gate.touch()
                t.equal(f"{what}: client", traffic.wait(300), 0)
                wait_for_events(output, calls - calls // 2)
                t.equal(f"{what}: exit code after SIGTERM", tap.stop(), 0)
        grpc_judge(t, what, {entry["id"]: entry for entry in read_jsonl(record) if entry["began"] > ready}, read_jsonl(output))


def grpc_calls(gateway, program, record, *args):
    return Process(gateway.in_netns(*program, "--record", str(record), *map(str, args)))


OWN = (sys.executable, str(HERE / "h2grpc.py"))
LIBRARY = ("/usr/bin/python3", str(HERE / "grpcreal.py"))


def grpc(t):
    grpc_from_the_start(t, "gRPC", OWN)


def grpc_in_the_middle(t):
    grpc_half_way(t, "gRPC, in the middle", OWN)


def grpc_by_its_library(t):
    grpc_from_the_start(t, "gRPC by its library", LIBRARY)


def grpc_by_its_library_in_the_middle(t):
    grpc_half_way(t, "gRPC by its library, in the middle", LIBRARY)


if __name__ == "__main__":
    sys.exit(Checks().run(from_the_start, in_the_middle, other_clients, at_saturation_tls, at_saturation_clear, grpc,
                          grpc_in_the_middle, grpc_by_its_library, grpc_by_its_library_in_the_middle))
