#!/usr/bin/env python3
"""What `kongtap run` does when something is wrong: one clear message, and the right exit code or it keeps running."""
import json
import re
import shutil
import socket
import subprocess
import sys
import time

from lib import KONGTAP, Agent, Checks, Collector, Gateway, Workdir, client, read_jsonl, wait_for
from test_thin_path import lines_in

APPLICATION_ID = "kongtap-test-application-id"


def one_message(t, what, agent, pattern, lines=3):
    """The reason is said, once, in a few lines, and no stack of follow-up errors comes with it."""
    said = [line for line in agent.stderr.splitlines() if line.strip()]
    t.check(f"{what}: says why", re.search(pattern, agent.stderr, re.I), f"no {pattern!r} in {agent.stderr[:400]!r}")
    t.check(f"{what}: says it briefly", 1 <= len(said) <= lines, f"{len(said)} lines: {agent.stderr[:600]!r}")


def ends(t, what, code, pattern, *args, env=None, wrapper=(), seconds=15):
    with Agent(*args, env=env, wrapper=wrapper) as agent:
        try:
            t.equal(f"{what}: exit code", agent.wait(seconds), code)
        except subprocess.TimeoutExpired:
            t.check(f"{what}: exit code", False, f"still runs after {seconds} s; said {agent.stderr[:300]!r}")
            return
        one_message(t, what, agent, pattern)


def running(agent):
    return agent.process.poll() is None


def send(gateway, directory, calls, kinds="open_read"):
    record = directory / f"record-{time.monotonic_ns()}.jsonl"
    with client(gateway, record, "--calls", calls, "--connections", "4", "--kinds", kinds) as traffic:
        assert traffic.wait(120) == 0, traffic.stderr
    return read_jsonl(record)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


# -- wrong use

def wrong_use(t):
    ends(t, "unknown option", 2, r"no-such-option", "--no-such-option")
    ends(t, "unknown output", 2, r"output.*nonsense|nonsense.*output", "--output", "nonsense")
    ends(t, "option without its value", 2, r"output-file", "--output-file")
    ends(t, "bad number in the environment", 2, r"batch_size", env={"KONGTAP_BATCH_SIZE": "many"})
    for option in ("--version", "--help"):
        done = subprocess.run([KONGTAP, option], capture_output=True, text=True)
        t.check(f"{option}: exit code 0 and text on stdout", done.returncode == 0 and done.stdout.strip() and not done.stderr)
    done = subprocess.run([KONGTAP, "frobnicate"], capture_output=True, text=True)
    t.check("unknown command: exit code 2 and its name", done.returncode == 2 and "frobnicate" in done.stderr)


def wrong_config(t):
    with Workdir() as directory:
        config = directory / "kongtap.yaml"
        ends(t, "config that is not there", 2, r"kongtap\.yaml.*(No such file|not found|missing)", "-c", config)
        ends(t, "config that is a directory", 2, re.escape(str(directory)), "-c", directory)
        for what, text, pattern in (
                ("unknown key", "batch_size: 10\nbatchsize: 10\n", r"kongtap\.yaml:2.*batchsize"),
                ("wrong type", "api_version: '1.0'\n\nbatch_size: many\n", r"kongtap\.yaml:3.*batch_size"),
                ("not YAML", "batch_size: [1\nfoo: {\n", r"kongtap\.yaml:\d"),
                ("a list at the top", "- batch_size\n", r"kongtap\.yaml:1")):
            config.write_text(text)
            ends(t, f"config, {what}", 2, pattern, "-c", config)


# -- a host that does not allow it

def not_root(t):
    with Workdir() as directory:
        directory.chmod(0o755)
        binary = shutil.copy(KONGTAP, directory / "kongtap")
        done = subprocess.run(["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", binary, "run"],
                              capture_output=True, text=True, timeout=15)
        t.equal("not root: exit code", done.returncode, 1)
        t.check("not root: says why", re.search(r"root|privilege|CAP_|permi", done.stderr, re.I), done.stderr[:300])
        t.check("not root: says it briefly", len(done.stderr.splitlines()) <= 3, done.stderr[:600])


def without(*paths):
    """A command line whose process sees empty directories there."""
    hide = "; ".join(f"[ ! -d {path} ] || mount -t tmpfs none {path}" for path in paths)
    return ["unshare", "-m", "--propagation", "private", "sh", "-c", hide + '; exec "$@"', "sh"]


def lacking(t, what, gateway, wrapper, pattern):
    """Ends with code 1 and says what is missing, or does without and becomes ready."""
    with Agent("--prefix", gateway.prefix, "--output", "jsonl", wrapper=wrapper) as agent:
        wait_for(lambda: not running(agent) or re.search(r"\bready\b", agent.stderr), 15, f"{what}: an end or readiness")
        if running(agent):
            t.check(f"{what}: does without", True)
            t.equal(f"{what}: exit code", agent.stop(), 0)
        else:
            t.equal(f"{what}: exit code", agent.wait(), 1)
            one_message(t, what, agent, pattern, lines=5)


def lacking_host(t):
    with Workdir() as directory, Gateway(directory / "gateway") as gateway:
        lacking(t, "no tracefs", gateway, without("/sys/kernel/tracing", "/sys/kernel/debug"), r"trac(efs|ing)")
        lacking(t, "no BTF", gateway, without("/sys/kernel/btf"), r"BTF")
        with Agent("--prefix", gateway.prefix, "--output", "none", wrapper=("prlimit", "--nofile=60:4096")) as agent:
            agent.wait_ready()
            t.equal("few files may be open, and more could: exit code", agent.stop(), 0)
            t.check("few files may be open, and more could: it takes them", "Too many" not in agent.stderr, agent.stderr)


def few_descriptors(t):
    ends(t, "too few files may be open", 1, r"ulimit -n", "--output", "none", wrapper=("prlimit", "--nofile=24:24"))


def no_thread(t):
    """A limit on processes, with a user of its own so that nobody else's count."""
    rights = ",".join("+" + name for name in ("bpf", "perfmon", "sys_ptrace", "dac_read_search", "checkpoint_restore"))
    with Workdir() as directory:
        directory.chmod(0o755)
        binary = shutil.copy(KONGTAP, directory / "kongtap")
        done = subprocess.run(["prlimit", "--nproc=1:1", "setpriv", "--reuid", "64217", "--regid", "64217", "--clear-groups",
                               "--inh-caps", rights, "--ambient-caps", rights, binary, "run", "--output", "none"],
                              capture_output=True, text=True, timeout=15)
        t.equal("no thread can be had: exit code", done.returncode, 1)
        t.check("no thread can be had: says why", "thread" in done.stderr, done.stderr)


def foreign_pids(t):
    """A container without the host's processes: both commands say that it is so, and not that there is no Kong."""
    for command in ("run", "check"):
        done = subprocess.run(["unshare", "--pid", "--fork", "--mount-proc", KONGTAP, command, "--metrics-listen", "none"],
                              capture_output=True, text=True, timeout=30)
        t.equal(f"{command} in a PID namespace of its own: exit code", done.returncode, 1)
        t.check(f"{command} in a PID namespace of its own: says so", "hostPID" in done.stdout + done.stderr, done.stderr[:400])


# -- life

def gateway_comes_later(t):
    with Workdir() as directory:
        gateway = Gateway(directory / "gateway")
        output = directory / "events.jsonl"
        with Agent("--prefix", gateway.prefix, "--output", "jsonl", "--output-file", output) as agent:
            try:
                agent.wait_line(r"(?i)(no .*(worker|nginx|kong)|wait|look)", 10)
                t.check("no gateway: says what it looks for", True)
                t.check("no gateway: names the prefix", str(gateway.prefix) in agent.stderr, agent.stderr[:400])
                gateway.up()
                ids = set()

                def captured():
                    ids.update(record["id"] for record in send(gateway, directory, 5))
                    return lines_in(output) > 0
                wait_for(captured, 20, "an event of the gateway that came later")
                t.check("gateway started later: its calls become events", True)
                known = {event["response"]["headers"]["x-kong-request-id"] for event in read_jsonl(output)}
                t.check("gateway started later: they are its calls", known <= ids, f"{known - ids}")
                gateway.stop()
                gateway.start()
                before = lines_in(output)
                wait_for(lambda: captured() and lines_in(output) > before, 20, "an event after a restart of the gateway")
                t.check("gateway restarted: its calls become events", running(agent))
            finally:
                gateway.down()
            t.equal("gateway gone: exit code after SIGTERM", agent.stop(), 0)


def collector_refused(t):
    with Workdir() as directory, Gateway(directory / "gateway") as gateway:
        port = free_port()
        environment = {"KONGTAP_APPLICATION_ID": APPLICATION_ID, "KONGTAP_API_ENDPOINT": f"http://127.0.0.1:{port}"}
        with Agent("--prefix", gateway.prefix, env=environment) as agent:
            agent.wait_ready()
            records = send(gateway, directory, 50)
            agent.wait_line(r"(?i)(refused|collector|connect)", 15)
            t.check("collector refused: says so and keeps running", running(agent))
            t.check("collector refused: does not show the application id", APPLICATION_ID not in agent.stderr)
            with Collector(directory / "taken.jsonl", "--port", str(port)) as collector:
                wait_for(lambda: collector.stats()["unique"] >= len(records), 40, "the events, once the collector is there")
                t.equal("collector back: every event, once", [collector.stats()[key] for key in ("unique", "duplicates")],
                        [len(records), 0])
            send(gateway, directory, 20)
            begun = time.monotonic()
            code = agent.stop(40)
            t.check("collector gone: ends in bounded time", time.monotonic() - begun < 15, f"{time.monotonic() - begun:.1f} s")
            t.check("collector gone: ends in order", code in (0, 1), f"exit code {code}")


def full_disk(t):
    with Workdir() as directory, Gateway(directory / "gateway") as gateway:
        small = directory / "small"
        small.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", small], check=True)
        try:
            with Agent("--prefix", gateway.prefix, "--output", "jsonl", "--output-file", small / "events.jsonl",
                       "--record", small / "record.jsonl") as agent:
                agent.wait_ready()
                send(gateway, directory, 300)
                agent.wait_line(r"cannot write events to .*No space", 15)
                t.equal("full disk: the end of the recording is said once", agent.stderr.count("the recording ends here"), 1)
                t.check("full disk: says so", str(small) in agent.stderr or "events.jsonl" in agent.stderr, agent.stderr[-400:])
                said = len(agent.stderr.splitlines())
                send(gateway, directory, 300)
                t.check("full disk: keeps running", running(agent))
                t.check("full disk: does not say it for every event", len(agent.stderr.splitlines()) - said < 20)
                agent.stop()
        finally:
            subprocess.run(["umount", "-l", small])


def sigterm_delivers(t):
    with Workdir() as directory, Gateway(directory / "gateway") as gateway:
        with Collector(directory / "taken.jsonl") as collector:
            collector.control(mode="slow", ms=200)
            with Agent("--prefix", gateway.prefix, env={"KONGTAP_APPLICATION_ID": APPLICATION_ID,
                                                         "KONGTAP_API_ENDPOINT": collector.url}) as agent:
                agent.wait_ready()
                records = send(gateway, directory, 400)
                begun = time.monotonic()
                t.equal("SIGTERM: exit code", agent.stop(40), 0)
                t.check("SIGTERM: in bounded time", time.monotonic() - begun < 15, f"{time.monotonic() - begun:.1f} s")
            got = {event["response"]["headers"]["x-kong-request-id"] for event in collector.events()}
            t.equal("SIGTERM: delivers what is queued", len(got & {record["id"] for record in records}), len(records))
        with Agent("--prefix", gateway.prefix, "--output", "jsonl", "--for", "2") as agent:
            begun = time.monotonic()
            t.equal("--for: exit code", agent.wait(20), 0)
            t.check("--for: ends by itself, in time", 1.5 < time.monotonic() - begun < 8, f"{time.monotonic() - begun:.1f} s")
        with Agent("--prefix", gateway.prefix, "--output", "jsonl") as agent:
            agent.wait_ready()
            records = send(gateway, directory, 20)
            t.equal("SIGINT: exit code", agent.stop(15, how=2), 0)
            printed = {json.loads(line)["response"]["headers"]["x-kong-request-id"] for line in agent.stdout.splitlines()}
            t.equal("SIGINT: all printed on stdout", printed, {record["id"] for record in records})


if __name__ == "__main__":
    sys.exit(Checks().run(wrong_use, wrong_config, not_root, lacking_host, few_descriptors, no_thread, foreign_pids, gateway_comes_later, collector_refused, full_disk,
                          sigterm_delivers))
