#!/usr/bin/env python3
"""A gRPC service and its client, in one process: calls of all four kinds through the gateway, and what both sent.

    h2grpc.py --record FILE [--calls N] [--seed S] [--gate FILE]

The service takes /grpc.Echo/<kind>; messages are opaque bytes here. A record line a call: kind, target, port, what the
client sent and got (base64), grpc-status and grpc-message.
With --gate, half of the calls are made, "client: half" is said, and the other half follows when FILE exists.
"""
import argparse
import base64
import json
import os
import socket
import struct
import sys
import threading
import time

import h2
import lib  # noqa: F401  (it knows where the gateway is)
from gateway import PORTS

KINDS = ["Unary", "Failing", "ServerStream", "ClientStream", "Bidi", "Long"]


def framed(message):
    return struct.pack("!BI", 0, len(message)) + message


# -- the service

HEAD = [(":status", "200"), ("content-type", "application/grpc"), ("x-upstream", "grpc")]


class Service:
    """One connection from the gateway; calls on it come one after the other."""

    def __init__(self, sock):
        self.link = h2.Connection(sock, server=True)
        self.answered = {}

    def run(self):
        try:
            while True:
                for stream in self.link.receive():
                    if stream.reset:
                        self.link.streams.pop(stream.id, None)
                    else:
                        self.serve(stream)
                self.link.flush()
        except (h2.Closed, OSError):
            self.link.close()

    def serve(self, stream):
        kind = dict(stream.blocks[0])[":path"].split("?")[0].rsplit("/", 1)[-1]
        if kind == "Bidi":
            self.echo_as_it_comes(stream)
        if not stream.over_in or stream.over_out:
            return
        body = b"".join(stream.body)
        if kind == "Failing":
            self.link.send_head(stream.id, [*HEAD, ("grpc-status", "5"), ("grpc-message", "no%20such%20thing")], True)
            stream.over_out = True
        elif kind != "Bidi":
            self.link.send_head(stream.id, HEAD, False)
            answers = {"Unary": [body], "ClientStream": [framed(b"%d" % len(body))], "Long": [body] * 3,
                       "ServerStream": [framed(b"part %d" % i) for i in range(5)]}[kind]
            for answer in answers:
                self.link.more(stream, answer)
                self.link.flush()
            self.finish(stream)
        if stream.over_out:
            self.link.streams.pop(stream.id, None)

    def echo_as_it_comes(self, stream):
        if stream.id not in self.answered:
            self.answered[stream.id] = 0
            self.link.send_head(stream.id, HEAD, False)
        body = b"".join(stream.body)
        if len(body) > self.answered[stream.id]:
            self.link.more(stream, body[self.answered[stream.id]:])
            self.answered[stream.id] = len(body)
        if stream.over_in:
            del self.answered[stream.id]
            self.finish(stream)

    def finish(self, stream):
        self.link.more(stream, b"", True, [("grpc-status", "0"), ("grpc-message", "")])


def service(port):
    listener = socket.create_server(("127.0.0.1", port), backlog=64)

    def accept():
        while True:
            sock, _ = listener.accept()
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=Service(sock).run, daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()


# -- the client

def messages(kind, rng):
    count = {"ClientStream": 4, "Bidi": 4}.get(kind, 1)
    size = 30000 if kind == "Long" else 300
    return [framed(rng.randbytes(rng.randint(0, size))) for _ in range(count)]


def call(link, rng, serial):
    kind = rng.choice(KINDS)
    target = f"/grpc.Echo/{kind}?call={serial}"
    port = PORTS["proxy_tls" if link.tls else "proxy_h2c"]
    sent = messages(kind, rng)
    entry = {"kind": kind, "target": target, "port": port, "began": time.time()}
    stream = link.request([(":method", "POST"), (":scheme", "https" if link.tls else "http"), (":path", target),
                           (":authority", f"127.0.0.1:{port}"), ("content-type", "application/grpc"), ("te", "trailers"),
                           ("user-agent", f"grpc-test/{serial % 3}")], end=False)
    for message in sent[:-1]:
        link.more(stream, message)
        link.flush()
        time.sleep(0.002)
    link.more(stream, sent[-1], True)
    link.flush()
    while not stream.over_in:
        link.receive()
    del link.streams[stream.id]
    last = {**dict(stream.blocks[0]), **dict(stream.blocks[-1])}
    entry.update(id=dict(stream.headers).get("x-kong-request-id"), status=int(dict(stream.headers)[":status"]),
                 sent=base64.b64encode(b"".join(sent)).decode(), recv=base64.b64encode(b"".join(stream.body)).decode(),
                 grpc_status=last.get("grpc-status"), grpc_message=last.get("grpc-message"), ended=time.time())
    return entry


def main():
    parser = argparse.ArgumentParser(description="gRPC calls through the gateway.")
    parser.add_argument("--record", required=True)
    parser.add_argument("--calls", type=int, default=200)
    parser.add_argument("--seed", default="1")
    parser.add_argument("--gate", metavar="FILE")
    args = parser.parse_args()
    rng = h2.seeded(args.seed)
    service(PORTS["upstream_grpc"])
    links = [h2.connect(PORTS["proxy_tls"], True, rng), h2.connect(PORTS["proxy_h2c"], False, rng)]
    with open(args.record, "w", encoding="utf-8") as record:
        for serial in range(args.calls):
            if args.gate and serial == args.calls // 2:
                print("client: half", flush=True)
                while not os.path.exists(args.gate):
                    time.sleep(0.01)
            record.write(json.dumps(call(rng.choice(links), rng, serial)) + "\n")
    print(f"client: {args.calls} calls", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
