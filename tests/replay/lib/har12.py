"""The rules of HAR 1.2, written down from its specification (the W3C Web Performance group's draft "HTTP Archive (HAR) format"
and the text of HAR 1.2 that it goes back to): what each object must hold, what it may hold, of which type and in which range.
It knows nothing of kongtap. Members whose names begin with an underscore are anybody's own."""
import base64
import datetime
import re


def text(value):
    return isinstance(value, str)


def integer(value):
    return isinstance(value, int) and not isinstance(value, bool)


def number(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def size(value):
    """-1: not known."""
    return integer(value) and value >= -1


def duration(value):
    return number(value) and value >= 0


def phase(value):
    """-1: does not apply."""
    return number(value) and (value >= 0 or value == -1)


def flag(value):
    return isinstance(value, bool)


def stamp(value):
    """ISO 8601 with a zone."""
    if not text(value) or not re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)", value):
        return False
    try:
        datetime.datetime.fromisoformat(value.replace("Z", "+00:00"))
    except ValueError:
        return False
    return True


def url(value):
    """Absolute, and without a fragment."""
    return text(value) and re.match(r"[a-z][a-z0-9+.-]*://[^/]*", value) is not None and "#" not in value


def many(rule):
    return [rule]


PAIR = ({"name": text, "value": text}, {"comment": text})
COOKIE = ({"name": text, "value": text},
          {"path": text, "domain": text, "expires": stamp, "httpOnly": flag, "secure": flag, "comment": text})
POST_DATA = ({"mimeType": text}, {"params": many(({"name": text}, {"value": text, "fileName": text, "contentType": text,
                                                                   "comment": text})), "text": text, "comment": text})
REQUEST = ({"method": text, "url": url, "httpVersion": text, "cookies": many(COOKIE), "headers": many(PAIR),
            "queryString": many(PAIR), "headersSize": size, "bodySize": size}, {"postData": POST_DATA, "comment": text})
CONTENT = ({"size": size, "mimeType": text}, {"compression": integer, "text": text, "encoding": text, "comment": text})
RESPONSE = ({"status": integer, "statusText": text, "httpVersion": text, "cookies": many(COOKIE), "headers": many(PAIR),
             "content": CONTENT, "redirectURL": text, "headersSize": size, "bodySize": size}, {"comment": text})
STATE = ({"lastAccess": stamp, "eTag": text, "hitCount": integer}, {"expires": stamp, "comment": text})
CACHE = ({}, {"beforeRequest": STATE, "afterRequest": STATE, "comment": text})
TIMINGS = ({"send": duration, "wait": duration, "receive": duration},
           {"blocked": phase, "dns": phase, "connect": phase, "ssl": phase, "comment": text})
ENTRY = ({"startedDateTime": stamp, "time": duration, "request": REQUEST, "response": RESPONSE, "cache": CACHE, "timings": TIMINGS},
         {"pageref": text, "serverIPAddress": text, "connection": text, "comment": text})
MAKER = ({"name": text, "version": text}, {"comment": text})
PAGE = ({"startedDateTime": stamp, "id": text, "title": text,
         "pageTimings": ({}, {"onContentLoad": phase, "onLoad": phase, "comment": text})}, {"comment": text})
LOG = ({"version": text, "creator": MAKER, "entries": many(ENTRY)}, {"browser": MAKER, "pages": many(PAGE), "comment": text})
DOCUMENT = ({"log": LOG}, {})


def shape(value, rule, where):
    if callable(rule):
        return [] if rule(value) else [f"{where}: no {rule.__name__}: {value!r:.60}"]
    if isinstance(rule, list):
        if not isinstance(value, list):
            return [f"{where}: no list"]
        return [problem for i, item in enumerate(value) for problem in shape(item, rule[0], f"{where}[{i}]")]
    must, may = rule
    if not isinstance(value, dict):
        return [f"{where}: no object"]
    problems = [f"{where}: no {name}" for name in must if name not in value]
    for name, item in value.items():
        if name in must or name in may:
            problems += shape(item, must.get(name) or may[name], f"{where}.{name}")
        elif not name.startswith("_"):
            problems.append(f"{where}: HAR knows no {name}")
    return problems


def sense(entry, where):
    """What a type cannot say."""
    timings, content, problems = entry["timings"], entry["response"]["content"], []
    # ssl is part of connect; -1 stands for nothing.
    spent = sum(value for name, value in timings.items() if name not in ("ssl", "comment") and name[0] != "_" and value > 0)
    if abs(spent - entry["time"]) > 0.01:
        problems.append(f"{where}: time {entry['time']} is not the sum of its timings, {spent}")
    if content.get("encoding") == "base64":
        try:
            base64.b64decode(content["text"], validate=True)
        except ValueError:
            problems.append(f"{where}: content is no base64")
    data = entry["request"].get("postData", {})
    if "text" in data and "params" in data:
        problems.append(f"{where}: postData has text and params, which exclude each other")
    return problems


def problems_of(document):
    """Every rule that the document breaks, as text."""
    problems = shape(document, DOCUMENT, "har")
    if problems:
        return problems
    log = document["log"]
    if log["version"] != "1.2":
        problems.append(f"har.log.version is {log['version']}")
    pages = [page["id"] for page in log.get("pages", [])]
    for i, entry in enumerate(log["entries"]):
        problems += sense(entry, f"har.log.entries[{i}]")
        if "pageref" in entry and entry["pageref"] not in pages:
            problems.append(f"har.log.entries[{i}]: pageref leads nowhere")
    return problems
