#!/usr/bin/env python3
"""Kong is found wherever it runs, followed through reload, restart and crash; nothing else is looked at.

The agent is told nothing: no --prefix, no --pid. Other gateways of this host, if there are any, are left out of account."""
import os
import pwd
import re
import secrets
import shutil
import signal
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path

from bpf_objects import program_statistics, programs_of, shown
from compare import compare, compare_record
from finder import Finder, about, pod_cgroup, worker_of
from gateway import NGINX, PORTS, alive, children_of, run, system_library, title_of
from lib import (Agent, Checks, EventView, Gateway, GatewayError, Process, Workdir, client, load_exact, read_jsonl,
                 wait_for)

CALLS = int(os.environ.get("KONGTAP_TEST_CALLS", "600"))
RATE = 200
NOTICED = 1.0  # seconds within which a new gateway is found
TLS_CALLS = ("curl", "-sk", "--http1.1", "-o", "/dev/null")


def send(gateway, record, *args):
    with client(gateway, record, *args) as traffic:
        code = traffic.wait(120)
        if code:
            raise RuntimeError(f"client: {code}: {traffic.stderr[-2000:]}")
    return read_jsonl(record)


def lines_of(gateways):
    return [line for gateway in gateways for line in read_jsonl(gateway.access_log)]


def judge(t, what, gateways, records, agent, ready, prefixes=None):
    prefixes = prefixes or [gateway.prefix for gateway in gateways]
    lines = lines_of(gateways)
    wanted = [line for line in lines if line["end"] - line["took"] > ready]
    agent.wait_events(len(wanted), *prefixes)
    events = agent.events(*prefixes)
    t.problems(f"{what}: access log and client agree", compare_record(lines, records))
    t.problems(f"{what}: {len(events)} events for {len(wanted)} calls agree", compare(lines, events, records, ready))
    return events


def within(lines, events, records, start, end=float("inf")):
    """(number of calls, problems) of the time between: those that began and ended in it have one right event each; what
    was under way at either end may have been seen in part, but once."""
    whole = {line["id"]: line for line in lines if start < line["end"] - line["took"] and line["end"] < end}
    known = {line["id"] for line in lines}
    inside, others = [], []
    for event in events:
        (inside if EventView(event).id in whole else others).append(event)
    problems = compare(list(whole.values()), inside, records, start)
    ids = [EventView(event).id for event in others if EventView(event).id]
    problems += [f"repeated: {each}" for each in set(ids) if ids.count(each) > 1]
    problems += [f"unknown: event without a line: {each}" for each in ids if each not in known]
    return len(whole), problems


def curl(gateway, *targets, tls=False):
    for target in targets:
        port, path = target.split("/", 1)
        scheme = "https" if tls else "http"
        subprocess.run(gateway.in_netns(*TLS_CALLS, f"{scheme}://127.0.0.1:{port}/{path}"), check=True)


# -- gateways of other kinds

class SystemLibrary(Gateway):
    """Maps the libssl that everybody on the host maps; its workers are of another user."""

    def _write_prefix(self):
        super()._write_prefix()
        config = self.prefix / "nginx.conf"
        config.write_text(config.read_text().replace("user root;", "user www-data;"))

    def start(self):
        self._start(self.prefix, "nginx.conf", {})
        wait_for(lambda: len(self.workers()) == self.workers_wanted, 10, "the gateway's workers")


class Contained(Gateway):
    """In mount, PID, network and user namespaces of its own, with its own libssl, in a root made of bind mounts."""

    def __init__(self, directory, cgroup=None):
        super().__init__(directory, netns="none")
        self.root = self.directory / "root"
        self.inside = f"/kong-{secrets.token_hex(4)}"
        self.prefix = self.root / self.inside[1:]
        self.upstream_prefix = self.root / "upstream"
        self.cgroup = cgroup
        self.box = None

    def in_netns(self, *argv):
        return ["nsenter", f"--net=/proc/{self.init}/ns/net", *argv]

    def _translate(self, prefix, inside):
        for file in prefix.glob("*.conf"):
            file.write_text(file.read_text().replace(str(prefix), inside))

    def up(self):
        for name in ("usr", "etc", "dev", "proc", "tmp", "var/run/secrets/kubernetes.io/serviceaccount"):
            (self.root / name).mkdir(parents=True, exist_ok=True)
        for name in ("bin", "sbin", "lib", "lib64"):
            (self.root / name).symlink_to(f"usr/{name}")
        (self.root / "etc" / "hostname").write_text("kong-pod-0\n")
        (self.root / "etc" / "passwd").write_text("root:x:0:0::/:/bin/sh\n")
        (self.root / "etc" / "group").write_text("root:x:0:\n")
        (self.root / "var/run/secrets/kubernetes.io/serviceaccount/namespace").write_text("edge")
        for name in ("null", "zero", "urandom", "random"):
            (self.root / "dev" / name).touch()
        self._write_certificate()
        self._write_upstream()
        self._write_prefix()
        self._translate(self.upstream_prefix, "/upstream")
        self._translate(self.prefix, self.inside)
        (self.prefix / ".kong_env").write_text("prefix = " + self.inside + "\n")
        script = f"""set -e
            mount --rbind /usr {self.root}/usr
            for d in null zero urandom random; do mount --bind /dev/$d {self.root}/dev/$d; done
            mount -t proc proc {self.root}/proc
            ip link set lo up
            exec chroot {self.root} /bin/sh -c '
                {NGINX} -p /upstream -c upstream.conf
                LD_LIBRARY_PATH={self.inside}/lib {NGINX} -p {self.inside} -c nginx.conf
                echo up; while :; do sleep 60; done'"""
        join = f"echo $$ > {self.cgroup}/cgroup.procs; " if self.cgroup else ""
        self.box = Process(["sh", "-c", join + 'exec unshare --user --map-root-user --mount --pid --net --uts --fork --kill-child '
                            'sh -c "$0"', script])
        try:
            self.box.wait_line("^up$", 20, "stdout")
        except RuntimeError as error:
            raise GatewayError(f"the contained gateway: {error} {self.box.stderr}") from None
        self.init = children_of(self.box.pid)[0]
        wait_for(lambda: len(self.workers()) == self.workers_wanted, 10, "the contained gateway's workers")
        return self

    def master(self):
        for child in children_of(self.init):
            if f"-p {self.inside} " in title_of(child) and "master" in title_of(child):
                return child
        return None

    def down(self):
        if not self.box:
            return
        if self.box.process.poll() is None:
            os.kill(self.init, signal.SIGKILL)
        self.box.__exit__()
        self.box = None


# -- nginx that is not Kong

@contextmanager
def short_lived_nginx(gateway, directory):
    """What the kong command runs: nginx -p /tmp/resty_…; with Kong's files in it, so that only its name tells."""
    prefix = Path(f"/tmp/resty_kt{secrets.token_hex(4)}")
    for name in ("conf", "logs"):
        (prefix / name).mkdir(parents=True)
    (prefix / "nginx-kong.conf").write_text("")
    (prefix / "conf" / "nginx.conf").write_text(
        "pid logs/nginx.pid;\nerror_log logs/error.log;\nuser root;\nworker_processes 1;\nevents {}\n"
        f"http {{ access_log off; server {{ server_name kong; listen 127.0.0.1:8090; location / {{ return 200 ok; }} }} }}\n")
    try:
        run(*gateway.in_netns(NGINX, "-p", f"{prefix}/", "-c", "conf/nginx.conf"))
        yield prefix
    finally:
        pid = gateway._pid_in(prefix / "logs" / "nginx.pid")
        if pid:
            gateway._end(pid, signal.SIGTERM)
        shutil.rmtree(prefix, ignore_errors=True)


def not_kong(gateway, resty):
    """Calls that are nobody's API calls: straight to the service, to the command's nginx, to Kong's own ports; and the
    posts of a worker itself."""
    curl(gateway, f"{PORTS['upstream']}/status/200", "8090/", f"{PORTS['admin']}/", f"{PORTS['status']}/status",
         f"{PORTS['status']}/trigger-plugin-post", f"{PORTS['status']}/trigger-plugin-post?tls=1")
    curl(gateway, f"{PORTS['upstream_tls']}/status/200", tls=True)


# -- the tests

def two_gateways_and_a_container(t):
    what = "side by side"
    with ExitStack() as stack:
        directory = stack.enter_context(Workdir())
        cgroup, container, uid = stack.enter_context(pod_cgroup())
        directory.chmod(0o755)
        own = stack.enter_context(Gateway(directory / "own"))
        system = stack.enter_context(SystemLibrary(directory / "system"))
        boxed = stack.enter_context(Contained(directory / "boxed", cgroup))
        gateways = [own, system, boxed]
        prefixes = [str(own.prefix), str(system.prefix), boxed.inside]
        resty = stack.enter_context(short_lived_nginx(own, directory))
        agent = stack.enter_context(Finder(directory / "events.jsonl", env={"KONGTAP_NODE_NAME": "node-7"}))
        elsewhere = stack.enter_context(Finder(directory / "elsewhere.jsonl", "--exclude-namespaces", "edge,test-*"))
        ready = max(agent.wait_ready(), elsewhere.wait_ready())
        t.equal(f"{what}: one of them has workers of another user", {Path(f"/proc/{pid}").stat().st_uid for pid in system.workers()},
                {pwd.getpwnam("www-data").pw_uid})
        found = set(agent.masters().values())
        for gateway, prefix in zip(gateways, prefixes):
            t.check(f"{what}: {prefix} is found", prefix in found, f"found {sorted(found)}")
        records = []
        threads = [threading.Thread(target=lambda i=i, g=g: records.extend(
            send(g, directory / f"record{i}.jsonl", "--calls", CALLS // 2, "--seed", f"side{i}", "--connections", "8",
                 "--rate", RATE / 2)))
            for i, g in enumerate(gateways)]
        for thread in threads:
            thread.start()
        not_kong(own, resty)
        for thread in threads:
            thread.join()
        not_kong(own, resty)
        events = judge(t, what, gateways, records, agent, ready, prefixes)
        boxed_workers = agent.workers({boxed.inside})
        in_box = [about(event) for event in events if worker_of(event) in boxed_workers]
        t.check(f"{what}: events of each gateway", in_box and len(in_box) < len(events))
        t.check(f"{what}: the node's name is in each event", all(about(event).get("node") == "node-7" for event in events))
        if cgroup:
            told = {tuple(each.get(name) for name in ("container", "pod_uid", "pod", "pod_namespace")) for each in in_box}
            t.equal(f"{what}: container, pod and namespace in its events", told, {(container, uid, "kong-pod-0", "edge")})
            elsewhere.wait_events(len(events) - len(in_box), *prefixes)
            t.equal(f"{what}: none of them where the namespace is excluded",
                    sorted(EventView(event).id for event in elsewhere.events(*prefixes)),
                    sorted(EventView(event).id for event in events if worker_of(event) not in boxed_workers))
        strangers = [prefix for prefix in agent.masters().values()
                     if prefix in (str(own.upstream_prefix), str(system.upstream_prefix), "/upstream", str(resty))]
        t.equal(f"{what}: no nginx that is not Kong is followed", strangers, [])
        ports = (8090, *(PORTS[name] for name in ("upstream", "upstream_tls", "admin", "status", "plugin_collector")))
        wrong = re.compile(rb'"uri":"https?://[^/"]*:(%s)/' % b"|".join(b"%d" % port for port in ports))
        t.equal(f"{what}: no call to an nginx that is not Kong, to Kong's own ports, or of Kong itself",
                [line[:200] for line in agent.printed() if wrong.search(line)], [])
        t.equal(f"{what}: exit code", agent.stop(), 0)


# An unprobed process has the very bytes of the file in its memory.

def library_text(pid, name="libssl"):
    """(memory, file) of the executable mapping of a process's TLS library."""
    for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
        fields = line.split(None, 5)
        if len(fields) == 6 and "x" in fields[1] and f"/{name}" in fields[5]:
            start, end = (int(part, 16) for part in fields[0].split("-"))
            offset = int(fields[2], 16)
            with open(f"/proc/{pid}/mem", "rb") as memory, open(f"/proc/{pid}/map_files/{fields[0]}", "rb") as file:
                memory.seek(start)
                file.seek(offset)
                text = file.read(end - start)
                return memory.read(len(text)), text
    raise RuntimeError(f"process {pid} maps no {name}")


def breakpoints(pid):
    memory, text = library_text(pid)
    return sum(a != b for a, b in zip(memory, text))


NEIGHBOUR = """
import socket, ssl, sys
server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
server.load_cert_chain(sys.argv[1] + '.crt', sys.argv[1] + '.key')
client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
ends = [context.wrap_bio for context in (client, server)]
a, b = ssl.MemoryBIO(), ssl.MemoryBIO()
one, two = client.wrap_bio(a, b), server.wrap_bio(b, a, server_side=True)
done = set()
while len(done) < 2:
    for end in (one, two):
        try:
            end.do_handshake()
            done.add(end)
        except ssl.SSLWantReadError:
            pass
print('neighbour: ready', flush=True)
for line in sys.stdin:
    for i in range(int(line)):
        one.write(b'GET / HTTP/1.1\\r\\nHost: secret\\r\\n\\r\\n')
        two.read()
        two.write(b'HTTP/1.1 200 OK\\r\\nContent-Length: 0\\r\\n\\r\\n')
        one.read()
    print('neighbour: done', flush=True)
"""


def probe_programs(agent):
    """Ids of the programs that this agent holds and that probes run."""
    return [each["id"] for each in programs_of(agent.pid) if each["type"] == "kprobe"]


def times_run(programs):
    return sum(shown(each).get("run_cnt", 0) for each in programs)


def an_innocent_neighbour(t):
    what = "neighbour"
    library = system_library("libssl.so.3")
    with Workdir() as directory, SystemLibrary(directory / "gateway") as gateway, program_statistics():
        python = "/usr/bin/python3" if Path("/usr/bin/python3").exists() else sys.executable
        with subprocess.Popen([python, "-c", NEIGHBOUR, str(directory / "gateway" / "gateway")], stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE, text=True) as neighbour:
            try:
                neighbour.stdout.readline()

                def talk(calls):
                    neighbour.stdin.write(f"{calls}\n")
                    neighbour.stdin.flush()
                    return neighbour.stdout.readline()

                mapped = os.path.realpath(library)
                t.check(f"{what}: maps the gateway's libssl", all(
                    mapped in Path(f"/proc/{pid}/maps").read_text() for pid in (neighbour.pid, *gateway.workers())))
                # Of this gateway alone: what another one does on this host would be counted.
                with Finder(directory / "events.jsonl", "--prefix", gateway.prefix) as agent:
                    agent.wait_ready()
                    agent.wait_worker(gateway.workers())
                    programs = probe_programs(agent)
                    t.check(f"{what}: the programs of the probes are found", programs)
                    before = times_run(programs)
                    talk(200)
                    t.equal(f"{what}: 800 TLS calls of it run no program", times_run(programs) - before, 0)
                    t.equal(f"{what}: no breakpoint in it", breakpoints(neighbour.pid), 0)
                    t.check(f"{what}: breakpoints in each worker", all(map(breakpoints, gateway.workers())))
                    curl(gateway, f"{PORTS['proxy_tls']}/open/status/200", tls=True)
                    t.check(f"{what}: a TLS call of the gateway runs them", times_run(programs) > before)
                    agent.wait_events(1, gateway.prefix)
                    t.equal(f"{what}: and is an event", len(agent.events(gateway.prefix)), 1)
                    t.equal(f"{what}: exit code", agent.stop(), 0)
                # Another agent of this host may be looking at them too, for a while.
                wait_for(lambda: not any(map(breakpoints, gateway.workers())), 15, "the last breakpoints to go")
                t.check(f"{what}: no breakpoint is left in the workers", True)
            finally:
                neighbour.kill()


def reload_and_crash(t):
    what = "reload"
    with Workdir() as directory, Gateway(directory / "gateway") as gateway, \
            Finder(directory / "events.jsonl") as agent:
        ready = agent.wait_ready()
        record = directory / "record.jsonl"
        with client(gateway, record, "--calls", CALLS * 2, "--connections", "16", "--rate", RATE * 2) as traffic:
            for _ in range(2):
                time.sleep(0.6)
                gateway.reload()
            t.equal(f"{what}: client", traffic.wait(120), 0)
        judge(t, f"{what} twice in mid-traffic", [gateway], read_jsonl(record), agent, ready)

        # A worker that is killed takes its calls with it: some have no line, or no end.
        what = "killed worker"
        record2 = directory / "record2.jsonl"
        with client(gateway, record2, "--calls", CALLS, "--connections", "16", "--rate", RATE * 2, "--seed", "kill") as traffic:
            time.sleep(0.5)
            gateway.kill_worker()
            t.equal(f"{what}: client", traffic.wait(120), 0)
        records = read_jsonl(record) + read_jsonl(record2)
        lines = lines_of([gateway])
        agent.wait_events(len(lines), gateway.prefix)
        problems = compare(lines, agent.events(gateway.prefix), records, ready)
        cut = sum("error" in each for each in records)
        odd = [each for each in problems if each.startswith("unknown")]
        t.problems(f"{what}: every call in the access log is an event", [each for each in problems if each not in odd])
        t.check(f"{what}: {len(odd)} events of {cut} calls that it broke off", len(odd) <= cut + 2, "; ".join(odd[:3]))


def new_gateway_is_noticed(t):
    what = "restart"
    with Workdir() as directory, Gateway(directory / "gateway") as gateway, \
            Finder(directory / "events.jsonl") as agent:
        agent.wait_ready()
        # With a new library on the way, as after an upgrade of the package.
        replace_library(gateway)
        gateway.quit()
        gateway.start()
        started = time.time()
        send(gateway, directory / "record.jsonl", "--calls", 240, "--connections", "4", "--rate", 120)
        lines, records = lines_of([gateway]), read_jsonl(directory / "record.jsonl")
        agent.wait_events(sum(line["end"] - line["took"] > started + NOTICED for line in lines), gateway.prefix)
        calls, problems = within(lines, agent.events(gateway.prefix), records, started + NOTICED)
        t.problems(f"{what}: each of {calls} calls has one event", problems)
        first = min((EventView(event).began() for event in agent.events(gateway.prefix)), default=started + 9)
        t.check(f"{what}: the first event is of a call {first - started:.2f} s after the start", first - started < NOTICED)

        what = "binary upgrade"
        record = directory / "record2.jsonl"
        with client(gateway, record, "--calls", 600, "--connections", "8", "--rate", 150, "--seed", "usr2") as traffic:
            time.sleep(0.7)
            old, old_workers = gateway.master(), set(gateway.workers())
            os.kill(old, signal.SIGUSR2)
            wait_for(lambda: gateway.master() not in (None, old), 10, "the new master")
            wait_for(lambda: len(gateway.workers()) == gateway.workers_wanted, 10, "the new workers")
            upgraded = time.time()
            os.kill(old, signal.SIGWINCH)
            wait_for(lambda: not any(map(alive, old_workers)), 20, "the end of the old workers")
            t.check(f"{what}: the old master outlives its workers", alive(old))
            os.kill(old, signal.SIGQUIT)
            t.equal(f"{what}: client", traffic.wait(120), 0)
        lines, records = lines_of([gateway]), records + read_jsonl(record)
        agent.wait_events(sum(line["end"] - line["took"] > started + NOTICED for line in lines), gateway.prefix)
        events = agent.events(gateway.prefix)
        calls, problems = within(lines, events, records, upgraded + NOTICED)
        t.problems(f"{what}: each of {calls} later calls has one event", problems)
        kept = [line for line in lines if line["pid"] in old_workers and line["end"] - line["took"] > started + NOTICED]
        ids = {line["id"] for line in kept}
        t.problems(f"{what}: each of {len(kept)} calls of the old workers, to their last, has one event",
                   compare(kept, [event for event in events if EventView(event).id in ids], records, 0))


class Slow(Gateway):
    """As Kong can be: long in reading its configuration, and long in each worker before that serves."""

    def __init__(self, directory, init="true", init_worker="true"):
        super().__init__(directory)
        self.init, self.init_worker = init, init_worker

    def _write_prefix(self):
        super()._write_prefix()
        config = self.prefix / "nginx-kong.conf"
        config.write_text(config.read_text().replace("init_by_lua_block { ", f'init_worker_by_lua_block {{ os.execute("{self.init_worker}") }}\n'
                                                     f'init_by_lua_block {{ os.execute("{self.init}") '))

    def start(self):
        """Back when it listens, whether the workers serve or not."""
        self._start(self.prefix, "nginx.conf", {"LD_LIBRARY_PATH": str(self.prefix / "lib")})


def lift(gate):
    """Lets go who waits for a named pipe to be written to."""
    try:
        os.close(os.open(gate, os.O_WRONLY | os.O_NONBLOCK))
    except OSError:
        pass


def slow_starts(t):
    what = "slow start"
    with ExitStack() as stack:
        directory = stack.enter_context(Workdir())
        known = stack.enter_context(Gateway(directory / "known"))
        agent = stack.enter_context(Finder(directory / "events.jsonl"))
        agent.wait_ready()
        agent.wait_worker(known.workers())
        # Longer than anybody looks for it only because a program was started, and with a gateway known already.
        gateway = stack.enter_context(Slow(directory / "slow", init="sleep 4.5"))
        started = time.time()
        agent.wait_line(rf"gateway found: master {gateway.master()}, ")
        t.check(f"{what}: found {time.time() - started:.2f} s after its start", time.time() - started < NOTICED)
        t.equal(f"{what}: exit code", agent.stop(), 0)

        # An agent that comes while the workers still bear their master's title.
        what = "workers without a title"
        gate = directory / "gate"
        os.mkfifo(gate)
        late = stack.enter_context(Slow(directory / "late", init_worker=f"cat {gate}"))
        wait_for(lambda: len(children_of(late.master())) >= 2, 10, "the workers")
        t.equal(f"{what}: they have none", late.workers(), [])
        agent = stack.enter_context(Finder(directory / "late.jsonl"))
        agent.wait_ready()
        for pid in children_of(late.master()):
            agent.wait_line(rf"worker {pid} of {late.master()},")
        t.equal(f"{what}: nor is one of them a master", [pid for pid in agent.masters() if pid in children_of(late.master())], [])
        ready = time.time()
        record = directory / "record.jsonl"
        with client(late, record, "--calls", CALLS // 6, "--connections", "8") as traffic:
            wait_for(lambda: lift(gate) or len(late.workers()) == late.workers_wanted, 10, "the workers' titles")
            t.equal(f"{what}: client", traffic.wait(120), 0)
        judge(t, what, [late], read_jsonl(record), agent, ready)
        t.equal(f"{what}: exit code", agent.stop(), 0)


def replace_library(gateway, name="libssl.so.3"):
    """As a package manager does it: another file takes the name."""
    path = gateway.prefix / "lib" / name
    fresh = path.with_suffix(".new")
    shutil.copy(path, fresh)
    os.rename(fresh, path)


def library_changed_on_disk(t):
    with Workdir() as directory, Gateway(directory / "gateway") as gateway:
        records = []
        for what, change in (("library replaced", replace_library),
                             ("library deleted", lambda g: (g.prefix / "lib" / "libssl.so.3").unlink())):
            change(gateway)
            with Finder(directory / f"{what}.jsonl") as agent:
                ready = agent.wait_ready()
                records += send(gateway, directory / f"{what}.record", "--calls", CALLS // 3, "--connections", "8",
                                "--seed", what)
                events = judge(t, what, [gateway], records, agent, ready)
                t.check(f"{what}: TLS calls are among them", any(EventView(event).scheme == "https" for event in events))
                t.check(f"{what}: the log says so", "file replaced since" in agent.stderr)


def calls_pass(gateway):
    """Until a second's calls have, however long they take."""
    def logged():
        return gateway.access_log.read_bytes().count(b"\n")
    before = logged()
    wait_for(lambda: logged() >= before + RATE, 60, "calls")


def agent_restarted(t):
    what = "agent restarted"
    with Workdir() as directory, Gateway(directory / "gateway") as gateway:
        record = directory / "record.jsonl"
        with client(gateway, record, "--calls", 10 ** 6, "--connections", "12", "--rate", RATE) as traffic:
            spans, agents = [], []
            # The second comes while the first is still there, the third after the second is gone.
            with Finder(directory / "1.jsonl") as first:
                began = first.wait_ready()
                calls_pass(gateway)
                with Finder(directory / "2.jsonl") as second:
                    second_began = second.wait_ready()
                    calls_pass(gateway)
                    spans.append((began, time.time() - 0.3))
                    t.equal(f"{what}: exit code of the first", first.stop(), 0)
                    calls_pass(gateway)
                    spans.append((second_began, time.time() - 0.3))
                    t.equal(f"{what}: exit code of the second", second.stop(), 0)
                agents += [first, second]
            with Finder(directory / "3.jsonl") as third:
                spans.append((third.wait_ready(), float("inf")))
                calls_pass(gateway)
                t.equal(f"{what}: client", traffic.stop(120), 0)
                lines, records = lines_of([gateway]), read_jsonl(record)
                third.wait_events(sum(line["end"] - line["took"] > spans[2][0] for line in lines), gateway.prefix)
                t.equal(f"{what}: exit code of the third", third.stop(), 0)
            agents.append(third)
        seen = [agent.events(gateway.prefix) for agent in agents]
        for name, events, (start, end) in zip(("first", "second", "third"), seen, spans):
            calls, problems = within(lines, events, records, start, end)
            t.problems(f"{what}: each of {calls} calls has one event of the {name}", problems)
            t.check(f"{what}: there were enough for the {name}", calls > RATE // 4, f"{calls} calls")
        both = {view.id: view.transaction_id for view in map(EventView, seen[0]) if view.id}
        same = [view for view in map(EventView, seen[1]) if view.id in both]
        t.check(f"{what}: enough calls seen by two agents", len(same) > RATE // 8, f"{len(same)} calls")
        t.problems(f"{what}: {len(same)} calls seen by two agents have one transaction id each",
                   [f"differs: {view.verb} {view.target} {view.id}: {both[view.id]}, {view.transaction_id}"
                    for view in same if both[view.id] != view.transaction_id])
        twice = {view.id for view in map(EventView, seen[1])} & {view.id for view in map(EventView, seen[2])}
        began = {line["id"]: line["end"] - line["took"] for line in lines}
        t.equal(f"{what}: no call that began after the third was ready is also the second's",
                [each for each in twice if began.get(each, 0) > spans[2][0]], [])


def filters(t):
    cases = {
        "exclude hosts": (("--exclude-hosts", "api.example.test"), lambda line: line["host"] != "api.example.test"),
        "include paths": (("--include-paths", "/key/*,/basic/*"), lambda line: line["uri"].startswith(("/key/", "/basic/"))),
        "exclude paths, include ports": (("--exclude-paths", "/open/*", "--include-ports", PORTS["proxy_tls"]),
                                         lambda line: line["port"] == PORTS["proxy_tls"]
                                         and not line["uri"].startswith("/open/")),
    }
    with ExitStack() as stack:
        directory = stack.enter_context(Workdir())
        gateway = stack.enter_context(Gateway(directory / "gateway"))
        agents = [stack.enter_context(Finder(directory / f"{i}.jsonl", *args))
                  for i, (args, _) in enumerate(cases.values())]
        ready = max(agent.wait_ready() for agent in agents)
        records = send(gateway, directory / "record.jsonl", "--calls", CALLS // 2, "--connections", "8")
        lines = lines_of([gateway])
        for (name, (_, passes)), agent in zip(cases.items(), agents):
            wanted = [line for line in lines if passes(line)]
            agent.wait_events(len(wanted), gateway.prefix)
            t.check(f"filter: {name}: some pass", 0 < len(wanted) < len(lines))
            t.problems(f"filter: {name}: {len(wanted)} of {len(lines)} calls",
                       compare(wanted, agent.events(gateway.prefix), records, ready))


if __name__ == "__main__":
    sys.exit(Checks().run(two_gateways_and_a_container, an_innocent_neighbour, reload_and_crash, new_gateway_is_noticed,
                          slow_starts, library_changed_on_disk, agent_restarted, filters))
