"""Shared by the end-to-end tests: the runner, the agent and collector as processes, reading of events."""
import base64
import calendar
import gzip
import hashlib
import http.client
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path.insert(0, str(HERE.parent / "gateway"))

from gateway import Gateway, GatewayError, wait_for  # noqa: E402  (the path is only known now)

KONGTAP = Path(os.environ.get("KONGTAP_BINARY", ROOT / "build" / "kongtap"))


# -- the runner

class Checks:
    """Prints one line per check; the exit code says whether all passed."""

    def __init__(self):
        self.passed = self.failed = 0

    def check(self, name, good, why=""):
        if good:
            self.passed += 1
            print(f"ok - {name}", flush=True)
        else:
            self.failed += 1
            print(f"FAIL - {name}: {why or 'is not so'}", flush=True)
        return bool(good)

    def equal(self, name, got, wanted):
        return self.check(name, got == wanted, f"got {got!r}, wanted {wanted!r}")

    def problems(self, name, problems):
        """Passes when the list is empty; else shows how many there are of each kind, and the first few of each."""
        kinds = {}
        for problem in problems:
            kinds.setdefault(problem.split(":")[0], []).append(problem)
        why = ", ".join(f"{len(found)} × {kind}" for kind, found in kinds.items())
        self.check(name, not problems, f"{len(problems)} problems ({why})")
        for found in kinds.values():
            for problem in found[:4]:
                print(f"       {problem}", flush=True)

    def run(self, *tests):
        """Each test is a function of this object; an exception fails it and the others still run."""
        # So that a test that is ended by a signal takes its gateway and its agent down with it.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
        wanted = sys.argv[1:]
        for test in tests:
            if wanted and test.__name__ not in wanted:
                continue
            try:
                test(self)
            except Exception as error:
                traceback.print_exc()
                self.check(test.__name__, False, f"{type(error).__name__}: {error}")
        print(f"{self.passed} passed, {self.failed} failed")
        return 1 if self.failed else 0


class Workdir:
    """A directory that goes away with the test, unless KONGTAP_TEST_KEEP is set or the test raised."""

    def __enter__(self):
        self.path = Path(tempfile.mkdtemp(prefix="kt-e2e-"))
        return self.path

    def __exit__(self, kind, *_):
        if kind or os.environ.get("KONGTAP_TEST_KEEP"):
            print(f"# left behind: {self.path}", file=sys.stderr)
        else:
            shutil.rmtree(self.path, ignore_errors=True)


# -- processes

class Process:
    """A child whose output is read as it comes, so that a line can be waited for. Killed at the end of `with`."""

    def __init__(self, argv, env=None, pass_fds=()):
        self.argv = [str(arg) for arg in argv]
        self.process = subprocess.Popen(self.argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                        env={**os.environ, **(env or {})}, pass_fds=pass_fds)
        self.changed = threading.Condition()
        self.lines = {"stdout": [], "stderr": []}
        self.open_pipes = 2
        self.readers = [threading.Thread(target=self._read, args=(name,), daemon=True) for name in self.lines]
        for reader in self.readers:
            reader.start()

    def _read(self, name):
        for line in getattr(self.process, name):
            with self.changed:
                self.lines[name].append(line.decode("utf-8", "replace").rstrip("\n"))
                self.changed.notify_all()
        with self.changed:
            self.open_pipes -= 1
            self.changed.notify_all()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()

    @property
    def pid(self):
        return self.process.pid

    @property
    def stdout(self):
        return "\n".join(self.lines["stdout"])

    @property
    def stderr(self):
        return "\n".join(self.lines["stderr"])

    def wait_line(self, pattern, seconds=20, stream="stderr"):
        """The first line that matches; raises with all that was said when there is none in time."""
        deadline = time.monotonic() + seconds
        seen = 0
        with self.changed:
            while True:
                lines = self.lines[stream]
                for line in lines[seen:]:
                    if re.search(pattern, line):
                        return line
                seen = len(lines)
                left = deadline - time.monotonic()
                if left <= 0 or not self.open_pipes:
                    raise RuntimeError(f"no line with {pattern!r} from {self.argv[0]} (exit code {self.process.poll()}):\n"
                                       + "\n".join(lines[-20:]))
                self.changed.wait(left)

    def wait(self, seconds=30):
        """The exit code, with all output read."""
        code = self.process.wait(seconds)
        for reader in self.readers:
            reader.join(5)
        return code

    def stop(self, seconds=30, how=signal.SIGTERM):
        if self.process.poll() is None:
            self.process.send_signal(how)
        return self.wait(seconds)


class Agent(Process):
    """`kongtap run` with the arguments given."""

    def __init__(self, *args, env=None, wrapper=()):
        super().__init__([*wrapper, KONGTAP, "run", *args], env)

    def wait_ready(self, seconds=20):
        """The time from which on nothing may be missed."""
        self.wait_line(r"\bready, watching\b", seconds)
        return time.time()


def balance(agent, of):
    """{way: number} of the line that says where the calls or events went."""
    lines = [match for line in agent.lines["stderr"] if (match := re.search(rf"^kongtap: (\d+) {of}(?:: (.*))?$", line))]
    return int(lines[-1][1]), {way: int(n) for n, way in re.findall(r"(-?\d+) ([^,]+)", lines[-1][2] or "")}


class Collector(Process):
    """tests/gateway/collector.py, on the host's loopback unless a wrapper says otherwise."""

    def __init__(self, events_file, *args, wrapper=()):
        self.events_file = Path(events_file)
        super().__init__([*wrapper, sys.executable, HERE.parent / "gateway" / "collector.py", "--events", events_file, *args])
        self.port = int(self.wait_line(r"ready \d+", stream="stdout").split()[-1])
        self.url = f"http://127.0.0.1:{self.port}"

    def _call(self, method, path, document=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        connection.request(method, path, json.dumps(document) if document is not None else None)
        body = connection.getresponse().read()
        connection.close()
        return json.loads(body)

    def control(self, **order):
        return self._call("POST", "/_control", order)

    def stats(self):
        return self._call("GET", "/_stats")

    def events(self):
        return [line["event"] for line in read_jsonl(self.events_file)]


def client(gateway, record, *args):
    """The traffic generator, where the gateway's ports are."""
    return Process(gateway.in_netns(sys.executable, str(HERE / "client.py"), "--record", str(record), *map(str, args)))


# -- JSON as it was written: what a body says must come through to the digit

class ExactObject(dict):
    """A dict that remembers the order of its members and repeated names."""

    def __init__(self, pairs):
        super().__init__(pairs)
        self.pairs = pairs


class ExactNumber(float):
    """A float that remembers its text: 1.50 is not 1.5 to somebody who compares bytes."""

    def __new__(cls, text):
        number = super().__new__(cls, text)
        number.text = text
        return number


def load_exact(text):
    return json.loads(text, object_pairs_hook=ExactObject, parse_float=ExactNumber)


def canonical(value):
    """One text for one JSON value, whatever the spaces and escapes that it was written with."""
    if isinstance(value, ExactObject):
        return "{" + ",".join(json.dumps(key) + ":" + canonical(item) for key, item in value.pairs) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(canonical, value)) + "]"
    return value.text if isinstance(value, ExactNumber) else json.dumps(value)


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def json_digest(data):
    """The digest of a JSON text's meaning, or None when it is no JSON object or array."""
    try:
        value = load_exact(data.decode("utf-8"))
    except (ValueError, RecursionError):
        return None
    return sha256(canonical(value).encode()) if isinstance(value, (dict, list)) else None


def inflate(data):
    try:
        return gzip.decompress(data)
    except (OSError, EOFError, ValueError):
        return None


def read_jsonl(path):
    """Exact values of every whole line; the last one may still be in the writing."""
    path = Path(path)
    if not path.exists():
        return []
    text = path.read_bytes().decode("utf-8", "surrogateescape")
    return [load_exact(line) for line in text[:text.rfind("\n") + 1].splitlines() if line.strip()]


# -- the event, seen from the test: names of fields appear nowhere else in the tests

class EventView:
    def __init__(self, event):
        self.event = event
        self.request = event.get("request") or {}
        self.response = event.get("response") or {}
        match = re.match(r"(https?)://([^/?#]*?)(?::(\d+))?([/?].*)?$", self.request.get("uri", ""), re.S)
        self.scheme, self.host, port, self.target = match.groups() if match else (None, None, None, None)
        self.port = int(port) if port else None

    id = property(lambda self: (self.response.get("headers") or {}).get("x-kong-request-id"))
    verb = property(lambda self: self.request.get("verb"))
    status = property(lambda self: self.response.get("status"))
    user = property(lambda self: self.event.get("user_id"))
    client = property(lambda self: self.request.get("ip_address"))
    transaction_id = property(lambda self: self.event.get("transaction_id"))

    def began(self):
        return stamp_seconds(self.request.get("time"))

    def ended(self):
        return stamp_seconds(self.response.get("time"))

    def body(self, side):
        """(kind, digest, length): kind is none, json or bytes; the digest is of the value or of the bytes."""
        part = getattr(self, side)
        if part.get("body") is None:
            return "none", None, 0
        if part.get("transfer_encoding") == "base64":
            data = base64.b64decode(part["body"])
            return ("bytes" if data else "none"), sha256(data), len(data)
        text = canonical(part["body"])
        return "json", sha256(text.encode()), len(text)

    def _about(self):
        return (self.event.get("metadata") or {}).get("kong") or {}

    @property
    def rebuilt(self):
        """True when the event says that its request was not seen and is told by the upstream leg."""
        return bool(self._about().get("request_rebuilt"))

    def said_incomplete(self, side):
        """True when the event itself says that this side was not seen whole, or its body cut or left out."""
        about = self._about()
        return bool(about.get(side, "complete") not in ("complete", "closed", "headers_partial") or about.get(f"{side}_body_omitted")
                    or about.get(f"{side}_body_truncated") or (side == "request" and self.rebuilt))


def stamp_seconds(stamp):
    match = re.match(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)\.(\d{3})", stamp or "")
    if not match:
        return None
    return calendar.timegm(time.strptime(match.group(1), "%Y-%m-%dT%H:%M:%S")) + int(match.group(2)) / 1000
