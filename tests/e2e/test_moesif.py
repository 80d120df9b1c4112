#!/usr/bin/env python3
"""What a Moesif user relies on, through the whole agent: masked secrets are nowhere to be found, sampled calls weigh what
they stand for, and a configuration is exchanged without losing a call."""
import base64
import http.client
import json
import math
import os
import signal
import subprocess
import sys
import urllib.request

from client import PORTS
from compare import compare, load
from h1life import inside
from lib import Agent, Checks, Collector, Gateway, GatewayError, Workdir, client, read_jsonl, wait_for

APPLICATION_ID = "kongtap-test-application-id"
CANARY = "canary-7f3e9b-secret"
PORT = 19464


def environment(collector):
    return {"KONGTAP_APPLICATION_ID": APPLICATION_ID, "KONGTAP_API_ENDPOINT": collector.url}


def wait_quietly(condition, seconds, what):
    """What does not come is for the comparison to say."""
    try:
        wait_for(condition, seconds, what)
    except GatewayError:
        pass


def lines(path):
    return path.read_bytes().count(b"\n") if path.exists() else 0


MASKS = f"""
request_header_masks: [X-Secret]
response_header_masks: [X-Secret]
request_body_masks: [password]
response_body_masks: [headers, raw_headers, body, path]
request_query_masks: [token]
redact_credentials: true
"""


def calls_with_secrets(gateway):
    """Each carries the canary, or a credential of alice's, where a mask or redact_credentials is to find it."""
    base = "http://127.0.0.1:8000"
    nested = json.dumps({"a": [{"password": CANARY, "kept": 1}], "password": {"deep": CANARY}})
    calls = [
        ["-H", f"X-Secret: {CANARY}", f"{base}/open/hi?a=1"],
        ["-H", "Content-Type: application/json", "-d", nested, f"{base}/open/echo"],
        ["-d", f"password={CANARY}&kept=1", f"{base}/open/echo"],
        [f"{base}/open/hi?token={CANARY}&kept=1"],
        ["-H", f"Cookie: session={CANARY}", f"{base}/open/hi"],
        ["-H", f"Authorization: Bearer {CANARY}", f"{base}/open/hi"],
        ["-H", "apikey: alice-key-123", f"{base}/key/hi"],
        [f"{base}/key/hi?apikey=alice-key-123"],
        ["-k", "--http1.1", "-H", f"X-Secret: {CANARY}", "-u", "alice:alicepw", "https://127.0.0.1:8443/basic/hi"],
    ]
    for call in calls:
        subprocess.run(gateway.in_netns("curl", "-s", "-o", "/dev/null", *call), check=True)
    return len(calls)


def masked_secrets_are_nowhere(t):
    with Workdir() as directory, Gateway(directory / "gateway") as gateway, \
            Collector(directory / "taken.jsonl", "--app-id", APPLICATION_ID) as collector:
        config, output, spool = directory / "kongtap.yaml", directory / "events.jsonl", directory / "spool"
        config.write_text(MASKS)
        collector.control(mode="status", status=503)
        with Agent("-c", config, "--prefix", gateway.prefix, "--output", "jsonl", "--output-file", output,
                   "--spool-dir", spool, "--metrics-listen", f"127.0.0.1:{PORT}", "--log-level", "debug",
                   "--retry-base", "50", "--retry-max", "200", env=environment(collector)) as agent:
            agent.wait_ready()
            sent = calls_with_secrets(gateway)
            wait_for(lambda: lines(output) >= sent, 20, "the events")
            wait_for(lambda: any(path.stat().st_size for path in spool.glob("*")), 20, "the spool")
            on_disk = b"".join(path.read_bytes() for path in spool.glob("*") if path.is_file())
            pages = b""
            for page in ("/metrics", "/status.json", "/"):
                with urllib.request.urlopen(f"http://127.0.0.1:{PORT}{page}", timeout=10) as answer:
                    pages += answer.read()
            collector.control(mode="ok")
            wait_for(lambda: len(collector.events()) >= sent, 30, "delivery")
            t.equal("masks: exit code", agent.stop(), 0)
            said = (agent.stderr + agent.stdout).encode()
        events = read_jsonl(output)
        taken = collector.events_file.read_bytes()
        bodies = [base64.b64decode(event["request"]["body"]) for event in events
                  if event["request"].get("transfer_encoding") == "base64"]
        places = {"the printed events": output.read_bytes(), "the bodies in base64": b"\n".join(bodies), "the delivered events": taken, "the spool": on_disk,
                  "the log": said, "metrics and status page": pages}
        for name, content in places.items():
            for secret in (CANARY, "alice-key-123", "alicepw", "YWxpY2U6YWxpY2Vwdw"):
                t.check(f"masks: {secret} is not in {name}", secret.encode() not in content)
        t.equal("masks: who called is known all the same", sum(e.get("user_id") == "cust-alice-001" for e in events), 3)
        t.check("masks: what stands beside the secrets is kept",
                b"kept=1" in b"".join(bodies) and b'"kept": 1' in output.read_bytes() and b"&kept=1" in output.read_bytes())


def weights_add_up(t):
    calls, rate = 2400, 25
    with Workdir() as directory, Gateway(directory / "gateway") as gateway, \
            Collector(directory / "taken.jsonl", "--app-id", APPLICATION_ID) as collector:
        output, record = directory / "events.jsonl", directory / "record.jsonl"
        collector.control(config={"sample_rate": rate, "user_sample_rate": {"cust-alice-001": 100}})
        with Agent("--prefix", gateway.prefix, "--output", "jsonl", "--output-file", output, "--metrics-listen", "none",
                   env=environment(collector)) as agent:
            agent.wait_ready()
            agent.wait_line("sampling by the collector", 20)
            with client(gateway, record, "--calls", calls, "--seed", "sampling", "--connections", "16",
                        "--kinds", "open_read,key_read") as traffic:
                t.equal("sampling: client", traffic.wait(300), 0)
            os.kill(agent.pid, signal.SIGUSR1)
            t.equal("sampling: exit code", agent.stop(), 0)
        records, events = read_jsonl(record), read_jsonl(output)
        alices = [e for e in events if e.get("user_id") == "cust-alice-001"]
        others = [e for e in events if e.get("user_id") != "cust-alice-001"]
        known = {e["response"]["headers"]["x-kong-request-id"] for e in alices}
        others_sent = len(records) - len(known)
        t.check(f"sampling: alice's {len(alices)} calls weigh one each", alices and {e["weight"] for e in alices} == {1})
        t.equal("sampling: the others weigh four each", {e["weight"] for e in others}, {100 // rate})
        weight = sum(e["weight"] for e in others)
        spread = (100 // rate) * math.sqrt(others_sent * rate / 100 * (1 - rate / 100))
        t.check(f"sampling: {len(others)} events weigh {weight}, for {others_sent} calls", abs(weight - others_sent) < 5 * spread)


def reload_loses_nothing(t):
    with Workdir() as directory, Gateway(directory / "gateway") as gateway:
        output, record, config = (directory / name for name in ("events.jsonl", "record.jsonl", "kongtap.yaml"))
        config.write_text("request_header_masks: []\n")
        with Agent("-c", config, "--prefix", gateway.prefix, "--output", "jsonl", "--output-file", output,
                   "--metrics-listen", "none") as agent:
            ready = agent.wait_ready()
            with client(gateway, record, "--calls", 1500, "--seed", "reload", "--connections", "16") as traffic:
                for number in range(1, 7):
                    wait_quietly(lambda seen=200 * number: lines(record) >= seen, 60, "calls")
                    wrong = number % 3 == 0
                    config.write_text("reqest_header_masks: [x-none]\n" if wrong else "request_header_masks: [user-agent]\n")
                    os.kill(agent.pid, signal.SIGHUP)
                    said = "the one in force stays" if wrong else "configuration reloaded"
                    times = number // 3 if wrong else number - number // 3
                    wait_for(lambda s=said, n=times: agent.stderr.count(s) >= n, 20, said)
                t.equal("reload: client", traffic.wait(300), 0)
            log, records = load(gateway, record)
            wait_quietly(lambda: lines(output) >= len(records), 20, "the events")
            t.equal("reload: exit code", agent.stop(), 0)
        events = read_jsonl(output)
        t.problems(f"reload: {len(events)} events for {len(records)} calls agree", compare(log, events, records, ready))
        t.check("reload: the error names file, line and option",
                all(word in agent.stderr for word in (str(config), "reqest_header_masks", "request_header_masks")))
        masked = ["user-agent" not in e["request"]["headers"] for e in events]
        t.check("reload: the new mask is in force from the first reload on", not masked[0] and masked[-1])


def reload_takes_what_it_can(t):
    with Workdir() as directory, Gateway(directory / "gateway") as gateway:
        output, config = directory / "events.jsonl", directory / "kongtap.yaml"

        def post():
            before = lines(output)
            subprocess.run(gateway.in_netns("curl", "-s", "-o", "/dev/null", "-d", "x" * 50, "http://127.0.0.1:8000/open/hi"),
                           check=True)
            wait_for(lambda: lines(output) > before, 20, "the event")
            return read_jsonl(output)[-1]

        config.write_text("request_max_body_size_limit: 10\nbatch_size: 10\n")
        with Agent("-c", config, "--prefix", gateway.prefix, "--output", "jsonl", "--output-file", output,
                   "--metrics-listen", "none") as agent:
            agent.wait_ready()
            event = post()
            t.equal("reload: a body over the limit", event["metadata"]["kong"].get("request_body_omitted"), "limit")
            config.write_text("request_max_body_size_limit: 1000\nbatch_size: 20\nlog_level: error\n")
            os.kill(agent.pid, signal.SIGHUP)
            line = agent.wait_line("from the next start only", 10)
            t.check("reload: what waits for a restart is named", line.endswith(" batch_size"), line)
            event = post()
            t.equal("reload: a body within the new limit", base64.b64decode(event["request"].get("body", "")), b"x" * 50)
            config.write_text("request_max_body_size_limit: 1000\nlog_level: error\n")
            said = len(agent.stderr)
            t.equal("reload: exit code", agent.stop(), 0)
            t.equal("reload: the new log level is in force", agent.stderr[said:], "")


def counters(port):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    return {line.rsplit(" ", 1)[0]: float(line.rsplit(" ", 1)[1]) for line in lines if line and line[0] != "#"}


def unwanted_bodies_are_not_copied(t):
    pieces, size = 50, 65536
    with Workdir() as directory, Gateway(directory / "gateway") as gateway:
        output = directory / "events.jsonl"
        # Its answer is quiet for longer than stream_idle, as far as bytes go that are copied.
        with Agent("--prefix", gateway.prefix, "--output", "jsonl", "--output-file", output, "--stream-idle", "2000",
                   "--disable-capture-request-body", "--disable-capture-response-body",
                   "--metrics-listen", f"127.0.0.1:{PORT}") as agent:
            agent.wait_ready()
            subprocess.run(gateway.in_netns("curl", "-s", "-o", "/dev/null", "http://127.0.0.1:8000/open/large?"
                                            f"n={pieces * size}&ms=100&nobuf=1"), check=True)
            wait_for(lambda: lines(output) >= 1, 20, "the event")
            copied = counters(PORT)["kongtap_capture_bytes_total"]
            t.equal("no bodies: exit code", agent.stop(), 0)
        about = read_jsonl(output)[0]["metadata"]["kong"]
        t.equal("no bodies: the answer is known to its end", [about["response"], about["response_body_bytes"]],
                ["complete", pieces * size])
        t.equal("no bodies: why there is none", about.get("response_body_omitted"), "disabled")
        t.check(f"no bodies: {copied:.0f} bytes copied of {pieces * size} on each leg", copied < pieces * size / 2)


def unwanted_requests_are_not_copied(t):
    """Bodies of 8 KiB, far below what the kernel copies of a turn; and requests behind them in the same read."""
    calls, size = 30, 8192
    with Workdir() as directory, Gateway(directory / "gateway", oracle="lines") as gateway:
        output = directory / "events.jsonl"
        with Agent("--prefix", gateway.prefix, "--output", "jsonl", "--output-file", output, "--disable-capture-request-body",
                   "--metrics-listen", f"127.0.0.1:{PORT}") as agent:
            agent.wait_ready()
            connection = inside(gateway, connected)
            for n in range(calls):
                # nginx reads a kilobyte first: some of the heads take two reads.
                connection.request("POST", f"/open/status/200?{n}", b"x" * size, {"Padding": "y" * (n * 60)})
                connection.getresponse().read()
            wait_for(lambda: lines(output) == calls, 20, "the events")
            copied = counters(PORT)["kongtap_capture_bytes_total"]
            t.equal("no request bodies: what is known of them", {about_body(event, "request") for event in read_jsonl(output)},
                    {(None, "disabled", size, False)})
            t.equal("no request bodies: answers have theirs", {about_body(event, "response")[1] for event in read_jsonl(output)}, {None})
            t.check(f"no request bodies: {copied / calls:.0f} bytes copied of {2 * size} for each call", copied < calls * size / 2)
            requests = [b"%s /open/status/200?p%d HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%s" % (how, n, length, b"z" * length)
                        for n, (how, length) in enumerate(((b"POST", 100), (b"PUT", 0), (b"POST", 300), (b"GET", 0)))]
            connection.sock.sendall(b"".join(requests))
            wait_for(lambda: lines(output) == calls + 4, 20, "the events of the pipelined requests")
            t.equal("no request bodies: pipelined requests", [event["request"]["uri"].rsplit("?", 1)[1] for event in read_jsonl(output)[calls:]],
                    ["p0", "p1", "p2", "p3"])
            connection.close()
            chunked_requests_are_not_copied(t, gateway, output, calls, size)
            t.equal("no request bodies: exit code", agent.stop(), 0)


def chunked_requests_are_not_copied(t, gateway, output, calls, size):
    had, before = lines(output), counters(PORT)["kongtap_capture_bytes_total"]
    connection = inside(gateway, connected)
    for n in range(calls):
        # Some chunks come with others and some by themselves.
        pieces = [b"x" * (1 + (n * 977 + i * 311) % 2500) for i in range(size // 1000)]
        connection.request("POST", f"/open/status/200?{n}", iter(pieces), {"Transfer-Encoding": "chunked"}, encode_chunked=True)
        connection.getresponse().read()
    wait_for(lambda: lines(output) == had + calls, 20, "the events")
    copied = counters(PORT)["kongtap_capture_bytes_total"] - before
    t.equal("chunked requests: why there is no body", {event["metadata"]["kong"].get("request_body_omitted")
                                                       for event in read_jsonl(output)[had:]}, {"disabled"})
    t.check(f"chunked requests: {copied / calls:.0f} bytes copied of {2 * size} or so for each call", copied < calls * size / 2)
    # What is behind a body in the same read is seen, also where the body looks like it.
    request = (b"POST /open/status/200?c%d HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n%x\r\n%s\r\n0\r\n\r\n")
    evil = b"0\r\n\r\nGET /evil HTTP/1.1\r\nHost: a\r\n\r\n" * 40
    connection.sock.sendall(b"".join(request % (n, len(evil), evil, 5, b"0\r\n\r\n") for n in range(6)))
    wait_for(lambda: lines(output) >= had + calls + 6, 20, "the events of the pipelined requests")
    t.equal("chunked requests: pipelined ones", [event["request"]["uri"].rsplit("?", 1)[1] for event in read_jsonl(output)[had + calls:]],
            [f"c{n}" for n in range(6)])
    connection.close()


def about_body(event, side):
    """What is left of a body: its bytes or its value, why it is left out, its length, whether it was cut off by accident."""
    part, kong = event[side], event["metadata"]["kong"]
    body = part.get("body")
    return (base64.b64decode(body) if part.get("transfer_encoding") == "base64" else body, kong.get(f"{side}_body_omitted"),
            kong[f"{side}_body_bytes"], kong[f"{side}_body_truncated"])


def connected():
    connection = http.client.HTTPConnection("127.0.0.1", PORTS["proxy"], timeout=30)
    connection.connect()
    return connection


def exchanges(connection, calls, size):
    """Uploads and answers of types that are not wanted, short enough to be copied if they were."""
    for n in range(calls):
        connection.request("PUT", f"/open/bytes?n={size}&type=image/png", b"x" * size, {"Content-Type": "application/x-tar"})
        connection.getresponse().read()
    connection.close()


def bodies_of_some_types_are_left_out(t):
    with Workdir() as directory, Gateway(directory / "gateway") as gateway:
        output, config = directory / "events.jsonl", directory / "kongtap.yaml"

        def call(how, port, target, *more):
            before = lines(output)
            subprocess.run(gateway.in_netns("curl", "-s", "-o", "/dev/null", how, *more, f"http://127.0.0.1:{port}{target}"),
                           check=True)
            wait_for(lambda: lines(output) > before, 20, "the event")
            return read_jsonl(output)[-1]

        config.write_text("body_exclude_content_types: [image/*, Application/PDF, application/x-tar]\n"
                          "request_max_body_size_limit: 16MiB\n")
        with Agent("-c", config, "--prefix", gateway.prefix, "--output", "jsonl", "--output-file", output,
                   "--metrics-listen", f"127.0.0.1:{PORT}") as agent:
            agent.wait_ready()
            ways = {"HTTP/1": ("--http1.1", PORTS["proxy"]), "HTTP/2": ("--http2-prior-knowledge", PORTS["proxy_h2c"])}
            for name, way in ways.items():
                event = call(*way, "/open/bytes?n=700&type=image/png")
                t.equal(f"types: {name}, an image", about_body(event, "response"), (None, "content_type", 700, False))
                t.equal(f"types: {name}, its headers", event["response"]["headers"].get("content-type"), "image/png")
                event = call(*way, "/open/status/200", "-H", "Content-Type: application/pdf; a=b", "-d", "secret")
                t.equal(f"types: {name}, an upload", about_body(event, "request"), (None, "content_type", 6, False))
                t.equal(f"types: {name}, and its answer", about_body(event, "response"), ({"status": 200}, None, 14, False))
                event = call(*way, "/open/status/200", "-H", "Content-Type: a/b", "-d", "public")
                t.equal(f"types: {name}, another type", about_body(event, "request"), (b"public", None, 6, False))
            had, before, calls, size = lines(output), counters(PORT)["kongtap_capture_bytes_total"], 20, 16384
            exchanges(inside(gateway, connected), calls, size)
            wait_for(lambda: lines(output) == had + calls, 20, "the events")
            passed = counters(PORT)["kongtap_capture_bytes_total"] - before
            t.equal("types: uploads and answers", {(about_body(event, "request"), about_body(event, "response"))
                                                   for event in read_jsonl(output)[had:]},
                    {((None, "content_type", size, False), (None, "content_type", size, False))})
            t.check(f"types: {passed / calls:.0f} bytes copied of {4 * size} for each call", passed < calls * size / 2)
            body = directory / "body"
            body.write_bytes(b"x" * size)
            for tls in (False, True):
                way = ("-k", "--http2") if tls else ("--http2-prior-knowledge",)
                base = f"https://127.0.0.1:{PORTS['proxy_tls']}" if tls else f"http://127.0.0.1:{PORTS['proxy_h2c']}"
                had, before = lines(output), counters(PORT)["kongtap_capture_bytes_total"]
                down = ("/open/bytes?type=image/png&n=" + str(size),)
                up = ("/open/status/200", "-H", "Content-Type: application/x-tar", "--data-binary", f"@{body}")
                for target, *more in [down] * calls + [up] * calls:
                    subprocess.run(gateway.in_netns("curl", "-s", "-o", "/dev/null", *way, base + target, *more), check=True)
                wait_for(lambda: lines(output) == had + 2 * calls, 20, "the events")
                passed = counters(PORT)["kongtap_capture_bytes_total"] - before
                what = f"types: HTTP/2, {'TLS' if tls else 'clear'}"
                events = read_jsonl(output)[had:]
                t.equal(f"{what}: answers", {about_body(event, "response") for event in events[:calls]}, {(None, "content_type", size, False)})
                t.equal(f"{what}: uploads", {about_body(event, "request") for event in events[calls:]}, {(None, "content_type", size, False)})
                t.check(f"{what}: {passed / calls / 2:.0f} bytes copied of {2 * size} for each call", passed < calls * size / 2)
            config.write_text("body_exclude_content_types: [a/b]\n")
            os.kill(agent.pid, signal.SIGHUP)
            agent.wait_line("configuration reloaded", 10)
            for name, way in ways.items():
                event = call(*way, "/open/status/200", "-H", "Content-Type: application/pdf", "-d", "secret")
                t.equal(f"types: {name}, wanted now", about_body(event, "request"), (b"secret", None, 6, False))
                event = call(*way, "/open/status/200", "-H", "Content-Type: a/b", "-d", "public")
                t.equal(f"types: {name}, not wanted now", about_body(event, "request"), (None, "content_type", 6, False))
            t.equal("types: exit code", agent.stop(), 0)


if __name__ == "__main__":
    sys.exit(Checks().run(masked_secrets_are_nowhere, weights_add_up, reload_loses_nothing, reload_takes_what_it_can,
                          unwanted_bodies_are_not_copied, unwanted_requests_are_not_copied,
                          bodies_of_some_types_are_left_out))
