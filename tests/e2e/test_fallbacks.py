#!/usr/bin/env python3
"""What a kernel may lack is done without: with each of the newer features taken away the same calls become the same events; and
without one that is needed the agent says so and ends. The kernel's types may come from a file. KONGTAP_TEST_CALLS sets the number of calls of each run (300)."""
import os
import subprocess
import sys

from btf import BTF, moved_member
from compare import compare, load
from lib import KONGTAP, Agent, Checks, Gateway, GatewayError, Workdir, client, read_jsonl, wait_for

CALLS = int(os.environ.get("KONGTAP_TEST_CALLS", "300"))
WAYS = ("loop", "tracefs", "preempt_guard,multi_uprobe,steady_calls", "placement", "map_files,tell,exact_room",
        "task_pt_regs,loop,tracefs,preempt_guard,exact_room,steady_calls,multi_uprobe,placement,map_files")
NEEDED = {"btf": "CONFIG_DEBUG_INFO_BTF", "bpf": "BPF programs cannot be loaded", "ringbuf": "BPF ring buffer"}  # what `run` says


def count(path):
    return path.read_bytes().count(b"\n") if path.exists() else 0


# A command line whose process sees no types of the kernel, wherever it looks.
HIDDEN = ["unshare", "-m", "--propagation", "private", "sh", "-c",
          f'mount -t tmpfs none {os.path.dirname(BTF)} && mount -t tmpfs none /boot && exec "$@"', "sh"]


def one_way(t, gateway, directory, without, *how, wrapper=()):
    record, output = directory / f"{without}.record", directory / f"{without}.events"
    before = count(gateway.access_log)
    with Agent("--output", "jsonl", "--output-file", output, "--prefix", gateway.prefix, "--metrics-listen", "none",
               *(how or ("--force-missing", without)), wrapper=wrapper) as agent:
        ready = agent.wait_ready()
        with client(gateway, record, "--calls", CALLS, "--seed", without, "--connections", "8") as traffic:
            t.equal(f"without {without}: client", traffic.wait(120), 0)
        log, records = load(gateway, record)
        lines = log[before:]
        try:
            wait_for(lambda: count(output) >= len(lines), 20, "the events")
        except GatewayError:
            pass  # what is missing is for the comparison to say
        t.equal(f"without {without}: exit code", agent.stop(), 0)
    t.problems(f"without {without}: events of {len(lines)} calls agree", compare(lines, read_jsonl(output), records, ready))


def each_newer_feature(t):
    with Workdir() as directory, Gateway(directory / "gateway") as gateway:
        for without in WAYS:
            one_way(t, gateway, directory, without)


def types_from_a_file(t):
    """The kernel itself keeps its types here; nothing that takes them from it is used where /sys does not show them."""
    with Workdir() as directory, Gateway(directory / "gateway") as gateway:
        good = directory / "good.btf"
        good.write_bytes(open(BTF, "rb").read())
        one_way(t, gateway, directory, "types in sys", "--btf", good, wrapper=HIDDEN)


def wrong_types(t):
    with Workdir() as directory:
        types = open(BTF, "rb").read()
        for what, content, code, text in (
                ("of another kernel", moved_member(types, "task_struct", "files", 64), 1, "is not of the running kernel"),
                ("of another kernel's sockets", moved_member(types, "sock_common", "skc_family", 16), 1, "is not of the running kernel"),
                ("that ends too soon", types[:len(types) // 2], 1, "holds no types of a kernel"),
                ("that is something else", b"\x7fELF" + bytes(500), 1, "holds no types of a kernel"),
                ("that is empty", b"", 1, "holds no types of a kernel"),
                ("that is not there", None, 2, "cannot be read: No such file or directory")):
            file = directory / "kernel.btf"
            file.unlink(missing_ok=True)
            if content is not None:
                file.write_bytes(content)
            done = subprocess.run([*HIDDEN, KONGTAP, "run", "--for", "5", "--btf", file], capture_output=True, text=True,
                                  timeout=60)
            t.equal(f"types from a file {what}: exit code", done.returncode, code)
            t.check(f"types from a file {what}: says so", text in done.stderr and str(file) in done.stderr, done.stderr[-500:])
            done = subprocess.run([*HIDDEN, KONGTAP, "check", "--btf", file], capture_output=True, text=True, timeout=60)
            t.equal(f"check with types from a file {what}: exit code", done.returncode, code)


def each_needed_feature(t):
    for name, reason in NEEDED.items():
        for command, text in (("check", f"NOT OK    {name}"), ("run", reason)):
            done = subprocess.run([KONGTAP, command, "--force-missing", name], capture_output=True, text=True, timeout=60)
            t.equal(f"{command} without {name}: exit code", done.returncode, 1)
            t.check(f"{command} without {name}: says so", text in done.stdout + done.stderr, done.stdout[-300:] + done.stderr[-300:])


if __name__ == "__main__":
    sys.exit(Checks().run(each_newer_feature, types_from_a_file, wrong_types, each_needed_feature))
