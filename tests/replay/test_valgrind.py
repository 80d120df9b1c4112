#!/usr/bin/env python3
"""A real Kong's recordings under valgrind: nothing is read that was not written, nothing is used after it was freed, nothing is
left behind, and the events are the same as without it."""
import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
KONGTAP = HERE.parent.parent / os.environ.get("O", "build") / "kongtap"
WATCHED = ["valgrind", "-q", "--error-exitcode=99", "--leak-check=full", "--show-leak-kinds=definite,indirect,possible",
           "--errors-for-leak-kinds=definite,indirect,possible", "--track-fds=yes"]
CASES = [("ws-grpc-sse", []), ("cases", ["--redact-credentials", "--response-body-masks", "id,name", "--request-query-masks", "apikey"])]


def replay(recording, options, before=()):
    return subprocess.run([*before, KONGTAP, "replay", HERE / "kong-3.9.1" / f"{recording}.calls.jsonl.gz", "--output", "jsonl",
                           *options], capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=300)


def main():
    failed = 0
    for recording, options in CASES:
        plain, watched = replay(recording, options), replay(recording, options, WATCHED)
        found = [line for line in watched.stderr.splitlines() if line.startswith("==") and "inherited" not in line]
        good = watched.returncode == 0 and watched.stdout == plain.stdout and plain.stdout
        failed += not good
        name = f"valgrind: {recording}: {plain.stdout.count(chr(10))} events"
        print(f"ok - {name}" if good else f"FAIL - {name}: exit {watched.returncode}\n" + "\n".join(found[:40]))
    print(f"{len(CASES) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
