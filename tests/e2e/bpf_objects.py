"""What a process holds in the kernel's BPF, and what its programs have cost."""
import contextlib
import json
import re
from pathlib import Path

import lib  # noqa: F401  (it knows where gateway.py is)
from gateway import run


def held_by(pid):
    """Ids as text, by kind: prog, map, link."""
    found = {"prog": set(), "map": set(), "link": set()}
    for file in Path(f"/proc/{pid}/fdinfo").iterdir():
        with contextlib.suppress(OSError):
            for kind, number in re.findall(r"^(prog|map|link)_id:\t(\d+)$", file.read_text(), re.M):
                found[kind].add(number)
    return found


def shown(program):
    """What bpftool says of the program of this id."""
    return json.loads(run("bpftool", "-j", "prog", "show", "id", str(program)))


def programs_of(pid):
    return [shown(each) for each in held_by(pid)["prog"]]


@contextlib.contextmanager
def program_statistics():
    """The kernel counts what programs take (run_cnt, run_time_ns)."""
    switch = Path("/proc/sys/kernel/bpf_stats_enabled")
    before = switch.read_text()
    switch.write_text("1")
    try:
        yield
    finally:
        switch.write_text(before)
