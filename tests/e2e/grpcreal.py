#!/usr/bin/python3
"""As h2grpc.py, by gRPC's own library (Debian's python3-grpcio, so Debian's python3): another HTTP/2, another encoder of
headers. Same arguments, same records; the client does not know what TE or user-agent went along."""
import argparse
import base64
import json
import os
import random
import ssl
import struct
import time
from concurrent import futures
from pathlib import Path

import grpc

ROUTES = json.loads((Path(__file__).resolve().parents[1] / "gateway" / "routes.json").read_text())
PORTS = ROUTES["ports"]
KINDS = ["Unary", "Failing", "ServerStream", "ClientStream", "Bidi"]


def failing(request, context):
    context.abort(grpc.StatusCode.NOT_FOUND, "no such thing: 100 %, ä")


def server_stream(request, context):
    for i in range(5):
        yield b"part %d" % i


HANDLERS = {
    "Unary": grpc.unary_unary_rpc_method_handler(lambda request, context: request),
    "Failing": grpc.unary_unary_rpc_method_handler(failing),
    "ServerStream": grpc.unary_stream_rpc_method_handler(server_stream),
    "ClientStream": grpc.stream_unary_rpc_method_handler(lambda requests, context: b"%d" % sum(map(len, requests))),
    "Bidi": grpc.stream_stream_rpc_method_handler(lambda requests, context: requests),
}


def service(port):
    server = grpc.server(futures.ThreadPoolExecutor(8))
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("grpc.Echo", HANDLERS)])
    if not server.add_insecure_port(f"127.0.0.1:{port}"):
        raise OSError(f"port {port}")
    server.start()
    return server


def channels():
    """By port, one connection each."""
    root = ssl.get_server_certificate(("127.0.0.1", PORTS["proxy_tls"])).encode()
    return {PORTS["proxy_tls"]: grpc.secure_channel(f"127.0.0.1:{PORTS['proxy_tls']}",
                                                    grpc.ssl_channel_credentials(root_certificates=root)),
            PORTS["proxy_h2c"]: grpc.insecure_channel(f"127.0.0.1:{PORTS['proxy_h2c']}")}


def framed(messages):
    return b"".join(struct.pack("!BI", 0, len(message)) + message for message in messages)


def outcome(call, kind):
    """Messages that came, metadata (where there is no message all of it comes at the end), code and details."""
    try:
        got = [call.result()] if kind in ("Unary", "Failing", "ClientStream") else list(call)
    except grpc.RpcError:
        got = []
    return got, {**dict(call.trailing_metadata()), **dict(call.initial_metadata())}, call.code(), call.details()


def percent(text):
    """As gRPC writes its message on the wire."""
    return "".join(chr(b) if 0x20 <= b <= 0x7e and b != 0x25 else f"%{b:02X}" for b in (text or "").encode())


def call(channel, port, rng, serial):
    kind = rng.choice(KINDS)
    target = f"/grpc.Echo/{kind}"
    sent = [rng.randbytes(rng.randint(0, 3000)) for _ in range(4 if kind in ("ClientStream", "Bidi") else 1)]
    entry = {"kind": kind, "target": target, "port": port, "began": time.time()}
    metadata = [("x-serial", str(serial)), ("x-kind", kind), ("x-few", f"value {serial % 7}")]
    if kind in ("Unary", "Failing"):
        running = channel.unary_unary(target).future(sent[0], metadata=metadata)
    elif kind == "ServerStream":
        running = channel.unary_stream(target)(sent[0], metadata=metadata)
    elif kind == "ClientStream":
        running = channel.stream_unary(target).future(iter(sent), metadata=metadata)
    else:
        running = channel.stream_stream(target)(iter(sent), metadata=metadata)
    got, came, code, details = outcome(running, kind)
    entry.update(id=came.get("x-kong-request-id"), status=200, sent=base64.b64encode(framed(sent)).decode(),
                 recv=base64.b64encode(framed(got)).decode(), grpc_status=str(code.value[0]), grpc_message=percent(details),
                 ended=time.time())
    return entry


def main():
    parser = argparse.ArgumentParser(description="gRPC calls through the gateway, by gRPC's own library.")
    parser.add_argument("--record", required=True)
    parser.add_argument("--calls", type=int, default=200)
    parser.add_argument("--seed", default="1")
    parser.add_argument("--gate", metavar="FILE")
    args = parser.parse_args()
    rng = random.Random(args.seed)
    server = service(PORTS["upstream_grpc"])
    links = sorted(channels().items())
    with open(args.record, "w", encoding="utf-8") as record:
        for serial in range(args.calls):
            if args.gate and serial == args.calls // 2:
                print("client: half", flush=True)
                while not os.path.exists(args.gate):
                    time.sleep(0.01)
            port, channel = rng.choice(links)
            record.write(json.dumps(call(channel, port, rng, serial)) + "\n")
    print(f"client: {args.calls} calls", flush=True)
    server.stop(None)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
