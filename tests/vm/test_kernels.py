#!/usr/bin/env python3
"""The reduced suite (inside.py) on each kernel that the registry offers, and its outcome, line by line.

KONGTAP_TEST_KERNELS names the ones to run (default: all). KONGTAP_TEST_VM_SECONDS bounds each machine's time (600)."""
import os
import re
import sys

from vm import KERNELS, ROOT, VmError, boot, initramfs, kernel

SECONDS = int(os.environ.get("KONGTAP_TEST_VM_SECONDS", "600"))


def judge(name, release, text):
    """Prints the machine's lines as this test's; returns (passed, failed)."""
    passed = failed = 0
    for line in text.splitlines():
        match = re.match(r"(ok|FAIL) - (.*)", line)
        if match:
            print(f"{match.group(1)} - Linux {release}: {match.group(2)}")
            passed += match.group(1) == "ok"
            failed += match.group(1) == "FAIL"
        elif line.startswith(("#", "       ")):  # what was found out, and what is behind a failure
            print(line)
    if not re.search(r"^KT-EXIT 0$", text, re.M):
        failed += 1
        print(f"FAIL - Linux {name}: the machine did not come to a good end; its last lines:")
        print("\n".join("    " + line for line in text.splitlines()[-40:]))
    return passed, failed


def main():
    wanted = os.environ.get("KONGTAP_TEST_KERNELS", " ".join(KERNELS)).split()
    passed = failed = 0
    try:
        archive = initramfs(ROOT / "build" / "kongtap")
    except VmError as error:
        print(f"FAIL - initramfs: {error}")
        print("0 passed, 1 failed")
        return 1
    for name in wanted:
        try:
            release, image = kernel(name)
            good, bad = judge(name, release, boot(image, archive, SECONDS))
        except VmError as error:
            print(f"FAIL - Linux {name}: {error}")
            good, bad = 0, 1
        passed, failed = passed + good, failed + bad
    print(f"{passed} passed, {failed} failed")
    return failed != 0


if __name__ == "__main__":
    sys.exit(main())
