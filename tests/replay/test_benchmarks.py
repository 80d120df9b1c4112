#!/usr/bin/env python3
"""docs/BENCHMARKS.md says what the results that are kept say, about every row of the targets; and ratios are of runs that
followed each other."""
import json
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "bench"))

import bed  # noqa: E402  (the path is only known now)
import micro  # noqa: E402
import report  # noqa: E402

failed = passed = 0


def check(name, good, why=""):
    global failed, passed
    passed, failed = passed + bool(good), failed + (not good)
    print(f"ok - {name}" if good else f"FAIL - {name}: {why}")


def page():
    kept = report.kept_results()
    text = report.PAGE.read_text()
    check("the page is of the results", report.filled(text, kept) == text, "make bench-docs")
    if not kept:
        return
    bench = kept["bench"]
    check("every target was measured", len(bench["targets"]) == 9, [row["what"] for row in bench["targets"]])
    check("targets follow from the runs", report.targets(bench) == bench["targets"])
    check("medians of five at least", min(len(runs) for cell in bench["cells"].values() for runs in cell.values()) >= 5)


def run(rps, **more):
    return {"rps": rps, "gateway_us": 10.0, "agent_us": 4.0, "own_bytes": 1 << 20, "map_bytes": 2 << 20, "calls": 100,
            "events": 100, "same_calls": True, **more}


def arithmetic():
    # The machine got slower and slower: pairs tell 0.8 all the same.
    cell = {"none": [run(100), run(50), run(10)], "agent": [run(80), run(40), run(8)], "empty": [run(100), run(50), run(9)]}
    found = {"cells": {"http1/1k": cell}, "complete": {}, "downloads": {}, "run": {"complete": 60}}
    rows = {row["what"]: row for row in report.targets(found)}
    check("ratios are of neighbours", [round(row["value"], 3) for row in rows.values()] == [0.8, 0.8, 0.4, 3.0],
          [row["value"] for row in rows.values()])
    check("met and missed", [row["met"] for row in rows.values()] == [True, False, True, True])
    found["complete"] = {"http1/1k": run(1, same_calls=False)}
    equal = [row for row in report.targets(found) if row["sign"] == "="]
    check("the same number of other calls is not all calls", [row["met"] for row in equal] == [False])
    found["downloads"] = {"h2": {"agent": [{"ring_passed": 400_001}]}}
    check("a bound is a bound", not report.targets(found)[-1]["met"])


def collector():
    """The counting collector, with a real Kong's events: the number and the sum of ids that they have."""
    lines = subprocess.run([*map(str, micro.replay("cases", "--output", "jsonl"))], capture_output=True, timeout=60,
                           check=True).stdout.splitlines()
    tricky = json.dumps({"a": ['{"transaction_id":"ffffffffffffffff"}', {"transaction_id": "ffffffffffffffff"}, "\\\""]})
    lines += [b'{"transaction_id":"0123456789abcdef-","request":' + tricky.encode() + b',"transaction_id2":"f"}', b"{}"]
    ids = [json.loads(line).get("transaction_id", "0").replace("-", "")[:16] for line in lines]
    # It looks at 64 bytes at a time: every event begins at each place of those.
    batches = [b"[%b{}," % (b" " * n) + b",".join(lines) + b"]" for n in range(64)]
    with bed.Collector() as counting:
        for batch in batches:
            request = urllib.request.Request(f"http://127.0.0.1:{counting.port}/v1/events/batch", batch)
            status = urllib.request.urlopen(request, timeout=20).status
        for broken in (batches[0][:-1], batches[0][:-2] + b'"]', b"{}"):
            request = urllib.request.Request(f"http://127.0.0.1:{counting.port}/v1/events/batch", broken)
            try:
                refused = urllib.request.urlopen(request, timeout=20).status
            except urllib.error.HTTPError as error:
                refused = error.code
            check("the collector refuses what is no batch", refused == 400, f"{broken[-10:]}: {refused}")
        got = counting.count()
        code = counting.stop()
    check("the collector takes a batch and ends well", (status, code) == (201, 0), f"{status}, {code}")
    check("the collector counts events", (got["events"], got["batches"]) == (64 * (len(lines) + 1), 64), got)
    check("the collector adds up ids", got["id_sum"] == 64 * sum(int(name, 16) for name in ids) % (1 << 64), got)


for part in (page, arithmetic, collector):
    try:
        part()
    except Exception as error:
        check(part.__name__, False, f"{type(error).__name__}: {error}")
print(f"{passed} passed, {failed} failed")
sys.exit(1 if failed else 0)
