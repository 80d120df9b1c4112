#!/usr/bin/env python3
"""How much room in the ring the records of a recording's calls take by the rules of bpf/emit.bpf.h, over what records of
exactly their size would: where the kernel has such (6.17), and where it has not. tests/bpf/rooms measures it.

    ring_room.py [RECORDING …]      JSON lines, plain or gzip; else those of tests/replay
"""
import gzip
import json
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PIECE = 16384
HEAD = 8 + 56  # the ring's own, and struct kt_data
VECTORED = (19, 20, 46, 47)  # system calls: readv, writev, sendmsg, recvmsg

EMIT = (ROOT / "bpf" / "emit.bpf.h").read_text()
MAPS = (ROOT / "bpf" / "maps.bpf.h").read_text()


def classes(call):
    found = re.findall(rf"\b{call}\(io, c, (\w+)", EMIT)
    return sorted(PIECE if name == "KT_PIECE" else int(name) for name in found)


def constant(name):
    return int(re.search(rf"\b{name} = (\d+)", MAPS).group(1))


PUT, GATHER = classes("put"), classes("gather")
EXACT_BUFFER, EXACT_SEGMENTS = constant("exact_buffer"), constant("exact_segments")


def calls(file):
    """The lengths of each call's segments. A recording has a record for each, one behind the other."""
    at_hand = {}
    for record in map(json.loads, file):
        if not record.get("len") or record.get("ciphertext") or record["call"] == "peek":
            continue
        who = record["pid"], record["call"], record.get("fd"), record.get("ssl")
        if not record["off"]:
            at_hand[who] = (record.get("syscall") in VECTORED, [])
        vectored, lengths = at_hand[who]
        lengths.append(record["len"])
        if record["off"] + record["len"] == record["ret"]:
            yield lengths if vectored else [sum(lengths)]


def exactly(length):
    return HEAD + (length + 7 & ~7)


def room(length, gathered, exact):
    if exact and length > (EXACT_SEGMENTS if gathered else EXACT_BUFFER):
        return exactly(length)
    least = next(size for size in (GATHER if gathered else PUT) if length <= size)
    return HEAD + least + ((least // 8 if least >= 8192 else least // 2) if gathered else 0)


def records(lengths):
    """(length, whether it is gathered) of each record of a call."""
    if sum(lengths) <= PIECE:
        yield sum(lengths), len(lengths) > 1
        return
    for length in lengths:
        yield from ((min(PIECE, length - at), False) for at in range(0, length, PIECE))


def main():
    for path in map(Path, sys.argv[1:] or sorted((ROOT / "tests/replay/kong-3.9.1").glob("*.calls.jsonl.gz"))):
        with (gzip.open if path.suffix == ".gz" else open)(path, "rt") as file:
            found = [record for lengths in calls(file) for record in records(lengths)]
        least = sum(exactly(length) for length, _ in found)
        here, older = (sum(room(*record, exact) for record in found) for exact in (True, False))
        print(f"{path.name}: {len(found)} records, {least} bytes if all were exact, {here / least:.2f} times as much with exact records "
              f"where they pay, {older / least:.2f} times in classes alone")
    return 0


if __name__ == "__main__":
    sys.exit(main())
