#!/usr/bin/env python3
"""Real calls through the gateway become events: all of them, right, and nothing else.

KONGTAP_TEST_CALLS sets the number of calls of each run (5000)."""
import os
import subprocess
import sys

from compare import compare, compare_record, load
from gateway import PORTS
from lib import Agent, Checks, Collector, Gateway, GatewayError, Workdir, client, read_jsonl, wait_for

CALLS = int(os.environ.get("KONGTAP_TEST_CALLS", "5000"))
APPLICATION_ID = "kongtap-test-application-id"


def lines_in(path):
    return path.read_bytes().count(b"\n") if path.exists() else 0


def calls_that_are_no_api_calls(gateway):
    """The gateway's own posts to a collector, its status and its Admin API."""
    targets = [f"{PORTS['admin']}/", f"{PORTS['status']}/status"]
    if not gateway.real_kong:
        targets += [f"{PORTS['status']}/trigger-plugin-post", f"{PORTS['status']}/trigger-plugin-post?tls=1"] * 3
    for target in targets:
        subprocess.run(gateway.in_netns("curl", "-s", "-o", "/dev/null", f"http://127.0.0.1:{target}"), check=True)


def wait_for_events(path, wanted):
    """Up to 20 s for the agent to catch up; whether it did is for the comparison to say."""
    try:
        wait_for(lambda: lines_in(path) >= wanted, 20, "the events")
    except GatewayError:
        pass


def judge(t, what, gateway, record, events_file, ready):
    lines, records = load(gateway, record)
    if lines is not None:
        t.problems(f"{what}: access log and client agree", compare_record(lines, records))
    events = read_jsonl(events_file)
    t.problems(f"{what}: {len(events)} events for {len(lines if lines is not None else records)} calls agree",
               compare(lines, events, records, ready))
    return events


def gateway_unharmed(t, what, gateway):
    if gateway.has_access_log:
        bad = [line for line in gateway.error_log.read_text(errors="replace").splitlines()
               if any(level in line for level in ("[emerg]", "[alert]", "[crit]"))]
        t.equal(f"{what}: no alarm in the gateway's log", bad[:3], [])


def agent_from_the_start(t):
    what = "from the start"
    with Workdir() as directory, Gateway(directory / "gateway") as gateway:
        record, output, taken = (directory / name for name in ("record.jsonl", "events.jsonl", "collector.jsonl"))
        with Collector(taken, "--app-id", APPLICATION_ID) as collector, \
                Agent("--output", "jsonl", "--output-file", output, "--prefix", gateway.prefix,
                      env={"KONGTAP_APPLICATION_ID": APPLICATION_ID, "KONGTAP_API_ENDPOINT": collector.url}) as agent:
            ready = agent.wait_ready()
            calls_that_are_no_api_calls(gateway)
            with client(gateway, record, "--calls", CALLS, "--seed", "start") as traffic:
                t.equal(f"{what}: client", traffic.wait(600), 0)
            wait_for_events(output, CALLS)
            calls_that_are_no_api_calls(gateway)
            t.equal(f"{what}: exit code after SIGTERM", agent.stop(), 0)
            events = judge(t, f"{what}, printed", gateway, record, output, ready)
            delivered = judge(t, f"{what}, delivered", gateway, record, taken_events(collector, directory), ready)
            stats = collector.stats()
            t.equal(f"{what}: what the collector has against the events", stats["errors"], [])
            t.equal(f"{what}: delivered once", stats["duplicates"], 0)
            t.equal(f"{what}: delivered as many as printed", len(delivered), len(events))
            if not gateway.real_kong:
                t.equal(f"{what}: that the plugin runs beside is said once",
                        agent.stderr.count("the Moesif plugin is still running in this Kong (seen by its calls"), 1)
        gateway_unharmed(t, what, gateway)


def taken_events(collector, directory):
    """The collector's file as plain events, one a line, in the text that they came in."""
    path = directory / "delivered.jsonl"
    with open(collector.events_file, encoding="utf-8") as taken, open(path, "w", encoding="utf-8") as plain:
        for line in taken:
            plain.write(line[line.index('"event":') + len('"event":'):].rstrip()[:-1] + "\n")
    return path


def agent_in_the_middle(t):
    what = "in the middle"
    with Workdir() as directory, Gateway(directory / "gateway") as gateway:
        record, output, gate = (directory / name for name in ("record.jsonl", "events.jsonl", "gate"))
        with client(gateway, record, "--calls", CALLS, "--seed", "middle", "--connections", "32,1,16,64",
                    "--gate", gate) as traffic:
            traffic.wait_line("client: half", 120, "stdout")
            with Agent("--output", "jsonl", "--output-file", output, "--prefix", gateway.prefix) as agent:
                ready = agent.wait_ready()
                gate.touch()
                t.equal(f"{what}: client", traffic.wait(600), 0)
                lines, records = load(gateway, record)
                wait_for_events(output, sum(entry["began"] > ready for entry in records))
                t.equal(f"{what}: exit code after SIGTERM", agent.stop(), 0)
        old = {entry["client_port"] for entry in records if entry["began"] < ready}
        kept = sum(entry["began"] > ready and entry["client_port"] in old for entry in records)
        t.check(f"{what}: {kept} calls came on connections older than the agent", kept > CALLS // 20)
        judge(t, what, gateway, record, output, ready)
        gateway_unharmed(t, what, gateway)


if __name__ == "__main__":
    sys.exit(Checks().run(agent_from_the_start, agent_in_the_middle))
