#!/usr/bin/env python3
"""Never lose, never hurt: the collector, its name, the disk, the ring, the agent itself and the gateway fail while real calls
pass. After each fault the sums are exact and every event that no documented limit excuses has arrived.

The times are short so that this runs with every change; `make torture` runs it with those of a bad day:
KONGTAP_TEST_OUTAGE (seconds, 2), KONGTAP_TEST_STOP (seconds, 2), KONGTAP_TEST_KILLS (3)."""
import os
import random
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

from bpf_objects import held_by
from compare import compare
from gateway import PORTS
from h1life import Call, inside
from lib import Agent, Checks, Collector, Gateway, GatewayError, Process, Workdir, balance, client, read_jsonl, stamp_seconds, wait_for

OUTAGE = float(os.environ.get("KONGTAP_TEST_OUTAGE", "2"))
STOP = float(os.environ.get("KONGTAP_TEST_STOP", "2"))
KILLS = int(os.environ.get("KONGTAP_TEST_KILLS", "3"))
APPLICATION_ID = "kongtap-fault-suite"
SYNC_MS = 200
QUICK = ("--retry-base", "50", "--retry-max", "200", "--batch-age", "100", "--spool-sync", SYNC_MS, "--metrics-listen", "none")
# From the end of a call to its being on disk: the ring is read, the upstream leg waited for, the interval waited out twice.
MATURE = 1.5 + 2 * SYNC_MS / 1000


def tap(gateway, collector, spool, *more, url=None, wrapper=()):
    return Agent("--prefix", gateway.prefix, "--spool-dir", spool, *QUICK, *more, wrapper=wrapper,
                 env={"KONGTAP_APPLICATION_ID": APPLICATION_ID, "KONGTAP_API_ENDPOINT": url or collector.url})


@contextmanager
def place(name, *collector_args):
    """Directory, gateway, collector."""
    with Workdir() as directory, Gateway(directory / "gateway") as gateway, \
            Collector(directory / "taken.jsonl", "--app-id", APPLICATION_ID, *collector_args) as collector:
        yield directory, gateway, collector


def traffic(gateway, directory, name, seconds, rate=100):
    record = directory / f"{name}.client.jsonl"
    return record, client(gateway, record, "--calls", int(seconds * rate), "--rate", rate, "--seed", name, "--connections", 8)


def done(t, what, running):
    t.equal(f"{what}: the client's exit code", running.wait(300), 0)


def id_of(event):
    return ((event.get("response") or {}).get("headers") or {}).get("x-kong-request-id")


def missing(collector, records, seconds=30):
    """Calls of these records that have not arrived."""
    wanted = {entry["id"] for record in records for entry in read_jsonl(record) if entry.get("id")}
    try:
        wait_for(lambda: wanted <= set(map(id_of, collector.events())), seconds, "the events")
    except GatewayError:
        pass
    return len(wanted - set(map(id_of, collector.events())))


def ends_well(t, what, agent, *excused):
    """Stops it; the sums must be exact, and nothing dropped but for these causes."""
    t.equal(f"{what}: exit code", agent.stop(), 0)
    for of in ("calls", "events"):
        whole, ways = balance(agent, of)
        t.equal(f"{what}: {of} add up, {ways}", whole, sum(n for way, n in ways.items() if way != "unaccounted"))
        t.equal(f"{what}: {of} dropped", {way: n for way, n in ways.items() if "dropped" in way and way not in excused}, {})
    t.equal(f"{what}: nothing crashed", re.findall(r"Sanitizer|runtime error", agent.stderr), [])


# -- the collector

def collector_down(t):
    """Nothing listens, for long; then it comes back at the same place."""
    what = "collector down"
    with Workdir() as directory, Gateway(directory / "gateway") as gateway:
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            port = s.getsockname()[1]
        with tap(gateway, None, directory / "spool", url=f"http://127.0.0.1:{port}") as agent:
            agent.wait_ready()
            record, running = traffic(gateway, directory, "down", OUTAGE)
            with running:
                done(t, what, running)
            agent.wait_line("does not take events")
            with Collector(directory / "taken.jsonl", "--app-id", APPLICATION_ID, "--port", port) as collector:
                t.equal(f"{what}: calls that did not arrive", missing(collector, [record]), 0)
                ends_well(t, what, agent)
                t.equal(f"{what}: what it has against the events", collector.stats()["errors"], [])


def name_unknown(t):
    """The collector's name does not resolve, and then it does. The agent has a hosts file of its own."""
    what = "name"
    with place(what) as (directory, gateway, collector):
        hosts = directory / "hosts"
        hosts.write_text("127.0.0.1 localhost\n")
        wrapper = ["unshare", "-m", "sh", "-c", f"mount --bind {hosts} /etc/hosts && exec \"$@\"", "sh"]
        with tap(gateway, collector, directory / "spool", url=f"http://collector.kongtap.invalid:{collector.port}",
                 wrapper=wrapper) as agent:
            agent.wait_ready()
            record, running = traffic(gateway, directory, what, 1)
            with running:
                done(t, what, running)
            agent.wait_line(r"does not take events: no answer: .*resolve")
            t.equal(f"{what}: nothing arrived", len(collector.events()), 0)
            with open(hosts, "a") as file:
                file.write("127.0.0.1 collector.kongtap.invalid\n")
            t.equal(f"{what}: calls that did not arrive", missing(collector, [record]), 0)
            ends_well(t, what, agent)


# -- the disk

def spool_removed(t):
    """Somebody removes the spool's directory while events wait in it: the agent, which has no privilege left, makes it again with
    what was open, and the next agent finds all of it there."""
    what = "spool removed"
    with place(what) as (directory, gateway, collector):
        spool, records = directory / "spool", []
        with tap(gateway, None, spool, "--shutdown-timeout", 0, url="http://127.0.0.1:1") as agent:
            agent.wait_ready()
            for part in ("before", "after"):
                record, running = traffic(gateway, directory, part, 0.5)
                with running:
                    done(t, f"{what}, {part}", running)
                records.append(record)
                wait_for(lambda: any(file.stat().st_size > 8 for file in spool.glob("*.spool")), 30, "a spool file")
                if part == "before":
                    shutil.rmtree(spool)
            agent.wait_line("was removed under the running agent: made again")
            ends_well(t, what, agent)
        with tap(gateway, collector, spool) as agent:
            t.equal(f"{what}: calls that did not arrive", missing(collector, records), 0)
            ends_well(t, f"{what}, delivered", agent)


def disk_full(t):
    what = "disk full"
    with place(what) as (directory, gateway, collector):
        disk = directory / "disk"
        disk.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", disk], check=True)
        try:
            collector.control(mode="reset")
            with tap(gateway, collector, disk / "spool") as agent:
                agent.wait_ready()
                record, running = traffic(gateway, directory, what, 3, rate=300)
                with running:
                    done(t, what, running)
                agent.wait_line("No space left", 20)
                collector.control(mode="ok")
                # What found no room on disk waited in memory.
                t.equal(f"{what}: calls that did not arrive", missing(collector, [record]), 0)
                ends_well(t, what, agent)
        finally:
            subprocess.run(["umount", "-l", disk], check=True)


# -- the clock

CLOCK = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
static volatile long long *offset;
static int (*real)(clockid_t, struct timespec *);
__attribute__((constructor)) static void begin(void)
{
	real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
	offset = mmap(0, sizeof(*offset), PROT_READ, MAP_SHARED, open(getenv("KT_CLOCK_OFFSET"), O_RDONLY), 0);
}
int clock_gettime(clockid_t id, struct timespec *t)
{
	int ret;

	/* Another library's beginning may come before ours. */
	if (!real)
		begin();
	ret = real(id, t);
	if (id == CLOCK_REALTIME)
		t->tv_sec += *offset;
	return ret;
}
"""


def clock_jumps(t):
    """The wall clock goes two days ahead while the collector is away, and three back: events of the time before, between and
    after all arrive, with the times that the clock showed. The agent has a clock of its own: one of its library's functions."""
    what = "clock"
    with place(what) as (directory, gateway, collector):
        shim, offset = directory / "clock.so", directory / "offset"
        subprocess.run(["gcc", "-shared", "-fPIC", "-o", shim, "-x", "c", "-", "-ldl"], input=CLOCK, text=True, check=True)
        offset.write_bytes(struct.pack("q", 0))
        with tap(gateway, collector, directory / "spool",
                 wrapper=["env", f"LD_PRELOAD={shim}", f"KT_CLOCK_OFFSET={offset}"]) as agent:
            agent.wait_ready()
            records = {}
            for days, mode in ((0, "ok"), (2, "reset"), (-1, "ok")):
                collector.control(mode=mode)
                with open(offset, "r+b") as file:
                    file.write(struct.pack("q", days * 86400))
                records[days], running = traffic(gateway, directory, f"{what} {days}", 1)
                with running:
                    done(t, f"{what}: {days} days", running)
            t.equal(f"{what}: calls that did not arrive", missing(collector, records.values()), 0)
            times = {id_of(event): stamp_seconds(event["request"]["time"]) for event in collector.events()}
            for days, record in records.items():
                # The last one: the agent looks at the clock now and then.
                last = max((entry for entry in read_jsonl(record) if entry.get("id")), key=lambda entry: entry["began"])
                ahead = times.get(last["id"], 0) - last["began"]
                t.check(f"{what}: {days} days: so does the event say", abs(ahead - days * 86400) < 60, f"{ahead} s")
            ends_well(t, what, agent)


# -- the ring, and an agent that does not read it

def nothing_wrong(t, what, gateway, records, collector, ready, after):
    """Calls after `after` have their event; whatever arrived is right, or says what it lacks."""
    events = [event for event in collector.events() if id_of(event)]
    lines = [line for line in read_jsonl(gateway.access_log) if line["end"] - line["took"] > ready]
    seen = {line["id"] for line in lines}
    events = [event for event in events if id_of(event) in seen]
    marked = {id_of(event) for event in events if is_marked(event)}
    problems = compare(lines, events, records, after)
    t.problems(f"{what}: {len(events)} events for {len(lines)} calls, {len(marked)} of them marked, agree",
               [each for each in problems if not any(name and name in each for name in marked)])


def is_marked(event):
    kong = (event.get("metadata") or {}).get("kong") or {}
    return bool(kong.get("request") != "complete" or kong.get("response") != "complete" or kong.get("join") == "missing" or
                kong.get("request_body_omitted") or kong.get("response_body_omitted"))


def slowly(calls):
    done = []
    for _ in range(calls):
        done.append(Call("GET", "/open/after").alone().record)
        time.sleep(0.1)
    return done


def lost_records(agent):
    return int(re.findall(r"(\d+) records and \d+ stream bytes lost", agent.stderr)[-1])


def ring_too_small(t):
    what = "small ring"
    with place(what) as (directory, gateway, collector):
        with tap(gateway, collector, directory / "spool", "--ring-bytes", 65536, "--poll-interval", 500) as agent:
            ready = agent.wait_ready()
            record, running = traffic(gateway, directory, what, 2, rate=400)
            with running:
                done(t, what, running)
            time.sleep(1)
            after = time.time()
            # Slowly enough for it.
            slow = inside(gateway, slowly, 10)
            wanted = {line["id"] for line in read_jsonl(gateway.access_log) if line["end"] - line["took"] > after}
            wait_for(lambda: wanted <= set(map(id_of, collector.events())), 20, "the events after it")
            ends_well(t, what, agent, "dropped (incomplete)")
            t.check(f"{what}: it was too small", lost_records(agent) > 0)
            said = agent.stderr.count("the ring was full: ")
            t.check(f"{what}: which was said while it ran, now and then", 0 < said < 20, said)
        nothing_wrong(t, what, gateway, read_jsonl(record) + slow, collector, ready, after)


def wrk(gateway, seconds):
    """Calls in a second."""
    said = subprocess.run(gateway.in_netns("wrk", "-t", "1", "-c", "8", "-d", str(seconds),
                                           f"http://127.0.0.1:{PORTS['proxy']}/open/stop"),
                          capture_output=True, text=True, check=True).stdout
    errors = re.search(r"Socket errors: .*", said)
    return float(re.search(r"Requests/sec:\s+([\d.]+)", said)[1]), errors and errors[0]


def agent_stopped(t):
    """SIGSTOP at full load: the ring fills, the gateway does not care; then the agent goes on."""
    what = "stopped agent"
    with place(what) as (directory, gateway, collector):
        with tap(gateway, collector, directory / "spool", "--ring-bytes", 1 << 20) as agent:
            agent.wait_ready()
            running, _ = wrk(gateway, 1)
            agent.process.send_signal(signal.SIGSTOP)
            stopped, errors = wrk(gateway, max(1, int(STOP)))
            agent.process.send_signal(signal.SIGCONT)
            # Without a reader there is less to do for everybody; the bound leaves room for a noisy machine.
            t.check(f"{what}: {stopped:.0f} calls/s, {running:.0f} before", stopped > 0.3 * running and not errors, errors)
            time.sleep(1)
            record, again = traffic(gateway, directory, what, 1)
            with again:
                done(t, what, again)
            t.equal(f"{what}: calls after it that did not arrive", missing(collector, [record]), 0)
            ends_well(t, what, agent, "dropped (incomplete)", "dropped (queue full)")
            t.check(f"{what}: what it missed is counted", lost_records(agent) > 0)


# -- reloads, of both

def reload_storm(t):
    what = "reloads"
    with place(what) as (directory, gateway, collector):
        with tap(gateway, collector, directory / "spool") as agent:
            agent.wait_ready()
            record, running = traffic(gateway, directory, what, 4)
            with running:
                for _ in range(6):
                    gateway.reload()
                    for _ in range(4):
                        agent.process.send_signal(signal.SIGHUP)
                        time.sleep(0.05)
                done(t, what, running)
            t.equal(f"{what}: calls that did not arrive", missing(collector, [record]), 0)
            t.check(f"{what}: the agent took its part", agent.stderr.count("configuration reloaded") >= 6)
            ends_well(t, what, agent)


# -- death

def still_there(objects):
    return [f"{kind} {number}" for kind, numbers in objects.items() for number in numbers
            if subprocess.run(["bpftool", "-j", kind, "show", "id", number], capture_output=True).returncode == 0]


def pinned():
    return {str(path) for path in Path("/sys/fs/bpf").rglob("*") if "kongtap" in path.name.lower()}


def killed_at_random(t):
    what = "killed"
    rng = random.Random(os.environ.get("KONGTAP_TEST_SEED", "7"))
    excused, left = [], []
    with place(what) as (directory, gateway, collector):
        record, running = traffic(gateway, directory, what, KILLS * 5)
        with running:
            for turn in range(KILLS):
                collector.control(**rng.choice([{"mode": "ok"}, {"mode": "reset"}, {"mode": "never"}, {"mode": "slow", "ms": 200},
                                                {"mode": "status", "status": 500}]))
                with tap(gateway, collector, directory / "spool") as agent:
                    ready = agent.wait_ready()
                    time.sleep(rng.uniform(0, MATURE + 1.5))
                    objects = held_by(agent.pid)
                    agent.process.kill()
                    killed = time.time()
                    agent.wait()
                excused.append((ready, killed - MATURE))
                t.check(f"{what}: {turn}: it held programs, maps and links", all(objects.values()), str(objects))
                try:
                    # Their end comes when the last reference is gone and readers of the maps are done.
                    wait_for(lambda: not still_there(objects), 10, "the end of its BPF objects")
                except GatewayError:
                    left += still_there(objects)
            running.process.terminate()
            running.wait()
        t.equal(f"{what}: BPF objects left by {KILLS} deaths", left, [])
        t.equal(f"{what}: pinned objects", pinned(), set())
        collector.control(mode="ok")
        with tap(gateway, collector, directory / "spool") as agent:
            agent.wait_ready()
            wanted = {entry["id"] for entry in read_jsonl(record) if entry.get("id") and
                      any(ready < entry["began"] and entry["ended"] < safe for ready, safe in excused)}
            try:
                wait_for(lambda: wanted <= set(map(id_of, collector.events())), 30, "the events")
            except GatewayError:
                pass
            t.equal(f"{what}: of {len(wanted)} calls older than the sync interval did not arrive",
                    len(wanted - set(map(id_of, collector.events()))), 0)
            t.check(f"{what}: there were some", len(wanted) > 5)
            ends_well(t, what, agent)
        print(f"# {collector.stats()['duplicates']} events came twice, as they may after a kill")


if __name__ == "__main__":
    sys.exit(Checks().run(collector_down, name_unknown, spool_removed, disk_full, clock_jumps, ring_too_small, agent_stopped,
                          reload_storm, killed_at_random))
