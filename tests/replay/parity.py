#!/usr/bin/env python3
"""kongtap's events against the plugin's, field by field.

Two sources, both of a real Kong 3.9.1 with the real plugin 2.1.2: recordings of what Kong's workers did, and single
cases whose legs are rebuilt from their text. Every difference must be one of the table below, every row of the table
must be met, and docs/PLUGIN-PARITY.md shows exactly this table (`parity.py --write` puts it there).
"""
import base64
import gzip
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import zlib
from datetime import datetime, timezone
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE / "lib"))
from rebuild import header, rebuild  # noqa: E402

ROOT = HERE.parent.parent
KONGTAP = Path(os.environ.get("KONGTAP_BINARY", ROOT / "build" / "kongtap"))
RECORDINGS = HERE / "kong-3.9.1"
CASES = HERE / "plugin-cases"
PAGE = ROOT / "docs" / "PLUGIN-PARITY.md"
BEGIN, END = "<!-- table of tests/replay/parity.py -->", "<!-- end of table -->"
ABSENT = "(absent)"
TIME_TOLERANCE_MS = 12


def flat(value, path=""):
    """Fields by path; a body stays whole."""
    if isinstance(value, dict) and value and not path.endswith("body"):
        for key, child in value.items():
            yield from flat(child, f"{path}.{key}" if path else key)
    else:
        yield path, value


def loads(data):
    try:
        return json.loads(data)
    except (ValueError, UnicodeDecodeError):
        return ABSENT


def same_json(plugin, ours):
    """Equal but for what lua-cjson does to a value: [] becomes {}, long integers lose digits."""
    if isinstance(ours, dict) and isinstance(plugin, dict):
        return ours.keys() == plugin.keys() and all(same_json(plugin[key], ours[key]) for key in ours)
    if isinstance(ours, list):
        if not ours:
            return plugin in ([], {})
        return isinstance(plugin, list) and len(plugin) == len(ours) and all(map(same_json, plugin, ours))
    if isinstance(ours, (int, float)) and isinstance(plugin, (int, float)) and not isinstance(ours, bool):
        return abs(plugin - ours) <= abs(ours) * 1e-13
    return plugin == ours


class Call:
    """One call: both events, and the side ("request", "response") that a body belongs to."""

    def __init__(self, plugin, ours):
        self.plugin, self.ours = plugin, ours
        self.kong = ours["metadata"]["kong"]

    def side(self, path):
        return path.split(".")[0]

    def message(self, which, path):
        return which.get(self.side(path), {})

    def bytes(self, path):
        # Of chunks that were left out nobody knows how much of them is framing: it was more than the limit.
        return self.kong.get(f"{self.side(path)}_body_bytes", float("inf"))

    def omitted(self, path):
        return self.kong.get(f"{self.side(path)}_body_omitted")

    def plugin_bytes(self, path):
        """The body's bytes as the plugin sent them in base64, or None."""
        message = self.message(self.plugin, path)
        body = message.get("body")
        return base64.b64decode(body) if message.get("transfer_encoding") == "base64" and body else None

    def our_json(self, path):
        message = self.message(self.ours, path)
        return message.get("body", ABSENT) if message.get("transfer_encoding") == "json" else ABSENT

    def request_id(self):
        return self.ours["response"]["headers"]["x-kong-request-id"]


def no_body(call, path, plugin, ours):
    message = call.message(call.plugin, path)
    return call.bytes(path) == 0 and ours == ABSENT and message.get("body") == "" and \
        message.get("transfer_encoding") == "base64"


def too_big(call, path, plugin, ours):
    return call.bytes(path) > 100000 and ours == ABSENT and call.message(call.plugin, path).get("body") == "" and \
        call.omitted(path) == "limit" and call.kong[f"{call.side(path)}_body_truncated"] is True


def kong_made(call, path, plugin, ours):
    """Answers of plugins that run before the Moesif plugin: its access handler never ran."""
    return plugin == ABSENT and call.ours["response"]["status"] in (401, 403, 404, 429) and call.kong["join"] == "none"


def exact_limit(call, path, plugin, ours):
    return call.bytes(path) == 100000 and plugin == ABSENT and call.our_json(path) != ABSENT


def gunzipped(call, path, plugin, ours):
    data = call.plugin_bytes(path)
    if not data or data[:2] != b"\x1f\x8b":
        return False
    return loads(zlib.decompress(data, 31)) == call.our_json(path)


def rerendered(call, path, plugin, ours):
    return path.endswith(".body") and call.our_json(path) != ABSENT and \
        call.message(call.plugin, path).get("transfer_encoding") == "json" and same_json(plugin, ours)


def missed_json(call, path, plugin, ours):
    data = call.plugin_bytes(path)
    kind = call.message(call.ours, path)["headers"].get("content-type", "")
    return data is not None and kind != kind.lower() and loads(data) == call.our_json(path)


def lost_json(call, path, plugin, ours):
    message = call.message(call.ours, path)
    lost = call.message(call.plugin, path)
    return lost.get("transfer_encoding") == "json" and "body" not in lost and \
        message.get("transfer_encoding") == "base64" and loads(base64.b64decode(message["body"])) == ABSENT


def bad_utf8(call, path, plugin, ours):
    message, theirs = call.message(call.ours, path), call.message(call.plugin, path)
    if message.get("transfer_encoding") != "base64" or theirs.get("transfer_encoding") != "json":
        return False
    data = base64.b64decode(message["body"])
    return loads(data) == ABSENT and loads(data.decode("utf-8", "replace")) == theirs["body"]


def own_id(call, path, plugin, ours):
    plugin_id = call.plugin["response"]["headers"].get("x-moesif-transaction-id")
    kong_id = call.request_id()
    uuid = "-".join((kong_id[:8], kong_id[8:12], kong_id[12:16], kong_id[16:20], kong_id[20:]))
    return plugin == ABSENT and ours in (plugin_id, uuid)


# (field, the plugin, kongtap, why, does this difference count as this row?)
TABLE = [
    (r"response\.time", "of a websocket: the end of the connection", "the end of the handshake",
     "The answer is the 101, and the event need not wait for hours.",
     lambda call, path, plugin, ours: call.ours["response"]["status"] == 101 and call.kong["upgraded"]),
    (r"(request|response)\.time", "2026-11-23T00:39:31.6 for .007 s", "2026-11-23T00:39:31.007Z",
     "The plugin does not pad milliseconds and writes no zone; durations come out wrong by up to 0.9 s.",
     lambda call, path, plugin, ours: re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", ours)),
    (r"transaction_id", "absent", "a UUID",
     "The collector drops duplicates by it: at-least-once delivery counts once. Kong's request id as a UUID; the "
     "plugin's own id while that still runs.", own_id),
    (r"metadata\.kong\.(service_name|route_hosts)", "names out of Kong's configuration", "absent",
     "Not on the wire. `metadata.kong.service` has the service's address and port.",
     lambda call, path, plugin, ours: ours == ABSENT),
    (r"metadata\.kong(\..*)?", "absent", "request id, service, latencies, tries, completeness …",
     "Additions: what the wire shows and the plugin does not tell.",
     lambda call, path, plugin, ours: plugin in (ABSENT, {})),
    (r"request\.headers\.x-moesif-transaction-id", "the plugin's own header", "absent",
     "The plugin adds it to the request itself; the client did not send it.",
     lambda call, path, plugin, ours: ours == ABSENT),
    (r"request\.headers\.kong-request-id", "set by another plugin of Kong's", "absent",
     "kongtap shows the headers as the client sent them, and of Kong's additions those that say who called.",
     lambda call, path, plugin, ours: ours == ABSENT and plugin),
    (r"response\.headers\.connection", "always `close`", "as the client got it, or absent",
     "nginx has cleared its keep-alive flag when the plugin looks; the client got `keep-alive`, over HTTP/2 nothing.",
     lambda call, path, plugin, ours: plugin == "close" and ours in ("keep-alive", ABSENT)),
    (r"response\.headers\.date", "absent on answers made by Kong", "as the client got it",
     "nginx adds the header after the plugin has looked.",
     lambda call, path, plugin, ours: plugin == ABSENT and "upstream_status" not in call.kong),
    (r"request\.api_version", "absent on answers made before the plugin ran", "always there",
     "401, 403, 404, 429: the plugin's access handler was skipped.", kong_made),
    (r"(request|response)\.(body|transfer_encoding)", "absent on answers made before the plugin ran", "there",
     "401, 403, 404, 429: the plugin's access handler was skipped, so it captured nothing.", kong_made),
    (r"(request|response)\.(body|transfer_encoding)", '`""` in base64 where there is no body', "absent",
     "An empty body and none are not the same.", no_body),
    (r"(request|response)\.(body|transfer_encoding)", '`""` in base64 where a body is over the limit',
     "absent; metadata says `limit`, `truncated` and the real size", "Else it looks like an empty body.", too_big),
    (r"response\.(body|transfer_encoding)", "absent when the length is exactly the limit", "there",
     "The plugin is off by one: a limit of 100000 bytes is 100000 bytes.", exact_limit),
    (r"(request|response)\.(body|transfer_encoding)", "base64 of the compressed bytes", "JSON",
     "The plugin fails to unpack about half of all gzip bodies.", gunzipped),
    (r"(request|response)\.body", "JSON parsed and printed again", "JSON as it was on the wire",
     "lua-cjson turns `[]` into `{}` and rounds integers beyond 14 digits.", rerendered),
    (r"(request|response)\.(body|transfer_encoding)", "base64 of JSON whose content type is not in lower case", "JSON",
     "Content types have no letter case.", missed_json),
    (r"(request|response)\.(body|transfer_encoding)", "absent, marked `json`, when the JSON is malformed",
     "base64 of the bytes", "The body was there: it is shown as what it was.", lost_json),
    (r"(request|response)\.(body|transfer_encoding)", "JSON with bytes in it that are no UTF-8", "base64 of the bytes",
     "Such an event is no JSON, and with it the whole batch.", bad_utf8),
    (r"session_token", "UUID of a basic-auth credential", "its user name (X-Credential-Identifier)",
     "The UUID is not on the wire. The identifier names the same credential.",
     lambda call, path, plugin, ours: ours == call.ours["request"]["headers"]["x-credential-identifier"] and
     call.ours["request"]["headers"]["authorization"].startswith("Basic ")),
]


def ms_of_plugin(text):
    """The plugin's time, its missing zeros put back."""
    head, _, fraction = text.partition(".")
    second = datetime.strptime(head, "%Y-%m-%dT%H:%M:%S").replace(tzinfo=timezone.utc)
    return int(second.timestamp()) * 1000 + int(fraction or 0)


def ms_of_ours(text):
    return int(datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=timezone.utc).timestamp() * 1000 + 0.5)


def replay(path):
    result = subprocess.run([KONGTAP, "replay", path, "--output", "jsonl"], capture_output=True, text=True, timeout=120)
    if result.returncode:
        raise RuntimeError(f"replay {path}: exit {result.returncode}: {result.stderr[-500:]}")
    return [json.loads(line) for line in result.stdout.splitlines()]


def request_id(event):
    return event["response"]["headers"]["x-kong-request-id"]


def compare(call, met):
    """Differences that no row accounts for."""
    plugin, ours = dict(flat(call.plugin)), dict(flat(call.ours))
    for path in sorted(plugin.keys() | ours.keys()):
        a, b = plugin.get(path, ABSENT), ours.get(path, ABSENT)
        if a == b and type(a) is type(b):
            continue
        for row, (field, *_, accepts) in enumerate(TABLE):
            if re.fullmatch(field, path) and accepts(call, path, a, b):
                met.add(row)
                break
        else:
            yield f"{call.plugin['request']['uri']}: {path}: plugin {str(a)[:120]!r}, kongtap {str(b)[:120]!r}"


def compare_times(calls):
    """A recording has no wall clock: all of its times are off by the same amount, and no more."""
    shifts = [(which, call, ms_of_plugin(call.plugin[which]["time"]) - ms_of_ours(call.ours[which]["time"]))
              for call in calls for which in ("request", "response")]
    middle = statistics.median(shift for _, _, shift in shifts)
    for which, call, shift in shifts:
        if which == "response" and call.ours["response"]["status"] == 101:
            continue
        if abs(shift - middle) > TIME_TOLERANCE_MS:
            yield f"{call.plugin['request']['uri']}: {which}.time is off by {shift - middle:.0f} ms"


def pair(name, theirs, ours, met):
    by_id = {request_id(event): event for event in ours}
    problems = [f"no event for {event['request']['uri']}" for event in theirs if request_id(event) not in by_id]
    if len(ours) != len(theirs):
        problems.append(f"{len(ours)} events, the plugin made {len(theirs)}")
    calls = [Call(event, by_id[request_id(event)]) for event in theirs if request_id(event) in by_id]
    for call in calls:
        problems += compare(call, met)
    problems += compare_times(calls)
    return report(f"{name}: {len(theirs)} events, field by field", problems)


def report(name, problems):
    if not problems:
        print(f"ok - {name}")
        return 0
    print(f"FAIL - {name}: {len(problems)} problems")
    for problem in problems[:20]:
        print(f"    {problem}")
    return 1


def recordings(met):
    failed = 0
    for path in sorted(RECORDINGS.glob("*.calls.jsonl.gz")):
        name = path.name.removesuffix(".calls.jsonl.gz")
        with gzip.open(RECORDINGS / f"{name}.events.jsonl.gz", "rt") as file:
            theirs = [json.loads(line) for line in file]
        failed += pair(name, theirs, replay(path), met)
    return failed


def rebuilt_cases(met):
    theirs, lines = [], []
    start = None
    for path in sorted(CASES.glob("*.json")):
        case = json.loads(path.read_text())
        if "wire_request" not in case:
            continue
        event = case["event"]
        event["response"]["headers"].setdefault("x-kong-request-id", header(case["wire_response"], "x-kong-request-id"))
        theirs.append((ms_of_plugin(event["request"]["time"]), case))
    for begin, case in sorted(theirs, key=lambda item: item[0]):
        start = start if start is not None else begin
        end = ms_of_plugin(case["event"]["response"]["time"])
        lines += rebuild(case, (begin - start) * 1000000, (end - start) * 1000000)
    with tempfile.NamedTemporaryFile("w", suffix=".jsonl") as file:
        file.write("\n".join(lines) + "\n")
        file.flush()
        ours = replay(file.name)
    return pair("plugin-cases, legs rebuilt", [case["event"] for _, case in theirs], ours, met)


def table_text():
    def cell(text):
        return text.replace("|", "\\|")

    rows = ["| field | plugin 2.1.2 | kongtap | why |", "|---|---|---|---|"]
    for field, plugin, ours, why, _ in TABLE:
        name = field.replace("\\.", ".").replace("(..*)?", ".…").replace("(request|response).", "")
        name = re.sub(r"\((\w+)\|(\w+)\)", r"\1, \2", name)
        rows.append(f"| {cell(name)} | {cell(plugin)} | {cell(ours)} | {cell(why)} |")
    return "\n".join(rows)


def page(write):
    text = PAGE.read_text()
    before, rest = text.split(BEGIN)
    after = rest.split(END)[1]
    want = f"{before}{BEGIN}\n{table_text()}\n{END}{after}"
    if write:
        PAGE.write_text(want)
    return report("docs/PLUGIN-PARITY.md shows the table", [] if write or want == text else ["run parity.py --write"])


def main():
    if sys.argv[1:] == ["--write"]:
        return page(True)
    met = set()
    failed = recordings(met) + rebuilt_cases(met) + page(False)
    failed += report("every accepted difference is met by a call",
                     [f"{field}: {plugin}" for row, (field, plugin, *_) in enumerate(TABLE) if row not in met])
    return failed != 0


if __name__ == "__main__":
    sys.exit(main())
