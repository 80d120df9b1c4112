#!/usr/bin/env python3
"""What deploy/ holds: the unit, installation, the Debian package, man page, completion, Kubernetes manifests."""
import base64
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import yaml

from lib import KONGTAP, ROOT, Checks, Gateway, Workdir, wait_for

DEPLOY = ROOT / "deploy"
NEEDED = {"CAP_BPF", "CAP_PERFMON", "CAP_SYS_PTRACE", "CAP_DAC_READ_SEARCH", "CAP_CHECKPOINT_RESTORE"}


def sh(*argv, **more):
    return subprocess.run([str(arg) for arg in argv], capture_output=True, text=True, timeout=300, **more)


def make(*argv):
    done = sh("make", "-s", "-C", ROOT, f"O={KONGTAP.parent}", *argv)
    if done.returncode:
        raise RuntimeError(f"make {argv}: {done.stdout[-500:]}{done.stderr[-1500:]}")
    return done.stdout


def skip(what, why):
    print(f"skip - {what}: {why}", flush=True)


def files_under(directory):
    return sorted(str(path.relative_to(directory)) for path in Path(directory).rglob("*") if not path.is_dir())


# -- the unit

def unit_verified(t):
    with Workdir() as directory:
        unit = directory / "kongtap.service"
        text = (DEPLOY / "systemd/kongtap.service").read_text()
        unit.write_text(text.replace("/usr/sbin/kongtap", str(KONGTAP)))
        make("install", f"DESTDIR={directory}/root", "PREFIX=/usr")
        done = sh("systemd-analyze", "verify", unit, env={**os.environ, "MANPATH": f"{directory}/root/usr/share/man"})
        about_us = [line for line in (done.stdout + done.stderr).splitlines() if "kongtap" in line]
        t.check("unit: systemd-analyze verify", done.returncode == 0 and not about_us, f"{done.returncode}: {about_us}")
        done = sh("systemd-analyze", "security", "--offline=yes", "--threshold=30", unit)
        level = re.search(r"exposure level for \S+: ([\d.]+)", done.stdout)
        t.check("unit: exposure at most 3.0", level and float(level.group(1)) <= 3.0, level.group(0) if level else done.stderr)
        for directive in ("CapabilityBoundingSet", "AmbientCapabilities"):
            line = re.search(rf"^{directive}=(.*)$", text, re.M).group(1)
            t.equal(f"unit: {directive} is what is needed", set(line.split()), NEEDED)


def unit_in_force(t):
    """The installed unit, started by a systemd of its own."""
    package = make("deb").split()[-1]
    with Workdir() as directory:
        log, boot = directory / "log", None
        try:
            boot = subprocess.Popen([ROOT / "tests/e2e/systemd_boot.sh", ROOT / package, directory], stdin=subprocess.DEVNULL,
                                    stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            wait_for(lambda: (directory / "done").exists() or boot.poll() is not None, 60, "an answer from systemd")
        finally:
            if boot:
                boot.kill()
                said = boot.communicate()[0]
        text = log.read_text() if log.exists() else ""
        t.check("unit in force: it was started", "ExecMainStatus=" in text, said[-600:])
        t.equal("unit in force: all capabilities are there", set(re.findall(r"privileges: (CAP_\w+)\s+ok", text)), NEEDED)
        for feature in ("btf", "tracefs", "multi_uprobe", "map_files", "programs"):
            t.check(f"unit in force: {feature}", re.search(rf"^  ok\s+{feature}\b", text, re.M), text[-1500:])
        t.check("unit in force: the credential is read", re.search(r'application_id: "\*\*\*" # environment', text)
                and "application_id_file: \"/run/credentials/kongtap.service/application-id\"" in text, text[:600])
        t.check("unit in force: it gets as far as the collector", re.search(r"^collector: NOT OK: no answer", text, re.M), text[-600:])
        state = re.search(r"^(\S+)\s+\d+\s+(\S+) .*/var/lib/private/kongtap$", text, re.M)
        t.check("unit in force: its state is its own", state and state.group(1) == "drwx------" and state.group(2) != "root",
                text[-300:])


# -- installation

def install_and_uninstall(t):
    with Workdir() as directory:
        for prefix in ("/usr", "/usr/local"):
            root = directory / prefix.strip("/").replace("/", "-")
            where = (f"DESTDIR={root}", f"PREFIX={prefix}")
            make("install", *where)
            there = files_under(root)
            base = prefix.strip("/")
            for wanted in (f"{base}/sbin/kongtap", f"{base}/share/man/man8/kongtap.8", f"{base}/lib/systemd/system/kongtap.service",
                           f"{base}/share/bash-completion/completions/kongtap", "etc/kongtap/kongtap.yaml"):
                t.check(f"install {prefix}: {wanted}", wanted in there, there)
            unit = (root / base / "lib/systemd/system/kongtap.service").read_text()
            t.check(f"install {prefix}: the unit names the program", f"ExecStart={prefix}/sbin/kongtap run" in unit)
            done = sh(root / base / "sbin/kongtap", "--version")
            t.check(f"install {prefix}: it runs", done.returncode == 0 and re.match(r"kongtap \d", done.stdout), done.stderr)
            config = root / "etc/kongtap/kongtap.yaml"
            config.write_text("batch_size: 7\n")
            make("install", *where)
            t.equal(f"install {prefix}: a changed configuration is left alone", config.read_text(), "batch_size: 7\n")
            make("uninstall", *where)
            t.equal(f"uninstall {prefix}: only the changed configuration stays", files_under(root), ["etc/kongtap/kongtap.yaml"])
            shutil.copy(DEPLOY / "kongtap.yaml", config)
            make("uninstall", *where)
            t.equal(f"uninstall {prefix}: an unchanged one goes", files_under(root), [])


def debian_package(t):
    package = ROOT / make("deb").split()[-1]
    first = hashlib.sha256(package.read_bytes()).hexdigest()
    make("deb")
    t.equal("deb: the same commit gives the same bytes", hashlib.sha256(package.read_bytes()).hexdigest(), first)
    if sh("dpkg-query", "-W", "kongtap").returncode == 0:
        skip("deb installed and removed", "kongtap is installed on this machine; it is left alone")
        return
    there_before = [path for path in ("/etc/kongtap", "/var/lib/kongtap", "/var/lib/private") if os.path.exists(path)]
    done = sh("dpkg", "-i", package)
    try:
        t.check("deb: dpkg -i", done.returncode == 0, done.stdout[-400:] + done.stderr[-400:])
        installed = [path for path in sh("dpkg", "-L", "kongtap").stdout.split("\n") if path and not os.path.isdir(path)]
        t.check("deb: the files are there", len(installed) >= 8 and all(map(os.path.exists, installed)), installed)
        t.equal("deb: nothing differs from the package", sh("dpkg", "-V", "kongtap").stdout, "")
        with Workdir() as directory, Gateway(directory / "gateway") as gateway:
            done = sh("/usr/sbin/kongtap", "check", "-c", "/etc/kongtap/kongtap.yaml", "--prefix", gateway.prefix)
            t.check("deb: kongtap check is content", done.returncode == 0 and "check: good" in done.stdout, done.stdout[-800:])
        done = sh("man", "-l", "/usr/share/man/man8/kongtap.8.gz", env={**os.environ, "MANPAGER": "cat"})
        t.check("deb: man kongtap", done.returncode == 0 and "CHECKPOINT_RESTORE" in done.stdout, done.stderr[-400:])
        Path("/etc/kongtap/application-id").write_text("an id\n")
    finally:
        removed = sh("dpkg", "-r", "kongtap")
        left = [path for path in installed if os.path.exists(path)]
        purged = sh("dpkg", "-P", "kongtap")
    t.check("deb: dpkg -r", removed.returncode == 0, removed.stderr)
    t.equal("deb: removal leaves the configuration only", left, ["/etc/kongtap/kongtap.yaml"])
    t.check("deb: dpkg -P", purged.returncode == 0, purged.stderr)
    t.equal("deb: nothing is left", [path for path in [*installed, "/etc/kongtap", "/var/lib/kongtap", "/var/lib/private"]
                                     if os.path.exists(path) and path not in there_before], [])
    t.check("deb: dpkg knows nothing of it", sh("dpkg-query", "-W", "kongtap").returncode != 0)


def hardened(t):
    """The usual flags took effect, seen from the program."""
    headers = sh("readelf", "-Wldn", KONGTAP).stdout
    symbols = sh("readelf", "-W", "--dyn-syms", KONGTAP).stdout
    t.check("program: position independent", re.search(r"Elf file type is DYN .*Position-Independent", headers), headers[:200])
    t.check("program: relocations are read-only", "GNU_RELRO" in headers and re.search(r"BIND_NOW|\bNOW\b", headers))
    t.check("program: no executable stack", re.search(r"GNU_STACK .* RW ", headers), headers)
    t.check("program: no segment is both written and executed", not re.search(r"LOAD .* RWE ", headers))
    t.check("program: stack protector", "__stack_chk_fail" in symbols)
    t.check("program: fortified calls", len(re.findall(r"__\w+_chk@", symbols)) >= 5, re.findall(r"__\w+_chk@", symbols))
    t.check("program: no search path of libraries", not re.search(r"RPATH|RUNPATH", headers))


# -- what a person meets

def man_page(t):
    make("man")
    page = KONGTAP.parent / "kongtap.8"
    text = page.read_text()
    reference = sh(KONGTAP, "help", "reference").stdout
    options = re.findall(r"^\| `(\w+)`", reference, re.M)
    missing = [name for name in options if not re.search(rf"^\.BR {name} ", text, re.M)]
    t.check("man page: every option", len(options) > 50 and not missing, missing)
    t.check("man page: no mark is left", not re.search(r"@[A-Z]+@", text))
    done = sh("man", "--warnings=w", "-l", page, env={**os.environ, "MANPAGER": "cat", "MANWIDTH": "100"})
    t.check("man page: man shows it without a warning", done.returncode == 0 and not done.stderr.strip(), done.stderr[:500])
    if shutil.which("mandoc"):
        done = sh("mandoc", "-T", "lint", "-W", "error", page)
        t.check("man page: mandoc finds no error", done.returncode == 0, done.stdout[:500])
    t.check("man page: says the version", sh(KONGTAP, "--version").stdout.split()[-1] in text.splitlines()[0])


def one_source(t):
    """What the reference says that an option takes, the error says that it expected; what it says that it does, `help
    config` and the man page say."""
    make("man")
    page = sh("man", "-l", KONGTAP.parent / "kongtap.8", env={**os.environ, "MANPAGER": "cat", "MANWIDTH": "1000"}).stdout
    page, listed = re.sub(r"\s+", " ", page.replace("\u2010", "-")).lower(), re.sub(r"\s+", " ", sh(KONGTAP, "help", "config").stdout)
    rows = re.findall(r"^\| `(\w+)`[^|]* \| (.*?) \| `.*?` \| (.*) \|$", sh(KONGTAP, "help", "reference").stdout, re.M)
    errors, texts, refused = [], [], 0
    for name, takes, what in rows:
        takes, plain = takes.replace("\\|", "|"), what.replace("\\|", "|").removesuffix(" (flag only)")
        if plain not in listed or plain.lower() not in page or f"takes {takes}" not in page:
            texts.append(name)
        if takes in ("a text", "a list of texts"):
            continue
        refused += 1
        done = sh(KONGTAP, "replay", "/dev/null", f"--{name.replace('_', '-')}=no such value")
        if done.returncode != 2 or f"expected {takes}" not in done.stderr:
            errors.append(f"{name}: {done.returncode}: {done.stderr}")
    t.check(f"{refused} options refuse nonsense by the words of the reference", refused > 40 and not errors, errors[:3])
    t.check(f"{len(rows)} options have one text in reference, help and man page", len(rows) > 60 and not texts, texts)


def sizes_of_the_page(t):
    """The page on operating tells the defaults that the program has."""
    units = {"": 1, " MiB": 1 << 20}
    page = (ROOT / "docs/OPERATING.md").read_text()
    told = {name: int(number) * units[unit] for name, number, unit in re.findall(r"^\| `(\w+)` \| (\d+)( MiB)? \|", page, re.M)}
    real = dict(re.findall(r"^\| `(\w+)`[^|]* \| .*? \| `(\d+)` \|", sh(KONGTAP, "help", "reference").stdout, re.M))
    t.check("operating: a table of sizes", len(told) >= 5, told)
    t.equal("operating: its defaults", told, {name: int(real[name]) for name in told})


def complete(*words):
    """What bash offers for the last word."""
    script = """source "$1"; shift
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMP_LINE="$*"; COMP_POINT=${#COMP_LINE}
compopt() { :; }
_kongtap "$1" "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD-1]}"
printf '%s\\n' "${COMPREPLY[@]}" """
    done = sh("bash", "-c", script, "bash", DEPLOY / "completion/kongtap.bash", KONGTAP, *words)
    assert not done.stderr, done.stderr
    return set(done.stdout.split())


def zsh_completes(*words):
    """What the function hands to zsh's own: lists by name, or files."""
    script = """_describe() { print -l -- ${(P)2%%:*} }; _values() { shift; print -l -- $@ }; _files() { print -l -- $PREFIX*(N) }
words=($2 "${@:3}") CURRENT=${#words} PREFIX=${words[-1]}; source $1"""
    done = sh("zsh", "-fc", script, "zsh", DEPLOY / "completion/_kongtap", KONGTAP, *words)
    assert not done.stderr, done.stderr
    return set(done.stdout.split())


def fish_completes(*words):
    """It asks the program that its path leads to."""
    line = " ".join(["kongtap", *map(str, words)])
    with Workdir() as home:
        done = sh("fish", "--no-config", "-c", f"source {DEPLOY}/completion/kongtap.fish; complete -C '{line}'",
                  env={"PATH": f"{KONGTAP.parent}:/usr/bin:/bin", "HOME": str(home)})
    assert not done.stderr, done.stderr
    return {text.split("\t")[0] for text in done.stdout.splitlines()}


def completion(t):
    t.equal("completion: commands", complete(""), {"run", "check", "replay", "help", "--version", "--help"})
    t.equal("completion: topics", complete("help", "re"), {"replay", "reference"})
    t.equal("completion: options", complete("run", "--batch-s"), {"--batch-size"})
    t.check("completion: flags of the command line too", {"--record", "--pid", "--for", "--config"} <= complete("run", "--"))
    t.equal("completion: values", complete("run", "--output", "j"), {"jsonl"})
    t.equal("completion: values after =", complete("run", "--log-level", "=", "de"), {"debug"})
    t.check("completion: files", complete("run", "-c", f"{DEPLOY}/kongtap.y") == {f"{DEPLOY}/kongtap.yaml"})
    for shell, file, ask in (("zsh", "_kongtap", zsh_completes), ("fish", "kongtap.fish", fish_completes)):
        if not shutil.which(shell):
            skip(f"completion: {shell}", f"no {shell} here")
            continue
        done = sh(shell, "-n", DEPLOY / "completion" / file)
        t.check(f"completion: {shell} reads it", done.returncode == 0, done.stderr)
        t.equal(f"{shell}: commands", ask(""), {"run", "check", "replay", "help"})
        t.check(f"{shell}: topics", {"replay", "reference"} <= ask("help", "re"))
        options = ask("run", "--")
        t.check(f"{shell}: every option, of the command line too", {"--batch-size", "--record", "--tls-verify"} <= options
                and len(options) > 60, sorted(options))
        t.check(f"{shell}: files", f"{DEPLOY}/kongtap.yaml" in ask("run", "-c", f"{DEPLOY}/kongtap.y"))


def example_configuration(t):
    """Every line of the examples, those commented out as well, is one that the program takes."""
    for file in (DEPLOY / "kongtap.yaml", DEPLOY / "kubernetes/base/kongtap.yaml"):
        with Workdir() as directory:
            text = re.sub(r"^#(\w+:)", r"\1", file.read_text(), flags=re.M)
            (directory / "all.yaml").write_text(text)
            done = sh(KONGTAP, "check", "-c", directory / "all.yaml", "--prefix", "/nowhere")
            name = file.relative_to(ROOT)
            t.check(f"{name}: is taken whole", done.returncode != 2 and not done.stderr.strip(), done.stderr[:500])
            for key in yaml.safe_load(text):
                t.check(f"{name}: {key} has an effect", re.search(rf"^{key}: .* # file$", done.stdout, re.M), done.stdout[:300])


# -- Kubernetes

VARIANTS = {"base": "base", "privileged": "overlays/privileged", "pod-network": "overlays/pod-network"}


def built(variant):
    done = sh("kubectl", "kustomize", DEPLOY / "kubernetes" / VARIANTS[variant])
    if done.returncode:
        raise RuntimeError(done.stderr)
    return {document["kind"]: document for document in yaml.safe_load_all(done.stdout)}


def structure(t, variant, objects):
    """What a schema cannot say: that the parts fit each other and the program."""
    pod = objects["DaemonSet"]["spec"]["template"]
    spec, container = pod["spec"], pod["spec"]["containers"][0]
    labels = objects["DaemonSet"]["spec"]["selector"]["matchLabels"]
    t.check(f"{variant}: the selector selects its pods", labels and labels.items() <= pod["metadata"]["labels"].items())
    volumes = {volume["name"]: volume for volume in spec["volumes"]}
    mounts = {mount["name"]: mount for mount in container["volumeMounts"]}
    t.equal(f"{variant}: every volume is mounted", set(volumes), set(mounts))
    t.equal(f"{variant}: configuration and secret are those that are made",
            (volumes["config"]["configMap"]["name"], volumes["application-id"]["secret"]["secretName"]),
            (objects["ConfigMap"]["metadata"]["name"], objects["Secret"]["metadata"]["name"]))
    t.equal(f"{variant}: the program's file is in the map", container["args"][-1],
            f"{mounts['config']['mountPath']}/{next(iter(objects['ConfigMap']['data']))}")
    environment = {entry["name"]: entry for entry in container["env"]}
    t.equal(f"{variant}: the secret is where the program looks", environment["KONGTAP_APPLICATION_ID_FILE"]["value"],
            f"{mounts['application-id']['mountPath']}/{next(iter(objects['Secret']['data']))}")
    t.check(f"{variant}: no secret in an environment", not any("secretKeyRef" in json.dumps(entry) for entry in container["env"]))
    options = {f"KONGTAP_{name.upper()}" for name in re.findall(r"^\| `(\w+)`", sh(KONGTAP, "help", "reference").stdout, re.M)}
    unknown = [name for name in environment if name.startswith("KONGTAP_") and name not in options]
    t.equal(f"{variant}: every variable is an option", unknown, [])
    port = container["ports"][0]
    config = yaml.safe_load(objects["ConfigMap"]["data"]["kongtap.yaml"])
    listens = environment.get("KONGTAP_METRICS_LISTEN", {}).get("value", config["metrics_listen"])
    t.equal(f"{variant}: probes ask where the program listens", int(listens.rpartition(":")[2]), port["containerPort"])
    for probe, path in (("startupProbe", "/healthz"), ("livenessProbe", "/healthz"), ("readinessProbe", "/readyz")):
        ask = container[probe]["httpGet"]
        t.equal(f"{variant}: {probe}", (ask["path"], ask["port"], ask.get("host")),
                (path, port["name"], listens.rpartition(":")[0] if "POD_IP" not in listens else None))
    t.equal(f"{variant}: loopback only with the host's network", spec.get("hostNetwork", False), listens.startswith("127."))
    t.check(f"{variant}: the host's processes", spec["hostPID"] is True)
    t.check(f"{variant}: no token of the API", spec["automountServiceAccountToken"] is False)
    rights = container["securityContext"]
    t.check(f"{variant}: root file system is read-only", rights["readOnlyRootFilesystem"] is True)
    if variant == "privileged":
        t.check("privileged: and nothing that contradicts it", rights["privileged"] and "allowPrivilegeEscalation" not in rights)
    else:
        t.equal(f"{variant}: capabilities are what is needed", {"CAP_" + name for name in rights["capabilities"]["add"]}, NEEDED)
        t.equal(f"{variant}: and no other", (rights["capabilities"]["drop"], rights["privileged"]), (["ALL"], False))
    written = [config["spool_dir"]] if "spool_dir" in config else []
    for place in written:
        home = next((mount for mount in mounts.values() if place.startswith(mount["mountPath"] + "/")), None)
        t.check(f"{variant}: {place} can be written", home and not home.get("readOnly"))


def manifests(t):
    if not shutil.which("kubectl") or sh("kubectl", "kustomize", "--help").returncode:
        skip("Kubernetes manifests", "no kubectl with kustomize here")
        return
    for variant in VARIANTS:
        objects = built(variant)
        t.equal(f"{variant}: the objects", set(objects), {"Namespace", "ServiceAccount", "ConfigMap", "Secret", "DaemonSet"})
        t.equal(f"{variant}: in one namespace", {document["metadata"].get("namespace") for kind, document in objects.items()
                                                if kind != "Namespace"}, {objects["Namespace"]["metadata"]["name"]})
        structure(t, variant, objects)
    with Workdir() as directory:
        # The overlay of the README, as a reader would write it.
        text = (DEPLOY / "kubernetes/README.md").read_text()
        shutil.copytree(DEPLOY / "kubernetes", directory / "kubernetes")
        mine = directory / "kubernetes/overlays/mine"
        mine.mkdir()
        (mine / "kustomization.yaml").write_text(re.search(r"```yaml\n(.*?)```", text, re.S).group(1))
        (mine / "application-id").write_text("the-real-one")
        (mine / "kongtap.yaml").write_text("batch_size: 9\n")
        done = sh("kubectl", "kustomize", mine)
        objects = {document["kind"]: document for document in yaml.safe_load_all(done.stdout)} if done.returncode == 0 else {}
        t.check("README's overlay: builds", objects, done.stderr)
        t.equal("README's overlay: the application id", base64.b64decode(objects["Secret"]["data"]["application-id"]), b"the-real-one")
        t.equal("README's overlay: the image", objects["DaemonSet"]["spec"]["template"]["spec"]["containers"][0]["image"],
                "your-registry/kongtap:0.1.0")
        t.equal("README's overlay: the pods take its configuration",
                objects["DaemonSet"]["spec"]["template"]["spec"]["volumes"][0]["configMap"]["name"],
                objects["ConfigMap"]["metadata"]["name"])


def schema(t):
    """Kubernetes' own schemas: types and required members at run time, unknown members by the compiler."""
    if not shutil.which("kubectl") or not shutil.which("npm"):
        skip("Kubernetes schemas", "no kubectl or npm here")
        return
    with Workdir() as directory:
        start = time.monotonic()
        done = sh("npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", directory, "kubernetes-models@5", "typescript@5")
        if done.returncode:
            skip("Kubernetes schemas", f"npm install failed after {time.monotonic() - start:.0f} s")
            return
        homes = {"Namespace": "v1", "ServiceAccount": "v1", "ConfigMap": "v1", "Secret": "v1", "DaemonSet": "apps/v1"}
        lines = [f'import {{ {kind}, type I{kind} }} from "kubernetes-models/{home}";' for kind, home in homes.items()]
        for variant in VARIANTS:
            for kind, document in built(variant).items():
                name = f"{kind}_{variant.replace('-', '_')}"
                lines.append(f"const {name}: I{kind} = {json.dumps(document)};")
                lines.append(f'new {kind}({name}).validate(); console.log("valid {variant} {kind}");')
        (directory / "package.json").write_text('{"type": "module", "private": true}')
        (directory / "all.ts").write_text("\n".join(lines))
        compiler = [directory / "node_modules/.bin/tsc", "--strict", "--skipLibCheck", "--target", "es2022", "--module", "nodenext",
                    "--lib", "es2022,dom", "all.ts"]
        done = sh(*compiler, cwd=directory)
        t.check("schema: no unknown member, no wrong type", done.returncode == 0, done.stdout[:1500])
        done = sh("node", "all.js", cwd=directory)
        t.equal("schema: every object is valid", (done.returncode, done.stdout.count("valid ")), (0, 5 * len(VARIANTS)))
        # The check itself: a slip must be found.
        (directory / "all.ts").write_text("\n".join(lines).replace('"hostPID"', '"hostPid"'))
        t.check("schema: a slip is found", sh(*compiler, cwd=directory).returncode != 0)


if __name__ == "__main__":
    sys.exit(Checks().run(unit_verified, unit_in_force, install_and_uninstall, debian_package, hardened, man_page, one_source, sizes_of_the_page,
                          completion, example_configuration, manifests, schema))
