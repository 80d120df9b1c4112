#!/usr/bin/env python3
"""The judges of `make soak` and `make torture` under test: what is flat and exact passes, and each way of not being so is found.
Both are too long for every change."""
import copy
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "soak"))

from lib import Checks, Workdir
import torture
from soak import MIB, judge, page, put_into


def good(samples=100):
    return {"minutes": 1, "rate": 1, "kernel": "6", "date": "2026-01-01", "calls": 1000, "unique": 1000, "duplicates": 3, "wrong": 0,
            "exit_code": 0, "faults": 4, "gateway_reloads": 2, "agent_reloads": 5, "short_connections": 100, "cpu_percent": 1.5,
            "said": ["done: 1000 calls seen, 1000 events, 1000 delivered, 0 records and 0 stream bytes lost",
                     "1000 calls: 1000 events", "1000 events: 1000 delivered"],
            # Sizes are found during the first quarter, and they vary.
            "samples": [{"t": i, "anon_bytes": min(i, 20) * MIB + i % 3 * 4096, "resident_bytes": (40 + i % 5) * MIB,
                         "threads": 5 + i % 3, "fds": 60 + i % 4, "conns": 50 + i % 30, "skips": 20 + i % 40, "watched": 4 + i % 2}
                        for i in range(samples)]}


def flat(t):
    t.equal("flat and exact", judge(good()), [])
    t.equal("too short", judge(good(5)), ["too short to be judged"])


def not_flat(t):
    for name, slope in (("anon_bytes", MIB // 10), ("fds", 0.2), ("threads", 0.2), ("conns", 3), ("skips", 3), ("watched", 0.2)):
        found = good()
        for i, sample in enumerate(found["samples"]):
            sample[name] += int(i * slope)
        t.check(f"{name} that grows is found", any(why.startswith(f"{name} grew") for why in judge(found)), str(judge(found)))
    found = good()
    found["samples"][50]["resident_bytes"] = 110 * MIB
    t.check("one peak of memory is found", len(judge(found)) == 1 and "resident" in judge(found)[0], str(judge(found)))


def not_exact(t):
    said = good()["said"]
    for what, change in (("a missing event", {"unique": 999}), ("an event too many", {"unique": 1001}), ("a wrong one", {"wrong": 1}),
                         ("an exit code", {"exit_code": 1}), ("no sums", {"said": said[:1]}),
                         ("a sum that lacks one", {"said": [*said[:2], "1000 events: 999 delivered, 1 unaccounted"]}),
                         ("a drop", {"said": [*said[:2], "1000 events: 999 delivered, 1 dropped (queue full)"]}),
                         ("a loss", {"said": [said[0].replace("0 records", "7 records"), *said[1:]]})):
        t.equal(f"{what} is found", len(judge({**copy.deepcopy(good()), **change})), 1)


def in_the_page(t):
    with Workdir() as directory:
        path = directory / "page.md"
        path.write_text("# Benchmarks\n\ntext\n")
        put_into(path, page(good(), []))
        first = path.read_text()
        t.check("a page without the section gets one", first.startswith("# Benchmarks\n\ntext\n") and "Flat and exact." in first, first)
        put_into(path, page(good(), ["fds grew"]))
        second = path.read_text()
        t.check("a page with it gets it anew", second.count("<!-- soak -->") == 1 and "fds grew" in second and
                "Flat and exact" not in second, second)


def faults_in_the_page(t):
    said = ("ok - killed: BPF objects left by 100 deaths\nok - killed: of 3060 calls older than the sync interval did not arrive\n"
            "ok - killed: calls add up, {}\n# 672 events came twice, as they may after a kill\n"
            "ok - small ring: calls add up, {'events': 132, 'dropped (incomplete)': 14}\n2 passed, 0 failed\n")
    shown = torture.page(torture.parse(said))
    t.check("what became of them is shown", "| 146 | 132 events; 14 dropped (incomplete) | 1 passed |" in shown, shown)
    t.check("and what there is to say of deaths", "left nothing in the kernel; all of the 3060 calls" in shown and
            "672 events came twice | 3 passed |" in shown, shown)
    t.equal("what was not run is named", shown.count("**not run**"), len(torture.FAULTS) - 2)
    shown = torture.page(torture.parse(said.replace("ok - killed: BPF", "FAIL - killed: BPF") + "FAIL - small ring: lost: 1\n"))
    t.check("what failed is shown", shown.count("**1 failed**") == 2 and "100 deaths left something" in shown, shown)


if __name__ == "__main__":
    sys.exit(Checks().run(flat, not_flat, not_exact, in_the_page, faults_in_the_page))
