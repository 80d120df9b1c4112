#!/usr/bin/env python3
"""A recording of a live run gives the same events again, byte for byte: of all calls, and of those that a remote
configuration let through the dice."""
import stat
import subprocess
import sys

from lib import KONGTAP, Agent, Checks, Collector, Gateway, Workdir, client

CALLS = 600
APPLICATION_ID = "kongtap-test-application-id"


def replay(recording, *args):
    return subprocess.run([KONGTAP, "replay", recording, "--output", "jsonl", *args], capture_output=True, timeout=120)


def record_run(directory, gateway, environment, *args):
    """(events as bytes, path of the recording, exit code)"""
    record, output, recording = (directory / name for name in ("record.jsonl", "events.jsonl", "recording.jsonl"))
    with Agent("--output", "jsonl", "--output-file", output, "--prefix", gateway.prefix, "--record", recording, *args,
               env=environment) as agent:
        agent.wait_ready()
        if environment:
            agent.wait_line("sampling by the collector", 20)
        with client(gateway, record, "--calls", CALLS, "--seed", "record", "--connections", "8,32") as traffic:
            traffic.wait(300)
        code = agent.stop()
        agent_said = agent.stderr
    return output.read_bytes(), recording, code, agent_said


def same_again(t):
    with Workdir() as directory, Gateway(directory / "gateway") as gateway:
        events, recording, code, said = record_run(directory, gateway, None)
        t.equal("record: exit code", code, 0)
        t.check("record: says that it is raw traffic", "raw traffic" in said)
        t.equal("record: readable by its owner only", stat.S_IMODE(recording.stat().st_mode), 0o600)
        t.check(f"record: {events.count(b'%c' % 10)} events", events.count(b"\n") >= CALLS)
        again = replay(recording)
        t.equal("replay: exit code", again.returncode, 0)
        t.check(f"replay: the same {len(events)} bytes", again.stdout == events, first_difference(again.stdout, events))


def sampled_again(t):
    with Workdir() as directory, Gateway(directory / "gateway") as gateway, \
            Collector(directory / "taken.jsonl", "--app-id", APPLICATION_ID) as collector:
        collector.control(config={"sample_rate": 40})
        events, recording, code, _ = record_run(directory, gateway, {
            "KONGTAP_APPLICATION_ID": APPLICATION_ID, "KONGTAP_API_ENDPOINT": collector.url})
        t.equal("sampled: exit code", code, 0)
        count = events.count(b"\n")
        t.check(f"sampled: {count} of {CALLS} calls at 40 %", CALLS * 0.25 < count < CALLS * 0.55)
        again = replay(recording)
        t.check("sampled: the same bytes again", again.stdout == events, first_difference(again.stdout, events))


def first_difference(got, wanted):
    for number, (mine, theirs) in enumerate(zip(got.splitlines(), wanted.splitlines())):
        if mine != theirs:
            at = next((i for i, pair in enumerate(zip(mine, theirs)) if pair[0] != pair[1]), 0)
            return f"line {number + 1}, byte {at}: {mine[max(0, at - 60):at + 60]!r}, live {theirs[max(0, at - 60):at + 60]!r}"
    return f"{got.count(b'%c' % 10)} lines, live {wanted.count(b'%c' % 10)}"


def unreadable(t):
    with Workdir() as directory:
        missing = replay(directory / "nothing")
        t.equal("replay of no file: exit code", missing.returncode, 1)
        t.check("replay of no file: says why", b"No such file" in missing.stderr)
        folder = replay(directory)
        t.equal("replay of a directory: exit code", folder.returncode, 1)
        t.check("replay of a directory: says why", b"Is a directory" in folder.stderr, folder.stderr)
        (directory / "bad").write_text('{"t_ns":0,"call":"tick"}\nrubbish\n')
        bad = replay(directory / "bad")
        t.equal("replay of rubbish: exit code", bad.returncode, 1)
        t.check("replay of rubbish: names the line", b"line 2" in bad.stderr)


if __name__ == "__main__":
    sys.exit(Checks().run(same_again, sampled_again, unreadable))
