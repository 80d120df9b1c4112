#!/usr/bin/env python3
"""The stand-in for Kong 3.9: Debian's nginx with Lua, in a network namespace of its own.

    gateway.py up      --dir DIR [--netns NAME] [--workers N] [--oracle full|lines]
    gateway.py down|reload|status --dir DIR
    gateway.py exec    --dir DIR -- COMMAND ...     runs a command where the gateway's ports are
    gateway.py kong-yml [--moesif CONFIG]    the same services for a real Kong, as its declarative file

A real Kong takes its place where KONGTAP_TEST_KONG_PREFIX names the prefix of one that runs: then nothing is started
but the upstream, and there is no access log to compare with.
"""
import argparse
import ctypes
import json
import os
import resource
import secrets
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
NGINX = shutil.which("nginx", path="/usr/sbin:/usr/bin:/sbin:/bin")
MODULES = Path("/usr/lib/nginx/modules")
CONFIG = json.loads((HERE / "routes.json").read_text())
# Of a Kong that listens elsewhere: KONGTAP_TEST_PORTS='{"proxy": 18000, …}' (see kong.py).
PORTS = {**CONFIG["ports"], **json.loads(os.environ.get("KONGTAP_TEST_PORTS", "{}"))}


class GatewayError(RuntimeError):
    pass


def wait_for(condition, seconds, what):
    """Polls until condition() is true; the last value it gave is returned."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise GatewayError(f"{what}: not within {seconds} s")
        time.sleep(0.01)


def run(*argv, env=None):
    result = subprocess.run(argv, env=env, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if result.returncode:
        raise GatewayError(f"{' '.join(map(str, argv))}: {result.stderr.strip() or result.stdout.strip()}")
    return result.stdout


def children_of(pid):
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:
        return []


def title_of(pid):
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode().strip()
    except FileNotFoundError:
        return ""


def alive(pid):
    """False for a zombie too: in a container nobody may be there to reap it."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def lua_literal(value):
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, str):
        return json.dumps(value)
    if isinstance(value, list):
        return "{" + ",".join(map(lua_literal, value)) + "}"
    return "{" + ",".join(f"[{json.dumps(key)}]={lua_literal(item)}" for key, item in value.items()) + "}"


def lua_config(ports):
    """routes.json as the Lua side wants it: services by name, ports as numbers, groups as a set."""
    services = {}
    for service in CONFIG["services"]:
        names = service.get("targets") or [service["port"]]
        services[service["name"]] = {"retries": 5, **service, "ports": [ports[name] for name in names]}
    consumers = [{**c, "groups": {group: True for group in c["groups"]}} for c in CONFIG["consumers"]]
    return "return " + lua_literal({"ports": ports, "services": services, "consumers": consumers,
                                    "routes": CONFIG["routes"]}) + "\n"


def kong_yml(moesif=None):
    """The same gateway for a real Kong. JSON is YAML, and Kong reads it as such. `moesif`: the plugin's configuration."""
    ports = PORTS
    services, upstreams = [], []
    for service in CONFIG["services"]:
        entry = {"name": service["name"], "protocol": service["protocol"], "host": "127.0.0.1",
                 "retries": service.get("retries", 5), "routes": []}
        if "targets" in service:
            entry["host"] = service["name"] + ".targets"
            upstreams.append({"name": entry["host"],
                              "targets": [{"target": f"127.0.0.1:{ports[name]}"} for name in service["targets"]]})
        else:
            entry["port"] = ports[service["port"]]
        for key in ("path", "read_timeout"):
            if key in service:
                entry[key] = service[key]
        if service["protocol"] == "https":
            entry["tls_verify"] = False
        for route in CONFIG["routes"]:
            if route["service"] == service["name"]:
                entry["routes"].append(kong_route(route))
        services.append(entry)
    consumers = []
    for c in CONFIG["consumers"]:
        consumer = {"username": c["username"], "id": c["id"]}
        if "custom_id" in c:
            consumer["custom_id"] = c["custom_id"]
        consumer["keyauth_credentials"] = c["keys"]
        consumer["basicauth_credentials"] = c["basic"]
        consumer["jwt_secrets"] = [{**jwt, "algorithm": "HS256"} for jwt in c["jwt"]]
        consumer["acls"] = [{"group": group} for group in c["groups"]]
        consumers.append(consumer)
    document = {"_format_version": "3.0", "services": services, "upstreams": upstreams, "consumers": consumers}
    if moesif:
        document["plugins"] = [{"name": "moesif", "config": moesif}]
    return "# Made from routes.json by: gateway.py kong-yml\n" + json.dumps(document, indent=2) + "\n"


def kong_route(route):
    entry = {"name": route["path"].strip("/"), "paths": [route["path"]], "strip_path": True, "plugins": []}
    if "host" in route:
        entry["hosts"] = [route["host"]]
    if "auth" in route:
        entry["plugins"].append({"name": route["auth"]})
    if "allow_group" in route:
        entry["plugins"].append({"name": "acl", "config": {"allow": [route["allow_group"]]}})
    if "limit_per_minute" in route:
        entry["plugins"].append({"name": "rate-limiting",
                                 "config": {"minute": route["limit_per_minute"], "policy": "local"}})
    if route.get("correlation_id"):
        entry["plugins"].append({"name": "correlation-id", "config": {"generator": "uuid", "echo_downstream": True}})
    if "terminate" in route:
        stop = route["terminate"]
        entry["plugins"].append({"name": "request-termination",
                                 "config": {"status_code": stop["status"], "body": stop["body"],
                                            "content_type": "application/json; charset=utf-8"}})
    return entry


class Gateway:
    """One gateway with its upstream. Also a context manager: up at entry, down at exit."""

    def __init__(self, directory, netns=None, workers=2, oracle="full", large_headers="4 8k"):
        self.directory = Path(directory).resolve()
        self.netns = netns or f"kt-{os.getpid()}-{secrets.token_hex(3)}"
        self.workers_wanted = workers
        self.oracle = oracle
        self.large_headers = large_headers
        self.owns_netns = False
        self.here = False
        self.moesif = None  # configuration of a plugin that posts events as Moesif's does
        self.ports = dict(PORTS)
        self.real_kong = os.environ.get("KONGTAP_TEST_KONG_PREFIX")
        self.prefix = Path(self.real_kong) if self.real_kong else self.directory / "kong"
        self.upstream_prefix = self.directory / "upstream"
        self.has_access_log = not self.real_kong

    @classmethod
    def attached(cls, directory):
        """The gateway that an earlier `up` left running in this directory."""
        file = Path(directory) / "gateway.json"
        if not file.exists():
            raise GatewayError(f"{directory}: no gateway was started here")
        state = json.loads(file.read_text())
        gateway = cls(directory, state["netns"], state["workers"])
        gateway.owns_netns = state["owns_netns"]
        return gateway

    def __enter__(self):
        try:
            return self.up()
        except BaseException:
            self.down()
            raise

    def __exit__(self, *_):
        self.down()

    # -- where things are

    @property
    def access_log(self):
        return self.prefix / "logs" / "access.log"

    @property
    def error_log(self):
        return self.prefix / "logs" / "error.log"

    def master(self):
        return self._pid_in(self.prefix / "pids" / "nginx.pid")

    def workers(self):
        """Pids of the workers that serve, without those that are shutting down."""
        master = self.master()
        return [pid for pid in children_of(master) if title_of(pid) == "nginx: worker process"] if master else []

    def in_netns(self, *argv):
        """The command line that runs argv where the gateway's ports are."""
        return list(argv) if self.real_kong or self.here else ["ip", "netns", "exec", self.netns, *argv]

    @staticmethod
    def _pid_in(file):
        try:
            pid = int(file.read_text())
        except (FileNotFoundError, ValueError):
            return None
        return pid if alive(pid) else None

    # -- life

    def up(self):
        self.directory.mkdir(parents=True, exist_ok=True)
        self.directory.chmod(0o755)
        if not NGINX or not (MODULES / "ngx_http_lua_module.so").exists():
            raise GatewayError("nginx with Lua is missing: install nginx and libnginx-mod-http-lua")
        if not self.real_kong:
            self._make_netns()
        (self.directory / "gateway.json").write_text(json.dumps(
            {"netns": self.netns, "owns_netns": self.owns_netns, "workers": self.workers_wanted,
             "prefix": str(self.prefix)}))
        self._write_certificate()
        self._write_upstream()
        self._start(self.upstream_prefix, "upstream.conf", {})
        if not self.real_kong:
            self._write_prefix()
            self.start()
        elif not self.master():
            raise GatewayError(f"{self.prefix}: no Kong runs with this prefix")
        return self

    def install(self, prefix, moesif=None):
        """The gateway alone, with this prefix and in this network namespace: what `kong start` does (bin/kong)."""
        self.real_kong, self.here, self.prefix, self.moesif = None, True, Path(prefix), moesif
        self.directory.mkdir(parents=True, exist_ok=True)
        self._write_certificate()
        self._write_prefix()
        self.start()

    def start(self):
        """Starts the gateway's nginx alone; the namespace and the upstream are there already."""
        self._start(self.prefix, "nginx.conf", {"LD_LIBRARY_PATH": str(self.prefix / "lib")})
        wait_for(lambda: len(self.workers()) == self.workers_wanted, 10, "the gateway's workers")

    def down(self):
        try:
            if not self.real_kong:
                self.stop()
            self._end(self._pid_in(self.upstream_prefix / "upstream.pid"), signal.SIGTERM)
        finally:
            if self.owns_netns:
                subprocess.run(["ip", "netns", "del", self.netns], capture_output=True)
                self.owns_netns = False

    def reload(self):
        """SIGHUP, and back when the new workers serve; the old ones may still drain."""
        before = set(self.workers())
        os.kill(self.master(), signal.SIGHUP)
        wait_for(lambda: not before & set(now := self.workers()) and len(now) == self.workers_wanted, 10,
                 "the reloaded workers")

    def quit(self):
        """Ends the gateway as Kong is ended: requests under way are answered."""
        self._end(self.master(), signal.SIGQUIT)

    def stop(self):
        self._end(self.master(), signal.SIGTERM)

    def kill_worker(self, pid=None):
        """Kills one worker without a warning; the master puts another in its place."""
        victim = pid or self.workers()[0]
        os.kill(victim, signal.SIGKILL)
        wait_for(lambda: victim not in self.workers() and len(self.workers()) == self.workers_wanted, 10,
                 "a new worker")
        return victim

    @staticmethod
    def _end(pid, how):
        if pid:
            workers = children_of(pid)
            os.kill(pid, how)
            wait_for(lambda: not any(map(alive, [pid, *workers])), 20, f"the end of nginx {pid}")

    # -- building blocks

    def _make_netns(self):
        known = [line.split()[0] for line in run("ip", "netns", "list").splitlines() if line.strip()]
        try:
            if self.netns not in known:
                run("ip", "netns", "add", self.netns)
                self.owns_netns = True
            run("ip", "-n", self.netns, "link", "set", "lo", "up")
        except GatewayError as error:
            raise GatewayError(f"the gateway needs a network namespace of its own (root, CONFIG_NET_NS): {error}") from None

    def _write_certificate(self):
        if (self.directory / "gateway.key").exists():
            return
        run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "30",
            "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost",
            "-keyout", str(self.directory / "gateway.key"), "-out", str(self.directory / "gateway.crt"))

    def _fill(self, template, target, values):
        text = (HERE / "nginx" / template).read_text()
        for name, port in self.ports.items():
            text = text.replace(f"@{name.upper()}@", str(port))
        for name, value in values.items():
            text = text.replace(f"@{name}@", value)
        target.write_text(text)

    def _common(self, prefix):
        modules = "".join(f"load_module {MODULES / name};\n" for name in ("ndk_http_module.so", "ngx_http_lua_module.so"))
        # As many files as this machine lets a process have: more would only be a line in the error log.
        files = min(65536, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
        return {"MODULES": modules, "FILES": str(files), "CONNECTIONS": str(min(16384, files)), "LUA_PATH":
                f'lua_package_path "{prefix}/lua/?.lua;/usr/share/lua/5.1/?.lua;;";'}

    def _write_prefix(self):
        prefix = self.prefix
        for name in ("pids", "logs", "sockets", "ssl", "lib"):
            (prefix / name).mkdir(parents=True, exist_ok=True)
        shutil.copytree(HERE / "lua", prefix / "lua", dirs_exist_ok=True)
        (prefix / "lua" / "routes.lua").write_text(lua_config(self.ports))
        for suffix in ("crt", "key"):
            shutil.copy(self.directory / f"gateway.{suffix}", prefix / "ssl")
        # Kong brings a TLS library of its own; so must its stand-in, or hooks on the system's library would do.
        for library in ("libssl.so.3", "libcrypto.so.3"):
            shutil.copy(system_library(library), prefix / "lib" / library)
        oracle = "    log_by_lua_block { gateway.oracle_log() }\n    body_filter_by_lua_block { gateway.oracle_body() }"
        if self.moesif:
            oracle = oracle.replace("oracle_log()", "oracle_log() plugin.log()").replace("oracle_body()", "oracle_body() plugin.body()")
            (prefix / "lua" / "moesif_config.lua").write_text("return " + lua_literal(self.moesif) + "\n")
        values = {**self._common(prefix), "PREFIX": str(prefix), "WORKERS": str(self.workers_wanted),
                  "PLUGIN": ' plugin = require "plugin"' if self.moesif else "", "ORACLE": oracle if self.oracle == "full" else "",
                  "LARGE_HEADER_BUFFERS": self.large_headers}
        self._fill("nginx.conf.in", prefix / "nginx.conf", values)
        self._fill("kong.conf.in", prefix / "nginx-kong.conf", values)
        (prefix / "nginx-kong-stream.conf").write_text("")
        (prefix / ".kong_env").write_text(
            f"prefix = {prefix}\nproxy_listen = 0.0.0.0:{self.ports['proxy']}, 0.0.0.0:{self.ports['proxy_h2c']} http2, "
            f"0.0.0.0:{self.ports['proxy_tls']} http2 ssl\nadmin_listen = 127.0.0.1:{self.ports['admin']}\n"
            f"status_listen = 0.0.0.0:{self.ports['status']}\ndatabase = off\nrole = traditional\n")

    def _write_upstream(self):
        prefix = self.upstream_prefix
        prefix.mkdir(parents=True, exist_ok=True)
        shutil.copytree(HERE / "lua", prefix / "lua", dirs_exist_ok=True)
        for suffix in ("crt", "key"):
            shutil.copy(self.directory / f"gateway.{suffix}", prefix / f"upstream.{suffix}")
        self._fill("upstream.conf.in", prefix / "upstream.conf", self._common(prefix))

    def _start(self, prefix, config, environment):
        # nginx binds its ports before it goes into the background: when this returns, they answer.
        run(*self.in_netns(NGINX, "-p", str(prefix), "-c", config), env={**os.environ, **environment})


def system_library(name):
    """Where the dynamic linker finds a library."""
    for line in run("/sbin/ldconfig", "-p").splitlines():
        if line.strip().startswith(name + " ") and "=>" in line:
            return line.split("=>")[1].strip()
    raise GatewayError(f"{name} is missing: install libssl3")


def join_netns(name):
    """Moves this thread, and what it starts, into a named network namespace."""
    libc = ctypes.CDLL(None, use_errno=True)
    with open(f"/run/netns/{name}") as file:
        if libc.setns(file.fileno(), 0x40000000):
            raise GatewayError(f"netns {name}: {os.strerror(ctypes.get_errno())}")


def main():
    parser = argparse.ArgumentParser(description="A stand-in for Kong 3.9.")
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("up", "down", "reload", "status"):
        command = commands.add_parser(name)
        command.add_argument("--dir", required=True)
        if name == "up":
            command.add_argument("--netns")
            command.add_argument("--workers", type=int, default=2)
            command.add_argument("--oracle", choices=["full", "lines"], default="full")
    execute = commands.add_parser("exec")
    execute.add_argument("--dir", required=True)
    execute.add_argument("argv", nargs="+")
    declarative = commands.add_parser("kong-yml")
    declarative.add_argument("--moesif", type=json.loads, help="the plugin's configuration, in JSON")
    args = parser.parse_args()
    if args.command == "kong-yml":
        sys.stdout.write(kong_yml(args.moesif))
    elif args.command == "up":
        gateway = Gateway(args.dir, args.netns, args.workers, args.oracle)
        try:
            gateway.up()
        except BaseException:
            gateway.down()
            raise
        print(f"gateway: up, netns {gateway.netns}, prefix {gateway.prefix}")
    else:
        gateway = Gateway.attached(args.dir)
        if args.command == "exec":
            sys.stdout.flush()
            argv = gateway.in_netns(*args.argv)
            os.execvp(argv[0], argv)
        if args.command == "status":
            master = gateway.master()
            print(json.dumps({"netns": gateway.netns, "prefix": str(gateway.prefix), "master": master,
                              "workers": gateway.workers()}))
            return 0 if master else 1
        getattr(gateway, args.command)()
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except GatewayError as error:
        sys.exit(f"gateway: {error}")
