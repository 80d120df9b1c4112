#!/usr/bin/env python3
"""The agent does not get slower unnoticed: instructions per transaction on fixed recordings, counted by callgrind, held
against figures that were committed (instructions.json). They depend on the compiler, hardly on the machine, and not on its
load. More than the margin above is a failure; so much below is worth committing.

`test_instructions.py --update` writes the figures of this tree: say in the commit what they were and why they changed.
"""
import json
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "bench"))

import micro  # noqa: E402  (the path is only known now)

FIGURES = HERE / "instructions.json"
MARGIN = 0.03
OTHER_COMPILER_MARGIN = 0.30
failed = passed = 0


def check(name, good, why=""):
    global failed, passed
    passed, failed = passed + bool(good), failed + (not good)
    print(f"ok - {name}" if good else f"FAIL - {name}: {why}")


def measure():
    return {"compiler": micro.compiler(),
            "recordings": {name: dict(zip(("transactions", "instructions_each"), map(round, micro.per_transaction(name))))
                           for name in micro.RECORDINGS}}


def main():
    now = measure()
    if "--update" in sys.argv:
        FIGURES.write_text(json.dumps(now, indent=1) + "\n")
    then = json.loads(FIGURES.read_text())
    same = now["compiler"] == then["compiler"]
    margin = MARGIN if same else OTHER_COMPILER_MARGIN
    if not same:
        print(f"# compiled with {now['compiler']}, the figures are of {then['compiler']}: a margin of {margin:.0%}")
    for name, wanted in then["recordings"].items():
        got = now["recordings"][name]
        check(f"{name}: {wanted['transactions']} transactions", got["transactions"] == wanted["transactions"],
              f"got {got['transactions']}")
        ratio = got["instructions_each"] / wanted["instructions_each"]
        check(f"{name}: {got['instructions_each']} instructions for each, {ratio - 1:+.1%}", ratio <= 1 + margin,
              f"more than {margin:.0%} above {wanted['instructions_each']}: find out with `make bench-micro`, or if it is "
              "worth it commit new figures (--update)")
        if ratio < 1 - margin:
            print(f"# {name}: fewer than before; commit that with {Path(__file__).name} --update")
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
