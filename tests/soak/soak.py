#!/usr/bin/env python3
"""Everything at once, for long: calls over kept and over short connections, clear and TLS; reloads of gateway and agent; a
collector that is down, slow, wrong or refuses half of the time. Meanwhile memory, descriptors and BPF maps are looked at; at
the end they must not have grown, and every call must have arrived.

    soak.py [--minutes 20] [--rate 150] [--out FILE] [--page docs/BENCHMARKS.md]

Exit code 0: flat and exact. --page puts the result into that page, between its lines <!-- soak --> and <!-- /soak -->."""
import argparse
import contextlib
import json
import os
import platform
import random
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "e2e"))
sys.path.insert(0, str(HERE.parent / "gateway"))

from bpf_objects import held_by  # noqa: E402  (the path is only known now)
from gateway import PORTS, Gateway, GatewayError, join_netns, wait_for  # noqa: E402
from lib import Agent, Collector, Workdir, client  # noqa: E402

MIB = 1 << 20
APPLICATION_ID = "kongtap-soak"
FAULTS = [{"mode": "reset"}, {"mode": "status", "status": 500}, {"mode": "never"}, {"mode": "garbage"},
          {"mode": "status", "status": 429, "retry_after": 1}, {"mode": "slow", "ms": 300}, {"mode": "limit", "bytes": 30000},
          {"mode": "status", "status": 401}]
FAULT_SECONDS, GOOD_SECONDS, SAMPLE_SECONDS = 6, 8, 2
MAPS = ("conns", "skips", "watched")
# Allowed from the second quarter of the time to the last: a share, and so much besides.
GROWTH = {"anon_bytes": (0.10, 2 * MIB), "fds": (0.0, 4), "threads": (0.0, 4), "conns": (0.25, 64), "skips": (0.25, 64),
          "watched": (0.0, 4)}
# The program, its libraries and the stacks of its threads, beside memory_bytes and the ring.
OWN_BYTES = 24 * MIB


# -- looking

def status_of(pid):
    fields = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":" in line)
    return {"anon_bytes": int(fields["RssAnon"].split()[0]) * 1024, "resident_bytes": int(fields["VmRSS"].split()[0]) * 1024,
            "threads": int(fields["Threads"]), "fds": len(os.listdir(f"/proc/{pid}/fd"))}


def maps_of(pid):
    """{name: id} of the maps that the agent holds."""
    shown = [json.loads(subprocess.run(["bpftool", "-j", "map", "show", "id", each], capture_output=True, check=True).stdout)
             for each in held_by(pid)["map"]]
    return {each["name"]: each["id"] for each in shown if each.get("name") in MAPS}


def filled(number):
    dump = subprocess.run(["bpftool", "-j", "map", "dump", "id", str(number)], capture_output=True)
    return len(json.loads(dump.stdout)) if dump.returncode == 0 else 0


class Watch(threading.Thread):
    """Samples until it is told to stop."""

    def __init__(self, agent):
        super().__init__(daemon=True)
        self.agent, self.samples, self.over = agent, [], threading.Event()
        self.maps = maps_of(agent.pid)

    def run(self):
        began = time.monotonic()
        while not self.over.wait(SAMPLE_SECONDS):
            with contextlib.suppress(OSError):
                sample = {"t": time.monotonic() - began, **status_of(self.agent.pid)}
                sample.update({name: filled(number) for name, number in self.maps.items()})
                self.samples.append(sample)


# -- doing

def churn(gateway, over, rate, counted):
    """Connections of one call, some of them reset by the client."""
    import socket
    import struct
    join_netns(gateway.netns)
    rng = random.Random(1)
    while not over.wait(rng.expovariate(rate)):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", PORTS["proxy"]), 10) as sock:
            sock.sendall(b"GET /open/soak HTTP/1.1\r\nHost: kong\r\nConnection: close\r\n\r\n")
            while sock.recv(65536):
                pass
            if rng.random() < 0.3:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            counted.append(1)


def trouble(gateway, agent, collector, until):
    """Faults and reloads in turn, until that time."""
    done = {"faults": 0, "gateway_reloads": 0, "agent_reloads": 0}
    rng, turn = random.Random(2), 0
    while time.monotonic() < until:
        collector.control(**FAULTS[turn % len(FAULTS)])
        done["faults"] += 1
        time.sleep(min(FAULT_SECONDS, max(0, until - time.monotonic())))
        collector.control(mode="ok")
        if turn % 2 == 0:
            gateway.reload()
            done["gateway_reloads"] += 1
        for _ in range(rng.randrange(1, 4)):
            agent.process.send_signal(signal.SIGHUP)
            done["agent_reloads"] += 1
            time.sleep(0.2)
        time.sleep(min(GOOD_SECONDS, max(0, until - time.monotonic())))
        turn += 1
    return done


def access_lines(gateway, ready):
    """How many calls were logged that began once the agent was ready."""
    n = 0
    with open(gateway.access_log, encoding="utf-8") as log:
        for line in log:
            entry = json.loads(line)
            n += entry["end"] - entry["took"] > ready
    return n


def cpu_seconds(pid):
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def soak(minutes, rate):
    found = {"minutes": minutes, "rate": rate, "kernel": platform.release(), "date": time.strftime("%Y-%m-%d")}
    with Workdir() as directory, Gateway(directory / "gateway", oracle="lines") as gateway, \
            Collector("/dev/null", "--app-id", APPLICATION_ID) as collector, \
            Agent("--prefix", gateway.prefix, "--spool-dir", directory / "spool", "--metrics-listen", "none",
                  "--retry-base", "50", "--retry-max", "500", "--refused-probe", "500", "--send-timeout", "1000",
                  "--spool-sync", "300", env={"KONGTAP_APPLICATION_ID": APPLICATION_ID,
                                              "KONGTAP_API_ENDPOINT": collector.url}) as agent:
        ready = agent.wait_ready()
        watch, over, short = Watch(agent), threading.Event(), []
        churner = threading.Thread(target=churn, args=(gateway, over, rate / 5, short), daemon=True)
        until = time.monotonic() + minutes * 60
        with client(gateway, "/dev/null", "--calls", 10 ** 8, "--rate", rate, "--connections", 16) as traffic:
            watch.start()
            churner.start()
            found.update(trouble(gateway, agent, collector, until))
            over.set()
            churner.join(15)
            traffic.process.terminate()
            traffic.wait()
        watch.over.set()
        watch.join()
        time.sleep(1)
        calls = access_lines(gateway, ready)
        with contextlib.suppress(GatewayError):
            wait_for(lambda: collector.stats()["unique"] >= calls, 60, "the last events")
        found["cpu_percent"] = 100 * cpu_seconds(agent.pid) / (minutes * 60)
        found["exit_code"] = agent.stop(60)
        stats = collector.stats()
        found.update(calls=calls, short_connections=len(short), unique=stats["unique"], duplicates=stats["duplicates"],
                     wrong=stats["wrong"], samples=watch.samples,
                     said=[line for line in agent.lines["stderr"] if re.search(r"\d+ (calls|events): |done: ", line)])
    return found


# -- judging

def middle(values):
    values = sorted(values)
    return values[len(values) // 2] if values else 0


def quarters(samples, name):
    """Median in the second quarter of the time, by when everything has its size, and in the last."""
    n = len(samples)
    return middle([s[name] for s in samples[n // 4:n // 2]]), middle([s[name] for s in samples[n - n // 4:]])


def judge(found, memory_bytes=64 * MIB, ring_bytes=16 * MIB):
    """What is wrong; empty when nothing is."""
    wrong, samples = [], found["samples"]
    if len(samples) < 8:
        return ["too short to be judged"]
    for name, (share, besides) in GROWTH.items():
        early, late = quarters(samples, name)
        if late > early * (1 + share) + besides:
            wrong.append(f"{name} grew from {early} to {late}")
    peak = max(s["resident_bytes"] for s in samples)
    if peak > memory_bytes + ring_bytes + OWN_BYTES:
        wrong.append(f"{peak} resident bytes are more than memory_bytes, the ring and {OWN_BYTES} of its own")
    if found["unique"] != found["calls"]:
        wrong.append(f"{found['calls']} calls, {found['unique']} arrived")
    if found["wrong"]:
        wrong.append(f"{found['wrong']} events that the collector finds wrong")
    if found["exit_code"]:
        wrong.append(f"exit code {found['exit_code']}")
    said = "\n".join(found["said"])
    if "unaccounted" in said or not re.search(r"\d+ events: ", said):
        wrong.append(f"sums are not exact: {said}")
    if "dropped" in said or not re.search(r" 0 records and 0 stream bytes lost", said):
        wrong.append(f"something was lost: {said}")
    return wrong


def page(found, wrong):
    def row(what, name, unit=1, digits=0):
        early, late = quarters(found["samples"], name)
        peak = max(s[name] for s in found["samples"])
        return f"| {what} | " + " | ".join(f"{value / unit:.{digits}f}" for value in (early, late, peak)) + " |"

    return "\n".join([
        f"A soak (MINUTES={found['minutes']:g}) on {found['date']}, Linux {found['kernel']}: {found['calls']} calls, "
        f"{found['short_connections']} of them on connections of their own, through {found['faults']} faults of the collector, "
        f"{found['gateway_reloads']} reloads of the gateway and {found['agent_reloads']} of the agent. "
        f"{found['unique']} events arrived ({found['duplicates']} of them twice), the agent took {found['cpu_percent']:.1f} % of a "
        "CPU. " + ("Flat and exact." if not wrong else "**Not good: " + "; ".join(wrong) + ".**"),
        "",
        "| | second quarter | last quarter | most |",
        "|---|---|---|---|",
        row("memory of its own, MiB", "anon_bytes", MIB, 1),
        row("resident memory, ring included, MiB", "resident_bytes", MIB, 1),
        row("descriptors", "fds"),
        row("threads", "threads"),
        row("connections in the kernel's map", "conns"),
        row("connections of which less is copied", "skips"),
        row("processes watched", "watched"),
    ])


def put_into(path, text, mark="soak", heading="## A long time with everything at once"):
    """Between the marks, or under a heading at the end when there are none."""
    old = path.read_text() if path.exists() else ""
    block = f"<!-- {mark} -->\n{text}\n<!-- /{mark} -->"
    if f"<!-- {mark} -->" in old:
        path.write_text(re.sub(rf"<!-- {mark} -->.*?<!-- /{mark} -->", lambda _: block, old, flags=re.S))
    else:
        path.write_text(old + ("\n" if old else "") + heading + "\n\n" + block + "\n")


def main():
    parser = argparse.ArgumentParser(description="A long time with everything at once.")
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--rate", type=float, default=150)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--page", type=Path)
    args = parser.parse_args()
    found = soak(args.minutes, args.rate)
    wrong = judge(found)
    if args.out:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(json.dumps(found))
    print(page(found, wrong))
    print("\n".join(found["said"]))
    if args.page:
        put_into(args.page, page(found, wrong))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
