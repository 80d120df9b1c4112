#!/usr/bin/env python3
"""The overhead limit while real calls pass: bodies go first, then connections, whose calls weigh as many as they stand for,
then all probes; and when the load is gone everything comes back. What a probe costs is said to be much, so that a small load
is too dear on any machine."""
import os
import re
import sys
import time
from pathlib import Path

from client import Connection
from h1life import Call, inside, json_text
from lib import Agent, Checks, Gateway, GatewayError, Process, Workdir, read_jsonl, wait_for
from test_ops import free_port, metrics_of, total

BUDGET = 5
CALM = 200  # windows: longer than it takes to look at one level
WINDOW_MS = 300
LEFT_OUT = r"to stay within max_overhead_percent bodies are left out"
ONE_OF = r"one connection of (\d+) is captured"
OFF = r"CAPTURE IS OFF"
ALL = r"within max_overhead_percent again: everything is captured"


def limited(gateway, directory, port, calm, *more):
    return Agent("--prefix", gateway.prefix, "--output", "jsonl", "--output-file", directory / "events.jsonl",
                 "--metrics-listen", f"127.0.0.1:{port}", "--max-overhead-percent", BUDGET,
                 "--overhead-window", WINDOW_MS, "--overhead-probe-ns", 100000, "--overhead-calm", calm, *more)


def load(gateway):
    return Process(gateway.in_netns("wrk", "-t", "1", "-c", "8", "-d", "60", "http://127.0.0.1:8000/open/load"))


def each_alone(calls, apart):
    """Connections of one call, accepted after the level was chosen; slowly enough to stay within the budget."""
    done = []
    for _ in range(calls):
        call = Call("POST", "/open/echo", [("Content-Type", "application/json")], json_text(50))
        done.append(call.alone().record)
        time.sleep(apart)
    return done


def ours(directory, records):
    """Events of these calls, by the mark in their targets."""
    targets = {record["target"] for record in records}
    return [event for event in read_jsonl(directory / "events.jsonl")
            if re.sub(r"https?://[^/]*", "", event["request"]["uri"]) in targets]


def probes(agent):
    """Descriptors by which hooks are held: of links and of events."""
    kinds = []
    for fd in Path(f"/proc/{agent.pid}/fd").iterdir():
        try:
            kinds.append(os.readlink(fd))
        except OSError:
            pass
    return sum("bpf_link" in kind or "perf_event" in kind or "bpf-link" in kind for kind in kinds)


def heap_kib(agent):
    return int(re.search(r"RssAnon:\s+(\d+)", Path(f"/proc/{agent.pid}/status").read_text())[1])


def levels_said(agent):
    """In the order of the log: 0 everything, 1 no bodies, 2, 4 … one connection of so many, -1 nothing."""
    said = []
    for line in agent.lines["stderr"]:
        for pattern, level in ((ALL, 0), (LEFT_OUT, 1), (OFF, -1)):
            if re.search(pattern, line):
                said.append(level)
        if one_of := re.search(ONE_OF, line):
            said.append(int(one_of[1]))
    return said


def sampled(t):
    what = "sampled"
    with Workdir() as directory, Gateway(directory / "gateway") as gateway, \
            limited(gateway, directory, port := free_port(), CALM) as agent:
        agent.wait_ready()
        with load(gateway) as traffic:
            agent.wait_line(r"one connection of 4 is captured")
            traffic.process.kill()
            traffic.wait()
        # The level holds for CALM windows at least; whichever it was that the load had led to when it ended.
        time.sleep(3 * WINDOW_MS / 1000)
        one_of = levels_said(agent)[-1]
        t.equal(f"{what}: in this order", levels_said(agent)[:3], [1, 2, 4])
        values = metrics_of(port)
        t.equal(f"{what}: the level is in the metrics",
                (values['kongtap_capture_level{level="sampled"}'], values["kongtap_overhead_limit_ratio"]), (1, BUDGET / 100))
        records = inside(gateway, each_alone, 120, 0.015)
        t.equal(f"{what}: the level held meanwhile", levels_said(agent)[-1], one_of)
        time.sleep(1)
        events = ours(directory, records)
        t.check(f"{what}: a part of the calls is captured", 0 < len(events) < len(records) * 0.8,
                f"{len(events)} of {len(records)}, one of {one_of}")
        t.equal(f"{what}: each weighs as many as it stands for", {event.get("weight", 1) for event in events}, {one_of})
        t.equal(f"{what}: without bodies", [event for event in events if event["request"].get("body") is not None], [])
        t.equal(f"{what}: which says why", {event["metadata"]["kong"].get("request_body_omitted") for event in events},
                {"overhead"})
        t.check(f"{what}: those left out are counted", metrics_of(port)["kongtap_capture_left_out_total"] > 0)
        values = metrics_of(port)
        t.equal(f"{what}: every transaction is accounted for", values["kongtap_transactions_seen_total"],
                sum(value for name, value in values.items() if name.startswith("kongtap_transactions_total{")))
        t.equal(f"{what}: exit code", agent.stop(), 0)


def held_connection(tls):
    """A connection that lives through it all, with one call before."""
    connection = Connection(tls)
    Call("GET", "/open/held").on(connection)
    return connection


def detached_and_back(t):
    what = "detached"
    with Workdir() as directory, Gateway(directory / "gateway") as gateway, \
            limited(gateway, directory, free_port(), 3, "--overhead-retry", "1500") as agent:
        agent.wait_ready()
        held = [inside(gateway, held_connection, tls) for tls in (False, True)]
        attached = probes(agent)
        with load(gateway) as traffic:
            agent.wait_line(OFF)
            t.equal(f"{what}: in this order", levels_said(agent), [1, 2, 4, 8, 16, 32, 64, -1])
            # The processes are still followed: fork, exec, exit.
            t.check(f"{what}: there were probes", attached > 10)
            wait_for(lambda: probes(agent) <= 3, 10, f"the end of {attached} probes")
            # Upstream legs whose calls are not captured come all the same, and nobody comes for them.
            t.check(f"{what}: memory stays within its limit", heap_kib(agent) < 64 << 10, f"{heap_kib(agent)} KiB")
            # Too much still: it looks again after a while, and goes again.
            wait_for(lambda: levels_said(agent).count(-1) >= 2, 30, "a second try")
            wait_for(lambda: probes(agent) <= 3, 10, "their end once more")
            # A worker that comes meanwhile is followed and probed when all comes back.
            gateway.reload()
            traffic.process.kill()
            traffic.wait()
        agent.wait_line(ALL, 90)
        t.equal(f"{what}: the probes are back", probes(agent) >= attached, True)
        records = inside(gateway, each_alone, 10, 0)
        records += [inside(gateway, lambda: Call("GET", "/open/tls").alone(tls=True).record) for _ in range(10)]
        try:
            wait_for(lambda: len(ours(directory, records)) >= 20, 10, "the events after it")
        except GatewayError:
            pass
        t.equal(f"{what}: afterwards every call is captured", len(ours(directory, records)), 20)
        events = ours(directory, records)
        t.equal(f"{what}: whole, with its own weight",
                {(kong["request"], kong["response"], kong["join"], kong["request_body_truncated"], event.get("weight", 1))
                 for event in events for kong in [event["metadata"]["kong"]]}, {("complete", "complete", "id", False, 1)})
        t.equal(f"{what}: with its body", sum(event["request"].get("body") is not None for event in events), 10)
        for connection in held:
            connection.close()
        t.equal(f"{what}: exit code", agent.stop(), 0)


def no_limit_by_default(t):
    with Workdir() as directory, Gateway(directory / "gateway") as gateway, \
            Agent("--prefix", gateway.prefix, "--output", "none", "--metrics-listen", "none",
                  "--overhead-window", WINDOW_MS, "--overhead-probe-ns", 1000000) as agent:
        agent.wait_ready()
        with load(gateway) as traffic:
            time.sleep(2)
            traffic.process.kill()
        t.equal("by default: nothing is ever left out", levels_said(agent), [])
        agent.stop()


def reckoned(values):
    """Seconds that the hooks are said to have taken, from what else the metrics say of them."""
    hook = {name: values[f'kongtap_overhead_hook_seconds{{hook="{name}"}}'] for name in ("system_call", "tls_inside",
                                                                                          "tls_entry_and_return")}
    dear = any('placement="entry_and_return"' in name for name in values)
    return (values["kongtap_capture_calls_total"] * hook["system_call"] + values["kongtap_capture_bytes_total"] / 8e9 +
            values["kongtap_capture_tls_calls_total"] * hook["tls_entry_and_return" if dear else "tls_inside"])


def measured(t):
    """What a probe costs is measured where there is a limit, and that is what is reckoned with."""
    what = "measured"
    with Workdir() as directory, Gateway(directory / "gateway") as gateway, \
            Agent("--prefix", gateway.prefix, "--output", "none", "--metrics-listen", f"127.0.0.1:{(port := free_port())}",
                  "--max-overhead-percent", 100) as agent:
        said = agent.wait_line(r"what probes take, .* ns")
        agent.wait_ready()
        inside_ns, entry_ns, call_ns = (int(number) for number in re.findall(r"(\d+) ns", said))
        t.check(f"{what}: {inside_ns} ns, {entry_ns} ns at entry and return", "measured: " in said and 75 <= inside_ns and
                1 < entry_ns < 16 * 9000, said)
        inside(gateway, lambda: [Call("GET", "/open/tls").alone(tls=True) for _ in range(50)])
        wait_for(lambda: total(metrics_of(port), "kongtap_transactions_total", outcome="event") >= 50, 10, "the events")
        time.sleep(1.2)
        values = metrics_of(port)
        t.equal(f"{what}: the metrics say so, too", [round(values[f'kongtap_overhead_hook_seconds{{hook="{name}"}}'] * 1e9)
                                                    for name in ("system_call", "tls_inside", "tls_entry_and_return")],
                [call_ns, inside_ns, entry_ns])
        t.check(f"{what}: there were calls of both kinds", values["kongtap_capture_tls_calls_total"] >= 100 and
                values["kongtap_capture_calls_total"] >= 100)
        t.equal(f"{what}: and it is what is reckoned with", round(values["kongtap_overhead_hooks_seconds_total"], 6),
                round(reckoned(values), 6))
        agent.stop()


if __name__ == "__main__":
    sys.exit(Checks().run(sampled, detached_and_back, no_limit_by_default, measured))
