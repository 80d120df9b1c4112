#!/usr/bin/env python3
"""TLS from libraries of other makers and times, linked in with and without symbols; one attachment for a library that many
map; ports of every role. The gateway is miniature.c; what its client saw is what the events must say."""
import mmap
import os
import re
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

from finder import Finder, about, pod_cgroup
from gateway import system_library
from lib import KONGTAP, Checks, EventView, Gateway, Workdir, wait_for
from miniature import Miniature, build, call, certificate, fetch


def skip(what, why):
    print(f"skip - {what}: {why}", flush=True)


def seen(agent, gateway):
    """What the events of a gateway say, in order: (scheme, port, target, body)."""
    views = [EventView(event) for event in agent.events(gateway.inside)]
    return [(view.scheme, view.port, view.target, view.response.get("body", {}).get("target")) for view in views]


def wanted(gateway, port, targets):
    scheme = "https" if gateway.roles[port].endswith(" tls") else "http"
    return [(scheme, gateway.ports[port], target, target) for target in targets]


def check(gateway):
    """What `kongtap check` says of it."""
    done = subprocess.run([KONGTAP, "check", "--prefix", gateway.inside], capture_output=True, text=True, timeout=30)
    return done.returncode, done.stdout


# -- the libraries

def flavours(directory):
    """(name, how to make the gateway, what check says of its TLS)."""
    cert = certificate(directory)
    loading = build(directory / "loading", "-ldl")
    linked = build(directory / "linked", "-DLINKED", "-static", "-w", "-lssl", "-lcrypto")
    stripped = directory / "stripped"
    subprocess.run(["strip", "-o", stripped, linked], check=True)
    own = directory / "own"
    own.mkdir()
    for name in ("libssl.so.3", "libcrypto.so.3"):
        (own / name).write_bytes(Path(system_library(name)).read_bytes())

    def here(library, root):
        return lambda: Miniature(directory, loading, cert, str(library), path=str(root))

    yield "this Debian's OpenSSL", here(own / "libssl.so.3", own), "libssl.so.3, probed at"
    yield "linked in", lambda: Miniature(directory, linked, cert), r"nginx \(linked in\), probed at"
    yield "linked in, stripped", lambda: Miniature(directory, stripped, cert), None

    root = fetch(directory / "1.1.1", "bullseye", "libssl1.1")
    if root:
        libraries = root / "usr/lib/x86_64-linux-gnu"
        yield "OpenSSL 1.1.1", here(libraries / "libssl.so.1.1", libraries), "libssl.so.1.1, probed at"
    else:
        skip("OpenSSL 1.1.1", "the package cannot be fetched")

    # Its C library is newer than ours: a root of its own.
    root = fetch(directory / "3.5", "trixie", "libssl3t64", "libc6", "zlib1g", "libzstd1")
    if root:
        if not (root / "lib64").exists():
            (root / "lib64").symlink_to("usr/lib64")
        (root / "etc").mkdir(exist_ok=True)
        yield ("OpenSSL 3.5, in a root of its own",
               lambda: Miniature(directory, loading, cert, "/usr/lib/x86_64-linux-gnu/libssl.so.3", root=root),
               "3.5/root/usr/lib/x86_64-linux-gnu/libssl.so.3, probed at")
    else:
        skip("OpenSSL 3.5", "the package cannot be fetched")

    root = fetch(directory / "boring", "bookworm", "android-libboringssl")
    if root:
        libraries = root / "usr/lib/x86_64-linux-gnu/android"
        yield "BoringSSL", here(libraries / "libssl.so.0", libraries), "libssl.so.0, probed at"
    else:
        skip("BoringSSL", "the package cannot be fetched")


def libraries(t):
    with Workdir() as directory, ExitStack() as stack:
        directory.chmod(0o755)
        all_of_them = [(name, stack.enter_context(make()), says) for name, make, says in flavours(directory)]
        # The first call of each was before the agent: its socket can be known from the library's structures only.
        old = {name: gateway.connect("tls") for name, gateway, _ in all_of_them}
        for connection in old.values():
            call(connection, "/before")
        agent = stack.enter_context(Finder(directory / "events.jsonl"))
        agent.wait_ready()
        for name, gateway, says in all_of_them:
            agent.wait_worker([gateway.worker])
            for i in range(3):
                call(old[name], f"/old/{i}")
            old[name].close()
            for port in ("tls", "clear"):
                connection = gateway.connect(port)
                for i in range(3):
                    call(connection, f"/{port}/{i}")
                connection.close()
            tls = wanted(gateway, "tls", [f"/{which}/{i}" for which in ("old", "tls") for i in range(3)]) if says else []
            events = tls + wanted(gateway, "clear", [f"/clear/{i}" for i in range(3)])
            agent.wait_events(len(events), gateway.inside)
            t.equal(f"{name}: an event for every call, with its content", seen(agent, gateway), events)
            t.equal(f"{name}: from this client", {EventView(event).client for event in agent.events(gateway.inside)}, {"127.0.0.1"})
            code, text = check(gateway)
            if says:
                t.check(f"{name}: check says how", code == 0 and re.search(rf"ok +TLS: \S*{says}", text), text[-400:])
            else:
                why = r"\S*/sbin/nginx: no SSL_read and SSL_write to probe \(stripped, or no TLS\)"
                t.check(f"{name}: check says which worker is without, and why",
                        re.search(rf"worker {gateway.worker} of {gateway.process.pid}: .*\n +without TLS: {why}", text), text[-400:])
                t.check(f"{name}: and that its TLS is not seen", "TLS traffic of 1 worker would not be seen" in text, text[-400:])
                t.check(f"{name}: the log says it too",
                        re.search(rf"worker {gateway.worker} of \d+, 2 ports, clear traffic only: {why}", agent.stderr),
                        agent.stderr[-600:])
            print(f"# {name}: " + "; ".join(re.findall(r"TLS: (.*)", text)), flush=True)
        t.equal("libraries: exit code", agent.stop(), 0)


# -- one attachment for all

class Linked(Gateway):
    """Maps the very file that another gateway maps."""

    def __init__(self, directory, other):
        super().__init__(directory)
        self.other = other

    def _write_prefix(self):
        super()._write_prefix()
        for name in ("libssl.so.3", "libcrypto.so.3"):
            (self.prefix / "lib" / name).unlink()
            os.link(self.other.prefix / "lib" / name, self.prefix / "lib" / name)


class Canary:
    """A mapping of a library by a process that is no gateway: it shows what is patched for everybody who maps it."""

    def __init__(self, path):
        self.file = open(path, "rb")
        self.code = mmap.mmap(self.file.fileno(), 0, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ | mmap.PROT_EXEC)

    def breakpoints(self):
        self.file.seek(0)
        return sum(a != b for a, b in zip(self.code[:], self.file.read()))


def links(agent):
    """How many links of programs to anything the agent holds."""
    count = 0
    for file in Path(f"/proc/{agent.pid}/fdinfo").iterdir():
        try:
            count += "link_type:" in file.read_text()
        except OSError:
            pass
    return count


def counted_references(t):
    what = "one library, two gateways"
    with Workdir() as directory, ExitStack() as stack:
        first = stack.enter_context(Gateway(directory / "first"))
        second = Linked(directory / "second", first)
        canary = Canary(first.prefix / "lib" / "libssl.so.3")
        t.equal(f"{what}: nothing is patched before", canary.breakpoints(), 0)
        agent = stack.enter_context(Finder(directory / "events.jsonl", "--prefix", str(first.prefix), "--prefix",
                                           str(second.prefix)))
        agent.wait_ready()
        agent.wait_worker(first.workers())
        held, patched = links(agent), canary.breakpoints()
        t.check(f"{what}: probed", held > 0 and patched > 0, f"{held} links, {patched} bytes")
        stack.enter_context(second)
        agent.wait_worker(second.workers())
        t.equal(f"{what}: the second adds no probe", (links(agent), canary.breakpoints()), (held, patched))
        ended = first.workers()
        first.quit()
        for pid in ended:
            agent.wait_line(rf"worker {pid} gone")
        t.equal(f"{what}: the end of the first takes none", (links(agent), canary.breakpoints()), (held, patched))
        subprocess.run(second.in_netns("curl", "-sk", "--http1.1", "-o", "/dev/null",
                                       f"https://127.0.0.1:{second.ports['proxy_tls']}/open/status/200"), check=True)
        agent.wait_events(1, second.prefix)
        t.equal(f"{what}: the second is captured", [EventView(event).scheme for event in agent.events(second.prefix)], ["https"])
        second.quit()
        wait_for(lambda: canary.breakpoints() == 0, 10, "the end of the probes")
        t.check(f"{what}: the end of the last takes all", True)
        t.equal(f"{what}: exit code", agent.stop(), 0)


class Layered(Gateway):
    """Has its libraries from an image, as containers have it: an overlay over a layer that others share."""

    def __init__(self, directory, layer):
        super().__init__(directory)
        self.layer, self.mounted = layer, False

    def _write_prefix(self):
        super()._write_prefix()
        upper, work = self.directory / "upper", self.directory / "work"
        for each in (upper, work):
            each.mkdir()
        subprocess.run(["mount", "-t", "overlay", "overlay", "-o", f"lowerdir={self.layer},upperdir={upper},workdir={work}",
                        self.prefix / "lib"], check=True, capture_output=True)
        self.mounted = True

    def down(self):
        super().down()
        if self.mounted:
            subprocess.run(["umount", self.prefix / "lib"], check=True)
            self.mounted = False


def layers(t):
    """Each container has a device of its own then, and all have one file beneath. Nothing may be seen twice or lost for it."""
    what = "one image, two containers"
    with Workdir() as directory, ExitStack() as stack:
        layer = directory / "layer"
        layer.mkdir()
        for name in ("libssl.so.3", "libcrypto.so.3"):
            (layer / name).write_bytes(Path(system_library(name)).read_bytes())
        canary = Canary(layer / "libssl.so.3")
        gateways = [stack.enter_context(Layered(directory / name, layer)) for name in ("first", "second")]
        agent = stack.enter_context(Finder(directory / "events.jsonl"))
        agent.wait_ready()
        for gateway in gateways:
            agent.wait_worker(gateway.workers())
        patched = canary.breakpoints()
        t.check(f"{what}: the layer's file is probed", patched > 0)

        def call_each(number, *called):
            for gateway in called:
                subprocess.run(gateway.in_netns("curl", "-sk", "--http1.1", "-o", "/dev/null", "-d", f"call {number}",
                                                f"https://127.0.0.1:{gateway.ports['proxy_tls']}/open/echo?call={number}"), check=True)

        for number in range(4):
            call_each(number, *gateways)
        for gateway in gateways:
            agent.wait_events(4, gateway.prefix)
            t.equal(f"{what}: an event for every call, of {gateway.directory.name}",
                    [EventView(event).target for event in agent.events(gateway.prefix)],
                    [f"/open/echo?call={number}" for number in range(4)])
        ended = gateways[0].workers()
        gateways[0].quit()
        for pid in ended:
            agent.wait_line(rf"worker {pid} gone")
        call_each(4, gateways[1])
        agent.wait_events(5, gateways[1].prefix)
        t.equal(f"{what}: the end of the first leaves the second captured", len(agent.events(gateways[1].prefix)), 5)
        gateways[1].quit()
        wait_for(lambda: canary.breakpoints() == 0, 10, "the end of the probes")
        t.check(f"{what}: the end of the last takes all", True)
        t.equal(f"{what}: exit code", agent.stop(), 0)


# -- ports, and pods in the host's network

def roles(t):
    what = "roles"
    ports = {"proxy": "proxy", "proxy tls": "proxy tls", "admin": "admin", "admin tls": "admin tls", "status": "status",
             "manager": "manager", "cluster": "cluster tls", "telemetry": "telemetry tls", "stream": "stream", "other": "other"}
    with Workdir() as directory, pod_cgroup() as (cgroup, container, uid):
        program = build(directory / "loading", "-ldl")
        with Miniature(directory, program, certificate(directory), "libssl.so.3", ports, cgroup=cgroup) as gateway, \
                Finder(directory / "events.jsonl") as agent:
            agent.wait_ready()
            agent.wait_worker([gateway.worker])
            for i in range(2):
                for name in ports:
                    connection = gateway.connect(name)
                    call(connection, f"/{name.replace(' ', '-')}/{i}")
                    connection.close()
            agent.wait_events(4, gateway.inside)
            t.equal(f"{what}: exit code", agent.stop(), 0)
            t.equal(f"{what}: calls to the proxy's ports are events, others are none", seen(agent, gateway),
                    [each for i in range(2) for name in ("proxy", "proxy tls")
                     for each in wanted(gateway, name, [f"/{name.replace(' ', '-')}/{i}"])])
            code, text = check(gateway)
            line = re.search(rf"worker {gateway.worker} of \d+:(.*)", text)
            shown = {"telemetry": "cluster"}
            t.equal(f"{what}: check names each", sorted(line[1].strip().split(", ")), sorted(
                f"{gateway.ports[name]} {shown.get(role.split()[0], role.split()[0])}{' ssl' if role.endswith(' tls') else ''}"
                for name, role in ports.items()))
            if cgroup:
                told = {tuple(about(event).get(name) for name in ("container", "pod_uid", "pod"))
                        for event in agent.events(gateway.inside)}
                t.equal(f"{what}: in the host's network the host's name is not the pod's", told, {(container, uid, None)})


if __name__ == "__main__":
    sys.exit(Checks().run(roles, counted_references, layers, libraries))
