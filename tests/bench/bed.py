"""The bed of a benchmark: gateway, collector, and what may watch the gateway while it is loaded."""
import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path.insert(0, str(ROOT / "tests" / "e2e"))

from lib import KONGTAP, Process, wait_for  # noqa: E402  (the path is only known now)

TOOLS = ROOT / os.environ.get("O", "build") / "tests" / "bench"
ID = re.compile(rb'^\{"id":"([0-9a-f]{16})', re.M)


def cpu_ns(pids):
    """CPU time of all threads of these processes, in nanoseconds."""
    total = 0
    for pid in pids:
        for task in Path(f"/proc/{pid}/task").iterdir():
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                total += int((task / "schedstat").read_text().split()[0])
    return total


class Collector(Process):
    def __init__(self):
        super().__init__([TOOLS / "collector"])
        self.port = int(self.wait_line(r"ready \d+", stream="stdout").split()[-1])

    def count(self):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/count", timeout=30) as answer:
            return json.load(answer)


class AccessLog:
    """How many calls the gateway logged, and the sum of their ids as the collector adds them up. Read at the end of each
    load and emptied: nginx appends, whatever the length."""

    def __init__(self, path):
        self.path = path

    def size(self):
        return self.path.stat().st_size

    def empty(self):
        os.truncate(self.path, 0)

    def take(self):
        calls = id_sum = 0
        with open(self.path, "rb") as file:
            rest = b""
            while piece := file.read(8 << 20):
                text = rest + piece
                end = text.rfind(b"\n") + 1
                ids = ID.findall(text, 0, end)
                calls += len(ids)
                id_sum += sum(int(half, 16) for half in ids)
                rest = text[end:]
        self.empty()
        return calls, id_sum % (1 << 64)

    def settled(self):
        """Waits until nothing is logged any more: calls that the client left are logged a moment later."""
        last = -1
        while (now := self.size()) != last:
            last = now
            time.sleep(0.05)


# -- what may watch the gateway. Each is a context manager whose value is the agent as a process, or None.

@contextlib.contextmanager
def nobody(_):
    yield None


def agent_command(bed, *more):
    # Under load batches are full long before they are old; the age only makes the end of each run wait.
    return [KONGTAP, "run", "--prefix", bed.gateway.prefix, "--application-id", "bench",
            "--api-endpoint", f"http://127.0.0.1:{bed.collector.port}", "--batch-age", "100",
            "--metrics-listen", "none", *more]


@contextlib.contextmanager
def agent(bed, *more):
    with Process(agent_command(bed, *more)) as process:
        process.wait_line(r"\bready, watching\b")
        yield process
        if process.stop(60):
            raise RuntimeError(f"kongtap ended with {process.process.returncode}:\n{process.stderr[-2000:]}")


@contextlib.contextmanager
def empty(bed):
    """Empty programs where the agent has its own; the agent only lends its places."""
    hooks = None
    with agent(bed) as lender:
        hooks = subprocess.Popen([TOOLS / "hooks", "empty", str(lender.pid)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                 stderr=subprocess.PIPE, text=True)
        ready = hooks.stdout.readline()
    try:
        if not ready.startswith("hooks: ready"):
            raise RuntimeError(hooks.stderr.read())
        yield None
    finally:
        hooks.stdin.close()
        hooks.wait(30)


def textbook(bed):
    """The agent, with its TLS probes at entry and return."""
    return agent(bed, "--force-missing", "placement")


@contextlib.contextmanager
def peer(bed):
    script = (HERE / "peer.bt").read_text()
    workers = " || ".join(f"pid == {pid}" for pid in bed.gateway.workers())
    program = bed.scratch / "peer.bt"
    program.write_text(script.replace("@WORKERS@", workers).replace("@LIBSSL@", str(bed.gateway.prefix / "lib" / "libssl.so.3")))
    # Its reports of lost events go to the terminal of nobody: it is the load on the gateway that counts here.
    with Process(["bpftrace", "-o", "/dev/null", program], {"BPFTRACE_STRLEN": "200"}) as process:
        # A descriptor for each probe, and one for each CPU's buffer.
        hooks = len(re.findall(r"\b(?:tracepoint|uprobe|uretprobe):[a-z@]", script)) + os.cpu_count()
        wait_for(lambda: perf_events(process) >= hooks, 30, "the probes of bpftrace")
        yield None
        process.stop(60)


def perf_events(process):
    if process.process.poll() is not None:
        raise RuntimeError(f"bpftrace ended: {process.stderr[-1000:]}")
    names = []
    for fd in Path(f"/proc/{process.pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            names.append(os.readlink(fd))
    return sum("perf_event" in name for name in names)


WATCHERS = {"none": nobody, "empty": empty, "agent": agent, "textbook": textbook, "peer": peer}


class Bed:
    def __init__(self, gateway, collector, scratch):
        self.gateway, self.collector, self.scratch = gateway, collector, scratch
        self.log = AccessLog(gateway.access_log)

    def memory(self, pid):
        """Resident bytes of the agent: its own pages, and all its BPF maps as the kernel charges them."""
        own = 0
        counted = False
        for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
            if re.match(r"[0-9a-f]+-[0-9a-f]+ ", line):
                counted = "bpf-map" not in line and "bpf_map" not in line
            elif counted and line.startswith("Rss:"):
                own += int(line.split()[1]) * 1024
        return {"own_bytes": own, **self.hooks_memory(pid)}

    @staticmethod
    def hooks_memory(pid):
        result = subprocess.run([TOOLS / "hooks", "memory", str(pid)], capture_output=True, text=True)
        if result.returncode:
            raise RuntimeError(result.stderr)
        return json.loads(result.stdout)

    def events_came(self, before, calls, patience):
        """The collector's count since `before`, once it is `calls` or does not grow for `patience` seconds."""
        last, since = -1, time.monotonic()
        while True:
            now = self.collector.count()
            came = now["events"] - before["events"]
            if came != last:
                last, since = came, time.monotonic()
            if came == calls or time.monotonic() - since > patience:
                return came, (now["id_sum"] - before["id_sum"]) % (1 << 64)
            time.sleep(0.05)

    def measure(self, watcher, work):
        """One run: work() loads the gateway while it is watched. What the client saw, with what everybody used for it."""
        with WATCHERS[watcher](self) as process:
            self.log.settled()
            self.log.empty()
            before = self.collector.count()
            workers = self.gateway.workers()
            gateway_before = cpu_ns(workers)
            agent_before = cpu_ns([process.pid]) if process else 0
            passed_before = self.hooks_memory(process.pid)["ring_passed"] if process else 0
            seen = work()
            memory = self.memory(process.pid) if process else None
            self.log.settled()
            gateway_used = cpu_ns(workers) - gateway_before
            calls, id_sum = self.log.take()
            result = {**seen, "calls": calls, "gateway_us": gateway_used / 1000 / max(calls, 1)}
            if process:
                came, came_sum = self.events_came(before, calls, 6)
                result |= {"events": came, "same_calls": came == calls and came_sum == id_sum,
                           "agent_us": (cpu_ns([process.pid]) - agent_before) / 1000 / max(calls, 1),
                           "own_bytes": memory["own_bytes"], "map_bytes": memory["map_bytes"],
                           "ring_bytes": memory["ring_bytes"],
                           "ring_passed": self.hooks_memory(process.pid)["ring_passed"] - passed_before}
        if process:
            result["farewell"] = process.stderr.splitlines()[-1] if process.stderr else ""
        return result


def versions():
    """What the figures were measured with."""
    def first(argv, pattern):
        if not shutil.which(argv[0]):
            return "missing"
        result = subprocess.run(argv, capture_output=True, text=True, stdin=subprocess.DEVNULL)
        match = re.search(pattern, result.stdout + result.stderr)
        return match.group(1) if match else "?"

    cpu = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    return {
        "kernel": f"{os.uname().sysname} {os.uname().release} {os.uname().machine}",
        "cpu": cpu.group(1) if cpu else "?", "cpus": os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (1 << 30)),
        "kongtap": first([str(KONGTAP), "--version"], r"kongtap (.*)"),
        "nginx": first(["nginx", "-v"], r"nginx/(\S+)"), "openssl": first(["openssl", "version"], r"OpenSSL (\S+)"),
        "wrk": first(["wrk", "-v"], r"wrk (?:debian/)?(\S+)"), "h2load": first(["h2load", "--version"], r"nghttp2/(\S+)"),
        "bpftrace": first(["bpftrace", "--version"], r"bpftrace v(\S+)"), "gcc": first(["gcc", "--version"], r"\) (\S+)"),
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
    }
