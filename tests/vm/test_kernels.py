#!/usr/bin/env python3
"""The reduced suite (inside.py) on each kernel that can be had, and its outcome, line by line; two machines at a time.

KONGTAP_TEST_KERNELS names the cells to run (vm.KERNELS); by default those that are not slow. KONGTAP_TEST_SLOW=1 adds the real-time
kernels, Debian's other releases and newest, and arm64 (for which kongtap is built first). KONGTAP_TEST_KERNEL_TESTS names the
tests of inside.py to run in them, with commas between. KONGTAP_TEST_VM_SECONDS bounds each machine's time (600)."""
import os
import re
import resource
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

from vm import HOST_RELEASE, KERNELS, ROOT, VmError, boot, initramfs, kernel

TESTS = tuple(filter(None, os.environ.get("KONGTAP_TEST_KERNEL_TESTS", "").split(",")))
SECONDS = int(os.environ.get("KONGTAP_TEST_VM_SECONDS", "600"))
# The kernel patches code that another of its CPUs runs, by way of a breakpoint; an emulated CPU met the breakpoint when the patch
# was done (seen once, on 6.12-rt). BPF programs cannot do that.
EMULATOR = "Oops: int3"
# The longest first. What one kernel shows about the life of a gateway need not be shown by all, least where the verifier is slow;
# and these do not interrupt programs ("preempt").
SHORT = ("verifier", "check_command", "calls", "tlscalls", "from_the_start", "http2", "loss_is_accounted")
ORDINARY = {"6.1": (*SHORT, "reload_in_traffic"), "6.12": (*SHORT, "agent_started_late", "reload_in_traffic"), "5.10": SHORT}
SLOW = [name for name in KERNELS if name not in ORDINARY]


def judge(name, release, text):
    """The machine's lines as this test's."""
    lines = []
    for line in text.splitlines():
        match = re.match(r"(ok|FAIL) - (.*)", line)
        if match:
            lines.append(f"{match.group(1)} - Linux {release}: {match.group(2)}")
        elif line.startswith(("#", "       ")):  # what was found out, and what is behind a failure
            lines.append(line)
    if not re.search(r"^KT-EXIT 0$", text, re.M):
        lines.append(f"FAIL - Linux {name}: the machine did not come to a good end; its last lines:")
        lines += ["    " + line for line in text.splitlines()[-40:]]
    return lines


def summary(name, release, lines, seconds):
    """What is shown of a cell even where the rest is not: its outcome, and what the verifier had to look at for each program
    (kernels before 5.16 do not say)."""
    counts = [sum(line.startswith(outcome) for line in lines) for outcome in ("ok", "FAIL")]
    looked = [f"{program} {n}" for line in lines
              for program, n in re.findall(r"verifier here: (\S+) with\S* bpf_loop: \d+ instructions, ([1-9]\d*) verified", line)]
    return [f"= Linux {name} ({release}): {counts[0]} ok, {counts[1]} failed, {seconds:.0f} s",
            *([f"= Linux {name}, instructions verified: {', '.join(looked)}"] if looked else [])]


def fetch(name):
    """(release, image), or the line that says why there is none. A kernel of this host's own release is there or something
    is wrong; others come and go with their release."""
    try:
        return kernel(KERNELS[name])
    except VmError as error:
        return f"{'FAIL' if KERNELS[name].release == HOST_RELEASE else 'skip'} - Linux {name}: cannot be had: {error}"


def run_cell(name, archives):
    found = fetch(name)
    if isinstance(found, str):
        return [found]
    release, image = found
    began, lines = time.monotonic(), []
    for _ in range(2):
        text = boot(KERNELS[name], image, archives[KERNELS[name].arch], SECONDS, tests=TESTS or ORDINARY.get(name, ()))
        if EMULATOR not in text:
            break
        lines = [f"# Linux {name}: the first machine died of {EMULATOR}, a fault of its emulator"]
    lines += judge(name, release, text)
    return lines + summary(name, release, lines, time.monotonic() - began)


def build(arch):
    if arch == "arm64":
        done = subprocess.run([ROOT / "scripts" / "build-arm64.sh", "-s", f"-j{os.cpu_count()}", "all", "tools"], text=True,
                              capture_output=True)
        if done.returncode:
            raise VmError(f"the build for arm64 failed: {done.stderr[-2000:]}")
    return initramfs(arch)


def main():
    slow = bool(os.environ.get("KONGTAP_TEST_SLOW"))
    wanted = os.environ.get("KONGTAP_TEST_KERNELS", " ".join([*ORDINARY, *(SLOW if slow else [])])).split()
    lines = []
    try:
        archives = {arch: build(arch) for arch in {KERNELS[name].arch for name in wanted}}
        with ThreadPoolExecutor(2) as pool:
            for cell in pool.map(lambda name: run_cell(name, archives), wanted):
                lines += cell
                print("\n".join(cell), flush=True)
    except VmError as error:
        lines.append(f"FAIL - the machines: {error}")
        print(lines[-1])
    if not slow and "KONGTAP_TEST_KERNELS" not in os.environ:
        for name in SLOW:
            lines.append(f"skip - Linux {name}: KONGTAP_TEST_SLOW=1 runs it")
            print(lines[-1])
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(f"# {spent.ru_utime + spent.ru_stime:.0f} s of CPU time in all")
    failed = sum(line.startswith("FAIL") for line in lines)
    print(f"{sum(line.startswith('ok') for line in lines)} passed, {failed} failed")
    return failed != 0


if __name__ == "__main__":
    sys.exit(main())
