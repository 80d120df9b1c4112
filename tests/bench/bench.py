#!/usr/bin/env python3
"""What the agent costs the gateway, measured: `make bench`. See docs/BENCHMARKS.md for what the figures mean.

    bench.py --out FILE        writes all runs and the table of targets as JSON, and prints the tables
    bench.py --profile CELL    where the time goes in one cell with the agent (https1/1k): CPU by program and function

BENCH_SECONDS (3)  length of each run that a target is about; the others take a third of it
BENCH_ROUNDS (5)   runs of each kind, in turn with the others of its cell; the tables show medians
BENCH_ONLY         only these, comma list: cells as http1/1k, patterns as h2*/*, complete, download
BENCH_COMPLETE (60) seconds of clear load in which every call must become an event; half of it with TLS besides
"""
import argparse
import fnmatch
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import bed
import load
import report

from lib import Gateway  # tests/e2e, by way of bed

SECONDS = int(os.environ.get("BENCH_SECONDS", "3"))
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "5"))
COMPLETE = int(os.environ.get("BENCH_COMPLETE", "60"))
ONLY = [pattern for pattern in os.environ.get("BENCH_ONLY", "").split(",") if pattern]

# Cells that a target is about have every watcher.
WATCHERS = {"http1/1k": ["none", "empty", "agent", "peer"], "https1/1k": ["none", "empty", "agent", "textbook", "peer"]}
COMPLETE_CELLS = {"http1/1k": COMPLETE, "https1/1k": COMPLETE // 2}
DOWNLOADS = ["http1", "https1", "h2c", "h2"]


def wanted(name):
    return not ONLY or any(fnmatch.fnmatch(name, pattern) for pattern in ONLY)


def watchers_of(cell):
    return WATCHERS.get(cell, ["none", "empty", "agent"])


def say(text):
    print(f"bench: {text}", file=sys.stderr, flush=True)


def one(place, watcher, cell, seconds):
    protocol, size = cell.split("/")
    return place.measure(watcher, lambda: load.load(place.gateway, protocol, size, seconds, place.scratch))


def run_cell(place, cell):
    seconds = SECONDS if cell in WATCHERS else max(1, SECONDS // 3)
    runs = {watcher: [] for watcher in watchers_of(cell)}
    for _ in range(ROUNDS):
        for watcher, done in runs.items():
            done.append(one(place, watcher, cell, seconds))
    say(f"{cell}: " + ", ".join(f"{watcher} {report.median(done, 'rps'):.0f}/s" for watcher, done in runs.items()))
    return runs


def run_complete(place, cell, seconds):
    """As many calls as take about so long."""
    protocol, size = cell.split("/")
    count = int(one(place, "agent", cell, 1)["rps"] * seconds)
    found = place.measure("agent", lambda: load.calls(place.gateway, protocol, size, count, seconds))
    say(f"complete {cell}: {found['events']} events of {found['calls']} calls, "
        + ("the same" if found["same_calls"] else "not the same"))
    return found


def run_download(place, protocol):
    runs = {"none": [], "agent": []}
    for _ in range(min(ROUNDS, 3)):
        for watcher, done in runs.items():
            done.append(place.measure(watcher, lambda: load.download(place.gateway, protocol, "1g")))
    say(f"download {protocol}: " + ", ".join(f"{watcher} {report.median(done, 'seconds'):.2f} s"
                                            for watcher, done in runs.items()))
    return runs


def profile(place, cell):
    """All CPUs are sampled by their clock: the machine may be virtual and have no counters."""
    data = place.scratch / "perf.data"
    protocol, size = cell.split("/")

    def sampled_load():
        with subprocess.Popen(["perf", "record", "-q", "-a", "-e", "cpu-clock", "-F", "997", "-o", data],
                              stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as perf:
            seen = load.load(place.gateway, protocol, size, SECONDS, place.scratch)
            perf.send_signal(signal.SIGINT)
        return seen

    run = place.measure("agent", sampled_load)
    text = ""
    gateway_and_agent = ["--comms", "nginx,kongtap", "--percentage", "relative"]
    for keys, least, only in (("comm", 1, []), ("comm,dso", 1, gateway_and_agent), ("comm,symbol", 0.7, gateway_and_agent)):
        shown = subprocess.run(["perf", "report", "-q", "-i", data, "--stdio", "--no-children", "--sort", keys,
                                "--percent-limit", str(least), *only], capture_output=True, text=True).stdout
        text += f"{keys}:\n" + "".join(line.rstrip().removesuffix("-      -").rstrip() + "\n" for line in shown.splitlines()
                                       if line.strip())
    return f"{cell}: {run['rps']:.0f} calls/s, gateway {run['gateway_us']:.1f} µs and agent {run['agent_us']:.1f} µs a call\n{text}"


def run_all(place):
    found = {"cells": {}, "complete": {}, "downloads": {}}
    for protocol in load.PROTOCOLS:
        one(place, "none", f"{protocol}/1k", 1)  # caches and page tables, once
    for cell in [f"{protocol}/{size}" for protocol in load.PROTOCOLS for size in load.SIZES if size != "1g"]:
        if wanted(cell):
            found["cells"][cell] = run_cell(place, cell)
    for cell, seconds in COMPLETE_CELLS.items():
        if wanted("complete"):
            found["complete"][cell] = run_complete(place, cell, seconds)
    for protocol in DOWNLOADS:
        if wanted("download"):
            found["downloads"][protocol] = run_download(place, protocol)
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--out", type=Path)
    what.add_argument("--profile", metavar="CELL")
    args = parser.parse_args()
    if os.geteuid():
        return "bench: it loads BPF programs and makes a network namespace: run it as root"
    started, others = time.monotonic(), os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="kt-bench-") as scratch, bed.Collector() as collector, \
            Gateway(Path(scratch) / "gateway", oracle="lines") as gateway:
        place = bed.Bed(gateway, collector, Path(scratch))
        if args.profile:
            print(profile(place, args.profile))
            return 0
        found = run_all(place)
    found["host"] = bed.versions()
    found["run"] = {"seconds": SECONDS, "rounds": ROUNDS, "complete": COMPLETE, "only": ONLY,
                    "connections": load.CONNECTIONS,
                    "took": round(time.monotonic() - started), "load_before": round(others, 1)}
    found["targets"] = report.targets(found)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(found, indent=1) + "\n")
    print(report.all_tables(found))
    say(f"{found['run']['took']} s, all runs in {args.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
