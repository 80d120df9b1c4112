#!/usr/bin/env python3
"""What the verifier has to look at (verifier.c); opening without memory (opens.c); how much room records take in the ring
(rooms.c); that bodies can be left out without anything
else being missed (left_out.c); then the exactness test of the system calls (calls.c), of calls of processes that interrupt
each other (preempt.c) and of the TLS library's calls (tlscalls.c), with everything that this kernel has and with each of the
newer features taken away."""
import os
import re
import subprocess
import sys
from pathlib import Path

TOOLS = Path(__file__).resolve().parents[2] / "build" / "tests" / "bpf"
WAYS = {
    "verifier": [""],
    "opens": [""],
    "rooms": [""],
    "left_out": ["", "loop,task_pt_regs,exact_room"],
    "left_out -k 0": ["loop"],
    "left_out -k 0 -x": [""],
    "left_out -x": [""],
    # A call behind the rest of a long body that was answered early; the end of chunks in the call of which only the first bytes
    # are copied.
    "left_out -s 1076 -n 1": [""],
    "left_out -s 67 -n 1": ["loop"],
    # When a chunked body moved of which nothing was owed before its end came.
    "left_out -k 0 -x -s 46 -n 1": [""],
    "preempt": ["", "steady_calls"],
    "calls": ["", "loop", "task_pt_regs,exact_room", "tracefs", "loop,task_pt_regs,steady_calls,exact_room"],
    "tlscalls": ["", "loop", "placement", "multi_uprobe,exact_room", "placement,multi_uprobe,preempt_guard,map_files"],
}


def main():
    passed = failed = 0
    verified = []
    if os.geteuid():
        print("skipped: needs root\n0 passed, 0 failed")
        return 0
    for tool, ways in WAYS.items():
        for without in ways:
            label = f"{tool} without {without}" if without else tool
            name, *options = tool.split()
            done = subprocess.run([TOOLS / name, *options, *(["-f", without] if without else [])], capture_output=True, text=True,
                                  timeout=300)
            for line in done.stdout.splitlines():
                match = re.match(r"(ok|FAIL) - (.*)", line)
                if match:
                    print(f"{match.group(1)} - {label}: {match.group(2)}")
                    passed += match.group(1) == "ok"
                    failed += match.group(1) == "FAIL"
                    verified += re.findall(r"(\S+) with bpf_loop: \d+ instructions, (\d+) verified", line)
            if done.returncode and "FAIL" not in done.stdout:
                print(f"FAIL - {label}: exit code {done.returncode}: {done.stderr[-500:]}")
                failed += 1
    print(f"= Linux {os.uname().release}, instructions verified: {', '.join(' '.join(pair) for pair in verified)}")
    print(f"{passed} passed, {failed} failed")
    return failed != 0


if __name__ == "__main__":
    sys.exit(main())
