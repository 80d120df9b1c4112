#!/usr/bin/env python3
"""What runs inside each virtual machine: kongtap on this kernel, in a reduced form of the end-to-end suite. Everything is
some twenty times slower here, so the numbers of calls are small and the limits of time wide."""
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "e2e"))

from compare import compare, load  # noqa: E402
from lib import KONGTAP, Agent, Checks, Gateway, GatewayError, Workdir, client, read_jsonl, wait_for  # noqa: E402

CALLS = 150


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
    wanted = sum(entry["began"] > ready for entry in records)
    try:
        wait_for(lambda: count(output) >= wanted, 30, "the events")
    except GatewayError:
        pass  # what is missing is for the comparison to say
    t.equal(f"{what}: exit code", agent.stop(60), 0)
    t.problems(f"{what}: {count(output)} events agree with {len(records)} calls",
               compare(lines, read_jsonl(output), records, ready))


def check_command(t):
    with Workdir() as directory, Gateway(directory / "gateway") as gateway:
        done = subprocess.run([KONGTAP, "check", "--prefix", gateway.prefix], capture_output=True, text=True)
        t.equal("check: exit code", done.returncode, 0)
        for line in done.stdout.splitlines():
            print(f"# {line}")


def from_the_start(t):
    run_calls(t, "from the start")


def agent_started_late(t):
    run_calls(t, "agent started late", late=True)


def reload_in_traffic(t):
    run_calls(t, "reload in traffic", reload=True)


def without_newer_features(t):
    run_calls(t, "without newer features", "--force-missing", "task_pt_regs,loop,multi_uprobe,preempt_guard")


if __name__ == "__main__":
    sys.exit(Checks().run(check_command, from_the_start, agent_started_late, reload_in_traffic, without_newer_features))
