#!/usr/bin/env python3
"""What runs inside each virtual machine: kongtap on this kernel, in a reduced form of the end-to-end suite. Everything is
some twenty times slower here, so the numbers of calls are small and the limits of time wide."""
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "e2e"))

import compare as compare_module  # noqa: E402
from compare import compare, load  # noqa: E402
from gateway import PORTS  # noqa: E402
from lib import (KONGTAP, Agent, Checks, EventView, Gateway, GatewayError, Process, Workdir, client, read_jsonl,  # noqa: E402
                 wait_for)

CALLS = 150
# nginx looks at the clock once in a turn of its loop, and a turn that hashes a large body takes seconds here.
compare_module.TIME_SLACK = 10


def count(path):
    return path.read_bytes().count(b"\n") if path.exists() else 0


def run_calls(t, what, *agent_args, reload=False, late=False):
    with Workdir() as directory, Gateway(directory / "gateway") as gateway:
        record, output, gate = (directory / name for name in ("record.jsonl", "events.jsonl", "gate"))
        arguments = ["--output", "jsonl", "--output-file", output, "--prefix", gateway.prefix, *agent_args]
        calls = ["--calls", CALLS, "--seed", what, "--connections", "4,8"]
        if late:
            with client(gateway, record, *calls, "--gate", gate) as traffic:
                traffic.wait_line("client: half", 300, "stdout")
                with Agent(*arguments) as agent:
                    ready = agent.wait_ready(120)
                    gate.touch()
                    finish(t, what, gateway, traffic, agent, record, output, ready)
            return
        with Agent(*arguments) as agent:
            ready = agent.wait_ready(120)
            with client(gateway, record, *calls) as traffic:
                if reload:
                    wait_for(lambda: count(record) > CALLS // 3, 300, "the first third of the calls")
                    gateway.reload()
                finish(t, what, gateway, traffic, agent, record, output, ready)


def finish(t, what, gateway, traffic, agent, record, output, ready):
    t.equal(f"{what}: client", traffic.wait(500), 0)
    lines, records = load(gateway, record)
    wanted = sum("error" not in entry and entry["began"] > ready for entry in records)
    try:
        wait_for(lambda: count(output) >= wanted, 30, "the events")
    except GatewayError:
        pass  # what is missing is for the comparison to say
    t.equal(f"{what}: exit code", agent.stop(60), 0)
    t.problems(f"{what}: {count(output)} events agree with {len(records)} calls",
               compare(lines, read_jsonl(output), records, ready))


def tool(t, name, *args):
    """A test tool of tests/bpf: its lines are this test's."""
    label, lines = " ".join([name, *args]), 0
    with Process([KONGTAP.parent / "tests" / "bpf" / name, *args]) as process:
        try:
            code = process.wait(200)
        except subprocess.TimeoutExpired:
            code = "none: it does not end"
        for outcome, text in re.findall(r"^(ok|FAIL) - (.*)", process.stdout, re.M):
            lines += 1
            t.check(f"{label}: {text}", outcome == "ok", "see the line")
        t.check(f"{label}: exit code {code}", code == 0 and lines, process.stderr[-500:])


def verifier(t):
    tool(t, "verifier", "here")


def calls(t):
    tool(t, "calls")


def tlscalls(t):
    tool(t, "tlscalls", "-n", "40")  # 40 handshakes: they are what takes its time here


def preempt(t):
    tool(t, "preempt")


def http2(t):
    what = "HTTP/2"
    with Workdir() as directory, Gateway(directory / "gateway") as gateway:
        record, output = directory / "record.jsonl", directory / "events.jsonl"
        with Agent("--output", "jsonl", "--output-file", output, "--prefix", gateway.prefix) as agent:
            ready = agent.wait_ready(120)
            argv = [sys.executable, "tests/e2e/h2client.py", "--record", record, "--calls", CALLS, "--seed", "vm",
                    "--connections", 4, "--streams", 5, "--keep", 40]
            with Process(gateway.in_netns(*map(str, argv))) as traffic:
                finish(t, what, gateway, traffic, agent, record, output, ready)


def curl(gateway, count, target):
    """That many calls, one after the other on one connection, nothing kept of the answers."""
    urls = [f"http://127.0.0.1:{PORTS['proxy']}{target}&n{i}=1" for i in range(count)]
    done = subprocess.run(gateway.in_netns("curl", "-sS", *[a for url in urls for a in ("-o", "/dev/null", url)]),
                          capture_output=True, text=True, timeout=300)
    if done.returncode:
        raise GatewayError(f"curl: {done.stderr}")


def wrong_events(lines, events):
    """An event of a call that may have been lost in part: it is of a call that was made, and says where it is not whole."""
    problems, by_id, uris = [], {line["id"]: line for line in lines}, {line["uri"] for line in lines}
    for event in events:
        view = EventView(event)
        if view.id is None and view.target in uris and view.said_incomplete("response"):
            continue  # its answer's head was lost
        line = by_id.pop(view.id, None)
        if not line:
            problems.append(f"event: {view.verb} {view.target} {view.id}: no such call, or a second event of it")
        elif (view.verb, view.target, view.status) != (line["method"], line["uri"], line["status"]):
            problems.append(f"event: {view.verb} {view.target} {view.status} for {line}")
        elif view.body("response")[1] != line["resp_sha256"] and not view.said_incomplete("response"):
            problems.append(f"body: of {view.target}: {view.body('response')} for {line['resp_len']} bytes, and not marked")
    return problems


def loss_is_accounted(t):
    """The agent stands still while more passes than the ring holds: what is lost is known as lost, and what comes after is
    as if nothing had been."""
    what, before, during, after = "a ring that is full", 10, 40, 20
    with Workdir() as directory, Gateway(directory / "gateway") as gateway:
        output = directory / "events.jsonl"
        with Agent("--output", "jsonl", "--output-file", output, "--prefix", gateway.prefix, "--ring-bytes", 1 << 20) as agent:
            agent.wait_ready(120)
            curl(gateway, before, "/open/text?first=1")
            wait_for(lambda: count(output) == before, 60, "the first events")
            os.kill(agent.pid, signal.SIGSTOP)
            curl(gateway, during, "/open/bytes?n=90000")
            os.kill(agent.pid, signal.SIGCONT)
            curl(gateway, after, "/open/text?last=1")
            wait_for(lambda: output.read_text().count("last=1") >= after, 60, "the last events")
            os.kill(agent.pid, signal.SIGUSR1)
            agent.wait_line(r"\btxn_events\b", 60)
            t.equal(f"{what}: exit code", agent.stop(60), 0)
            lost = re.search(r"(\d+) calls seen, (\d+) events.* (\d+) records and (\d+) stream bytes lost", agent.stderr)
        lines, events = read_jsonl(gateway.access_log), read_jsonl(output)
        seen, made, records, gone = map(int, lost.groups())
        dropped = sum(int(n) for n in re.findall(r"txn_dropped_\w+ (\d+)", agent.stderr))
        t.check(f"{what}: {records} records and {gone} bytes of streams were lost, and that is known", records and gone)
        t.check(f"{what}: {seen} calls seen are {made} events and {dropped} dropped", seen == made + dropped and made == len(events))
        t.problems(f"{what}: {len(events)} events of {len(lines)} calls are right or marked", wrong_events(lines, events))
        targets = [EventView(event).target for event in events]
        t.equal(f"{what}: events of the calls before and after", [sum(word in target for target in targets) for word in ("first=1", "last=1")],
                [before, after])


def check_command(t):
    with Workdir() as directory, Gateway(directory / "gateway") as gateway:
        done = subprocess.run([KONGTAP, "check", "--prefix", gateway.prefix], capture_output=True, text=True)
        t.equal("check: exit code", done.returncode, 0)
        for line in done.stdout[done.stdout.index("kernel:"):].splitlines():
            print(f"# {line}")


def from_the_start(t):
    run_calls(t, "from the start")


def agent_started_late(t):
    run_calls(t, "agent started late", late=True)


def reload_in_traffic(t):
    run_calls(t, "reload in traffic", reload=True)


def timed(test):
    def run_test(t):
        began = time.monotonic()
        test(t)
        print(f"# {test.__name__} took {time.monotonic() - began:.0f} s", flush=True)
    run_test.__name__ = test.__name__
    return run_test


if __name__ == "__main__":
    sys.exit(Checks().run(*map(timed, (verifier, check_command, calls, tlscalls, preempt, from_the_start, http2, agent_started_late,
                                       reload_in_traffic, loss_is_accounted))))
