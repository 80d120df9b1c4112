#!/usr/bin/env python3
"""`kongtap run` on a real terminal (tmux), at 80 and 200 columns: lines and footer fit, follow a change of width, and a flood
of calls is no flood of lines."""
import re
import shlex
import shutil
import subprocess
import sys
import time

from lib import KONGTAP, Checks, Gateway, Workdir, client, wait_for
from gateway import PORTS, alive, children_of, title_of

FOOTER = re.compile(r"^\d+ calls/s")


class Tmux:
    """One window in a server of its own."""

    def __init__(self, directory, columns, *command, env=()):
        self.socket = str(directory / f"tmux-{columns}")
        line = " ".join(shlex.quote(str(word)) for word in ("env", "LANG=C.UTF-8", *env, *command))
        # The screen stays when the command has ended.
        subprocess.run(["tmux", "-S", self.socket, "-f", "/dev/null", "new-session", "-d", "-x", str(columns), "-y", "40",
                        f"{line}; echo ended $?; sleep 600"], check=True)

    def __call__(self, *words):
        return subprocess.run(["tmux", "-S", self.socket, *words], check=True, capture_output=True, text=True).stdout

    def __enter__(self):
        return self

    def __exit__(self, *_):
        subprocess.run(["tmux", "-S", self.socket, "kill-server"], capture_output=True)

    def screen(self, history=False):
        """The lines that are not empty; those that tmux had to wrap come as several."""
        text = self("capture-pane", "-p", *(["-S", "-"] if history else []))
        return [line for line in text.splitlines() if line.strip()]

    def wait(self, condition, what, seconds=20):
        wait_for(lambda: condition(self.screen()), seconds, what)
        return self.screen()


def start(directory, gateway, columns, *more, env=()):
    return Tmux(directory, columns, KONGTAP, "run", "--output", "pretty", "--prefix", gateway.prefix, "--metrics-listen",
                "none", *more, env=env)


def calls(gateway, directory, name, count, *more):
    with client(gateway, directory / f"{name}.jsonl", "--calls", count, *more) as traffic:
        traffic.wait(120)


def call_lines(lines):
    return [line for line in lines if re.match(r"\d\d:\d\d:\d\d(\.\d{3})? [A-Z]", line)]


def fits(t, columns):
    with Workdir() as directory, Gateway(directory / "gateway") as gateway, start(directory, gateway, columns) as window:
        window.wait(lambda lines: any("ready" in line for line in lines), "the agent")
        calls(gateway, directory, "calls", 20)
        lines = window.wait(lambda lines: len(call_lines(lines)) >= 20 and FOOTER.match(lines[-1]), "the calls")
        header = next(line for line in lines if line.startswith("TIME"))
        shown = call_lines(lines)
        t.equal(f"{columns} columns: a line for each call", len(shown), 20)
        t.check(f"{columns} columns: nothing is wider", all(len(line) <= columns for line in lines), str(lines))
        end = header.index("TOTAL") + len("TOTAL")
        t.check(f"{columns} columns: columns are under their names",
                all(re.search(r"\d(ms|s)$", line[:end]) for line in shown), "\n".join([header, *shown]))
        t.equal(f"{columns} columns: time to the millisecond", bool(re.match(r"\d\d:\d\d:\d\d\.\d{3} ", shown[0])), columns >= 100)
        t.check(f"{columns} columns: the footer is one line, the last", FOOTER.match(lines[-1])
                and not any(FOOTER.match(line) for line in lines[:-1]), "\n".join(lines[-3:]))
        t.check(f"{columns} columns: which tells workers", f"{len(gateway.workers())} workers" in lines[-1], lines[-1])
        other = 200 if columns == 80 else 80
        window("resize-window", "-x", str(other))
        time.sleep(1.5)
        calls(gateway, directory, "again", 5)
        wait_for(lambda: sum(line.startswith("TIME") for line in window.screen(history=True)) == 2, 20, "the new header")
        lines = window.wait(lambda lines: FOOTER.match(lines[-1]), "the footer")
        t.check(f"{columns} columns, then {other}: the new width is kept to", max(map(len, lines)) <= max(columns, other)
                and len(FOOTER.match(lines[-1]).string) < other, "\n".join(lines[-3:]))
        window("send-keys", "C-c")
        lines = window.wait(lambda lines: any(line.startswith("ended") for line in lines), "the end")
        t.check(f"{columns} columns: a clean end, the footer is gone", lines[-1] == "ended 0"
                and not any(FOOTER.match(line) for line in lines), "\n".join(lines[-4:]))


def at_80_columns(t):
    fits(t, 80)


def at_200_columns(t):
    fits(t, 200)


def no_color_and_filter(t):
    with Workdir() as directory, Gateway(directory / "gateway") as gateway, \
            start(directory, gateway, 120, "--filter", "4xx,5xx", env=("NO_COLOR=1",)) as window:
        window.wait(lambda lines: any("ready" in line for line in lines), "the agent")
        calls(gateway, directory, "calls", 150)
        time.sleep(1.5)
        shown = call_lines(window.screen(history=True))
        statuses = {line.split()[2] for line in shown}
        t.check("only what the filter lets pass", shown and all(status[0] in "45" for status in statuses), str(statuses))
        escaped = window("capture-pane", "-p", "-e")
        t.equal("NO_COLOR: no colour", re.findall(r"\x1b\[3\dm", escaped), [])


def flood(t):
    """As many calls as there can be for some seconds: a sample of them, rates, and the end comes at once."""
    with Workdir() as directory, Gateway(directory / "gateway") as gateway, start(directory, gateway, 120) as window:
        window.wait(lambda lines: any("ready" in line for line in lines), "the agent")
        window("set-option", "-g", "history-limit", "100000")
        seconds = 6
        load = subprocess.Popen(gateway.in_netns("wrk", "-c", "8", "-t", "1", "-d", str(seconds),
                                                 f"http://127.0.0.1:{PORTS['proxy']}/open/hi"),
                                stdout=subprocess.PIPE, text=True)
        time.sleep(seconds - 1.5)
        lines = window.screen()
        load_text = load.communicate()[0]
        made = int(re.search(r"(\d+) requests in", load_text).group(1))
        rate = int(re.match(r"(\d+) calls/s", lines[-1]).group(1))
        t.check(f"{made} calls: the footer tells their rate", 0.3 < rate / (made / seconds) < 3, lines[-1])
        t.check("and that this is a sample", "a sample is shown" in lines[-1], lines[-1])
        shown = len(call_lines(window.screen(history=True)))
        t.check(f"{shown} lines in {seconds} s", 50 <= shown <= 50 + 20 * seconds)
        began = time.monotonic()
        window("send-keys", "C-c")
        window.wait(lambda lines: any(line.startswith("ended 0") for line in lines), "the end")
        t.check("the end comes at once", time.monotonic() - began < 5)


def hang_up(t):
    """The window is closed: the agent does not stay behind, and delivers what it has first."""
    with Workdir() as directory, Gateway(directory / "gateway") as gateway, start(directory, gateway, 100) as window:
        window.wait(lambda lines: any("ready" in line for line in lines), "the agent")
        shell = int(window("display-message", "-p", "#{pane_pid}"))
        agent = next(pid for pid in children_of(shell) if "kongtap run" in title_of(pid))
        window("kill-server")
        wait_for(lambda: not alive(agent), 10, "the agent's end")
        t.check("the agent ends with its terminal", True)


if __name__ == "__main__":
    if not shutil.which("tmux"):
        print("skip - terminal: no tmux here")
        sys.exit(0)
    sys.exit(Checks().run(at_80_columns, at_200_columns, no_color_and_filter, flood, hang_up))
