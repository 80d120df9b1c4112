#!/usr/bin/env python3
"""How much room in the ring the records of a recording take, by the classes of size in bpf/emit.bpf.h, over what records
of exactly their size would take.

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


def classes(call, source):
    found = re.findall(rf"\b{call}\(io, c, (\w+)", source)
    return sorted(PIECE if name == "KT_PIECE" else int(name) for name in found)


def main():
    source = (ROOT / "bpf" / "emit.bpf.h").read_text()
    put, gather = classes("put", source), classes("gather", source)
    for path in map(Path, sys.argv[1:] or sorted((ROOT / "tests/replay/kong-3.9.1").glob("*.calls.jsonl.gz"))):
        exact = room = records = 0
        with (gzip.open if path.suffix == ".gz" else open)(path, "rt") as file:
            for record in map(json.loads, file):
                left = record.get("len") or 0
                vectored = record.get("call") in ("readv", "writev", "recvmsg", "sendmsg") and left <= PIECE
                while left:
                    length = min(left, PIECE)
                    least = next(size for size in (gather if vectored else put) if length <= size)
                    exact += HEAD + length
                    room += HEAD + least + (least // 2 if vectored else 0)
                    records += 1
                    left -= length
        print(f"{path.name}: {records} records, {exact} bytes if exact, {room} in classes, {room / exact:.2f} times as much")
    return 0


if __name__ == "__main__":
    sys.exit(main())
