#!/usr/bin/env python3
"""The scripts: shellcheck has nothing to say; kong-vm.sh, which needs the network and KVM, says what it would do, and what is
wrong with its arguments or this host; kong.py, too."""
import shutil
import subprocess
import sys

from lib import ROOT, Checks, Workdir

KONG = ROOT / "tests" / "gateway" / "kong.py"
KONG_VM = ROOT / "scripts" / "kong-vm.sh"
IMAGE, PACKAGES = ["--image", "https://images.example/debian-12.qcow2"], ["--packages", "https://packages.example/kong_VERSION_amd64.deb"]


def shellcheck(t):
    scripts = sorted((ROOT / "scripts").glob("*.sh"))
    done = subprocess.run(["shellcheck", "--severity=warning", *scripts], capture_output=True, text=True)
    t.check(f"shellcheck: {len(scripts)} scripts", done.returncode == 0, done.stdout[:2000])


def kong_vm(*args):
    return subprocess.run([KONG_VM, *args], capture_output=True, text=True, timeout=60)


def wrong_arguments(t):
    for what, args, reason in (
            ("no image", PACKAGES, "--image is needed"), ("no packages", IMAGE, "--packages is needed"),
            ("an image that is not there", ["--image", "nothing.qcow2", *PACKAGES], "no such file: nothing.qcow2"),
            ("packages without VERSION", [*IMAGE, "--packages", "https://packages.example/kong.deb"], "with VERSION in it"),
            ("a version that is none", [*IMAGE, *PACKAGES, "--kong", "3.9; reboot"], "no version of Kong: 3.9; reboot"),
            ("an unknown argument", [*IMAGE, *PACKAGES, "--frobnicate"], "unknown argument: --frobnicate"),
            ("a value that is missing", ["--image"], "--image wants a value")):
        done = kong_vm(*args)
        t.check(f"kong-vm.sh, {what}", done.returncode == 2 and reason in done.stderr, done.stderr)


def unfit_host(t):
    with Workdir() as directory:
        for program in ("bash", "dirname", "sed"):
            (directory / program).symlink_to(shutil.which(program))
        done = subprocess.run([KONG_VM, *IMAGE, *PACKAGES], capture_output=True, text=True, timeout=60, env={"PATH": str(directory)})
        t.check("kong-vm.sh, programs missing: named before anything is done", done.returncode == 2
                and "missing on this machine: qemu-system-x86_64 qemu-img cloud-localds curl git ssh ssh-keygen" in done.stderr
                and not done.stdout, done.stderr)


def kong_arguments(t):
    for what, argv, reason in (("a file that is not there", ("test", "test_nothing.py"), "there is no tests/e2e/test_nothing.py"),
                               ("a number that is none", ("diff", "--calls", "many"), "invalid int value: 'many'")):
        done = subprocess.run([sys.executable, KONG, *argv], capture_output=True, text=True, timeout=60)
        t.check(f"kong.py, {what}", done.returncode == 2 and reason in done.stderr, done.stderr)


def dry_run(t):
    before = (ROOT / "build" / "kong-vm").exists()
    done = kong_vm(*IMAGE, *PACKAGES, "--kong", "3.9.1", "--kong", "2.8.5", "--diff", "--dry-run")
    t.equal("kong-vm.sh --dry-run: exit code", done.returncode, 0)
    places = [done.stdout.find(word) for word in (
        "debian-12.qcow2", "qemu-img create", "qemu-system-x86_64", "cloud-init\\ status", "git archive HEAD", "install-deps.sh", "kong_3.9.1_amd64.deb",
        "make\\ test-kong", "make\\ diff-kong", "kong_2.8.5_amd64.deb")]
    t.check("kong-vm.sh --dry-run: each step, in its order", -1 not in places and places == sorted(places), f"{places}\n{done.stdout}")
    t.check("kong-vm.sh --dry-run: does nothing", (ROOT / "build" / "kong-vm").exists() == before)


if __name__ == "__main__":
    sys.exit(Checks().run(shellcheck, wrong_arguments, unfit_host, kong_arguments, dry_run))
