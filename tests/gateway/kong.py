#!/usr/bin/env python3
"""The tests against a real Kong on this host.

    kong.py find                   what Kong there is: version, prefix, master, ports, TLS library
    kong.py test [FILE [TEST…]]    the end-to-end suite (or one file of it) against it
    kong.py diff [--calls N]       with the Moesif plugin enabled beside kongtap: the plugin's events against kongtap's, call by
                                   call; differences that docs/PLUGIN-PARITY.md does not list fail

`test` uses the Kong that runs if it has the suite's routes (kong.yml), on the ports that its configuration names. Else, and
for `diff`, it starts one of its own with `kong start`, without a database, with a prefix of its own, and ends it afterwards;
on other ports where the usual ones are taken. KONGTAP_TEST_KONG_PREFIX names the one to use where several run;
KONGTAP_TEST_PLUGIN has further options of the plugin, in JSON.
"""
import argparse
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from pathlib import Path

HERE = Path(__file__).resolve().parent
E2E, REPLAY = HERE.parent / "e2e", HERE.parent / "replay"
sys.path[:0] = [str(HERE), str(E2E), str(REPLAY)]

from gateway import CONFIG, GatewayError, title_of, wait_for  # noqa: E402

# Of the suite what asks nothing of a gateway but to be one: the rest starts, breaks or rebuilds the stand-in, or is about
# the host. The functions named are those that need no access log in the stand-in's form.
SUITE = {"test_thin_path.py": (), "test_h2.py": ("from_the_start",), "test_moesif.py": ("reload_loses_nothing",)}
# What the page lists outside of its table, since no recorded call shows it.
LISTED = [(r"request\.(body|transfer_encoding)", "lost beyond 8 KiB (nginx wrote it to a file)", "there, up to the limit", "",
           lambda call, path, plugin, ours: call.bytes(path) > 8192 and plugin in ("", "base64", "json", None, "(absent)"))]
# A live gateway's clock stands still while it works; the recordings hold the times to 12 ms.
TIME_TOLERANCE_MS = 1000
APPLICATION_ID = "plugin-beside-kongtap"


def ports_of(listen):
    """The ports of an option like proxy_listen, as (port, ssl, http2)."""
    found = []
    for entry in listen.split(","):
        words = entry.split()
        match = re.search(r":(\d+)$", words[0]) if words else None
        if match:
            found.append((int(match[1]), "ssl" in words[1:], "http2" in words[1:]))
    return found


def ports_of_env(prefix):
    """The suite's names for the ports that the Kong with this prefix listens on, from what it wrote down at its start."""
    options = dict(re.findall(r"^(\w+) *= *(.*)$", (Path(prefix) / ".kong_env").read_text(), re.M))
    ports = {}
    for port, ssl, http2 in ports_of(options.get("proxy_listen", "")):
        ports.setdefault("proxy_tls" if ssl else "proxy_h2c" if http2 else "proxy", port)
    for name in ("admin", "status"):
        for port, ssl, _ in ports_of(options.get(f"{name}_listen", "")):
            if not ssl:
                ports.setdefault(name, port)
    return ports


def running():
    """(master, prefix) of each Kong that runs on this host, in this network namespace: its ports are ours."""
    found, here = [], os.readlink("/proc/self/ns/net")
    for entry in Path("/proc").iterdir():
        match = entry.name.isdigit() and re.match(r"nginx: master process .* -p (\S+)", title_of(int(entry.name)))
        if match and os.readlink(f"{entry}/ns/net") == here and (Path(match[1]) / "nginx-kong.conf").exists() and (Path(match[1]) / ".kong_env").exists():
            found.append((int(entry.name), Path(match[1])))
    wanted = os.environ.get("KONGTAP_TEST_KONG_PREFIX")
    return [pair for pair in found if not wanted or pair[1] == Path(wanted)]


def library_of(master):
    """The TLS library that the workers have mapped, or the program itself."""
    maps = Path(f"/proc/{master}/maps").read_text()
    match = re.search(r"(/\S*libssl\.so\S*)", maps)
    return match[1] if match else os.readlink(f"/proc/{master}/exe")


def describe(master, prefix):
    return {"master": master, "prefix": str(prefix), "ports": ports_of_env(prefix), "library": library_of(master)}


def has_our_routes(ports):
    """Whether a call finds the suite's first routes; what the service behind them says does not matter."""
    try:
        urllib.request.urlopen(f"http://127.0.0.1:{ports.get('proxy', 0)}/key/hi", timeout=5)
    except urllib.error.HTTPError as error:
        return error.code == 401
    except OSError:
        return False
    return False


def usual_ports_free(ports):
    for port in ports.values():
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("0.0.0.0", port))
            except OSError:
                return False
    return True


class OwnKong:
    """A Kong that is started for the tests: without a database, with the suite's declarative file."""

    def __init__(self, directory, moesif_port=None):
        self.command = shutil.which("kong")
        if not self.command:
            raise GatewayError("no kong on the PATH (and none runs that has the suite's routes)")
        self.directory, self.prefix = Path(directory), Path(directory) / "kong"
        shift = 0 if usual_ports_free(CONFIG["ports"]) else 20000
        self.ports = {name: port + shift for name, port in CONFIG["ports"].items()}
        self.moesif_port = moesif_port

    def environment(self):
        p = self.ports
        return {**os.environ, "KONGTAP_TEST_PORTS": json.dumps(p), "KONG_PREFIX": str(self.prefix), "KONG_DATABASE": "off",
                "KONG_DECLARATIVE_CONFIG": str(self.directory / "kong.yml"), "KONG_NGINX_WORKER_PROCESSES": "2",
                "KONG_PROXY_LISTEN": f"0.0.0.0:{p['proxy']}, 0.0.0.0:{p['proxy_h2c']} http2, 0.0.0.0:{p['proxy_tls']} http2 ssl",
                "KONG_ADMIN_LISTEN": f"127.0.0.1:{p['admin']}", "KONG_STATUS_LISTEN": f"127.0.0.1:{p['status']}",
                "KONG_ADMIN_GUI_LISTEN": "off", "KONG_ANONYMOUS_REPORTS": "off",
                "KONG_PLUGINS": "bundled,moesif" if self.moesif_port else "bundled"}

    def __enter__(self):
        self.directory.chmod(0o755)
        argv = [sys.executable, HERE / "gateway.py", "kong-yml"]
        if self.moesif_port:
            options = {"application_id": APPLICATION_ID, "batch_size": 10, "api_endpoint": f"http://127.0.0.1:{self.moesif_port}",
                       **json.loads(os.environ.get("KONGTAP_TEST_PLUGIN", "{}"))}
            argv += ["--moesif", json.dumps(options)]
        with open(self.directory / "kong.yml", "w") as out:
            subprocess.run(argv, env=self.environment(), stdout=out, check=True)
        self.kong("start")
        return self

    def __exit__(self, *_):
        self.kong("stop")

    def kong(self, command):
        done = subprocess.run([self.command, command, "-p", str(self.prefix)], env=self.environment(), capture_output=True,
                              text=True)
        if done.returncode:
            raise GatewayError(f"kong {command}: {done.stderr.strip() or done.stdout.strip()}")


def announce(found):
    version = "?"
    if shutil.which("kong"):
        version = subprocess.run(["kong", "version"], capture_output=True, text=True).stdout.strip()
    print(f"# Kong {version}, prefix {found['prefix']}, ports {found['ports']}, TLS library {found['library']}", flush=True)


def suite_environment(found):
    return {**os.environ, "KONGTAP_TEST_KONG_PREFIX": found["prefix"],
            "KONGTAP_TEST_PORTS": json.dumps({**json.loads(os.environ.get("KONGTAP_TEST_PORTS", "{}")), **found["ports"]})}


def run_suite(found, files, environment):
    announce(found)
    failed = 0
    for name, tests in files.items():
        print(f"# {name} {' '.join(tests)}".rstrip(), flush=True)
        failed += subprocess.run([sys.executable, E2E / name, *tests], env={**environment, **suite_environment(found)}).returncode != 0
    return failed != 0


def own_found(kong):
    master = int((kong.prefix / "pids" / "nginx.pid").read_text())
    found = describe(master, kong.prefix)
    return {**found, "ports": {**kong.ports, **found["ports"]}}


def test(args):
    files = {args.file: tuple(args.tests)} if args.file else SUITE
    for master, prefix in running():
        found = describe(master, prefix)
        if has_our_routes(found["ports"]):
            return run_suite(found, files, os.environ)
        print(f"# the Kong with prefix {prefix} has not the suite's routes: one of our own is started beside it", flush=True)
    with tempfile.TemporaryDirectory(prefix="kt-kong-") as directory, OwnKong(directory) as kong:
        return run_suite(own_found(kong), files, kong.environment())


def inside(args):
    """The second half of `diff`, with the ports and the prefix in the environment."""
    from lib import Agent, Collector, Gateway, client, read_jsonl
    import parity
    directory = Path(args.inside)
    record, output = directory / "record.jsonl", directory / "events.jsonl"
    with Collector(directory / "plugin.jsonl", "--port", args.port, "--app-id", APPLICATION_ID) as collector, \
            Gateway(directory / "gateway") as gateway, \
            Agent("--output", "jsonl", "--output-file", output, "--prefix", gateway.prefix, "--metrics-listen", "none") as agent:
        agent.wait_ready()
        kinds = ["--kinds", args.kinds] if args.kinds else []
        with client(gateway, record, "--calls", args.calls, "--seed", "diff", "--connections", "4", *kinds) as traffic:
            if traffic.wait(600):
                raise GatewayError("the client failed")
        calls = {call["id"] for call in read_jsonl(record) if call.get("id")}

        def plugin_ids():
            return {parity.request_id(event) for event in collector.events() if "x-kong-request-id" in event["response"]["headers"]}

        try:
            wait_for(lambda: calls <= plugin_ids(), 60, "the plugin's events")
        except GatewayError:
            print(f"# the plugin delivered {len(plugin_ids())} of {len(calls)} events")
        agent.stop()
        theirs = [json.loads(json.dumps(event)) for event in collector.events()]
    theirs = [event for event in theirs if event["response"]["headers"].get("x-kong-request-id") in calls]
    ours = [json.loads(line) for line in output.read_text().splitlines()]
    got = {parity.request_id(event) for event in theirs}
    met = set()
    parity.TABLE, parity.TIME_TOLERANCE_MS = parity.TABLE + LISTED, TIME_TOLERANCE_MS
    failed = parity.pair(f"{len(calls)} calls", theirs, [e for e in ours if e["response"]["headers"].get("x-kong-request-id") in got], met)
    for row in sorted(met):
        print(f"# listed: {parity.TABLE[row][0]}: {parity.TABLE[row][1]}")
    return failed


def diff(args):
    if args.inside:
        return inside(args)
    with tempfile.TemporaryDirectory(prefix="kt-kong-") as directory:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        with OwnKong(directory, port) as kong:
            found = own_found(kong)
            announce(found)
            again = [sys.executable, __file__, "diff", "--calls", str(args.calls), "--inside", directory, "--port", str(port)]
            again += ["--kinds", args.kinds] if args.kinds else []
            return subprocess.run(again, env={**kong.environment(), **suite_environment(found)}).returncode


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("find")
    testing = commands.add_parser("test")
    testing.add_argument("file", nargs="?", help="of tests/e2e")
    testing.add_argument("tests", nargs="*", help="functions of it")
    comparing = commands.add_parser("diff")
    comparing.add_argument("--calls", type=int, default=500)
    comparing.add_argument("--kinds", help="as for tests/e2e/client.py")
    comparing.add_argument("--inside", help=argparse.SUPPRESS)
    comparing.add_argument("--port", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.command == "test" and args.file and not (E2E / args.file).is_file():
        parser.error(f"there is no tests/e2e/{args.file}")
    if args.command != "find" and os.geteuid():
        parser.error(f"{args.command} starts kongtap, which loads BPF programs: run it as root")
    if args.command == "find":
        found = [describe(*pair) for pair in running()]
        print(json.dumps({"command": shutil.which("kong"), "running": found}, indent=2))
        return 0 if found or shutil.which("kong") else 1
    return {"test": test, "diff": diff}[args.command](args)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except GatewayError as error:
        sys.exit(f"kong: {error}")
