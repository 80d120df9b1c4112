#!/usr/bin/env python3
"""Sends calls of every kind over HTTP/2, many at a time on long-lived connections, and writes down what it sent and got, in
the form of client.py's record.

    h2client.py --record FILE [--calls N] [--seed S] [--connections N] [--streams N] [--gate FILE] [--keep N]

Half of the connections use TLS. Each keeps up to --streams calls open, and is given up after --keep calls. With --gate all
of them make half of their calls, say "client: half", go on making calls until FILE exists, and then make the other half.
"""
import argparse
import itertools
import json
import os
import sys
import threading
import time

import client
import h2
from gateway import PORTS
from lib import inflate, json_digest, sha256

# Fields that repeat, so that the table fills, is used and is evicted from.
AGENTS = [f"kongtap-h2/{i}" for i in range(5)]
WORDS = ["alpha", "beta", "gamma", "delta", "x" * 300, "é€"]


class Run:
    def __init__(self, args):
        self.args = args
        self.record = open(args.record, "w", encoding="utf-8")
        self.lock = threading.Lock()
        self.serial = itertools.count(1)
        self.taken = self.done = self.failures = 0
        self.half_said = False

    def next_serial(self):
        """The number of the next call, or None when there is none."""
        with self.lock:
            if self.args.gate and self.taken >= self.args.calls // 2:
                if not self.half_said:
                    self.half_said = True
                    print("client: half", flush=True)
                if not os.path.exists(self.args.gate):
                    return next(self.serial)
            if self.taken >= self.args.calls:
                return None
            self.taken += 1
            return next(self.serial)

    def write(self, entry):
        with self.lock:
            self.done += 1
            self.failures += "error" in entry
            self.record.write(json.dumps(entry) + "\n")

    def worker(self, seed, tls):
        rng = h2.seeded(seed)
        makers = [getattr(client, name) for name, weight in client.KINDS.items() if weight]
        weights = [weight for weight in client.KINDS.values() if weight]
        more = True
        while more:
            try:
                link = h2.connect(PORTS["proxy_tls" if tls else "proxy_h2c"], tls, rng)
            except OSError as error:
                self.write({"error": f"connect: {error}", "tls": tls})
                return
            more = self.life(link, rng, lambda: rng.choices(makers, weights)[0](rng))
            link.close()

    def life(self, link, rng, make):
        """Calls on one connection until it has had enough; False when there are no more calls."""
        waiting, calls, more = {}, 0, True
        port = link.socket.getsockname()[1]
        try:
            while True:
                for number in [n for n in waiting if link.last_taken is not None and n > link.last_taken]:
                    _, entry = waiting.pop(number)
                    entry.update(error="not taken: the server goes away", ended=time.time())
                    self.write(entry)
                while (more and link.last_taken is None and calls < self.args.keep
                       and len(waiting) < self.args.streams):
                    serial = self.next_serial()
                    more = serial is not None
                    if more:
                        stream, entry = self.begin(link, rng, make(), serial, port)
                        waiting[stream.id] = stream, entry
                        calls += 1
                link.flush()
                if not waiting:
                    return more
                for stream in link.receive():
                    if stream.over_in and stream.id in waiting:
                        self.end(*waiting.pop(stream.id))
                        del link.streams[stream.id]
        except (h2.Closed, OSError, ValueError) as error:
            for stream, entry in waiting.values():
                entry.update(error=f"{type(error).__name__}: {error}", ended=time.time())
                self.write(entry)
        return more

    def begin(self, link, rng, call, serial, client_port):
        target = client.with_serial(call.target, serial)
        names = {name.lower(): value for name, value in call.headers}
        server_port = PORTS["proxy_tls" if link.tls else "proxy_h2c"]
        fields = [(":method", call.method), (":scheme", "https" if link.tls else "http"), (":path", target),
                  (":authority", names.get("host", f"127.0.0.1:{server_port}"))]
        extra = [("user-agent", rng.choice(AGENTS)), ("x-word", rng.choice(WORDS)), ("x-serial", str(serial))]
        if rng.random() < 0.3:
            extra += [("cookie", f"a={rng.randint(0, 3)}"), ("cookie", f"b={rng.randint(0, 3)}")]
        extra += [(name.lower(), value) for name, value in call.headers if name.lower() != "host"]
        rng.shuffle(extra)
        if call.body is not None and not call.chunked:
            extra.append(("content-length", str(len(call.body))))
        sent = {name: value for name, value in extra if name in ("user-agent", "x-word", "x-serial")}
        crumbs = [value for name, value in extra if name == "cookie"]
        if crumbs:
            sent["cookie"] = "; ".join(crumbs)
        entry = {"serial": serial, "host": names.get("host", "127.0.0.1"), "method": call.method, "target": target,
                 "port": server_port, "client_port": client_port, "user": call.user, "may_be": call.may_be, "headers": sent,
                 "sent_len": len(call.body or b""), "sent_sha256": sha256(call.body or b""),
                 "sent_json": json_digest(call.body) if names.get("content-type") == "application/json" else None,
                 "began": time.time()}
        return link.request(fields + extra, call.body), entry

    def end(self, stream, entry):
        headers, body = dict(stream.headers or ()), b"".join(stream.body)
        if not headers:
            entry["error"] = "no response"
        else:
            entry.update(id=headers.get("x-kong-request-id"), status=int(headers[":status"]), recv_len=len(body),
                         recv_sha256=sha256(body))
            plain = inflate(body) if headers.get("content-encoding") == "gzip" else body
            if plain is not None:
                entry["plain_sha256"] = sha256(plain)
                if "json" in headers.get("content-type", "").lower():
                    entry["recv_json"] = json_digest(plain)
        entry["ended"] = time.time()
        self.write(entry)

    def run(self):
        threads = [threading.Thread(target=self.worker, args=(f"{self.args.seed}/{i}", bool(i % 2)))
                   for i in range(self.args.connections)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.record.close()
        print(f"client: {self.done} calls, {self.failures} without a whole response", flush=True)
        return 0


def main():
    parser = argparse.ArgumentParser(description="HTTP/2 traffic for the gateway.")
    parser.add_argument("--record", required=True)
    parser.add_argument("--calls", type=int, default=1000)
    parser.add_argument("--seed", default="1")
    parser.add_argument("--connections", type=int, default=4)
    parser.add_argument("--streams", type=int, default=10)
    parser.add_argument("--keep", type=int, default=1 << 30, help="calls on one connection")
    parser.add_argument("--gate", metavar="FILE")
    return Run(parser.parse_args()).run()


if __name__ == "__main__":
    sys.exit(main())
