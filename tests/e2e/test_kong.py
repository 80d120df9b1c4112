#!/usr/bin/env python3
"""The way to a real Kong (`make test-kong`, `make diff-kong`), walked with the stand-in behind a `kong` command, in a network
namespace of its own: a Kong is found, started, tested, compared with the plugin beside it, and ended."""
import contextlib
import json
import os
import re
import secrets
import subprocess
import sys

from lib import ROOT, Checks, Workdir

BIN = ROOT / "tests" / "gateway" / "bin"
KONG = ROOT / "tests" / "gateway" / "kong.py"


@contextlib.contextmanager
def netns():
    """A function that runs a command line in a network namespace with the stand-in's `kong` on the PATH."""
    name = f"kt-kong-{os.getpid()}-{secrets.token_hex(2)}"
    subprocess.run(["ip", "netns", "add", name], check=True)

    def run(*argv, path=f"{BIN}:{os.environ['PATH']}", **environment):
        return subprocess.run(["ip", "netns", "exec", name, *map(str, argv)], cwd=ROOT, text=True, capture_output=True, timeout=300,
                              env={**os.environ, "PATH": path, "KONGTAP_TEST_CALLS": "200", **environment})
    try:
        subprocess.run(["ip", "-n", name, "link", "set", "lo", "up"], check=True)
        yield run
    finally:
        subprocess.run(["ip", "netns", "del", name], check=True)


def said(done):
    return (done.stdout + done.stderr)[-1500:]


def suite_on_its_own_kong(t):
    with netns() as run:
        done = run("make", "test-kong")
        t.equal("make test-kong: exit code", done.returncode, 0)
        passed = [int(n) for n in re.findall(r"^(\d+) passed, 0 failed", done.stdout, re.M)]
        t.check(f"make test-kong: each file of the suite passes ({passed})", len(passed) == 3 and all(passed), said(done))
        t.check("make test-kong: says which Kong, ports and library", re.search(
            r"^# Kong 3\.9\.1, prefix /\S+/kong, ports .*'proxy': 8000.*TLS library /\S+/kong/lib/libssl\.so\.3", done.stdout, re.M),
            said(done))
        t.equal("make test-kong: no Kong is left", json.loads(run(sys.executable, KONG, "find").stdout)["running"], [])


def suite_on_the_kong_that_runs(t):
    with Workdir() as directory, netns() as run:
        prefix = directory / "kong"
        ports = {name: 21000 + i for i, name in enumerate(("proxy", "proxy_tls", "proxy_h2c", "admin", "status"))}
        (directory / "kong.yml").write_text("{}")
        listen = f"0.0.0.0:{ports['proxy']}, 0.0.0.0:{ports['proxy_h2c']} http2, 0.0.0.0:{ports['proxy_tls']} http2 ssl"
        options = {"KONG_DECLARATIVE_CONFIG": str(directory / "kong.yml"), "KONG_PROXY_LISTEN": listen}
        directory.chmod(0o755)
        done = run("kong", "start", "-p", prefix, **options, KONGTAP_TEST_PORTS=json.dumps(ports))
        t.equal("a Kong on other ports starts", (done.returncode, done.stderr), (0, ""))
        try:
            found = json.loads(run(sys.executable, KONG, "find").stdout)["running"]
            t.equal("it is found, with its prefix and its ports", [(f["prefix"], f["ports"]) for f in found], [(str(prefix), ports)])
            done = run(sys.executable, KONG, "test", "test_thin_path.py", "agent_from_the_start")
            t.check("the suite uses it", done.returncode == 0 and f"prefix {prefix}, ports {{'proxy': 21000" in done.stdout
                    and re.search(r"^\d+ passed, 0 failed", done.stdout, re.M), said(done))
        finally:
            run("kong", "stop", "-p", prefix)


def beside_the_plugin(t):
    kinds = "--kinds", "open_read,open_write,key_read,key_write,basic_read"
    with netns() as run:
        done = run("make", "diff-kong", "DIFF_ARGS=--calls 200 " + " ".join(kinds))
        compared = re.search(r"^ok - 200 calls: (\d+) events, field by field", done.stdout, re.M)
        t.check("make diff-kong: only differences that the page lists", done.returncode == 0 and compared and int(compared[1]) > 100,
                said(done))
        done = run("make", "diff-kong", "DIFF_ARGS=--calls 40 " + " ".join(kinds), KONGTAP_TEST_PLUGIN='{"wrong_user": "somebody"}')
        t.check("make diff-kong: a difference that it does not list fails",
                done.returncode != 0 and "user_id: plugin 'somebody'" in done.stdout, said(done))


def none_there(t):
    with netns() as run:
        done = run(sys.executable, KONG, "test", path="/usr/sbin:/usr/bin:/sbin:/bin")
        t.check("without a Kong: says so", done.returncode == 1 and "no kong on the PATH" in done.stderr, said(done))


if __name__ == "__main__":
    sys.exit(Checks().run(suite_on_its_own_kong, suite_on_the_kong_that_runs, beside_the_plugin, none_there))
