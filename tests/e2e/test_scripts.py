#!/usr/bin/env python3
"""The scripts: shellcheck has nothing to say; kong-vm.sh, which needs the network and KVM, says what it would do, and what is
wrong with its arguments."""
import subprocess
import sys

from lib import ROOT, Checks

KONG_VM = ROOT / "scripts" / "kong-vm.sh"
IMAGE, PACKAGES = ["--image", "debian-12.qcow2"], ["--packages", "https://packages.example/kong_VERSION_amd64.deb"]


def shellcheck(t):
    scripts = sorted((ROOT / "scripts").glob("*.sh"))
    done = subprocess.run(["shellcheck", "--severity=warning", *scripts], capture_output=True, text=True)
    t.check(f"shellcheck: {len(scripts)} scripts", done.returncode == 0, done.stdout[:2000])


def kong_vm(*args):
    return subprocess.run([KONG_VM, *args], capture_output=True, text=True, timeout=60)


def wrong_arguments(t):
    for what, args, reason in (
            ("no image", PACKAGES, "--image is needed"), ("no packages", IMAGE, "--packages is needed"),
            ("packages without VERSION", [*IMAGE, "--packages", "https://packages.example/kong.deb"], "with VERSION in it"),
            ("a version that is none", [*IMAGE, *PACKAGES, "--kong", "3.9; reboot"], "no version of Kong: 3.9; reboot"),
            ("an unknown argument", [*IMAGE, *PACKAGES, "--frobnicate"], "unknown argument: --frobnicate"),
            ("a value that is missing", ["--image"], "--image wants a value")):
        done = kong_vm(*args)
        t.check(f"kong-vm.sh, {what}", done.returncode == 2 and reason in done.stderr, done.stderr)


def dry_run(t):
    before = (ROOT / "build" / "kong-vm").exists()
    done = kong_vm(*IMAGE, *PACKAGES, "--kong", "3.9.1", "--kong", "2.8.5", "--diff", "--dry-run")
    t.equal("kong-vm.sh --dry-run: exit code", done.returncode, 0)
    places = [done.stdout.find(word) for word in (
        "debian-12.qcow2", "qemu-img create", "qemu-system-x86_64", "git archive HEAD", "install-deps.sh", "kong_3.9.1_amd64.deb",
        "make\\ test-kong", "make\\ diff-kong", "kong_2.8.5_amd64.deb")]
    t.check("kong-vm.sh --dry-run: each step, in its order", -1 not in places and places == sorted(places), f"{places}\n{done.stdout}")
    t.check("kong-vm.sh --dry-run: does nothing", (ROOT / "build" / "kong-vm").exists() == before)


if __name__ == "__main__":
    sys.exit(Checks().run(shellcheck, wrong_arguments, dry_run))
