#!/usr/bin/env python3
"""The suite's way to a Kong that somebody else started (KONGTAP_TEST_KONG_PREFIX), tried with a gateway that this test
starts apart from the suite: only its prefix is known, nothing of it is owned, and there is no access log."""
import os
import subprocess
import sys

from lib import HERE, Checks, Gateway, Workdir


class Foreign(Gateway):
    """The gateway alone, as Kong would run: the service behind it is the suite's to start."""

    def up(self):
        self.directory.mkdir(parents=True, exist_ok=True)
        self.directory.chmod(0o755)
        self._make_netns()
        self._write_certificate()
        self._write_prefix()
        self.start()
        return self


def suite_on_a_foreign_gateway(t):
    if os.environ.get("KONGTAP_TEST_KONG_PREFIX"):
        return print("# not asked: a real Kong is used")
    with Workdir() as directory, Foreign(directory / "gateway") as gateway:
        master = gateway.master()
        done = subprocess.run(gateway.in_netns(sys.executable, str(HERE / "test_thin_path.py")), text=True, timeout=300,
                              capture_output=True,
                              env={**os.environ, "KONGTAP_TEST_KONG_PREFIX": str(gateway.prefix), "KONGTAP_TEST_CALLS": "600"})
        passed = [line for line in done.stdout.splitlines() if line.startswith("ok - ")]
        failed = [line for line in done.stdout.splitlines() if line.startswith("FAIL")]
        t.check(f"a gateway that only its prefix names: {len(passed)} checks", done.returncode == 0 and len(passed) >= 10,
                (failed or [done.stderr[-500:]])[:3])
        t.equal("it was left as it was", gateway.master(), master)


if __name__ == "__main__":
    sys.exit(Checks().run(suite_on_a_foreign_gateway))
