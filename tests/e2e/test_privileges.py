#!/usr/bin/env python3
"""The agent with exactly the rights it needs, what it gives up once it runs, and what it tells the service manager."""
import contextlib
import os
import re
import signal
import shutil
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

from lib import KONGTAP, ROOT, Agent, Checks, Collector, Gateway, Workdir, client, read_jsonl, wait_for

NEEDED = {"bpf": 39, "perfmon": 38, "sys_ptrace": 19, "dac_read_search": 2, "checkpoint_restore": 40}
SYS_ADMIN = 21
CALLS = 40


def exactly(*capabilities):
    """The wrapper of a process that is nobody and has these capabilities."""
    them = ",".join("+" + name for name in capabilities)
    return ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", f"--inh-caps=-all,{them}",
            f"--ambient-caps=-all,{them}", f"--bounding-set=-all,{them}"]


def readable_copy(directory):
    """Where nobody may run it, whatever the way to the build."""
    directory.chmod(0o755)
    binary = directory / "kongtap"
    binary.write_bytes(KONGTAP.read_bytes())
    binary.chmod(0o755)
    return binary


def status(pid, thread=None):
    text = Path(f"/proc/{pid}/task/{thread or pid}/status").read_text()
    return dict(re.findall(r"^(\w+):\t(.*)$", text, re.M))


def mask(*capabilities):
    return sum(1 << NEEDED[name] for name in capabilities)


def send(gateway, directory, kinds=None):
    record = directory / "client.jsonl"
    wanted = ("--kinds", kinds) if kinds else ()
    with client(gateway, record, "--calls", CALLS, "--connections", "4", *wanted) as traffic:
        assert traffic.wait(120) == 0, traffic.stderr
    return read_jsonl(record)


def captured(agent):
    return [line for line in agent.lines["stdout"] if line.startswith("{")]


def capability_set(t):
    with Workdir() as directory, Gateway(directory / "gateway") as gateway:
        binary = readable_copy(directory)
        with Agent("--prefix", gateway.prefix, "--output", "jsonl", "--metrics-listen", "none",
                   wrapper=[*exactly(*NEEDED), "sh", "-c", 'shift; exec "$0" "$@"', binary]) as agent:
            agent.wait_ready()
            t.check("capability set: no warning", "warning" not in agent.stderr, agent.stderr[:600])
            t.check("capability set: TLS is captured", re.search(r"worker .* TLS by ", agent.stderr), agent.stderr[:600])
            sent = send(gateway, directory)
            wait_for(lambda: len(captured(agent)) >= len(sent), 15, "all events")
            now = status(agent.pid)
            t.equal("capability set: not root", now["Uid"].split()[0], "65534")
            t.equal("capability set: just these are held", int(now["CapPrm"], 16), mask(*NEEDED))
            t.equal("capability set: its own user cannot read its memory or environment",
                    Path(f"/proc/{agent.pid}/environ").stat().st_uid, 0)
            t.equal("capability set: exit code", agent.stop(), 0)
            t.equal("capability set: an event for every call", len(captured(agent)), len(sent))


def one_missing(t):
    """Without one of them: an end that names it, or less captured and said so. Never silence."""
    with Workdir() as directory, Gateway(directory / "gateway") as gateway:
        binary = readable_copy(directory)
        for name in NEEDED:
            rest = [other for other in NEEDED if other != name]
            run = subprocess.run([*exactly(*rest), binary, "run", "--prefix", gateway.prefix, "--for", "1", "--output", "jsonl",
                                  "--metrics-listen", "none"], capture_output=True, text=True, timeout=30)
            if name in ("bpf", "perfmon"):
                t.check(f"without {name}: ends with 1 and names it", run.returncode == 1 and f"CAP_{name.upper()}" in run.stderr,
                        f"{run.returncode}, {run.stderr[:300]!r}")
            elif name != "checkpoint_restore":
                t.check(f"without {name}: says what is lost", "warning" in run.stderr or run.returncode == 1,
                        f"{run.returncode}, {run.stderr[:300]!r}")
            check = subprocess.run([*exactly(*rest), binary, "check", "--prefix", gateway.prefix], capture_output=True, text=True,
                                   timeout=30)
            t.check(f"without {name}: check says so and gives 1",
                    check.returncode == 1 and re.search(rf"CAP_{name.upper()}\s+MISSING", check.stdout), check.stdout[-600:])
        good = subprocess.run([*exactly(*NEEDED), binary, "check", "--prefix", gateway.prefix], capture_output=True, text=True,
                              timeout=30)
        t.check("with all: check is content", good.returncode == 0 and "MISSING" not in good.stdout, good.stdout[-600:])
        costs = dict(re.findall(r"^  (.*\S) +(\d+) ns$", good.stdout, re.M))
        t.equal("with all: check measures what hooks cost", sorted(costs),
                ["TLS call, probed at cheap instructions", "TLS call, probed at entry and return",
                 "other processes' system calls with a hook", "other processes' system calls without one"])
        # How much is the machine's affair; that a trap takes time is not.
        t.check("with all: a probe is felt", all(int(ns) > 0 for name, ns in costs.items() if name.startswith("TLS")), costs)


def given_up(t):
    """As root: what is left afterwards, thread by thread."""
    with Workdir() as directory, Gateway(directory / "gateway") as gateway, Collector(directory / "events.jsonl") as collector:
        with Agent("--prefix", gateway.prefix, "--api-endpoint", collector.url, "--application-id", "kongtap-test",
                   "--spool-dir", str(directory / "spool"), "--metrics-listen", "127.0.0.1:0") as agent:
            agent.wait_ready()
            main = status(agent.pid)
            held = int(main["CapPrm"], 16)
            t.equal("given up: what the capturing thread keeps", held & ~(1 << SYS_ADMIN), mask(*NEEDED))
            t.check("given up: CAP_SYS_ADMIN, where uprobes do without it", held & (1 << SYS_ADMIN) == 0, f"{held:x}")
            t.equal("given up: effective is permitted", main["CapEff"], main["CapPrm"])
            t.equal("given up: nothing inheritable or ambient", (int(main["CapInh"], 16), int(main["CapAmb"], 16)), (0, 0))
            others = [entry.name for entry in Path(f"/proc/{agent.pid}/task").iterdir() if entry.name != str(agent.pid)]
            t.check("given up: there is a sender's thread", len(others) >= 1)
            for thread in others:
                now = status(agent.pid, thread)
                t.equal(f"given up: thread {now['Name']} has no capability", int(now["CapPrm"], 16), 0)
            for thread in [str(agent.pid), *others]:
                now = status(agent.pid, thread)
                t.equal(f"given up: thread {now['Name']} is filtered, without new privileges",
                        (now["Seccomp"], now["NoNewPrivs"]), ("2", "1"))
            limits = Path(f"/proc/{agent.pid}/limits").read_text()
            t.check("given up: no core dumps", re.search(r"^Max core file size\s+0\s+0\s", limits, re.M), limits)
            # What comes later still works: a gateway that is restarted, its library attached anew, delivery.
            sent = send(gateway, directory)
            wait_for(lambda: len(collector.events()) >= len(sent), 20, "delivery under the filter")
            t.equal("given up: everything is delivered", len(collector.events()), len(sent))
            t.equal("given up: exit code", agent.stop(), 0)
        with Agent("--prefix", gateway.prefix, "--output", "none", "--no-sandbox") as agent:
            agent.wait_ready()
            t.equal("no sandbox: as it was", status(agent.pid)["Seccomp"], "0")


def found_later(t):
    """Attaching, which needs most, happens under the filter as well."""
    with Workdir() as directory:
        gateway = Gateway(directory / "gateway")
        with Agent("--prefix", directory / "gateway" / "kong", "--output", "jsonl", "--metrics-listen", "none") as agent:
            agent.wait_ready()
            t.equal("found later: the filter is there before the gateway", status(agent.pid)["Seccomp"], "2")
            with gateway:
                agent.wait_line(r"worker .* TLS by ")
                wait_for(lambda: agent.stderr.count("TLS by") >= 2, 10, "both workers")
                sent = send(gateway, directory)
                wait_for(lambda: len(captured(agent)) >= len(sent), 15, "events")
                t.equal("found later: an event for every call", len(captured(agent)), len(sent))


def without_multi_uprobe(t):
    """A kernel that has only the older way to place uprobes: CAP_SYS_ADMIN stays where that wants it, and only there."""
    with Workdir() as directory:
        gateway = Gateway(directory / "gateway")
        options = ("--prefix", directory / "gateway" / "kong", "--output", "jsonl", "--metrics-listen", "none",
                   "--force-missing", "multi_uprobe")
        with Agent(*options) as agent:
            agent.wait_ready()
            keeps = bool(int(status(agent.pid)["CapPrm"], 16) & (1 << SYS_ADMIN))
            check = subprocess.run([KONGTAP, "check"], capture_output=True, text=True, timeout=30)
            t.equal("no multi_uprobe: keeps CAP_SYS_ADMIN where check says so", keeps, "CAP_SYS_ADMIN" in check.stdout)
            with gateway:
                wait_for(lambda: agent.stderr.count("TLS by") >= 2, 10, "both workers")
                sent = send(gateway, directory)
                wait_for(lambda: len(captured(agent)) >= len(sent), 15, "events")
                t.equal("no multi_uprobe: an event for every call", len(captured(agent)), len(sent))
                if not keeps:
                    return
                binary = readable_copy(directory)
                with Agent(*options, wrapper=[*exactly(*NEEDED), "sh", "-c", 'shift; exec "$0" "$@"', binary]) as poor:
                    poor.wait_ready()
                    t.check("no multi_uprobe, no CAP_SYS_ADMIN: says which worker's TLS is not seen, and why",
                            re.search(r"worker \d+ .*clear traffic only: \S+/libssl\S*: cannot be probed: Permission", poor.stderr),
                            poor.stderr[:500])


def read_only_image(t):
    """The container image's root, read-only, with the container's set of capabilities."""
    with Workdir() as directory, Gateway(directory / "gateway") as gateway:
        root = directory / "root"
        directory.chmod(0o755)
        subprocess.run([ROOT / "deploy/docker/collect-root.sh", KONGTAP, root], check=True, capture_output=True)
        size = int(subprocess.run(["du", "-sk", root], capture_output=True, text=True, check=True).stdout.split()[0])
        t.check("image: small", size < 40 * 1024, f"{size} KiB")
        programs = [path for path in root.rglob("*") if path.is_file() and os.access(path, os.X_OK) and ".so" not in path.name]
        t.equal("image: one program", [str(path.relative_to(root)) for path in programs], ["usr/sbin/kongtap"])
        keep = ",".join("+" + name for name in NEEDED)
        script = f"""set -e
mount --bind {root} {root}
mount -t proc proc {root}/proc
mount -t sysfs sysfs {root}/sys
mount --bind -o ro /sys/kernel/tracing {root}/sys/kernel/tracing
mount -o remount,ro,bind {root}
shift
exec setpriv --bounding-set=-all,{keep},+sys_chroot --no-new-privs chroot {root} /usr/sbin/kongtap "$@"
"""
        with Agent("--prefix", gateway.prefix, "--output", "jsonl", "--metrics-listen", "none",
                   wrapper=["unshare", "-m", "--propagation", "private", "sh", "-c", script, "sh"]) as agent:
            agent.wait_ready()
            sent = send(gateway, directory)
            wait_for(lambda: len(captured(agent)) >= len(sent), 15, "events")
            t.equal("image: exit code", agent.stop(), 0)
            t.equal("image: an event for every call", len(captured(agent)), len(sent))
            t.check("image: no warning", "warning" not in agent.stderr, agent.stderr[:600])


def nothing_refused(t):
    """A life with everything in it under strace: the filter stands in the way of nothing that the agent does."""
    if not shutil.which("strace"):
        print("skip - filter: no strace here", flush=True)
        return
    with Workdir() as directory, Collector(directory / "events.jsonl") as collector:
        gateway = Gateway(directory / "gateway").__enter__()
        try:
            trace, config = directory / "trace", directory / "kongtap.yaml"
            config.write_text("batch_age: 100\n")
            with Agent("-c", config, "--prefix", gateway.prefix, "--output", "har", "--output-file", directory / "calls.har",
                       "--api-endpoint", collector.url.replace("127.0.0.1", "localhost"), "--application-id", "kongtap-test",
                       "--spool-dir", directory / "spool", "--spool-sync", "50", "--retry-max", "300",
                       "--record", directory / "record", "--metrics-listen", "127.0.0.1:0",
                       wrapper=["strace", "-f", "-qq", "-o", trace]) as agent:
                agent.wait_ready(60)
                child = int(trace.read_text().split(maxsplit=1)[0])
                port = next(int(line.split()[1].rpartition(":")[2], 16)
                            for line in Path(f"/proc/{child}/net/tcp").read_text().splitlines()[1:]
                            if line.split()[3] == "0A" and line.split()[9] in sockets_of(child))
                for path in ("/metrics", "/", "/healthz", "/readyz", "/status.json"):
                    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
                        t.equal(f"filter: {path} is answered", answer.status, 200)
                sent = len(send(gateway, directory, "open_read"))
                wait_for(lambda: len(collector.events()) >= sent, 60, "delivery")
                collector.control(mode="status", status=503)
                sent += len(send(gateway, directory, "open_read"))
                wait_for(lambda: list((directory / "spool").glob("*")), 30, "a spool")
                collector.control(mode="ok")
                os.kill(child, signal.SIGHUP)
                os.kill(child, signal.SIGUSR1)
                agent.wait_line("configuration reloaded", 30)
                wait_for(lambda: len(collector.events()) >= sent, 60, "delivery of what was spooled")
                gateway.__exit__(None, None, None)
                gateway = Gateway(directory / "gateway").__enter__()
                wait_for(lambda: agent.stderr.count("TLS by") >= 4, 60, "the new workers")
                sent += len(send(gateway, directory, "open_read"))
                wait_for(lambda: len(collector.events()) >= sent, 60, "delivery for the new gateway")
                os.kill(child, signal.SIGTERM)
                t.equal("filter: exit code", agent.wait(60), 0)
        finally:
            gateway.__exit__(None, None, None)
        calls = trace.read_text(errors="replace").partition("SECCOMP_FILTER_FLAG_TSYNC|")[2]
        refused = set(re.findall(r"^\d+ +(?:<\.\.\. )?(\w+)[ (].* = -1 (?:ENOSYS|EPERM)", calls, re.M))
        t.check("filter: it was there", len(calls) > 10000, f"{len(calls)} bytes of calls")
        t.equal("filter: refuses nothing but clone3", refused - {"clone3"}, set())


def sockets_of(pid):
    """Inodes of its sockets."""
    found = set()
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # it works on, and closes some meanwhile
            found |= set(re.findall(r"^socket:\[(\d+)\]", os.readlink(link)))
    return found


class Manager:
    """The service manager's end of NOTIFY_SOCKET, an abstract one."""

    def __init__(self):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(f"\0kongtap-test-{os.getpid()}")
        self.heard = []

    @property
    def environment(self):
        return {"NOTIFY_SOCKET": f"@kongtap-test-{os.getpid()}", "WATCHDOG_USEC": "1000000"}

    def wait(self, text, seconds=10):
        self.socket.settimeout(seconds)
        while True:
            message = self.socket.recv(4096).decode()
            self.heard.append(message)
            if text in message.splitlines():
                return message


def service_notification(t):
    with Workdir() as directory, Gateway(directory / "gateway") as gateway:
        manager = Manager()
        with Agent("--prefix", gateway.prefix, "--output", "none", "--metrics-listen", "none",
                   env=manager.environment) as agent:
            manager.wait("READY=1")
            t.check("notify: ready only when capture is on", "ready, watching 2 workers" in agent.stderr, agent.stderr[:400])
            t.check("notify: says nothing else before", manager.heard[0].startswith("READY=1"), repr(manager.heard[0]))
            for _ in range(3):
                manager.wait("WATCHDOG=1", 2)
            t.check("notify: the watchdog is fed", True)
            t.check("notify: says how it does", any(re.search(r"^STATUS=watching 2 workers, \d+ calls", text, re.M)
                                                    for text in manager.heard), repr(manager.heard))
            agent.process.send_signal(signal.SIGHUP)
            manager.wait("RELOADING=1")
            manager.wait("READY=1")
            t.check("notify: reload begins and ends", True)
            # A loop that hangs must starve the watchdog.
            agent.process.send_signal(signal.SIGSTOP)
            manager.socket.settimeout(0.2)
            try:
                while True:
                    manager.socket.recv(4096)
            except TimeoutError:
                pass
            try:
                manager.wait("WATCHDOG=1", 1.5)
                starved = False
            except TimeoutError:
                starved = True
            t.check("notify: a hanging agent does not feed the watchdog", starved)
            agent.process.send_signal(signal.SIGCONT)
            manager.wait("WATCHDOG=1", 3)
            agent.process.terminate()
            manager.wait("STOPPING=1")
            t.equal("notify: exit code", agent.wait(), 0)


if __name__ == "__main__":
    sys.exit(Checks().run(capability_set, one_missing, given_up, found_later, without_multi_uprobe, read_only_image, nothing_refused, service_notification))
