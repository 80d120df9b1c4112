"""Holds events against the gateway's access log and the client's own record.

A problem is one text, "kind: what"; no problems means that they agree."""
from lib import EventView, read_jsonl
from gateway import PORTS  # lib says where it is

BODY_LIMIT = 100000
CLOCK = 0.002      # nginx and the client round to the millisecond
TIME_SLACK = 0.5   # how far an event's times may be from the log's


def compare_record(lines, records):
    """Oracle against oracle: the access log and the client's record of the same calls."""
    problems = []
    by_id = {line["id"]: line for line in lines}
    if len(by_id) != len(lines):
        problems.append(f"repeated id: {len(lines) - len(by_id)} lines of the access log")
    for record in records:
        line = by_id.pop(record.get("id"), None)
        if line is None:
            if "error" not in record:
                problems.append(f"no line: {record['method']} {record['target']} {record['status']}")
            continue
        name = f"{record['method']} {record['target'][:80]}"
        for field, theirs in (("method", "method"), ("target", "uri"), ("status", "status"), ("port", "port"),
                              ("client_port", "client_port"), ("recv_sha256", "resp_sha256")):
            if record[field] != line[theirs]:
                problems.append(f"{field}: {name}: client {record[field]!r}, log {line[theirs]!r}")
        if line["req_sha256"] and line["req_sha256"] != record["sent_sha256"]:
            problems.append(f"sent_sha256: {name}: client {record['sent_len']} bytes, log {line['req_len']}")
        if line["user"] and record["user"] != line["user"] and line["user"] not in record["may_be"]:
            problems.append(f"user: {name}: client {record['user']!r}, log {line['user']!r}")
    without = sum("error" in record for record in records)
    if len(by_id) > without:
        problems.append(f"no record: {len(by_id)} lines that the client knows nothing of")
    return problems


def compare(lines, events, records, ready, body_limit=BODY_LIMIT):
    """Events against the access log (and the record, for what only the client knows).

    A call that began after `ready` has exactly one event, an earlier one at most one, and an event that is there is
    right: one that says that the request went by before the agent came may lack the user and the request's body, but
    names no other. Without a log (real Kong) the record stands in for it."""
    problems = []
    records_by_id = {record["id"]: record for record in records if record.get("id")}
    if lines is None:
        lines = [line_of(record) for record in records if record.get("id")]
    views = {}
    nameless = []
    for event in events:
        view = EventView(event)
        if view.id is None:
            nameless.append(view)
        else:
            views.setdefault(view.id, []).append(view)
    unanswered = 0
    for line in lines:
        found = views.pop(line["id"], [])
        began = line["end"] - line["took"]
        name = f"{line['method']} {line['uri'][:100]} {line['status']} {line['id']}"
        if len(found) > 1:
            problems.append(f"repeated: {len(found)} events for {name}")
        if not found and line["status"] == 499:
            unanswered += 1  # the client left before it had a response: the event, if any, has no id
        elif not found and began > ready + CLOCK:
            problems.append(f"missing: {name}, began {began - ready:.3f} s after ready, port {line['port']}")
        for view in found[:1]:
            if view.rebuilt and began > ready + CLOCK:
                problems.append(f"rebuilt: {name} began {began - ready:.3f} s after ready")
            problems += one(view, line, records_by_id.get(line["id"]), name, body_limit)
    for view in nameless[unanswered:]:
        problems.append(f"unknown: event without an id: {view.verb} {view.request.get('uri')!r} {view.status}")
    for name, found in views.items():
        problems.append(f"unknown: event without a line: {found[0].verb} {found[0].request.get('uri')!r} {name}")
    ids = [event["transaction_id"] for event in events if "transaction_id" in event]
    if len(set(ids)) != len(ids):
        problems.append(f"transaction_id: {len(ids) - len(set(ids))} are not unique")
    return problems


def line_of(record):
    return {"id": record["id"], "end": record["ended"], "took": record["ended"] - record["began"], "status": record["status"],
            "method": record["method"], "uri": record["target"], "port": record["port"], "client": "127.0.0.1",
            "host": record["host"],
            "client_port": record.get("client_port"), "scheme": "https" if record["port"] == PORTS["proxy_tls"] else "http", "user": record["user"] or "", "upstream_status": "",
            "req_sha256": "", "resp_sha256": record["recv_sha256"], "req_len": "", "resp_len": str(record["recv_len"])}


def one(view, line, record, name, body_limit):
    """What is wrong with one event."""
    problems = []

    def same(what, got, wanted):
        if got != wanted:
            problems.append(f"{what}: got {got!r}, wanted {wanted!r}, in {name}")

    same("verb", view.verb, line["method"])
    same("status", view.status, line["status"])
    same("target", view.target, line["uri"])
    same("scheme", view.scheme, line["scheme"])
    same("port", view.port, line["port"])
    same("host", view.host, line["host"])
    same("client", view.client, line["client"])
    proxied = line["upstream_status"] != ""
    if view.user is None and view.rebuilt:
        pass  # whether Kong or the client named the consumer shows on the leg that was not seen
    elif proxied and line["user"]:
        same("user", view.user, line["user"])
    elif record and view.user not in (record["user"], *record["may_be"]):
        problems.append(f"user: got {view.user!r}, wanted {record['user']!r}, in {name}")
    began, ended = view.began(), view.ended()
    # A request that went by unseen began some time before what was seen of its call.
    slack = TIME_SLACK + (line["took"] if view.rebuilt else 0)
    for what, got, wanted, slack in (("request.time", began, line["end"] - line["took"], slack),
                                     ("response.time", ended, line["end"], TIME_SLACK)):
        if got is None or abs(got - wanted) > slack:
            problems.append(f"{what}: {got} is not near {wanted}, in {name}")
    response_length = int(line["resp_len"] or 0)
    body(problems, view, "response", line["resp_sha256"], response_length, record and record.get("plain_sha256"),
         record and record.get("recv_json"), name, body_limit)
    if view.rebuilt:
        if view.body("request")[0] != "none":
            problems.append(f"request body: there, of a request that was not seen, in {name}")
    # A call that the gateway answered without reading its body: how much of it came by is between the two of them.
    elif line["req_sha256"]:
        body(problems, view, "request", line["req_sha256"], int(line["req_len"]), None, record and record.get("sent_json"), name,
             body_limit)
    elif record and view.body("request")[0] != "none" and not view.said_incomplete("request"):
        body(problems, view, "request", record["sent_sha256"], record["sent_len"], None, record["sent_json"], name, body_limit)
    return problems


def body(problems, view, side, digest, length, plain_digest, value_digest, name, limit):
    kind, got, size = view.body(side)
    if length == 0:
        if kind != "none":
            problems.append(f"{side} body: {size} bytes where there are none, in {name}")
    elif length > limit:
        # Past the limit a body may be absent or cut, but what is there is not the whole.
        if kind == "json" or size > limit:
            problems.append(f"{side} body: {kind} of {size} bytes for {length}, past the limit, in {name}")
    elif view.said_incomplete(side):
        problems.append(f"{side} body: said to be incomplete, {size} of {length} bytes, in {name}")
    elif value_digest and kind != "json":
        problems.append(f"{side} body: {kind} where JSON was wanted, {size} of {length} bytes, in {name}")
    elif kind == "json":
        if got != value_digest:
            problems.append(f"{side} body: another JSON value, {length} bytes, in {name}")
    elif got not in (digest, plain_digest):
        problems.append(f"{side} body: {kind} of {size} bytes that are not the {length} sent, in {name}")


def load(gateway, record):
    """(lines of the access log, the client's record), which also stands in for a log that a real Kong does not write."""
    records = read_jsonl(record)
    if gateway.has_access_log:
        return read_jsonl(gateway.access_log), records
    return [line_of(entry) for entry in records if entry.get("id")], records
