#!/usr/bin/env python3
"""The programs are built for both architectures without the types of the kernel that runs: in a mount namespace without
/sys, from vmlinux/vmlinux.h alone; and what is built differs where the architectures do."""
import hashlib
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HIDDEN = "mount -t tmpfs none /sys && [ ! -e /sys/kernel/btf ] && exec \"$@\""


def build(arch, out):
    """Builds one skeleton; returns what it came to."""
    target = f"{out}/skel/kongtap.skel.h"
    return subprocess.run(["unshare", "--mount", "--propagation", "private", "sh", "-c", HIDDEN, "sh", "make", "-C", ROOT, f"O={out}",
                           f"ARCH={arch}", target], capture_output=True, text=True, timeout=120), Path(target)


def main():
    failed, objects = 0, {}
    with tempfile.TemporaryDirectory(prefix="kt-build-") as directory:
        for arch in ("x86", "arm64"):
            done, skeleton = build(arch, f"{directory}/{arch}")
            good = done.returncode == 0 and skeleton.exists()
            print(f"{'ok' if good else 'FAIL'} - the programs for {arch} are built without /sys{'' if good else ': ' + done.stderr[-800:]}")
            failed += not good
            if good:
                objects[arch] = hashlib.sha256(Path(f"{directory}/{arch}/skel/kongtap.bpf.o").read_bytes()).hexdigest()
    different = len(set(objects.values())) == 2
    print(f"{'ok' if different else 'FAIL'} - they differ: each has its own registers and numbers of system calls")
    failed += not different
    print(f"{3 - failed} passed, {failed} failed")
    return failed != 0


if __name__ == "__main__":
    sys.exit(main())
