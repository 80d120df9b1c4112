#!/usr/bin/env python3
"""Message boundaries: kongtap must see the requests that nginx sees, no more, no fewer, and no other ones; and the
responses that it takes from an upstream.

Each case is what a client sends on one connection: odd but valid, invalid, ambiguous. A real nginx gets the bytes and
writes its access log; the same bytes and nginx's answer become a recording, and the exchanges that the wire stage makes
of it are held against the log, call by call: method, target, status. Where nginx refuses a request, its log has the
status only, and the exchange may show as much of the request as could be read. For responses, an upstream answers with
the bytes of the case; what nginx made of them (status and length of the body that it passed on) is the oracle.
"""
import base64
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
DUMP = Path(os.environ.get("KONGTAP_WIRE_DUMP", ROOT / "build" / "tests" / "replay" / "wire_dump"))
QUIET = 0.2  # seconds without a byte: nginx has nothing more to say
passed = failed = 0

CONF = """
daemon off; master_process off; pid {dir}/pid; error_log {dir}/error.log info;
events {{ worker_connections 512; }}
http {{
    log_format calls '$request_method|$request_uri|$status';
    access_log {dir}/access.log calls;
    client_body_temp_path {dir}/b; proxy_temp_path {dir}/p; fastcgi_temp_path {dir}/f; uwsgi_temp_path {dir}/u;
    scgi_temp_path {dir}/s;
    keepalive_timeout 60; lingering_close off; large_client_header_buffers 4 8k; client_header_buffer_size 1k;
    server {{
        listen unix:{dir}/front;
        location / {{ return 200 "ok"; }}
        location /u {{
            proxy_http_version 1.1; proxy_set_header Connection ""; proxy_read_timeout 400ms; proxy_buffering off;
            proxy_pass http://unix:{dir}/upstream;
        }}
        location /p {{ proxy_http_version 1.1; proxy_pass http://unix:{dir}/back; }}
    }}
    server {{ listen unix:{dir}/back; access_log off; location / {{ return 200 "proxied"; }} }}
}}
"""

NEXT = b"GET /next HTTP/1.1\r\nHost: h\r\n\r\n"


def post(fields, body=b"", path=b"/p", version=b"1.1"):
    return b"POST " + path + b" HTTP/" + version + b"\r\nHost: h\r\n" + fields + b"\r\n" + body


CHUNKED = b"Transfer-Encoding: chunked\r\n"
CASES = {
    "plain": NEXT,
    "two in one": NEXT + NEXT,
    "bare line feeds": b"GET /a HTTP/1.1\nHost: h\n\n" + NEXT,
    "mixed line ends": b"GET /a HTTP/1.1\nHost: h\r\nX: y\n\r\n" + NEXT,
    "empty lines first": b"\r\n\r\n\n" + NEXT,
    "line ends between": post(b"Content-Length: 2\r\n", b"ab") + b"\r\n" + NEXT,
    "many line ends between": post(b"Content-Length: 2\r\n", b"ab") + b"\r\n\n\r\n\n" + NEXT,
    "method of any letters": b"FOO_BAR-X /a HTTP/1.1\r\nHost: h\r\n\r\n" + NEXT,
    "method in small letters": b"get /a HTTP/1.1\r\nHost: h\r\n\r\n" + NEXT,
    "method with a digit": b"GET1 /a HTTP/1.1\r\nHost: h\r\n\r\n" + NEXT,
    "connect": b"CONNECT h:443 HTTP/1.1\r\nHost: h\r\n\r\n" + NEXT,
    "trace": b"TRACE /a HTTP/1.1\r\nHost: h\r\n\r\n" + NEXT,
    "asterisk": b"OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n" + NEXT,
    "absolute form": b"GET http://h/a?b HTTP/1.1\r\nHost: h\r\n\r\n" + NEXT,
    "absolute form without a path": b"GET http://h HTTP/1.1\r\nHost: h\r\n\r\n" + NEXT,
    "spaces around": b"GET   /a   HTTP/1.1   \r\nHost: h\r\n\r\n" + NEXT,
    "tab for a space": b"GET\t/a\tHTTP/1.1\r\nHost: h\r\n\r\n" + NEXT,
    "space in the target": b"GET /a b HTTP/1.1\r\nHost: h\r\n\r\n" + NEXT,
    "control in the target": b"GET /a\x01b HTTP/1.1\r\nHost: h\r\n\r\n" + NEXT,
    "high bytes in the target": b"GET /a\xff\xfe HTTP/1.1\r\nHost: h\r\n\r\n" + NEXT,
    "percent nonsense": b"GET /%zz HTTP/1.1\r\nHost: h\r\n\r\n" + NEXT,
    "empty query": b"GET /a? HTTP/1.1\r\nHost: h\r\n\r\n" + NEXT,
    "fragment": b"GET /a#b HTTP/1.1\r\nHost: h\r\n\r\n" + NEXT,
    "http/1.0": b"GET /a HTTP/1.0\r\n\r\n" + NEXT,
    "http/1.0 keep-alive": b"GET /a HTTP/1.0\r\nConnection: keep-alive\r\n\r\n" + NEXT,
    "http/0.9": b"GET /a\r\n",
    "http/1.2": b"GET /a HTTP/1.2\r\nHost: h\r\n\r\n" + NEXT,
    "http/1.10": b"GET /a HTTP/1.10\r\nHost: h\r\n\r\n" + NEXT,
    "http/2.0 by name": b"GET /a HTTP/2.0\r\nHost: h\r\n\r\n" + NEXT,
    "http/3": b"GET /a HTTP/3\r\nHost: h\r\n\r\n" + NEXT,
    "version in small letters": b"GET /a http/1.1\r\nHost: h\r\n\r\n" + NEXT,
    "garbage after the version": b"GET /a HTTP/1.1 x\r\nHost: h\r\n\r\n" + NEXT,
    "no host": b"GET /a HTTP/1.1\r\n\r\n" + NEXT,
    "two hosts": b"GET /a HTTP/1.1\r\nHost: h\r\nHost: i\r\n\r\n" + NEXT,
    "space before the colon": b"GET /a HTTP/1.1\r\nHost: h\r\nX : y\r\n\r\n" + NEXT,
    "space in a name": b"GET /a HTTP/1.1\r\nHost: h\r\nX Y: z\r\n\r\n" + NEXT,
    "no colon": b"GET /a HTTP/1.1\r\nHost: h\r\nnothing\r\n\r\n" + NEXT,
    "odd name": b"GET /a HTTP/1.1\r\nHost: h\r\nX(Y)@: z\r\n\r\n" + NEXT,
    "high byte in a name": b"GET /a HTTP/1.1\r\nHost: h\r\nX\xe9: z\r\n\r\n" + NEXT,
    "underscore in a name": b"GET /a HTTP/1.1\r\nHost: h\r\nX_Y: z\r\n\r\n" + NEXT,
    "empty name": b"GET /a HTTP/1.1\r\nHost: h\r\n: z\r\n\r\n" + NEXT,
    "folding": b"GET /a HTTP/1.1\r\nHost: h\r\nX: y\r\n z\r\n\r\n" + NEXT,
    "leading space on the first field": b"GET /a HTTP/1.1\r\n Host: h\r\n\r\n" + NEXT,
    "empty value": b"GET /a HTTP/1.1\r\nHost: h\r\nX:\r\n\r\n" + NEXT,
    "value of spaces": b"GET /a HTTP/1.1\r\nHost: h\r\nX:     \r\n\r\n" + NEXT,
    "high bytes in a value": b"GET /a HTTP/1.1\r\nHost: h\r\nX: \x80\xff\r\n\r\n" + NEXT,
    "control in a value": b"GET /a HTTP/1.1\r\nHost: h\r\nX: a\x01\x7fb\r\n\r\n" + NEXT,
    "nul in a value": b"GET /a HTTP/1.1\r\nHost: h\r\nX: a\x00b\r\n\r\n" + NEXT,
    "nul in a name": b"GET /a HTTP/1.1\r\nHost: h\r\nX\x00: b\r\n\r\n" + NEXT,
    "cr in a value": b"GET /a HTTP/1.1\r\nHost: h\r\nX: a\rb\r\n\r\n" + NEXT,
    "cr cr lf": b"GET /a HTTP/1.1\r\nHost: h\r\nX: a\r\r\n\r\n" + NEXT,
    "cr cr lf at the end": b"GET /a HTTP/1.1\r\nHost: h\r\n\r\r\n" + NEXT,
    "cr without lf at the end": b"GET /a HTTP/1.1\r\nHost: h\r\n\rX" + NEXT,
    "length": post(b"Content-Length: 3\r\n", b"abc") + NEXT,
    "length zero": post(b"Content-Length: 0\r\n") + NEXT,
    "length with zeros": post(b"Content-Length: 0003\r\n", b"abc") + NEXT,
    "length with spaces": post(b"Content-Length:   3  \r\n", b"abc") + NEXT,
    "length with a tab": post(b"Content-Length:\t3\r\n", b"abc") + NEXT,
    "length with a sign": post(b"Content-Length: +3\r\n", b"abc") + NEXT,
    "length negative": post(b"Content-Length: -3\r\n", b"abc") + NEXT,
    "length in hex": post(b"Content-Length: 0x3\r\n", b"abc") + NEXT,
    "length list": post(b"Content-Length: 3, 3\r\n", b"abc") + NEXT,
    "length empty": post(b"Content-Length:\r\n", b"") + NEXT,
    "length twice": post(b"Content-Length: 3\r\nContent-Length: 3\r\n", b"abc") + NEXT,
    "length twice, unlike": post(b"Content-Length: 3\r\nContent-Length: 0\r\n", b"abc") + NEXT,
    "length too large": post(b"Content-Length: 99999999999999999999\r\n", b"abc") + NEXT,
    "length without a name's case": post(b"cOnTeNt-LeNgTh: 3\r\n", b"abc") + NEXT,
    "length with a space before the colon": post(b"Content-Length : 3\r\n", b"abc") + NEXT,
    "length on a get": b"GET /p HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc" + NEXT,
    "length and coding": post(b"Content-Length: 3\r\n" + CHUNKED, b"0\r\n\r\n") + NEXT,
    "coding and length": post(CHUNKED + b"Content-Length: 3\r\n", b"0\r\n\r\n") + NEXT,
    "coding twice": post(CHUNKED + CHUNKED, b"0\r\n\r\n") + NEXT,
    "coding identity": post(b"Transfer-Encoding: identity\r\n", b"") + NEXT,
    "coding list": post(b"Transfer-Encoding: gzip, chunked\r\n", b"0\r\n\r\n") + NEXT,
    "coding with odd bytes": post(b"Transfer-Encoding: \x0bchunked\r\n", b"0\r\n\r\n") + NEXT,
    "coding quoted": post(b"Transfer-Encoding: \"chunked\"\r\n", b"0\r\n\r\n") + NEXT,
    "coding in capitals": post(b"Transfer-Encoding: CHUNKED\r\n", b"3\r\nabc\r\n0\r\n\r\n") + NEXT,
    "coding with a trailing space": post(b"Transfer-Encoding: chunked \r\n", b"3\r\nabc\r\n0\r\n\r\n") + NEXT,
    "coding with a tab": post(b"Transfer-Encoding: chunked\t\r\n", b"3\r\nabc\r\n0\r\n\r\n") + NEXT,
    "coding with a space before the colon": post(b"Transfer-Encoding : chunked\r\n", b"0\r\n\r\n") + NEXT,
    "coding folded": post(b"Transfer-Encoding:\r\n chunked\r\n", b"0\r\n\r\n") + NEXT,
    "coding in http/1.0": post(CHUNKED, b"0\r\n\r\n", version=b"1.0") + NEXT,
    "chunks": post(CHUNKED, b"3\r\nabc\r\nA\r\n0123456789\r\n0\r\n\r\n") + NEXT,
    "chunks with zeros": post(CHUNKED, b"0003\r\nabc\r\n0000\r\n\r\n") + NEXT,
    "chunks with bare line feeds": post(CHUNKED, b"3\nabc\n0\n\n") + NEXT,
    "chunk extension": post(CHUNKED, b"3;a=b;c=\"d;e\"\r\nabc\r\n0;z\r\n\r\n") + NEXT,
    "chunk extension after spaces": post(CHUNKED, b"3 ;a\r\nabc\r\n0 \r\n\r\n") + NEXT,
    "chunk size then a tab": post(CHUNKED, b"3\t\r\nabc\r\n0\r\n\r\n") + NEXT,
    "chunk extension with a bare line feed": post(CHUNKED, b"3;a\nabc\r\n0\r\n\r\n") + NEXT,
    "chunk extension with a cr": post(CHUNKED, b"3;a\rb\r\nabc\r\n0\r\n\r\n") + NEXT,
    "chunk size before spaces": post(CHUNKED, b" 3\r\nabc\r\n0\r\n\r\n") + NEXT,
    "chunk size with 0x": post(CHUNKED, b"0x3\r\nabc\r\n0\r\n\r\n") + NEXT,
    "chunk size negative": post(CHUNKED, b"-3\r\nabc\r\n0\r\n\r\n") + NEXT,
    "chunk size of nothing": post(CHUNKED, b"\r\nabc\r\n0\r\n\r\n") + NEXT,
    "chunk size too large": post(CHUNKED, b"fffffffffffffffff\r\nabc\r\n0\r\n\r\n") + NEXT,
    "chunk too short": post(CHUNKED, b"2\r\nabc\r\n0\r\n\r\n") + NEXT,
    "chunk too long": post(CHUNKED, b"4\r\nabc\r\n0\r\n\r\n") + NEXT,
    "chunk end of letters": post(CHUNKED, b"3\r\nabcXY0\r\n\r\n") + NEXT,
    "chunk end of cr alone": post(CHUNKED, b"3\r\nabc\r0\r\n\r\n") + NEXT,
    "trailers": post(CHUNKED, b"0\r\nX: y\r\nZ: w\r\n\r\n") + NEXT,
    "trailers with bare line feeds": post(CHUNKED, b"0\nX: y\n\n") + NEXT,
    "trailer without a colon": post(CHUNKED, b"0\r\nnothing\r\n\r\n") + NEXT,
    "trailer folded": post(CHUNKED, b"0\r\nX: y\r\n z\r\n\r\n") + NEXT,
    "trailer with a space first": post(CHUNKED, b"0\r\n X: y\r\n\r\n") + NEXT,
    "trailer with odd bytes": post(CHUNKED, b"0\r\n\x01\x02(: \x00y\r\n\r\n") + NEXT,
    "trailer with a length": post(CHUNKED, b"0\r\nContent-Length: 99\r\n\r\n") + NEXT,
    "trailer with a cr": post(CHUNKED, b"0\r\nX: a\rb\r\n\r\n") + NEXT,
    "last chunk without its end": post(CHUNKED, b"0\r\n") + NEXT,
    "connection: close": b"GET /a HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n" + NEXT,
    "expect": post(b"Expect: 100-continue\r\nContent-Length: 3\r\n", b"abc") + NEXT,
    "upgrade refused": b"GET /a HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n" + NEXT,
    "h2c upgrade refused": b"GET /a HTTP/1.1\r\nHost: h\r\nUpgrade: h2c\r\nHTTP2-Settings: x\r\n"
                           b"Connection: Upgrade, HTTP2-Settings\r\n\r\n" + NEXT,
    "many fields": b"GET /a HTTP/1.1\r\nHost: h\r\n" + b"".join(b"X%d: y\r\n" % i for i in range(900)) + b"\r\n" + NEXT,
    "large field": b"GET /a HTTP/1.1\r\nHost: h\r\nX: " + b"y" * 8000 + b"\r\n\r\n" + NEXT,
    "field too large": b"GET /a HTTP/1.1\r\nHost: h\r\nX: " + b"y" * 9000 + b"\r\n\r\n" + NEXT,
    "target too long": b"GET /" + b"y" * 9000 + b" HTTP/1.1\r\nHost: h\r\n\r\n" + NEXT,
    "hidden request in a body": post(b"Content-Length: %d\r\n" % len(NEXT), NEXT) + NEXT,
    "hidden request in a chunk": post(CHUNKED, b"%x\r\n" % len(NEXT) + NEXT + b"\r\n0\r\n\r\n") + NEXT,
    "cut head": b"GET /a HTTP/1.1\r\nHo",
    "cut body": post(b"Content-Length: 9\r\n", b"abc"),
    "nothing that is HTTP": b"hello there\r\n\r\n",
    "head": b"HEAD /a HTTP/1.1\r\nHost: h\r\n\r\n" + NEXT,
}


ANSWER = b"HTTP/1.1 200 OK\r\n"
# What an upstream answers with, and whether it closes then.
RESPONSES = {
    "length": (ANSWER + b"Content-Length: 3\r\n\r\nabc", False),
    "length, more than that": (ANSWER + b"Content-Length: 3\r\n\r\nabcdef", False),
    "length, less than that": (ANSWER + b"Content-Length: 9\r\n\r\nabc", True),
    "until close": (ANSWER + b"\r\nabcdef", True),
    "until close, http/1.0": (b"HTTP/1.0 200 OK\r\n\r\nabcdef", True),
    "no reason": (b"HTTP/1.1 200\r\nContent-Length: 1\r\n\r\na", False),
    "no reason, space": (b"HTTP/1.1 200 \r\nContent-Length: 1\r\n\r\na", False),
    "bare line feeds": (b"HTTP/1.1 200 OK\nContent-Length: 1\n\na", False),
    "chunks": (ANSWER + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", False),
    "chunks with bare line feeds": (ANSWER + b"Transfer-Encoding: chunked\r\n\r\n3\nabc\n0\n\n", False),
    "chunks with trailers": (ANSWER + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX: y\r\n\r\n", False),
    "chunks cut short": (ANSWER + b"Transfer-Encoding: chunked\r\n\r\n5\r\nabc", True),
    "coding in capitals": (ANSWER + b"Transfer-Encoding: Chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", False),
    "coding and length": (ANSWER + b"Content-Length: 7\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", False),
    "no content": (b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n", False),
    "not modified with a length": (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", False),
    "odd name": (ANSWER + b"X(: y\r\nContent-Length: 3\r\n\r\nabc", False),
    "no colon": (ANSWER + b"nothing\r\nContent-Length: 3\r\n\r\nabc", False),
    "high bytes": (ANSWER + b"X: \x80\xff\r\nContent-Length: 3\r\n\r\nabc", False),
    "status line twice": (ANSWER + ANSWER + b"Content-Length: 3\r\n\r\nabc", False),
}


def check(name, problem):
    global passed, failed
    if problem:
        failed += 1
        print(f"FAIL - {name}: {problem}")
    else:
        passed += 1
        print(f"ok - {name}")


def talk(path, data, quiet=QUIET):
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(str(path))
        s.settimeout(quiet)
        answer = b""
        try:
            s.sendall(data)
            while True:
                more = s.recv(65536)
                if not more:
                    break
                answer += more
        except (TimeoutError, BrokenPipeError, ConnectionResetError):
            pass
        return answer


def record(file, number, reads, answer):
    base = {"t_ns": number * 10**9, "pid": 1, "fd": number + 10, "local": "127.0.0.1:8000", "peer": "127.0.0.1:5000"}
    calls = [{"call": "accept", "ret": number + 10}]
    for call, payload in [("read", piece) for piece in reads] + [("write", answer)]:
        if payload:
            calls.append({"call": call, "ret": len(payload), "off": 0, "len": len(payload),
                          "data": base64.b64encode(payload).decode()})
    calls.append({"call": "close", "ret": 0})
    for call in calls:
        file.write(json.dumps(base | call) + "\n")


def cuts_of(data):
    """Whole; byte by byte; cut once, at each position of the first kilobyte."""
    yield [data]
    yield [bytes([byte]) for byte in data]
    for at in range(1, min(len(data), 1025)):
        yield [data[:at], data[at:]]


def in_every_cut(directory, answers):
    """Names of cases whose exchanges depend on how the client's bytes came, with the first cut that shows it."""
    number, pieces_of, problems = 0, [], {}
    with open(directory / "cuts.jsonl", "w") as file:
        for (name, data), answer in zip(CASES.items(), answers):
            for pieces in cuts_of(data):
                record(file, number, pieces, answer)
                pieces_of.append((name, pieces))
                number += 1
    whole = None
    exchanges = dumped(directory / "cuts.jsonl")
    for number, (name, pieces) in enumerate(pieces_of):
        seen = exchanges.get(number + 1, [])
        for exchange in seen:
            del exchange["conn"]
        if len(pieces) == 1:
            whole = seen
        # Behind an answer that closes nginx reads no more: what a read of its own brought there is no call of its.
        while len(seen) > len(whole) and seen[-1]["response"] == "none":
            seen.pop()
        if seen != whole and name not in problems:
            problems[name] = f"{[len(piece) for piece in pieces][:4]}: {seen[-1:]}, whole {whole[-1:]}"
    return problems


def dumped(path):
    """Exchanges that the wire stage makes of a recording, by connection."""
    found = {}
    for line in subprocess.run([DUMP, path], capture_output=True, text=True, check=True).stdout.splitlines():
        exchange = json.loads(line)
        found.setdefault(exchange["conn"], []).append(exchange)
    return found


def logged(text):
    """Calls as nginx logged them: method, target, status."""
    return [(method, uri, int(status)) for method, uri, status in (line.split("|", 2) for line in text.splitlines())]


def new_lines(log):
    """What nginx logs of a connection that has just been closed: it notices a little later."""
    text, deadline = log.read(), time.monotonic() + 2
    while not text and time.monotonic() < deadline:
        time.sleep(0.01)
        text = log.read()
    time.sleep(0.03)
    return text + log.read()


def unescape(text):
    """The log writes bytes that are not printable as \\xNN."""
    return text.encode("latin-1").decode("unicode_escape")


def compare(theirs, ours):
    if len(theirs) != len(ours):
        return f"nginx saw {theirs}, kongtap {[(o['method'], o['target'], o['status']) for o in ours]}"
    for (method, uri, status), exchange in zip(theirs, ours):
        answered = exchange["response"] != "none"
        # An answer in HTTP/0.9 has no status line.
        if answered and exchange["status"] not in (status, 0):
            return f"nginx answered {status}, kongtap saw {exchange['status']}"
        if method == "-" or not answered:
            continue
        if exchange["method"] != method:
            return f"method {exchange['method']!r}, nginx's {method!r}"
        if uri != "-" and not exchange["target"][:900].removeprefix("http://h").startswith(unescape(uri)[:900].removesuffix("/")):
            return f"target {exchange['target']!r}, nginx's {uri!r}"
        if status < 400 and exchange["request"] != "complete":
            return f"{method} {uri} {status}: request is {exchange['request']}"
    return None


def upstream(path, answers):
    """Serves one connection per answer, in order: reads a request's head, sends the answer, closes if told to."""
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen(1)
        for data, close in answers:
            with server.accept()[0] as s:
                while not s.recv(65536).endswith(b"\r\n\r\n"):
                    pass
                s.sendall(data)
                if not close:
                    s.settimeout(2)
                    try:
                        s.recv(1)  # nginx closes
                    except OSError:
                        pass


def body_length(answer):
    """Of what nginx passed on: it frames a body by length, by chunks or by the close."""
    head, _, body = answer.partition(b"\r\n\r\n")
    if b"\r\nTransfer-Encoding: chunked" not in head:
        return len(body)
    total = 0
    while body:
        size, _, body = body.partition(b"\r\n")
        total += min(int(size, 16), len(body))
        body = body[int(size, 16) + 2:]
    return total


def record_upstream(file, number, answer):
    request = b"GET /u HTTP/1.1\r\nHost: h\r\n\r\n"
    base = {"t_ns": number * 10**9, "pid": 1, "fd": number + 10, "local": "127.0.0.1:5000", "peer": "127.0.0.1:9000"}
    calls = [{"call": "connect", "ret": 0}]
    for call, payload in (("write", request), ("read", answer)):
        calls.append({"call": call, "ret": len(payload), "off": 0, "len": len(payload),
                      "data": base64.b64encode(payload).decode()})
    calls.append({"call": "close", "ret": 0})
    for call in calls:
        file.write(json.dumps(base | call) + "\n")


def compare_response(answer, exchanges):
    if len(exchanges) != 1:
        return f"{len(exchanges)} exchanges"
    status, length, ours = int(answer[9:12] or 0), body_length(answer), exchanges[0]
    if status == 502:
        return None if ours["response"] == "bad" else f"nginx refused it, kongtap: {ours['status']} {ours['response']}"
    if (ours["status"], ours["response_body"]) != (status, length):
        return f"nginx passed on {status} with {length} bytes, kongtap saw {ours['status']} with {ours['response_body']}"
    return None


def run(directory):
    stub = threading.Thread(target=upstream, args=(directory / "upstream", RESPONSES.values()), daemon=True)
    stub.start()
    (directory / "conf").write_text(CONF.format(dir=directory))
    server = subprocess.Popen(["nginx", "-p", str(directory), "-c", str(directory / "conf")], stderr=subprocess.DEVNULL)
    try:
        for _ in range(100):
            if (directory / "back").exists():
                break
            time.sleep(0.05)
        log = open(directory / "access.log", encoding="latin-1")
        answers, theirs = [], []
        for data in CASES.values():
            answers.append(talk(directory / "front", data))
            theirs.append(logged(new_lines(log)))
        passed_on = [talk(directory / "front", b"GET /u HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", 1.0)
                     for _ in RESPONSES]
    finally:
        server.terminate()
        server.wait()
    with open(directory / "calls.jsonl", "w") as file:
        for number, (data, answer) in enumerate(zip(CASES.values(), answers)):
            record(file, number, [data], answer)
        for number, (answer, _) in enumerate(RESPONSES.values()):
            record_upstream(file, len(CASES) + number, answer)
    return theirs, passed_on, dumped(directory / "calls.jsonl"), in_every_cut(directory, answers)


def main():
    if not shutil.which("nginx"):
        print("skip - no nginx on this machine")
        return 77
    with tempfile.TemporaryDirectory() as directory:
        theirs, passed_on, ours, cuts = run(Path(directory))
    for number, name in enumerate(CASES):
        check(name, compare(theirs[number], ours.get(number + 1, [])))
    check(f"{len(CASES)} cases, byte by byte and cut anywhere", "\n    ".join(f"{k}: {v}" for k, v in cuts.items()))
    for number, name in enumerate(RESPONSES):
        check(f"response: {name}", compare_response(passed_on[number], ours.get(len(CASES) + number + 1, [])))
    print(f"{passed} passed, {failed} failed")
    return failed != 0


if __name__ == "__main__":
    sys.exit(main())
