#!/usr/bin/env python3
"""What people and monitors see of a real Kong's recordings, held against files that were looked at: the table of calls at 80
and at 200 columns, HAR, metrics. `test_golden.py --update` writes the files anew; look at the difference before it is kept."""
import json
import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE / "lib"))

import har12  # noqa: E402  (the path is only known now)

ROOT = HERE.parent.parent
BUILD = ROOT / os.environ.get("O", "build")
DATA, GOLDEN = HERE / "kong-3.9.1", HERE / "golden"
NAMES = ["cases", "h1-concurrent", "h2-concurrent", "ws-grpc-sse"]
failed = passed = 0


def check(name, good, why=""):
    global failed, passed
    passed, failed = passed + bool(good), failed + (not good)
    print(f"ok - {name}" if good else f"FAIL - {name}: {why}")


def run(*argv, **env):
    result = subprocess.run([str(word) for word in argv], capture_output=True, timeout=120, env={**os.environ, **env})
    if result.returncode:
        raise RuntimeError(f"{argv}: {result.returncode}: {result.stderr.decode()[-300:]}")
    return result.stdout.decode()


def pretty(name, columns, *more):
    return run(BUILD / "kongtap", "replay", DATA / f"{name}.calls.jsonl.gz", "--output", "pretty", *more, COLUMNS=str(columns))


def har(name, *more):
    return run(BUILD / "kongtap", "replay", DATA / f"{name}.calls.jsonl.gz", "--output", "har", *more)


def metrics(name, *more):
    """Counts of calls that are not zero: what the stages count of their own work is the business of their tests."""
    text = run(BUILD / "tests/replay/metrics_of", DATA / f"{name}.calls.jsonl.gz", *more)
    return "".join(line + "\n" for line in text.splitlines()
                   if not line.startswith(("#", "process_", "kongtap_build_info", "kongtap_wire_", "kongtap_capture_")) and not line.endswith(" 0")
                   and not line.endswith(" 0.000000000"))


def first_difference(got, wanted):
    for number, (mine, theirs) in enumerate(zip(got.splitlines(), wanted.splitlines()), 1):
        if mine != theirs:
            return f"line {number}: got {mine[:200]!r}, wanted {theirs[:200]!r}"
    return f"got {len(got.splitlines())} lines, wanted {len(wanted.splitlines())}"


def golden(name, text):
    path = GOLDEN / name
    if "--update" in sys.argv:
        GOLDEN.mkdir(exist_ok=True)
        path.write_text(text)
    wanted = path.read_text() if path.exists() else ""
    check(f"{name} is as it was", text == wanted, first_difference(text, wanted))


def fits(name, columns, text):
    lines = text.splitlines()
    header, end = lines[0], lines[0].index("UPSTR") + len("UPSTR")
    wide = [line for line in lines if len(line) > columns]
    check(f"{name} at {columns}: no line is wider", not wide, str(wide[:2]))
    # A number or a dash ends where the name of its column does.
    askew = [line for line in lines[1:] if not line[end - 1] in "s-" or line[end:end + 1] not in ("", " ")]
    check(f"{name} at {columns}: columns are under their names", not askew, "\n".join([header, *askew[:3]]))


def tables():
    for name in NAMES:
        for columns in (80, 200):
            text = pretty(name, columns)
            fits(name, columns, text)
            if columns == 80 or len(text) < 20000:
                golden(f"{name}.{columns}.txt", text)
    everything = pretty("cases", 80).splitlines()[1:]
    errors = pretty("cases", 80, "--filter", ">=400").splitlines()[1:]
    rest = pretty("cases", 80, "--filter", "!>=400").splitlines()[1:]
    check("a filter and its opposite share the calls out", sorted(errors + rest) == sorted(everything) and errors and rest)
    check("a filter keeps the order", [line for line in everything if line in errors] == errors)


def documents():
    for name in NAMES:
        document = json.loads(har(name))
        events = [json.loads(line) for line in run(BUILD / "kongtap", "replay", DATA / f"{name}.calls.jsonl.gz", "--output",
                                                   "jsonl").splitlines()]
        entries = document["log"]["entries"]
        problems = har12.problems_of(document)
        check(f"{name}: HAR 1.2", not problems and entries, str(problems[:3]))
        check(f"{name}: an entry for each event", [(e["request"]["url"], e["response"]["status"], e["startedDateTime"])
                                                   for e in entries]
              == [(e["request"]["uri"], e.get("response", {}).get("status", 0), e["request"]["time"]) for e in events])
        bodies = [e for e, entry in zip(events, entries) if e.get("response", {}).get("transfer_encoding") == "json"
                  and json.loads(entry["response"]["content"]["text"]) != e["response"]["body"]]
        check(f"{name}: JSON bodies are the events'", not bodies, str(bodies[:1]))
    golden("cases.har", har("cases", "--filter", "/key/*,/basic/*,/down/* GET"))
    the_rules_bite(json.loads(har("cases")))


def the_rules_bite(document):
    """The validator is one: each of these makes it speak."""
    def broken(path, value):
        copy = json.loads(json.dumps(document))
        at = copy["log"]
        *way, last = path
        for step in way:
            at = at[step]
        if value is None:
            del at[last]
        else:
            at[last] = value
        return har12.problems_of(copy)

    first = ["entries", 0]
    for path, value in ((["version"], "1.1"), (["creator", "name"], None), (["made"], "here"), ([*first, "cache"], None),
                        ([*first, "time"], -1), ([*first, "time"], document["log"]["entries"][0]["time"] + 1),
                        ([*first, "startedDateTime"], "2026-11-23T00:39:31"), ([*first, "request", "headersSize"], "12"),
                        ([*first, "request", "url"], "/relative"), ([*first, "response", "status"], "200"),
                        ([*first, "response", "content", "mimeType"], None), ([*first, "timings", "wait"], None),
                        ([*first, "request", "cookies"], [{"name": "a"}]), ([*first, "request", "headers"], {}),
                        ([*first, "response", "content", "encoding"], True), ([*first, "pageref"], "nowhere")):
        check(f"HAR rules notice {'.'.join(map(str, path))} = {value!r:.20}", broken(path, value))


def counts():
    for name in NAMES:
        golden(f"{name}.metrics.txt", metrics(name))
        events = len(run(BUILD / "kongtap", "replay", DATA / f"{name}.calls.jsonl.gz", "--output", "jsonl").splitlines())
        check(f"{name}: metrics count the events", f'kongtap_transactions_total{{outcome="event"}} {events}\n' in metrics(name))


if __name__ == "__main__":
    for part in (tables, documents, counts):
        try:
            part()
        except Exception as error:
            check(part.__name__, False, f"{type(error).__name__}: {error}")
    print(f"{passed} passed, {failed} failed")
    sys.exit(1 if failed else 0)
