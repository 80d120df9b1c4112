#!/usr/bin/env python3
"""What a kernel may lack is done without: with each of the newer features taken away the same calls become the same events; and
without one that is needed the agent says so and ends. KONGTAP_TEST_CALLS sets the number of calls of each run (300)."""
import os
import subprocess
import sys

from compare import compare, load
from lib import KONGTAP, Agent, Checks, Gateway, GatewayError, Workdir, client, read_jsonl, wait_for

CALLS = int(os.environ.get("KONGTAP_TEST_CALLS", "300"))
WAYS = ("task_pt_regs", "loop", "tracefs", "preempt_guard,multi_uprobe,steady_calls", "placement", "map_files",
        "task_pt_regs,loop,tracefs,preempt_guard,steady_calls,multi_uprobe,placement,map_files")
NEEDED = {"btf": "CONFIG_DEBUG_INFO_BTF", "bpf": "BPF programs cannot be loaded", "ringbuf": "BPF ring buffer"}  # what `run` says


def count(path):
    return path.read_bytes().count(b"\n") if path.exists() else 0


def one_way(t, gateway, directory, without):
    record, output = directory / f"{without}.record", directory / f"{without}.events"
    before = count(gateway.access_log)
    with Agent("--output", "jsonl", "--output-file", output, "--prefix", gateway.prefix, "--metrics-listen", "none",
               "--force-missing", without) as agent:
        ready = agent.wait_ready()
        with client(gateway, record, "--calls", CALLS, "--seed", without, "--connections", "8") as traffic:
            t.equal(f"without {without}: client", traffic.wait(120), 0)
        log, records = load(gateway, record)
        lines = log[before:]
        try:
            wait_for(lambda: count(output) >= len(lines), 20, "the events")
        except GatewayError:
            pass  # what is missing is for the comparison to say
        t.equal(f"without {without}: exit code", agent.stop(), 0)
    t.problems(f"without {without}: events of {len(lines)} calls agree", compare(lines, read_jsonl(output), records, ready))


def each_newer_feature(t):
    with Workdir() as directory, Gateway(directory / "gateway") as gateway:
        for without in WAYS:
            one_way(t, gateway, directory, without)


def each_needed_feature(t):
    for name, reason in NEEDED.items():
        for command, text in (("check", f"NOT OK    {name}"), ("run", reason)):
            done = subprocess.run([KONGTAP, command, "--force-missing", name], capture_output=True, text=True, timeout=60)
            t.equal(f"{command} without {name}: exit code", done.returncode, 1)
            t.check(f"{command} without {name}: says so", text in done.stdout + done.stderr, done.stdout[-300:] + done.stderr[-300:])


if __name__ == "__main__":
    sys.exit(Checks().run(each_newer_feature, each_needed_feature))
