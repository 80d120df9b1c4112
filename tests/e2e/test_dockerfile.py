#!/usr/bin/env python3
"""The Dockerfile's steps, carried out in clean roots without a container engine: what it says is enough to build, from a
bare Debian, and what comes out captures."""
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

from lib import ROOT, Agent, Checks, Gateway, Workdir, client, read_jsonl, wait_for

DOCKERFILE = ROOT / "deploy/docker/Dockerfile"
STEP_SECONDS = 1200


def instructions(text):
    """(word, rest) of every instruction, continued lines joined."""
    text = re.sub(r"^\s*#.*\n", "", text, flags=re.M)
    for line in re.sub(r"\\\n", " ", text).splitlines():
        if line.strip():
            word, _, rest = line.strip().partition(" ")
            yield word.upper(), rest.strip()


class Builder:
    """Knows as much of Docker as our file uses; anything else is an error."""

    def __init__(self, directory):
        self.directory = directory
        self.stages = {}
        self.root = self.workdir = None
        self.arguments = {}
        self.entrypoint = self.command = None

    def run(self, dockerfile):
        for word, rest in instructions(dockerfile.read_text()):
            began = time.monotonic()
            getattr(self, "do_" + word.lower())(rest)
            print(f"# {word} {rest} ({time.monotonic() - began:.0f} s)", flush=True)

    def do_from(self, rest):
        image, _, name = rest.partition(" AS ")
        self.root = self.directory / f"stage-{len(self.stages)}"
        self.stages[name or str(len(self.stages))] = self.root
        self.workdir = "/"
        if image == "scratch":
            self.root.mkdir()
        else:
            debian, suite = re.fullmatch(r"(debian):(\d+)-slim", image).groups()
            assert (debian, suite) == ("debian", "12"), image
            self.bare_debian("bookworm")

    def bare_debian(self, suite):
        """From where this machine's own packages come, with the same access."""
        targets = subprocess.run(["apt-get", "indextargets", "--format", "$(CODENAME) $(COMPONENT) $(REPO_URI)"], check=True,
                                 capture_output=True, text=True).stdout
        mirror = re.search(rf"^{suite} main (\S+)$", targets, re.M).group(1)
        subprocess.run(["debootstrap", "--variant=minbase", "--no-check-gpg", suite, self.root, mirror], check=True,
                       stdout=subprocess.DEVNULL, timeout=STEP_SECONDS)
        # What is thrown away afterwards need not be safe on a disk.
        (self.root / "etc/dpkg/dpkg.cfg.d/unsafe").write_text("force-unsafe-io\n")
        shutil.rmtree(self.root / "etc/apt")
        shutil.copytree("/etc/apt", self.root / "etc/apt", symlinks=True)
        for path in ("/etc/resolv.conf", "/etc/hosts"):
            shutil.copy(path, self.root / path.lstrip("/"))

    def do_arg(self, rest):
        name, _, value = rest.partition("=")
        self.arguments[name] = value

    def do_workdir(self, rest):
        self.workdir = rest
        (self.root / rest.lstrip("/")).mkdir(parents=True, exist_ok=True)

    def do_copy(self, rest):
        source, target = shlex.split(rest)[-2:]
        target = self.root / os.path.join(self.workdir, target).lstrip("/")
        stage = re.search(r"--from=(\w+)", rest)
        if stage:
            source = self.stages[stage.group(1)] / source.lstrip("/")
            subprocess.run(["cp", "-a", f"{source}/.", target], check=True)
        elif source == ".":
            # What git knows, as a clean checkout has it, is what .dockerignore leaves.
            files = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True).stdout
            subprocess.run(["cpio", "-p0dmu", "--quiet", target], cwd=ROOT, input=files, check=True)
        else:
            target.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / source, target)

    def do_run(self, rest):
        script = (f"mount -t proc proc {self.root}/proc && mount --rbind /dev {self.root}/dev && "
                  f'exec chroot {self.root} sh -c "$0"')
        exports = " ".join(f"{name}={shlex.quote(value)}" for name, value in self.arguments.items())
        environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root"}
        environment.update({name: value for name, value in os.environ.items() if name.lower().endswith("_proxy")})
        done = subprocess.run(["unshare", "-m", "--propagation", "private", "sh", "-c", script,
                               f"cd {self.workdir} && export {exports} && {rest}" if exports else f"cd {self.workdir} && {rest}"],
                              env=environment, capture_output=True, text=True, timeout=STEP_SECONDS)
        if done.returncode:
            raise RuntimeError(f"RUN {rest}: {done.returncode}\n{done.stdout[-1500:]}{done.stderr[-1500:]}")

    def do_entrypoint(self, rest):
        self.entrypoint = json.loads(rest)

    def do_cmd(self, rest):
        self.command = json.loads(rest)


@contextmanager
def in_memory():
    """A directory for roots: packages and a build are tens of thousands of files, most of which nobody reads."""
    with Workdir() as directory:
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4g,mode=755", "tmpfs", directory], check=True)
        try:
            yield directory
        finally:
            subprocess.run(["umount", "-l", directory], check=True)


def dockerfile(t):
    if not shutil.which("debootstrap"):
        print("skip - Dockerfile: no debootstrap here", flush=True)
        return
    with in_memory() as directory:
        builder = Builder(directory)
        builder.run(DOCKERFILE)
        image = builder.root
        t.equal("image: what it starts", [*builder.entrypoint, *builder.command], ["/usr/sbin/kongtap", "run"])
        programs = [str(path.relative_to(image)) for path in image.rglob("*")
                    if path.is_file() and not path.is_symlink() and os.access(path, os.X_OK) and ".so" not in path.name]
        t.equal("image: one program, no shell and no compiler", programs, ["usr/sbin/kongtap"])
        size = int(subprocess.run(["du", "-sm", image], capture_output=True, text=True, check=True).stdout.split()[0])
        t.check("image: small", size < 40, f"{size} MiB")
        with Gateway(directory / "gateway") as gateway:
            script = f"""set -e
mount -t proc proc {image}/proc
mount -t sysfs sysfs {image}/sys
mount --bind -o ro /sys/kernel/tracing {image}/sys/kernel/tracing
shift 2
exec chroot {image} {shlex.join([*builder.entrypoint, *builder.command])} "$@"
"""
            record = directory / "client.jsonl"
            with Agent("--prefix", gateway.prefix, "--output", "jsonl", "--metrics-listen", "none",
                       wrapper=["unshare", "-m", "--propagation", "private", "sh", "-c", script, "sh"]) as agent:
                agent.wait_ready()
                with client(gateway, record, "--calls", 40, "--connections", "4") as traffic:
                    assert traffic.wait(120) == 0, traffic.stderr
                sent = len(read_jsonl(record))
                wait_for(lambda: agent.stdout.count('"request"') >= sent, 15, "events")
                t.equal("image: exit code", agent.stop(), 0)
                t.equal("image: an event for every call", len([line for line in agent.lines["stdout"] if line[:1] == "{"]), sent)


if __name__ == "__main__":
    sys.exit(Checks().run(dockerfile))
