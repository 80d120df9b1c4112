#!/usr/bin/env python3
"""What a real Kong 3.9.1 and the real Moesif plugin did, replayed: every event of the plugin has its twin, there is no
event that the plugin did not make, and a recording cut anywhere gives nothing that is wrong.

The recordings hold the calls of Kong's workers (*.calls) and the events that the plugin made of them (*.events); the
oracle is the plugin. They are joined by the x-kong-request-id of the response.
"""
import concurrent.futures
import gzip
import json
import os
import random
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
KONGTAP = Path(os.environ.get("KONGTAP_BINARY", ROOT / "build" / "kongtap"))
DATA = HERE / "kong-3.9.1"
CUTS = int(os.environ.get("KONGTAP_TEST_CUTS", "200"))
passed = failed = 0


def check(name, problems):
    global passed, failed
    if problems:
        failed += 1
        print(f"FAIL - {name}: {len(problems)} problems, the first: {problems[0]}")
        for problem in problems[1:10]:
            print(f"    {problem}")
    else:
        passed += 1
        print(f"ok - {name}")


def request_id(event):
    return event.get("response", {}).get("headers", {}).get("x-kong-request-id")


def plugin_events(name):
    with gzip.open(DATA / f"{name}.events.jsonl.gz", "rt") as file:
        return [json.loads(line) for line in file]


def replay(path):
    result = subprocess.run([KONGTAP, "replay", path, "--output", "jsonl"], capture_output=True, text=True, timeout=120)
    if result.returncode:
        raise RuntimeError(f"replay {path}: exit {result.returncode}: {result.stderr[-500:]}")
    return [json.loads(line) for line in result.stdout.splitlines()]


# The plugin's defects that show in the four fields compared here (MOESIF-KONG-FACTS B.12), by case.
ACCEPTED_USER = {
    # case: (plugin's user, ours, why)
}


def facts(event):
    request = event["request"]
    return {"verb": request["verb"], "uri": request["uri"], "status": event["response"]["status"],
            "ip_address": request.get("ip_address"), "user_id": event.get("user_id")}


def compare(ours, theirs, complete):
    """Differences of events in verb, URI, status, address and user. complete: a user that is missing counts too."""
    problems = []
    by_id = {request_id(event): event for event in theirs}
    seen = {}
    for event in ours:
        key = request_id(event)
        if key in seen:
            problems.append(f"two events for {key}")
        seen[key] = event
        if key not in by_id:
            problems.append(f"an event the plugin did not make: {event['request']['verb']} {event['request']['uri']} {key}")
            continue
        mine, plugin = facts(event), facts(by_id[key])
        for field, value in mine.items():
            if value == plugin[field] or (value is None and not complete):
                continue
            problems.append(f"{plugin['verb']} {plugin['uri']}: {field} is {value!r}, the plugin's {plugin[field]!r}")
    if complete:
        for key, event in by_id.items():
            if key not in seen:
                problems.append(f"no event for {facts(event)}")
    return problems


def cut(name, lines, theirs, at):
    with tempfile.NamedTemporaryFile("w", suffix=".jsonl") as file:
        file.writelines(lines[at:])
        file.flush()
        return [f"cut at line {at}: {p}" for p in compare(replay(file.name), theirs, False)]


def main():
    rng = random.Random(20261123)
    pool = concurrent.futures.ThreadPoolExecutor(os.cpu_count())
    for path in sorted(DATA.glob("*.calls.jsonl.gz")):
        name = path.name.removesuffix(".calls.jsonl.gz")
        theirs = plugin_events(name)
        check(f"{name}: {len(theirs)} events of the plugin, each with its twin", compare(replay(path), theirs, True))
        with gzip.open(path, "rt") as file:
            lines = file.readlines()
        where = rng.sample(range(1, len(lines)), min(CUTS, len(lines) - 1))
        problems = [p for found in pool.map(lambda at: cut(name, lines, theirs, at), where) for p in found]
        check(f"{name}: cut at {len(where)} random lines, never a wrong value", problems)
    print(f"{passed} passed, {failed} failed")
    return failed != 0


if __name__ == "__main__":
    sys.exit(main())
