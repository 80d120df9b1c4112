#!/usr/bin/env python3
"""What `make torture` found, as a page shows it: from the lines of tests/e2e/test_faults.py.

    torture.py LOG... [--page docs/BENCHMARKS.md]

Exit code 0: every check of every fault passed. --page puts the table into that page, between its lines <!-- torture --> and
<!-- /torture -->, with today's date."""
import argparse
import platform
import re
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from soak import put_into  # noqa: E402  (the path is only known now)

# As the suite calls it, and for people. A failing check may not be among these lines: then the row says so.
FAULTS = {
    "collector down": "the collector is away for two minutes",
    "name": "its name does not resolve, then it does",
    "disk full": "no room on the spool's disk",
    "clock": "the wall clock goes two days ahead during an outage, then three back",
    "small ring": "a ring of 64 KiB that is looked at twice a second",
    "stopped agent": "SIGSTOP for 30 s at full load, with a ring of 1 MiB",
    "reloads": "the gateway reloads 6 times, the agent 24 times",
    "killed": "kill -9 of the agent at a random moment, 100 times, while the collector fails in turn",
}


def parse(text):
    """{fault: {"passed", "failed", "seen": {way: calls}, "said": [what else there is to tell]}}"""
    found = {}
    for verdict, fault, rest in re.findall(r"^(ok|FAIL) - ([^:\n]+)(?:: (.*))?$", text, re.M):
        row = found.setdefault(fault, {"passed": 0, "failed": 0, "seen": {}, "said": []})
        row["passed" if verdict == "ok" else "failed"] += 1
        if ways := re.match(r"calls add up, \{(.*?)\}", rest):
            row["seen"] = {way: int(n) for way, n in re.findall(r"'([^']+)': (\d+)", ways[1])}
        elif speed := re.match(r"(\d+) calls/s, (\d+) before", rest):
            row["said"].append(f"{speed[1]} calls/s while it was stopped, {speed[2]} before")
        elif ring := re.match(r"(\d+) events for (\d+) calls, (\d+) of them marked", rest):
            row["said"].append(f"{ring[2]} calls passed; what arrived is right or says what it lacks ({ring[3]})")
        elif deaths := re.match(r"of (\d+) calls older than the sync interval did not arrive", rest):
            row["said"].append(f"all of the {deaths[1]} calls older than the sync interval arrived" if verdict == "ok" else
                               f"some of {deaths[1]} calls older than the sync interval did not arrive")
        elif left := re.match(r"BPF objects left by (\d+) deaths", rest):
            row["said"].append(f"{left[1]} deaths left {'nothing' if verdict == 'ok' else 'something'} in the kernel")
    for fault, row in found.items():
        if fault == "killed" and (twice := re.search(r"^# (\d+) events came twice", text, re.M)):
            row["said"].append(f"{twice[1]} events came twice")
            row["seen"] = {}  # of the last agent only
    return found


def page(found):
    lines = [f"The fault suite with the times of a bad day (the target torture), on {time.strftime('%Y-%m-%d')}, Linux {platform.release()}.",
             "", "| what happens | calls seen | what became of them | checks |", "|---|---|---|---|"]
    for fault, text in FAULTS.items():
        row = found.get(fault)
        if not row:
            lines.append(f"| {text} | | **not run** | |")
            continue
        ways = [f"{n} {way}" for way, n in row["seen"].items()]
        seen = sum(row["seen"].values())
        verdict = f"{row['passed']} passed" + (f", **{row['failed']} failed**" if row["failed"] else "")
        lines.append(f"| {text} | {seen or ''} | {'; '.join([*ways, *row['said']])} | {verdict} |")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description="What the fault suite found.")
    parser.add_argument("logs", nargs="+", type=Path)
    parser.add_argument("--page", type=Path)
    args = parser.parse_args()
    found = parse("\n".join(log.read_text() for log in args.logs))
    print(page(found))
    if args.page:
        put_into(args.page, page(found), "torture", "## Faults")
    return 1 if any(row["failed"] for row in found.values()) or set(FAULTS) - set(found) else 0


if __name__ == "__main__":
    sys.exit(main())
