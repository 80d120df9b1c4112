"""An agent that is told nothing, and what of its findings is about a test; the cgroup of a pod."""
import os
import re
import secrets
import time
from contextlib import contextmanager
from pathlib import Path

from lib import Agent, load_exact


class Finder(Agent):
    """An agent that looks for gateways by itself and prints JSON lines."""

    def __init__(self, output, *args, env=None):
        self.output = Path(output)
        super().__init__("--output", "jsonl", "--output-file", output, "--metrics-listen", "none", *args, env=env)

    def masters(self):
        """{pid: prefix} of all gateways found."""
        return {int(pid): prefix for pid, prefix in re.findall(r"gateway found: master (\d+), prefix (\S+)", self.stderr)}

    def workers(self, prefixes):
        masters = {pid for pid, prefix in self.masters().items() if prefix in prefixes}
        return {int(pid) for pid, master in re.findall(r"worker (\d+) of (\d+),", self.stderr) if int(master) in masters}

    def printed(self):
        """What was printed, whole lines, not yet taken apart: of a busy host it may be much."""
        text = self.output.read_bytes() if self.output.exists() else b""
        return text[:text.rfind(b"\n") + 1].splitlines()

    def events(self, *prefixes):
        """Of the gateways with these prefixes alone."""
        workers = self.workers(set(map(str, prefixes)))
        return [load_exact(line.decode("utf-8", "surrogateescape")) for line in self.printed()
                if worker_in(line) in workers]

    def wait_worker(self, pids):
        for pid in pids:
            self.wait_line(rf"worker {pid} of \d+,")

    def wait_events(self, wanted, *prefixes):
        """Up to 20 s; whether all are there is for the comparison to say."""
        deadline = time.monotonic() + 20
        while len(self.events(*prefixes)) < wanted and time.monotonic() < deadline:
            time.sleep(0.3)


def about(event):
    return (event.get("metadata") or {}).get("kong") or {}


def worker_in(line):
    """It comes near the end of an event, after all that a client can put there."""
    found = re.match(rb"\d+", line[line.rfind(b'"worker_pid":') + len(b'"worker_pid":'):])
    return int(found[0]) if found else None


def worker_of(event):
    return about(event).get("worker_pid")


@contextmanager
def pod_cgroup():
    """(directory, container id, pod uid), as a kubelet with containerd names them; Nones where cgroups cannot be made."""
    base = next((Path(line.split()[1]) for line in Path("/proc/mounts").read_text().splitlines()
                 if line.split()[2] == "cgroup2"), None)
    uid, container = "8d3f0b5e-2f4c-4c1c-9a39-5f0e8a7b6c5d", secrets.token_hex(32)
    top = base and base / f"kubepods-kt{os.getpid()}.slice"
    path = top and top / f"kubepods-pod{uid.replace('-', '_')}.slice" / f"cri-containerd-{container}.scope"
    try:
        if not path:
            raise OSError("no cgroup2 is mounted")
        path.mkdir(parents=True)
    except OSError as error:
        print(f"# no cgroup for the pod: {error}")
        yield None, None, None
        return
    try:
        yield path, container, uid
    finally:
        # A cgroup can go when its last process is reaped.
        deadline = time.monotonic() + 5
        for each in (path, path.parent, top):
            while each.exists():
                try:
                    each.rmdir()
                except OSError:
                    if time.monotonic() > deadline:
                        break
                    time.sleep(0.05)
