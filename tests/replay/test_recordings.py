#!/usr/bin/env python3
"""What a real Kong 3.9.1 and the real Moesif plugin did, replayed: every event of the plugin has its twin, there is no
event that the plugin did not make, and a recording cut anywhere, or with holes, gives nothing that is wrong.

KONGTAP_TEST_CUTS and KONGTAP_TEST_LOSSES say how often (200, 50).

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
LOSSES = int(os.environ.get("KONGTAP_TEST_LOSSES", "50"))
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
    return {"verb": request["verb"], "uri": request["uri"], "status": event.get("response", {}).get("status"),
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


def nameless(ours, theirs):
    """What is wrong in events whose response was lost, and with it the id by which calls are known: of all calls with that
    verb and URI, one must have had that user."""
    users, problems = {}, []
    for event in theirs:
        plugin = facts(event)
        users.setdefault((plugin["verb"], plugin["uri"]), set()).add(plugin["user_id"])
    for event in ours:
        mine = facts(event)
        name = f"{mine['verb']} {mine['uri']}"
        known = users.get((mine["verb"], mine["uri"]))
        if known is None:
            # The start line itself may have been lost in its middle: then the event must say so, and name nobody.
            if mine["user_id"] is not None or event["metadata"]["kong"]["request"] == "complete":
                problems.append(f"no call of the plugin's is {name}")
        elif mine["user_id"] is not None and mine["user_id"] not in known:
            problems.append(f"{name}: user_id is {mine['user_id']!r}, the plugin's {known}")
    return problems


def lose(lines, rng):
    """The recording with the bytes of some calls lost, one by one or in bursts, and sometimes its beginning with them."""
    begin = rng.choice([0, 0, rng.randrange(len(lines))])
    odds, longest, left = rng.choice([0.005, 0.02, 0.05, 0.2]), rng.choice([1, 3, 10]), 0
    for line in lines[begin:]:
        if not left and rng.random() < odds:
            left = rng.randint(1, longest)
        if left:
            left -= 1
            call = json.loads(line)
            if call.get("data"):
                line = json.dumps({**call, "data": "", "len": 0}) + "\n"
        yield line


def lossy(name, lines, theirs, seed):
    with tempfile.NamedTemporaryFile("w", suffix=".jsonl") as file:
        file.writelines(lose(lines, random.Random(f"{name} {seed}")))
        file.flush()
        ours = replay(file.name)
    problems = compare([event for event in ours if request_id(event)], theirs, False)
    problems += nameless([event for event in ours if not request_id(event)], theirs)
    return [f"losses, seed {seed}: {p}" for p in problems]


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
        problems = [p for found in pool.map(lambda seed: lossy(name, lines, theirs, seed), range(LOSSES)) for p in found]
        check(f"{name}: bytes of calls lost in {LOSSES} ways, never a wrong value", problems)
    print(f"{passed} passed, {failed} failed")
    return failed != 0


if __name__ == "__main__":
    sys.exit(main())
