#!/usr/bin/env python3
"""The README's first command, as a newcomer runs it: captured calls within five seconds of the agent being up, an end by
itself, and nothing left behind."""
import json
import subprocess
import sys
import time

from lib import ROOT, Checks, Process


def shows_calls(t):
    with Process([ROOT / "scripts" / "run.sh", "--for", "12", "--output", "jsonl"],
                 {"KONGTAP_STAND_IN": "1"}) as run:
        run.wait_line(r"\bready\b", 300)
        up = time.monotonic()
        first = run.wait_line(r"^\{", 10, "stdout")
        t.check("run.sh: the first call within 5 s of the agent being up", time.monotonic() - up < 5)
        t.check("run.sh: it is an event", json.loads(first)["request"]["uri"].startswith("http"))
        t.equal("run.sh --for: exit code", run.wait(60), 0)
        events = [json.loads(line) for line in run.stdout.splitlines() if line.startswith("{")]
        t.check(f"run.sh: {len(events)} calls, of users and of nobody",
                {event.get("user_id") for event in events} >= {None, "cust-alice-001"})
        t.check("run.sh: clear and TLS calls", {event["request"]["uri"].split(":")[0] for event in events} == {"http", "https"})
        t.check("run.sh: nothing left behind", not left_behind(), left_behind())


def left_behind():
    """Gateways of run.sh (their folders are /tmp/tmp.*) that still run."""
    return subprocess.run(["pgrep", "-af", "nginx: master process.*/tmp/tmp\\."], capture_output=True, text=True).stdout


if __name__ == "__main__":
    sys.exit(Checks().run(shows_calls))
