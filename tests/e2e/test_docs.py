#!/usr/bin/env python3
"""Every command and every configuration that README and docs show is carried out, in order, in a copy of this machine's root
that is thrown away, with a network of its own: beside a gateway that has calls, and with a collector that checks.

A block marked sh is a list of commands. One that runs until a signal (kongtap run without --for) stays until the next such
one, and must end well; all others must succeed, and those that say for how long are given less time. A block of YAML whose
first line names a file becomes that file, and is read by what it is for. What cannot run here has a comment before it that
says why; it is counted and told, never passed over."""
import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import yaml

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "replay/lib"))

import har12  # noqa: E402  (the path is only known now)
from lib import KONGTAP, ROOT, Checks, Collector, Gateway, GatewayError, Process, Workdir, wait_for

# In the order in which somebody reads them; then whatever else there is.
FIRST = ["README.md", "docs/CONFIGURATION.md", "docs/MONITORING.md", "docs/OPERATING.md", "docs/SECURITY.md", "docs/MIGRATION.md",
         "CONTRIBUTING.md"]
PAGES = FIRST + [page for page in sorted(subprocess.run(["git", "ls-files", "*.md"], cwd=ROOT, check=True, capture_output=True,
                                                        text=True).stdout.split()) if page not in FIRST]
NOT_HERE = re.compile(r"<!-- not run here: (.+) -->")
# A command that stays until it gets a signal.
STAYS = re.compile(r"(kongtap run|scripts/run\.sh)(?!.*--for )")
# Where an inline piece of code is a command, and not an option, a name or a text.
COMMAND = re.compile(r"(sudo |kongtap (run|check|replay|help|--)|build/kongtap |make( |$)|\./scripts/|scripts/\w|python3 |kubectl |docker "
                     r"|systemctl |journalctl |dpkg |curl |mount |promtool |git )")


class Block:
    def __init__(self, page, line, kind, text, why_not):
        self.page, self.line, self.kind, self.text, self.why_not = page, line, kind, text, why_not
        self.where = f"{page}:{line}"

    def commands(self):
        """Continued lines and here-documents belong to the command that they continue; comments do not."""
        command, end = [], None
        for line in self.text.splitlines():
            if not command and (not line.strip() or line.startswith("#")):
                continue
            command.append(line)
            here = re.search(r"<<'(\w+)'", line)
            end = here.group(1) if here else end
            if end and line != end or not end and line.endswith("\\"):
                continue
            yield "\n".join(command)
            command, end = [], None


def blocks_of(page):
    """The fenced blocks of a page."""
    lines, found, above = (ROOT / page).read_text().splitlines(), [], ""
    at = 0
    while at < len(lines):
        if lines[at].startswith("```"):
            end = next(i for i in range(at + 1, len(lines)) if lines[i].startswith("```"))
            why = NOT_HERE.fullmatch(above)
            found.append(Block(page, at + 1, lines[at][3:].strip(), "\n".join(lines[at + 1:end]), why.group(1) if why else None))
            at = end
        above = lines[at].strip() or above
        at += 1
    return found


def plain(text):
    """A command without what differs from page to page."""
    return re.sub(r"\s+", " ", re.sub(r"(^|\s)(sudo|build/(?=kongtap)|\./(?=scripts))\s*", r"\1", re.sub(r"\\\n", " ", text)))


# -- where it is carried out

class World:
    """Mount and network namespace around a copy-on-write view of this machine."""

    def __init__(self, directory, environment):
        view = directory / "view"
        view.mkdir()
        root = view / "root"
        # The tree may lie in a file system of its own.
        tree = next(str(path) for path in [ROOT, *ROOT.parents] if path.is_mount())
        overlays = "\n".join(f"mkdir {view}/upper-{i} {view}/work-{i}\nmount -t overlay overlay -o lowerdir={lower},"
                             f"upperdir={view}/upper-{i},workdir={view}/work-{i} {root}{lower}"
                             for i, lower in enumerate(sorted({"/", tree})))
        script = f"""set -e
mount -t tmpfs tmpfs {view}
mkdir {root}
{overlays}
for d in proc sys dev; do mount --rbind /$d {root}/$d; done
rm -rf {root}/etc/kongtap {root}/var/lib/kongtap
printf '#!/bin/sh\\nexec "$@"\\n' >{root}/usr/local/bin/sudo
chmod 755 {root}/usr/local/bin/sudo
ip link set lo up
echo made
exec chroot {root} sleep infinity"""
        self.holder = Process(["unshare", "--mount", "--net", "--propagation", "private", "sh", "-c", script])
        self.holder.wait_line("^made$", stream="stdout")
        wait_for(lambda: Path(f"/proc/{self.holder.pid}/root").resolve() != Path("/")
                 and "sleep" in Path(f"/proc/{self.holder.pid}/comm").read_text(), 10, "the view")
        self.environment = {"PATH": "/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", **environment}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.holder.__exit__()

    def net(self):
        return ["nsenter", f"--target={self.holder.pid}", "--net"]

    def argv(self, command):
        # The working directory is one of the view: --wd of nsenter would be this machine's own.
        return ["nsenter", f"--target={self.holder.pid}", "--mount", "--net", "--root", "env", "-i", "-C", str(ROOT),
                *(f"{name}={value}" for name, value in self.environment.items()), "bash", "-c", command]

    def run(self, command, seconds=300, text=None):
        return subprocess.run(self.argv(command), input=text, stdin=None if text is not None else subprocess.DEVNULL,
                              capture_output=True, text=True, timeout=seconds)

    def write(self, path, text):
        if self.run(f"mkdir -p {shlex.quote(str(Path(path).parent))} && cat >{shlex.quote(str(path))}", text=text).returncode:
            raise RuntimeError(f"cannot write {path}")


class Reader:
    """Does what the pages say."""

    def __init__(self, t, world, collector):
        self.t, self.world, self.collector = t, world, collector
        self.staying, self.seen_before = None, 0

    def shipped(self):
        """Bytes of events. Every Kong of the host is captured, so there may be many."""
        return self.collector.events_file.stat().st_size if self.collector.events_file.exists() else 0

    def end_staying(self):
        if not self.staying:
            return
        where, command, process = self.staying
        self.staying = None
        def has_calls():
            return any('"request"' in line for line in process.lines["stdout"][:100]) or self.shipped() > self.seen_before

        if "--output none" not in command:
            try:
                wait_for(has_calls, 20, "calls shown or shipped")
            except GatewayError as error:
                self.t.check(f"{where} {shown(command)}", False, f"{error}: {process.stderr[-600:]}")
        code = process.stop(40)
        self.t.check(f"{where} {shown(command)}: has calls, and ends well", code == 0, f"{code}: {process.stderr[-800:]}")

    def carry_out(self, where, command):
        if STAYS.search(command):
            self.end_staying()
            self.seen_before = self.shipped()
            process = Process(self.world.argv("exec " + command if "\n" not in command else command))
            try:
                process.wait_line(r"\bready, watching [1-9]", 300)
                self.staying = where, command, process
            except RuntimeError as error:
                process.stop()
                self.t.check(f"{where} {shown(command)}: starts", False, str(error))
            return
        done = self.world.run(re.sub(r"--for \d+", "--for 3", command))
        self.t.check(f"{where} {shown(command)}", done.returncode == 0, f"{done.returncode}: {done.stdout[-500:]}{done.stderr[-800:]}")
        har = re.search(r"--output har --output-file (\S+)", command)
        if har:
            document = json.loads(self.world.run(f"cat {har.group(1)}").stdout)
            problems = har12.problems_of(document)
            self.t.check(f"{where} {har.group(1)}: {len(document['log']['entries'])} calls by the rules of HAR 1.2",
                         document["log"]["entries"] and not problems, str(problems[:3]))

    def block(self, block):
        if block.why_not:
            print(f"skip - {block.where} {shown(block.text)}: {block.why_not}", flush=True)
        elif block.kind == "sh":
            for command in block.commands():
                self.carry_out(block.where, command)
        elif block.kind == "yaml":
            self.settings(block)

    def settings(self, block):
        name = re.match(r"# (\S+\.ya?ml)$", block.text.splitlines()[0])
        if name:
            self.world.write(ROOT / name.group(1), block.text + "\n")
        content = yaml.safe_load(block.text)
        if "kustomize" in str(content.get("apiVersion")):
            self.kustomization(block)
            return
        flag = "--kong-config" if "plugins" in content else "-c"
        self.world.write("/tmp/settings.yaml", block.text + "\n")
        # Files that a page tells to make are there when the reader has read on.
        self.world.run("[ -e /etc/kongtap/application-id ] || { mkdir -p /etc/kongtap && "
                       "install -m 600 /dev/stdin /etc/kongtap/application-id <<<an-id; }")
        done = self.world.run(f"{KONGTAP} check {flag} /tmp/settings.yaml --prefix /nowhere")
        self.t.check(f"{block.where}: is taken without an error", done.returncode != 2 and "error" not in done.stderr, done.stderr[-600:])
        options = content["plugins"][0]["config"] if "plugins" in content else content
        self.t.equal(f"{block.where}: all of it is in force",
                     [key for key in options if not re.search(rf"^{key}: .* # (file|Kong's file)$", done.stdout, re.M)], [])

    def kustomization(self, block):
        if not shutil.which("kubectl"):
            print(f"skip - {block.where}: no kubectl here", flush=True)
            return
        folder = ROOT / "deploy/kubernetes/overlays/of-the-reader"
        self.world.write(folder / "kustomization.yaml", block.text)
        self.world.write(folder / "application-id", "an id")
        self.world.write(folder / "kongtap.yaml", "log_format: json\n")
        done = self.world.run(f"kubectl kustomize {folder}")
        self.t.check(f"{block.where}: kubectl kustomize", done.returncode == 0 and "your-registry/kongtap" in done.stdout, done.stderr[-400:])


def shown(command):
    first = command.strip().splitlines()[0]
    return re.sub(r"\s+#.*| <<'.*", "", first)


def carried_out(t):
    with Workdir() as directory, Gateway(directory / "gateway") as gateway:
        # Everybody's, as a gateway's folder is.
        directory.chmod(0o755)
        with World(directory, {}) as world, Collector(directory / "events.jsonl", wrapper=world.net()) as collector, \
                Process(gateway.in_netns("bash", str(ROOT / "scripts/demo-calls.sh"))):
            world.environment["KONGTAP_API_ENDPOINT"] = collector.url
            for page in PAGES:
                reader = Reader(t, world, collector)
                for block in blocks_of(page):
                    try:
                        reader.block(block)
                    except Exception as error:
                        t.check(f"{block.where}: {shown(block.text)}", False, f"{type(error).__name__}: {error}")
                reader.end_staying()


def nothing_is_left_out(t):
    """Commands stand in blocks that are run or marked, and nowhere else: not in blocks of another kind, not in the text."""
    t.check(f"{len(PAGES)} pages are read", all((ROOT / page).exists() for page in PAGES) and len(PAGES) > 10, str(PAGES))
    blocks = [block for page in PAGES for block in blocks_of(page)]
    t.equal("every block is of a kind that is known", [b.where for b in blocks if b.kind not in ("sh", "yaml", "")], [])
    t.equal("no command hides in a block that is not run", [
        b.where for b in blocks if not b.kind and any(COMMAND.match(line.strip()) for line in b.text.splitlines())], [])
    known = plain("\n".join(command for block in blocks if block.kind == "sh" for command in [*block.commands(), block.text]))
    for page in PAGES:
        text = re.sub(r"^```.*?^```", "", (ROOT / page).read_text(), flags=re.M | re.S)
        spans = {re.sub(r"\s+", " ", span) for span in re.findall(r"`([^`]+)`", text) if COMMAND.match(span)}
        t.equal(f"{page}: every command in the text is in a block, too",
                sorted(span for span in spans if plain(span).rstrip("…. ") not in known), [])


if __name__ == "__main__":
    sys.exit(Checks().run(nothing_is_left_out, carried_out))
