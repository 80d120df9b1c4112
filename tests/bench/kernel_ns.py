#!/usr/bin/env python3
"""What the programs at system calls take in the kernel, and what they copy, with and without bodies: nanoseconds and bytes for
each call of the stand-in gateway (both legs), by the kernel's own account (kernel.bpf_stats_enabled). Root; a minute and a half.

    python3 tests/bench/kernel_ns.py [--kongtap BINARY] [--only "no request bodies"]"""
import argparse
import re
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "e2e"))

from bpf_objects import program_statistics, programs_of  # noqa: E402  (the path is only known now)
from client import PORTS  # noqa: E402
from gateway import run  # noqa: E402
from lib import Agent, Gateway, Workdir  # noqa: E402

METRICS = 19468
OPTIONS = {
    "bodies": (),
    "no request bodies": ("--disable-capture-request-body",),
    "no response bodies": ("--disable-capture-response-body",),
    "types left out": ("--body-exclude-content-types", "image/*,application/pdf"),
}
# Name, target, bytes sent, type sent.
CALLS = {
    "GET 300 B": ("/open/bytes?n=300", 0, ""),
    "GET 8 KiB": ("/open/bytes?n=8192", 0, ""),
    "GET 8 KiB image": ("/open/bytes?n=8192&type=image/png", 0, ""),
    "POST 300 B": ("/open/status/200", 300, "a/b"),
    "POST 8 KiB": ("/open/status/200", 8192, "a/b"),
    "POST 8 KiB image": ("/open/status/200", 8192, "image/png"),
}
LUA = """wrk.method = "%s"
if %d > 0 then
    wrk.body = string.rep("x", %d)
    wrk.headers["Content-Type"] = "%s"
end
"""


def programs(pid):
    """Nanoseconds of the agent's programs at system calls, by their ids."""
    return {each["id"]: each.get("run_time_ns", 0) for each in programs_of(pid) if each["name"].startswith(("sys_", "spare_"))}


def copied():
    text = run("curl", "-s", f"http://127.0.0.1:{METRICS}/metrics")
    return int(re.search(r"^kongtap_capture_bytes_total (\d+)$", text, re.M).group(1))


def measure(gateway, directory, agent, call, seconds):
    target, n, kind = CALLS[call]
    script = directory / "call.lua"
    script.write_text(LUA % ("POST" if n else "GET", n, n, kind))
    time.sleep(0.5)  # the counters of the kernel side are read every quarter of a second
    before, bytes_before = programs(agent.pid), copied()
    text = run(*gateway.in_netns("wrk", "-t1", "-c4", f"-d{seconds}s", "-s", str(script), f"http://127.0.0.1:{PORTS['proxy']}{target}"))
    time.sleep(0.5)
    calls = int(re.search(r"(\d+) requests in", text).group(1))
    after = programs(agent.pid)
    return sum(after[each] - before.get(each, 0) for each in after) / calls, (copied() - bytes_before) / calls


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kongtap", help="another binary to measure")
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--only", choices=OPTIONS, help="one way of running the agent")
    given = parser.parse_args()
    if given.kongtap:
        import lib
        lib.KONGTAP = Path(given.kongtap)
    with program_statistics(), Workdir() as directory, Gateway(directory / "gateway", oracle="lines") as gateway:
        for name, options in OPTIONS.items():
            if given.only not in (None, name):
                continue
            with Agent("--output", "none", "--prefix", gateway.prefix, "--metrics-listen", f"127.0.0.1:{METRICS}",
                       *options) as agent:
                agent.wait_ready()
                for call in CALLS:
                    ns, size = measure(gateway, directory, agent, call, given.seconds)
                    print(f"{name:<20} {call:<18} {ns:8.0f} ns {size:8.0f} bytes", flush=True)
                agent.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
