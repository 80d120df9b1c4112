#!/usr/bin/env python3
"""Moesif's collector for tests: takes events, checks every one, writes them down, and misbehaves when told to.

    collector.py --events FILE [--port N] [--app-id ID] [--config FILE] [--rules FILE]

Prints "collector: ready PORT" when it listens. FILE gets one JSON line per event: {"at", "batch", "path", "event"}.

POST /_control  {"mode": M, ...}   how the following calls to /v1/ are answered:
    ok | slow (ms) | reset | status (status, retry_after) | garbage | never | poison (uri: 400 for a batch that holds it)
    | limit (bytes: 413 for more); "count": N ends the mode after N calls; "config", "rules": new documents.
    Events of a call that is not answered with 201 are not written.
GET  /_stats    what came: events, unique ids, duplicates, batches, rejected, errors (the first hundred) and their number.
"""
import argparse
import base64
import binascii
import hashlib
import json
import re
import socket
import struct
import sys
import threading
import time
import zlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

TIME = re.compile(r"\d{4}-(0\d|1[0-2])-([0-2]\d|3[01])T([01]\d|2[0-3]):[0-5]\d:[0-5]\d\.\d{3}Z\Z")
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z")
URI = re.compile(r"https?://[^/?#]+(/|\?|\Z)")
TEXT_FIELDS = ("user_id", "company_id", "subscription_id", "session_token", "action_name", "blocked_by", "trace_id", "tags")
EVENT_FIELDS = {"request", "response", "transaction_id", "direction", "weight", "metadata", "span", *TEXT_FIELDS}
REQUEST_FIELDS = {"time", "uri", "verb", "headers", "api_version", "ip_address", "body", "transfer_encoding",
                  "content_length"}
RESPONSE_FIELDS = {"time", "status", "headers", "ip_address", "body", "transfer_encoding", "content_length"}
EVENT_LIMIT, BATCH_LIMIT = 1_000_000, 50_000_000


def check_side(side, name, fields, wrong):
    if not isinstance(side, dict):
        return wrong(f"{name}: not an object")
    for key in side.keys() - fields:
        wrong(f"{name}.{key}: no such field")
    stamp = side.get("time")
    if not isinstance(stamp, str) or not TIME.match(stamp):
        wrong(f"{name}.time: {stamp!r} is not YYYY-MM-DDThh:mm:ss.mmmZ")
    headers = side.get("headers")
    if not isinstance(headers, dict):
        wrong(f"{name}.headers: not an object")
    else:
        for key, value in headers.items():
            if key != key.lower():
                wrong(f"{name}.headers.{key}: not in lower case")
            # The Kong plugin sends repeated headers as arrays, and Moesif takes them.
            for item in value if isinstance(value, list) else [value]:
                if not isinstance(item, str):
                    wrong(f"{name}.headers.{key}: {item!r} is not a string")
    if "ip_address" in side and not is_address(side["ip_address"]):
        wrong(f"{name}.ip_address: {side['ip_address']!r} is no address")
    encoding = side.get("transfer_encoding")
    if encoding not in (None, "json", "base64"):
        wrong(f"{name}.transfer_encoding: {encoding!r}")
    if encoding == "base64" and "body" in side:
        try:
            base64.b64decode(side["body"], validate=True)
        except (binascii.Error, TypeError, ValueError):
            wrong(f"{name}.body: not base64")


def is_address(text):
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            socket.inet_pton(family, text)
            return True
        except (OSError, TypeError):
            pass
    return False


def check_event(event):
    """The reasons why Moesif, or a reader of its documentation, would not take this event; empty when there are none."""
    reasons = []
    wrong = reasons.append
    if not isinstance(event, dict):
        return ["event: not an object"]
    for key in event.keys() - EVENT_FIELDS:
        wrong(f"event.{key}: no such field")
    check_side(event.get("request"), "request", REQUEST_FIELDS, wrong)
    request = event.get("request")
    if isinstance(request, dict):
        for key in ("uri", "verb"):
            if not isinstance(request.get(key), str) or not request[key]:
                wrong(f"request.{key}: missing")
        if isinstance(request.get("uri"), str) and not URI.match(request["uri"]):
            wrong(f"request.uri: {request['uri']!r} is not a full URI")
        if "ip_address" not in request:
            wrong("request.ip_address: missing; Moesif would take the sender's")
        if not isinstance(request.get("api_version", ""), str):
            wrong("request.api_version: not a string")
    if "response" in event:
        response = event["response"]
        check_side(response, "response", RESPONSE_FIELDS, wrong)
        if isinstance(response, dict):
            status = response.get("status")
            if not isinstance(status, int) or isinstance(status, bool) or not 100 <= status <= 999:
                wrong(f"response.status: {status!r}")
    for key in TEXT_FIELDS:
        if key in event and not isinstance(event[key], str):
            wrong(f"event.{key}: not a string")
    if "transaction_id" in event and not (isinstance(event["transaction_id"], str) and UUID.match(event["transaction_id"])):
        wrong(f"event.transaction_id: {event['transaction_id']!r} is not a UUID in lower case")
    if event.get("direction", "Incoming") not in ("Incoming", "Outgoing", "Internal"):
        wrong(f"event.direction: {event['direction']!r}")
    weight = event.get("weight", 1)
    if not isinstance(weight, int) or isinstance(weight, bool) or weight < 1:
        wrong(f"event.weight: {weight!r}")
    if not isinstance(event.get("metadata", {}), dict):
        wrong("event.metadata: not an object")
    return reasons


def split_batch(text):
    """The events of an array, each with its own text: written down as it came, with its digits and repeated keys."""
    decoder = json.JSONDecoder(parse_constant=refuse_constant)
    blank = re.compile(r"[ \t\r\n]*")
    at = blank.match(text).end() + 1
    pairs = []
    while True:
        at = blank.match(text, at).end()
        if text[at] == "]":
            return pairs
        event, end = decoder.raw_decode(text, at)
        pairs.append((event, text[at:end]))
        at = blank.match(text, end).end()
        at += text[at] == ","


def refuse_constant(text):
    raise ValueError(f"{text} is not JSON")


class State:
    """What the collector knows, shared by the threads that serve."""

    def __init__(self, events_file, app_id, config, rules):
        self.lock = threading.Lock()
        self.file = open(events_file, "a", encoding="utf-8")
        self.app_id = app_id
        self.documents = {"/v1/config": config, "/v1/rules": rules}
        self.mode, self.left = {"mode": "ok"}, None
        self.released = threading.Event()
        self.ids = set()
        self.errors = []
        self.stats = {"events": 0, "duplicates": 0, "batches": 0, "rejected": 0, "wrong": 0, "calls": 0}

    def control(self, order):
        with self.lock:
            for name in ("config", "rules"):
                if name in order:
                    self.documents["/v1/" + name] = order.pop(name)
            if "mode" in order:
                self.mode, self.left = order, order.get("count")
                self.released.set()
                self.released = threading.Event()

    def next_mode(self):
        with self.lock:
            mode = self.mode
            if self.left is not None:
                self.left -= 1
                if self.left <= 0:
                    self.mode, self.left = {"mode": "ok"}, None
            return mode, self.released

    def count(self, name, by=1):
        with self.lock:
            self.stats[name] += by

    def wrong(self, reason):
        with self.lock:
            self.stats["wrong"] += 1
            if len(self.errors) < 100:
                self.errors.append(reason)

    def take(self, pairs, path):
        now = time.time()
        events = [event for event, _ in pairs]
        # No string in JSON holds a bare line feed, so this only joins lines between values.
        lines = [text.replace("\n", " ").replace("\r", " ") for _, text in pairs]
        for event, line in zip(events, lines):
            for reason in check_event(event):
                self.wrong(reason)
            if len(line.encode()) > EVENT_LIMIT:
                self.wrong(f"event: {len(line.encode())} bytes are more than Moesif's {EVENT_LIMIT}")
        with self.lock:
            self.stats["batches"] += 1
            self.stats["events"] += len(events)
            batch = self.stats["batches"]
            for event in events:
                name = event.get("transaction_id") if isinstance(event, dict) else None
                if name in self.ids:
                    self.stats["duplicates"] += 1
                elif name:
                    self.ids.add(name)
            self.file.writelines(f'{{"at":{now:.6f},"batch":{batch},"path":"{path}","event":{line}}}\n' for line in lines)
            self.file.flush()

    def etag(self, path):
        return hashlib.md5(json.dumps(self.documents[path], sort_keys=True).encode()).hexdigest()

    def summary(self):
        with self.lock:
            return {**self.stats, "unique": len(self.ids), "mode": self.mode["mode"], "errors": self.errors}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    state = None

    def log_message(self, *_):
        pass

    def answer(self, status, document=None, headers=()):
        body = b"" if document is None else json.dumps(document).encode()
        self.send_response(status)
        self.send_header("X-Moesif-Config-ETag", self.state.etag("/v1/config"))
        self.send_header("X-Moesif-Rules-Tag", self.state.etag("/v1/rules"))
        if document is not None:
            self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def read_body(self):
        if "chunked" in self.headers.get("Transfer-Encoding", "").lower():
            pieces = []
            while size := int(self.rfile.readline().split(b";")[0], 16):
                pieces.append(self.rfile.read(size))
                self.rfile.readline()
            while self.rfile.readline().strip():
                pass
            return b"".join(pieces)
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def decoded(self, body):
        encoding = self.headers.get("Content-Encoding", "identity").lower()
        windows = {"gzip": 31, "deflate": 15}
        if encoding in windows:
            return zlib.decompress(body, windows[encoding])
        if encoding == "identity":
            return body
        raise ValueError(f"Content-Encoding: {encoding}")

    def misbehave(self, mode, released):
        """True when the call has had its answer, or has none to expect."""
        name = mode["mode"]
        if name == "slow":
            released.wait(mode.get("ms", 1000) / 1000)
        elif name == "reset":
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
            self.close_connection = True
        elif name == "garbage":
            self.wfile.write(b"\x15\x03\x01 this is no answer\x00\xff")
            self.close_connection = True
        elif name == "never":
            released.wait()
            self.close_connection = True
        elif name == "status":
            headers = [("Retry-After", str(mode["retry_after"]))] if "retry_after" in mode else []
            self.answer(mode["status"], {"error": "told to"}, headers)
        return name in ("reset", "garbage", "never", "status")

    def do_GET(self):
        path = self.path.split("?")[0]
        if path == "/_stats":
            return self.answer(200, self.state.summary())
        if path not in self.state.documents:
            return self.answer(404, {"error": "no such path"})
        if not self.authorized():
            return self.answer(401, {"error": "X-Moesif-Application-Id"})
        if not self.misbehave(*self.state.next_mode()):
            self.answer(200, self.state.documents[path])

    def authorized(self):
        given = self.headers.get("X-Moesif-Application-Id")
        return bool(given) and (self.state.app_id is None or given == self.state.app_id)

    def do_POST(self):
        path = self.path.split("?")[0]
        body = self.read_body()
        if path == "/_control":
            self.state.control(json.loads(body))
            return self.answer(200, {})
        if path not in ("/v1/events", "/v1/events/batch"):
            return self.answer(404, {"error": "no such path"})
        self.state.count("calls")
        if not self.authorized():
            self.state.count("rejected")
            return self.answer(401, {"error": "X-Moesif-Application-Id"})
        mode, released = self.state.next_mode()
        if self.misbehave(mode, released):
            return self.state.count("rejected")
        status, document = self.accept(path, body, mode)
        if status != 201:
            self.state.count("rejected")
        return self.answer(status, document)

    def accept(self, path, body, mode):
        if not self.headers.get("Content-Type", "").startswith("application/json"):
            self.state.wrong(f"Content-Type: {self.headers.get('Content-Type')!r}")
        try:
            body = self.decoded(body)
            if len(body) > min(BATCH_LIMIT, mode["bytes"] if mode["mode"] == "limit" else BATCH_LIMIT):
                return 413, {"error": "too large"}
            text = body.decode("utf-8")
            document = json.loads(text, parse_constant=refuse_constant)
        except (ValueError, zlib.error) as error:
            self.state.wrong(f"{path}: {error}")
            return 400, {"error": str(error)}
        is_batch = path.endswith("/batch")
        if is_batch != isinstance(document, list):
            self.state.wrong(f"{path}: {'not an array' if is_batch else 'not an object'}")
            return 400, {"error": "shape"}
        pairs = split_batch(text) if is_batch else [(document, text.strip())]
        if mode["mode"] == "poison" and any(mode["uri"] in event["request"]["uri"] for event, _ in pairs):
            return 400, {"error": "poison"}
        self.state.take(pairs, path)
        return 201, None


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 512

    def handle_error(self, request, client_address):
        if not isinstance(sys.exc_info()[1], (ConnectionError, ValueError)):
            super().handle_error(request, client_address)


def main():
    parser = argparse.ArgumentParser(description="Moesif's collector, for tests.")
    parser.add_argument("--events", required=True)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--app-id", help="the only application id that is let in; any when absent")
    parser.add_argument("--config", help="file with the document of /v1/config")
    parser.add_argument("--rules", help="file with the document of /v1/rules")
    args = parser.parse_args()
    config, rules = (json.load(open(name, encoding="utf-8")) if name else default
                     for name, default in ((args.config, {"sample_rate": 100}), (args.rules, [])))
    Handler.state = State(args.events, args.app_id, config, rules)
    server = Server((args.host, args.port), Handler)
    print(f"collector: ready {server.server_address[1]}", flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        pass


if __name__ == "__main__":
    main()
