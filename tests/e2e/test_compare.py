#!/usr/bin/env python3
"""The comparison itself: events that agree pass, and each thing that can be wrong with one is found."""
import base64
import copy
import json
import sys
import time

from compare import compare, load
from lib import Checks, Gateway, Workdir, client, inflate, json_digest, load_exact, sha256

SENT, GOT = b'{"a": [1.50, 123456789012345678]}', b"\x00\x01plain"
ID = "0123456789abcdef0123456789abcdef"
LINE = {"id": ID, "end": 1000.5, "took": 0.25, "status": 200, "method": "POST", "uri": "/key/x?y=1", "port": 8000,
        "client": "127.0.0.1", "host": "127.0.0.1", "scheme": "http", "user": "bob", "upstream_status": "200", "req_len": str(len(SENT)),
        "req_sha256": sha256(SENT), "resp_len": str(len(GOT)), "resp_sha256": sha256(GOT)}
RECORD = {"id": ID, "user": "bob", "may_be": [], "sent_len": len(SENT), "sent_sha256": sha256(SENT),
          "sent_json": json_digest(SENT), "recv_sha256": sha256(GOT), "plain_sha256": sha256(GOT)}
EVENT = {"request": {"time": "1970-01-01T00:16:40.250Z", "uri": "http://127.0.0.1:8000/key/x?y=1", "verb": "POST", "headers": {},
                     "ip_address": "127.0.0.1", "body": load_exact(SENT.decode()), "transfer_encoding": "json"},
         "response": {"time": "1970-01-01T00:16:40.500Z", "status": 200, "headers": {"x-kong-request-id": ID},
                      "body": base64.b64encode(GOT).decode(), "transfer_encoding": "base64"},
         "user_id": "bob", "transaction_id": "01234567-89ab-cdef-0123-456789abcdef"}


def changed(path, value):
    event = copy.deepcopy(EVENT)
    place = event
    for name in path[:-1]:
        place = place[name]
    place[path[-1]] = value
    return event


def kinds(lines, events, records=(RECORD,), ready=999.0):
    return [problem.split(":")[0] for problem in compare(lines, events, records, ready)]


def agreeing(t):
    t.equal("an event that agrees", compare([LINE], [EVENT], [RECORD], 999.0), [])
    t.equal("no event for a call that began before", kinds([LINE], [], ready=1000.4), [])
    t.equal("an event for a call that began before", kinds([LINE], [EVENT], ready=1000.4), [])
    t.equal("no log, as with a real Kong", kinds(None, [EVENT], [{**RECORD, "ended": 1000.5, "began": 1000.25, "status": 200,
            "method": "POST", "host": "127.0.0.1", "target": "/key/x?y=1", "port": 8000, "recv_len": len(GOT)}]), [])


def disagreeing(t):
    t.equal("no event", kinds([LINE], []), ["missing"])
    t.equal("two events", kinds([LINE], [EVENT, changed(["transaction_id"], "x")]), ["repeated"])
    t.equal("an event without a line", kinds([], [EVENT]), ["unknown"])
    t.equal("an event without an id", kinds([], [changed(["response", "headers"], {})]), ["unknown"])
    for what, path, value in (
            ("verb", ["request", "verb"], "GET"), ("status", ["response", "status"], 404),
            ("target", ["request", "uri"], "http://127.0.0.1:8000/key/x"), ("client", ["request", "ip_address"], "10.0.0.1"),
            ("host", ["request", "uri"], "http://other:8000/key/x?y=1"),
            ("port", ["request", "uri"], "http://127.0.0.1:9000/key/x?y=1"), ("user", ["user_id"], "alice"),
            ("request.time", ["request", "time"], "1970-01-01T00:16:45.250Z"),
            ("request body", ["request", "body"], load_exact('{"a": [1.5, 123456789012345678]}')),
            ("request body", ["request", "body"], None),
            ("response body", ["response", "body"], base64.b64encode(b"other").decode()),
            ("response body", ["response", "body"], base64.b64encode(GOT[:-1]).decode())):
        t.equal(f"another {'.'.join(path)}", kinds([LINE], [changed(path, value)]), [what])


def late(**kong):
    """The event of a call whose request went by before the agent came."""
    event = changed(["request", "body"], None)
    del event["user_id"]
    event["request"]["time"] = "1970-01-01T00:16:40.400Z"
    event["metadata"] = {"kong": {"request": "missing", "request_rebuilt": True, **kong}}
    return event


def seen_in_part(t):
    t.equal("a request that was not seen, of a call that began before", kinds([LINE], [late()], ready=1000.4), [])
    t.equal("the same of a call that began after", kinds([LINE], [late()]), ["rebuilt"])
    t.equal("without saying so", kinds([LINE], [late(request_rebuilt=False)], ready=1000.4), ["user", "request body"])
    t.equal("with another's name", kinds([LINE], [{**late(), "user_id": "alice"}], ready=1000.4), ["user"])
    body = late()
    body["request"]["body"] = EVENT["request"]["body"]
    t.equal("with a body all the same", kinds([LINE], [body], ready=1000.4), ["request body"])
    for what, kong in (("cut", {"request_body_truncated": True}), ("left out", {"request_body_omitted": "lost"}),
                       ("not seen whole", {"request": "lost"})):
        event = {**EVENT, "metadata": {"kong": kong}}
        t.equal(f"a body that is said to be {what}", kinds([LINE], [event]), ["request body"])


def event_text(line, record):
    """A right event, made of what the client knows, as JSON text."""
    sides = {}
    for side, data, headers, gzipped in (
            ("request", record["sent"], dict(map(tuple, record["sent_headers"])), False),
            ("response", record["recv"], record["recv_headers"], record["recv_headers"].get("content-encoding") == "gzip")):
        data = base64.b64decode(data)
        data = inflate(data) if gzipped else data
        kind = {name.lower(): value for name, value in headers.items()}.get("content-type", "")
        if not data or len(data) > 100000:
            sides[side] = ""
        elif "json" in kind.lower() and json_digest(data):
            sides[side] = ',"transfer_encoding":"json","body":' + data.decode().replace("\n", " ")
        else:
            sides[side] = f',"transfer_encoding":"base64","body":"{base64.b64encode(data).decode()}"'
    user = line["upstream_status"] and line["user"] or record["user"]
    return (f'{{"request":{{"time":"{stamp(line["end"] - line["took"])}","verb":"{line["method"]}","ip_address":"127.0.0.1",'
            f'"uri":{json.dumps("%s://%s:%d%s" % (line["scheme"], line["host"], line["port"], line["uri"]))},"headers":{{}}{sides["request"]}}},'
            f'"response":{{"time":"{stamp(line["end"])}","status":{line["status"]},'
            f'"headers":{{"x-kong-request-id":"{line["id"]}"}}{sides["response"]}}}'
            + (f',"user_id":"{user}"' if user else "") + "}")


def stamp(seconds):
    thousandths = round(seconds * 1000)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(thousandths // 1000)) + f".{thousandths % 1000:03d}Z"


def every_kind_of_call(t):
    """Right events for real calls of all kinds raise no alarm."""
    with Workdir() as directory, Gateway(directory / "gateway") as gateway:
        record = directory / "record.jsonl"
        with client(gateway, record, "--calls", 1500, "--connections", "16,64", "--keep-bodies") as traffic:
            t.equal("client", traffic.wait(120), 0)
        lines, records = load(gateway, record)
        by_id = {entry["id"]: entry for entry in records}
        texts = [event_text(line, by_id[line["id"]]) for line in lines]
        t.problems("right events for 1500 calls of all kinds", compare(lines, [load_exact(text) for text in texts], records, 0))


if __name__ == "__main__":
    sys.exit(Checks().run(agreeing, disagreeing, seen_in_part, every_kind_of_call))
