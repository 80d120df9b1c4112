#!/usr/bin/env python3
"""The comparison itself: events that agree pass, and each thing that can be wrong with one is found."""
import base64
import copy
import sys

from compare import compare
from lib import Checks, json_digest, load_exact, sha256

SENT, GOT = b'{"a": [1.50, 123456789012345678]}', b"\x00\x01plain"
ID = "0123456789abcdef0123456789abcdef"
LINE = {"id": ID, "end": 1000.5, "took": 0.25, "status": 200, "method": "POST", "uri": "/key/x?y=1", "port": 8000,
        "client": "127.0.0.1", "scheme": "http", "user": "bob", "upstream_status": "200", "req_len": str(len(SENT)),
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
            "method": "POST", "target": "/key/x?y=1", "port": 8000, "recv_len": len(GOT)}]), [])


def disagreeing(t):
    t.equal("no event", kinds([LINE], []), ["missing"])
    t.equal("two events", kinds([LINE], [EVENT, changed(["transaction_id"], "x")]), ["repeated"])
    t.equal("an event without a line", kinds([], [EVENT]), ["unknown"])
    t.equal("an event without an id", kinds([], [changed(["response", "headers"], {})]), ["unknown"])
    for what, path, value in (
            ("verb", ["request", "verb"], "GET"), ("status", ["response", "status"], 404),
            ("target", ["request", "uri"], "http://127.0.0.1:8000/key/x"), ("client", ["request", "ip_address"], "10.0.0.1"),
            ("port", ["request", "uri"], "http://127.0.0.1:9000/key/x?y=1"), ("user", ["user_id"], "alice"),
            ("request.time", ["request", "time"], "1970-01-01T00:16:45.250Z"),
            ("request body", ["request", "body"], load_exact('{"a": [1.5, 123456789012345678]}')),
            ("request body", ["request", "body"], None),
            ("response body", ["response", "body"], base64.b64encode(b"other").decode()),
            ("response body", ["response", "body"], base64.b64encode(GOT[:-1]).decode())):
        t.equal(f"another {'.'.join(path)}", kinds([LINE], [changed(path, value)]), [what])


if __name__ == "__main__":
    sys.exit(Checks().run(agreeing, disagreeing))
