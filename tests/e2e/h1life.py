"""HTTP/1 connections as clients lead them, well-behaved and not, byte by byte. Every call says what it sent and what came.

    h1life.py churn SECONDS    as many connections of one call as the machine gives; says how many"""
import contextlib
import itertools
import random
import re
import socket
import struct
import sys
import threading
import time
from pathlib import Path

from client import Closed, Connection
from gateway import PORTS, join_netns, wait_for
from lib import inflate, json_digest, sha256

SERIAL = itertools.count(1)


def inside(gateway, function, *args):
    """What the function returns, called where the gateway's ports are."""
    result = {}

    def run():
        try:
            if not gateway.real_kong:
                join_netns(gateway.netns)
            result["value"] = function(*args)
        except BaseException as error:
            result["error"] = error

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if "error" in result:
        raise result["error"]
    return result["value"]


def named(target):
    """The target with a mark that no other call has."""
    return f"{target}{'&' if '?' in target else '?'}life={next(SERIAL)}"


class Call:
    """One request: its bytes, and the record of it as compare.py reads them."""

    def __init__(self, method, target, headers=(), body=None, chunks=None, version="1.1", host="127.0.0.1", trailers="",
                 connection=""):
        self.method, self.target = method, named(target)
        lines = [f"{method} {self.target} HTTP/{version}"]
        if host is not None:
            lines.append(f"Host: {host}")
        if connection:
            lines.append(f"Connection: {connection}")
        lines += [f"{name}: {value}" for name, value in headers]
        if chunks:
            lines.append("Transfer-Encoding: chunked")
            pieces = [body[at:at + chunks] for at in range(0, len(body), chunks)]
            self.payload = b"".join(b"%X;ext=\"a;b\"\r\n%s\r\n" % (len(piece), piece) for piece in pieces)
            self.payload += b"0\r\n" + trailers.encode() + b"\r\n"
        else:
            if body is not None:
                lines.append(f"Content-Length: {len(body)}")
            self.payload = body or b""
        self.head = ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
        sent_json = json_digest(body) if body and ("Content-Type", "application/json") in headers else None
        self.record = {"method": method, "target": self.target, "host": host or "kong", "user": None, "may_be": [],
                       "sent_len": len(body or b""), "sent_sha256": sha256(body or b""), "sent_json": sent_json}
        self.keep = False

    @property
    def bytes(self):
        return self.head + self.payload

    def answered(self, connection):
        """Reads the response whole."""
        status, headers, body, self.keep = connection.response(self.method)
        plain = inflate(body) if headers.get("content-encoding") == "gzip" else body
        self.record.update(id=headers.get("x-kong-request-id"), status=status, port=connection.port, recv_len=len(body),
                           client_port=connection.local_port, recv_sha256=sha256(body), plain_sha256=sha256(plain),
                           recv_json=json_digest(plain) if "json" in headers.get("content-type", "") else None)
        return self

    def on(self, connection, piece=None):
        """Sends all of it, in pieces if wanted, and reads the response."""
        data = self.bytes
        for at in range(0, len(data), piece or len(data)):
            connection.send(data[at:at + (piece or len(data))])
        return self.answered(connection)

    def alone(self, tls=False, piece=None):
        connection = Connection(tls)
        try:
            return self.on(connection, piece)
        finally:
            connection.close()


def json_text(length):
    return b'{"text":"' + b"x" * length + b'"}'


# -- ends

def reset(connection):
    """Closes so that the other side gets an RST."""
    connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def gateway_side(connection):
    """The kernel's line on the gateway's socket of this connection."""
    for line in Path("/proc/thread-self/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        local, peer = (int(fields[i].split(":")[1], 16) for i in (1, 2))
        if (local, peer) == (connection.port, connection.local_port):
            return fields
    return None


def taken(connection):
    """Waits until the gateway has taken all that was sent: the queue of its socket is empty."""
    wait_for(lambda: (fields := gateway_side(connection)) and int(fields[4].split(":")[1], 16) == 0, 5, "the gateway to read")


def worker_of(gateway, connection):
    """The pid of the worker that has this connection."""
    socket_name = f"socket:[{gateway_side(connection)[9]}]"
    for pid in gateway.workers():
        for fd in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):
                if fd.readlink().as_posix() == socket_name:
                    return pid
    raise Closed


# -- WebSocket

def frame(opcode, payload):
    """A frame from the client whose mask changes nothing, so that what looks like HTTP in it stays so on the wire."""
    length = bytes([128 | len(payload)]) if len(payload) < 126 else b"\xfe" + struct.pack(">H", len(payload))
    return bytes([128 | opcode]) + length + b"\0\0\0\0" + payload


def read_frame(connection):
    head = connection.exactly(2)
    length = head[1] & 127
    if length == 126:
        length = struct.unpack(">H", connection.exactly(2))[0]
    return connection.exactly(length)


def websocket_call(target="/ws"):
    return Call("GET", target, [("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13"),
                                ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")], connection="Upgrade")


# -- connections of one call each

def churn(seconds):
    """Each is opened, makes one call and is closed: by the gateway, by the client, or by the client with an RST."""
    rng = random.Random(seconds)
    end, done = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Many source addresses: ports do not run out while old connections wait for their end.
        sock.bind((f"127.{rng.randrange(1, 200)}.{rng.randrange(1, 200)}.1", 0))
        sock.settimeout(20)
        sock.connect(("127.0.0.1", PORTS["proxy"]))
        how = rng.randrange(3)
        closing = b"Connection: close\r\n" if how == 0 else b""
        sock.sendall(b"GET /terminated/churn HTTP/1.1\r\nHost: kong\r\n" + closing + b"\r\n" if rng.random() < 0.5 else
                     b"GET /open/empty HTTP/1.1\r\nHost: kong\r\n" + closing + b"\r\n")
        data = b""
        while b"\r\n\r\n" not in data:
            data += (more := sock.recv(65536))
            if not more:
                raise Closed
        head, body = data.split(b"\r\n\r\n", 1)
        left = int(re.search(rb"(?i)\r\ncontent-length: (\d+)", head)[1]) - len(body)
        while left > 0:
            left -= len(sock.recv(65536))
        if how == 2:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        sock.close()
        done += 1
    print(f"churn: {done} connections", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(churn(float(sys.argv[2])))
