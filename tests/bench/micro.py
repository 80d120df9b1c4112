#!/usr/bin/env python3
"""Instructions that each stage of the agent spends on a transaction, counted by callgrind on fixed recordings: the same on
every machine and under any load, for one compiler. `make bench-micro`; tests/replay/test_instructions.py is its guard.

    micro.py [--out FILE]      prints a table, and writes it as JSON
"""
import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import bed
import report

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
BUILD = ROOT / os.environ.get("O", "build")
KONGTAP = Path(os.environ.get("KONGTAP_BINARY", BUILD / "kongtap"))
DATA = ROOT / "tests" / "replay" / "kong-3.9.1"
RECORDINGS = ["h1-concurrent", "h2-concurrent"]
# What one record of a recording goes through, and what is left to do at its end. Reading JSON is not what `run` does.
COLLECTED = ["on_record", "conns__flush", "join__flush"]
# libc chooses its memcpy by what the processor can do: everybody gets the plain one.
PLAIN = {"GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX2,-AVX,-AVX512F,-AVX512VL,-ERMS,-FSRM"}


def callgrind(argv, toggles):
    """Runs argv and returns (all instructions collected, {function: instructions with those of what it calls})."""
    with tempfile.NamedTemporaryFile(prefix="kt-callgrind-") as file:
        valgrind = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={file.name}", "--compress-strings=no",
                    *[f"--toggle-collect={name}" for name in toggles]]
        result = subprocess.run([*valgrind, *map(str, argv)], capture_output=True, text=True, timeout=300,
                                stdin=subprocess.DEVNULL, env={**os.environ, **PLAIN})
        if result.returncode:
            raise RuntimeError(f"{argv[0]} in callgrind: exit code {result.returncode}: {result.stderr[-500:]}")
        return parse(Path(file.name).read_text())


def parse(text):
    inclusive, callee, is_call, total = {}, None, False, 0
    for line in text.splitlines():
        if line.startswith("cfn="):
            callee = line[4:]
        elif line.startswith("calls="):
            is_call = True
        elif is_call:
            inclusive[callee] = inclusive.get(callee, 0) + int(line.split()[-1])
            is_call = False
        elif line.startswith("totals:"):
            total = int(line.split()[1])
    return total, inclusive


def compiler():
    """What the agent was compiled with: its own word, not that of the gcc which is installed now."""
    text = subprocess.run(["readelf", "-p", ".comment", KONGTAP], capture_output=True, text=True).stdout
    match = re.search(r"\] +(GCC: .*)", text)
    return match.group(1).strip() if match else "unknown"


def replay(name, *more):
    return [KONGTAP, "replay", DATA / f"{name}.calls.jsonl.gz", "--seed", "1", *more]


def transactions(name):
    events = subprocess.run([*map(str, replay(name, "--output", "jsonl"))], capture_output=True, text=True, timeout=120)
    return len(events.stdout.splitlines())


def per_transaction(name):
    """(transactions, instructions of each): the whole pipeline from the record to the event, which goes nowhere."""
    n = transactions(name)
    total, _ = callgrind(replay(name, "--output", "none"), COLLECTED)
    return n, total / n


def stages(name):
    """Instructions per transaction, by stage. Stages call the next one: what a stage spent is its own less its sink's."""
    n = transactions(name)
    total, of = callgrind(replay(name, "--output", "none"), COLLECTED)
    _, printing = callgrind(replay(name, "--output", "jsonl", "--output-file", "/dev/null"), COLLECTED)

    def cost(*functions):
        return sum(of.get(function, 0) for function in functions)

    join = cost("on_begun", "on_done", "join__tick", "join__flush")
    moesif = cost("on_transaction", "moesif__on_begun")
    event = cost("on_event")
    found = {"wire": total - join, "join": join - moesif, "moesif": moesif - event}
    found = {stage: value / n for stage, value in found.items()}
    found["print"] = printing.get("output__event", 0) / n
    found |= shipping(name)
    return {"transactions": n, "stages": found, "whole": total / n}


def shipping(name):
    """From the event to the collector's answer: what the capturing thread spends on it, and the sender's thread. By two
    runs of which one ships everything three times, so that starting and ending cancel out."""
    with tempfile.NamedTemporaryFile("w", suffix=".jsonl") as events:
        events.write(subprocess.run([*map(str, replay(name, "--output", "jsonl"))], capture_output=True, text=True,
                                    timeout=120).stdout)
        events.flush()
        with bed.Collector() as collector:
            ship = [BUILD / "tests/bench/ship_events", events.name]
            once, _ = callgrind([*ship, 1, collector.port], [])
            thrice, of = callgrind([*ship, 3, collector.port], [])
    n = transactions(name)
    give = of["shipper__give"] / (3 * n)
    return {"queue": give, "send": (thrice - once) / (2 * n) - give}


def main():
    parser = argparse.ArgumentParser(description="Instructions per transaction, stage by stage.")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    found = {"compiler": compiler(), "recordings": {name: stages(name) for name in RECORDINGS}}
    print(report.micro_table(found))
    if args.out:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(json.dumps(found, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
