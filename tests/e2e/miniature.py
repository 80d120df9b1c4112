"""A gateway in miniature (miniature.c), and TLS libraries of other makers and times to put into it."""
import http.client
import os
import re
import secrets
import shlex
import shutil
import socket
import ssl
import subprocess
from pathlib import Path

from gateway import alive, children_of
from lib import HERE, Process, wait_for

# server_name in Kong's generated configuration, by the role of the port
NAMES = {"proxy": "kong", "admin": "kong_admin", "status": "kong_status", "manager": "kong_gui",
         "cluster": "kong_cluster_listener", "telemetry": "kong_cluster_telemetry_listener", "other": "somebody"}


def build(target, *more):
    subprocess.run(["gcc", "-std=gnu17", "-O2", "-Wall", "-Wextra", "-Werror", "-o", target, HERE / "miniature.c", *more],
                   check=True, capture_output=True)
    return Path(target)


def certificate(directory):
    """Path without .crt and .key."""
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days",
                    "30", "-subj", "/CN=localhost", "-keyout", directory / "mini.key", "-out", directory / "mini.crt"],
                   check=True, capture_output=True)
    return directory / "mini"


class Miniature:
    """Up at entry, down at exit. ports: {name: role}, where a role ending in " tls" has TLS and one of "stream" is named in
    Kong's stream configuration. With a root it runs there, with the libraries there."""

    def __init__(self, directory, program, certificate, library="-", ports=None, root=None, cgroup=None, path=None):
        self.root = Path(root or "/")
        # A prefix of its own within the root, for the root may be the host's.
        self.inside = f"/kong-{secrets.token_hex(4)}" if root else f"{directory}/kong-{secrets.token_hex(4)}"
        self.prefix = self.root / self.inside[1:]
        self.program, self.certificate, self.library, self.cgroup, self.path = program, certificate, library, cgroup, path
        self.roles = ports or {"tls": "proxy tls", "clear": "proxy"}
        self.ports, self.sockets, self.process = {}, {}, None

    def __enter__(self):
        (self.prefix / "sbin").mkdir(parents=True)
        shutil.copy(self.program, self.prefix / "sbin" / "nginx")
        for suffix in (".crt", ".key"):
            shutil.copy(f"{self.certificate}{suffix}", self.prefix / f"mini{suffix}")
        for name in self.roles:
            self.sockets[name] = socket.create_server(("127.0.0.1", 0))
            self.ports[name] = self.sockets[name].getsockname()[1]
        servers = [(NAMES[role.split()[0]], self.ports[name], role.endswith(" tls"))
                   for name, role in self.roles.items() if role != "stream"]
        (self.prefix / "nginx-kong.conf").write_text("".join(
            f"server {{ server_name {name}; listen 127.0.0.1:{port}{' ssl' if tls else ''}; }}\n" for name, port, tls in servers))
        (self.prefix / "nginx-kong-stream.conf").write_text("".join(
            f"server {{ listen 127.0.0.1:{self.ports[name]}; }}\n" for name, role in self.roles.items() if role == "stream"))
        fds = [f"{self.sockets[name].fileno()}{':tls' if role.endswith(' tls') else ''}" for name, role in self.roles.items()]
        arguments = [f"nginx: master process nginx -p {self.inside} -c nginx.conf", f"{self.inside}/mini", self.library, *fds]
        script = f"echo $$ > {self.cgroup}/cgroup.procs; " if self.cgroup else ""
        # The shell's `exec -a` gives the title; the program's own name must be nginx.
        script += f"exec -a {shlex.join(arguments[:1])} {self.inside}/sbin/nginx {shlex.join(arguments[1:])}"
        environment = {"LD_LIBRARY_PATH": self.path} if self.path else {}
        self.process = Process(self._command(script, arguments), environment, pass_fds=[s.fileno() for s in self.sockets.values()])
        self.process.wait_line("^serving$", 20, "stdout")
        # Of this process they are no more, or calls to an ended one would hang.
        for each in self.sockets.values():
            each.close()
        return self

    def _command(self, script, arguments):
        if self.root == Path("/"):
            return ["bash", "-c", script]
        # No shell in there. A program that ends by exec cannot name itself, so the root's entry is by perl.
        return ["perl", "-e", "my $r = shift; chroot($r) && chdir('/') or die $!; my $p = shift; exec {$p} @ARGV or die $!",
                self.root, f"{self.inside}/sbin/nginx", *arguments]

    def __exit__(self, *_):
        if not self.process:
            return
        workers = children_of(self.process.pid)
        self.process.__exit__()
        wait_for(lambda: not any(map(alive, workers)), 10, "the miniature's end")
        shutil.rmtree(self.prefix, ignore_errors=True)

    @property
    def worker(self):
        return children_of(self.process.pid)[0]

    def connect(self, name):
        if not self.roles[name].endswith(" tls"):
            return http.client.HTTPConnection("127.0.0.1", self.ports[name], timeout=20)
        trusting = ssl.create_default_context()
        trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
        return http.client.HTTPSConnection("127.0.0.1", self.ports[name], timeout=20, context=trusting)


def call(connection, target):
    """The answer's body, when all is as it should be."""
    connection.request("GET", target)
    response = connection.getresponse()
    body = response.read().decode()
    assert (response.status, body) == (200, f'{{"target":"{target}"}}'), (response.status, body)
    return body


# -- libraries from elsewhere

def fetch(directory, suite, *packages):
    """Unpacks packages of this or another release of Debian, from where this machine's own come. None: not to be had."""
    known = subprocess.run(["apt-get", "indextargets", "--format", "$(COMPONENT) $(REPO_URI)"], check=True, capture_output=True,
                           text=True).stdout
    mirror = re.search(r"^main (\S+/debian/?)$", known, re.M)
    if not mirror:
        return None
    state = directory / "apt"
    for name in ("lists/partial", "cache/archives/partial"):
        (state / name).mkdir(parents=True)
    (state / "status").touch()
    (state / "sources").write_text(f"deb [trusted=yes] {mirror[1]} {suite} main\n")
    options = [f"-oDir::Etc::sourcelist={state}/sources", "-oDir::Etc::sourceparts=/dev/null", f"-oDir::State::lists={state}/lists",
               f"-oDir::State::status={state}/status", f"-oDir::Cache={state}/cache", "-oAPT::Sandbox::User=root",
               "-oAcquire::Languages=none", "-oAcquire::Retries=1"]
    for words in (["update"], ["download", *packages]):
        done = subprocess.run(["apt-get", "-qq", *options, *words], cwd=state, capture_output=True, text=True, timeout=120)
        if done.returncode or "Failed" in done.stderr:
            print(f"# {suite}: {done.stderr.strip()[-300:]}", flush=True)
            return None
    for package in state.glob("*.deb"):
        subprocess.run(["dpkg", "-x", package, directory / "root"], check=True)
    shutil.rmtree(state)
    return directory / "root"
