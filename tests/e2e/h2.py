"""HTTP/2 for the tests: frames by hand, header compression by libnghttp2, so that a test can pad, cut and interleave as it
likes. One Connection is one end; it is used by one thread."""
import ctypes
import ctypes.util
import random
import socket
import ssl
import struct

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM, ACK, END_HEADERS, PADDED, PRIORITIZED = 0x1, 0x1, 0x4, 0x8, 0x20
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
FRAME_MAX, WINDOW = 16384, 65535


class Nv(ctypes.Structure):
    _fields_ = [("name", ctypes.c_void_p), ("value", ctypes.c_void_p), ("name_len", ctypes.c_size_t),
                ("value_len", ctypes.c_size_t), ("flags", ctypes.c_uint8)]


def _library():
    lib = ctypes.CDLL(ctypes.util.find_library("nghttp2") or "libnghttp2.so.14")
    pointer, size = ctypes.c_void_p, ctypes.c_size_t
    lib.nghttp2_hd_deflate_new.argtypes = [ctypes.POINTER(pointer), size]
    lib.nghttp2_hd_deflate_hd.argtypes = [pointer, ctypes.c_char_p, size, ctypes.POINTER(Nv), size]
    lib.nghttp2_hd_deflate_hd.restype = ctypes.c_ssize_t
    lib.nghttp2_hd_deflate_change_table_size.argtypes = [pointer, size]
    lib.nghttp2_hd_deflate_del.argtypes = [pointer]
    lib.nghttp2_hd_inflate_new.argtypes = [ctypes.POINTER(pointer)]
    lib.nghttp2_hd_inflate_hd2.argtypes = [pointer, ctypes.POINTER(Nv), ctypes.POINTER(ctypes.c_int), ctypes.c_char_p, size,
                                           ctypes.c_int]
    lib.nghttp2_hd_inflate_hd2.restype = ctypes.c_ssize_t
    lib.nghttp2_hd_inflate_end_headers.argtypes = [pointer]
    lib.nghttp2_hd_inflate_del.argtypes = [pointer]
    return lib


LIB = _library()


class Deflater:
    def __init__(self, table=4096):
        self.handle = ctypes.c_void_p()
        if LIB.nghttp2_hd_deflate_new(ctypes.byref(self.handle), table):
            raise MemoryError

    def __del__(self):
        LIB.nghttp2_hd_deflate_del(self.handle)

    def resize(self, table):
        LIB.nghttp2_hd_deflate_change_table_size(self.handle, table)

    def block(self, fields):
        array = (Nv * len(fields))()
        keep = []
        for nv, (name, value) in zip(array, fields):
            name, value = name.encode("latin-1"), value.encode("utf-8")
            keep += [ctypes.create_string_buffer(name), ctypes.create_string_buffer(value)]
            nv.name, nv.value = ctypes.addressof(keep[-2]), ctypes.addressof(keep[-1])
            nv.name_len, nv.value_len = len(name), len(value)
        size = sum(len(item) + 16 for item in keep) + 64
        out = ctypes.create_string_buffer(size)
        n = LIB.nghttp2_hd_deflate_hd(self.handle, out, size, array, len(fields))
        if n < 0:
            raise ValueError(f"nghttp2_hd_deflate_hd: {n}")
        return out.raw[:n]


class Inflater:
    def __init__(self):
        self.handle = ctypes.c_void_p()
        if LIB.nghttp2_hd_inflate_new(ctypes.byref(self.handle)):
            raise MemoryError

    def __del__(self):
        LIB.nghttp2_hd_inflate_del(self.handle)

    def fields(self, block):
        found, nv, flags = [], Nv(), ctypes.c_int()
        while True:
            flags.value = 0
            n = LIB.nghttp2_hd_inflate_hd2(self.handle, ctypes.byref(nv), ctypes.byref(flags), block, len(block), 1)
            if n < 0:
                raise ValueError(f"nghttp2_hd_inflate_hd2: {n}")
            block = block[n:]
            if flags.value & 2:
                found.append((ctypes.string_at(nv.name, nv.name_len).decode("latin-1"),
                              ctypes.string_at(nv.value, nv.value_len).decode("utf-8", "surrogateescape")))
            if flags.value & 1:
                LIB.nghttp2_hd_inflate_end_headers(self.handle)
                return found


class Closed(Exception):
    """The peer ended the connection."""


class Stream:
    """What one stream has sent and got. `out`: body bytes that wait for the window; `trailers`: what ends it."""

    def __init__(self, number, window):
        self.id, self.window = number, window
        self.out, self.ending, self.trailers = b"", False, None
        self.blocks, self.body = [], []
        self.over_in = self.over_out = self.reset = False

    headers = property(lambda self: next((b for b in self.blocks if not dict(b).get(":status", "200").startswith("1")), None))


class Connection:
    """One end of a connection. A client opens streams; a server finds them in `streams` once their head is there.

    `rng` decides how frames are padded and cut; None: plainly."""

    def __init__(self, sock, server=False, rng=None, table=4096):
        self.socket, self.server, self.rng = sock, server, rng
        self.deflater, self.inflater = Deflater(table), Inflater()
        self.streams, self.next_id = {}, 1
        self.window, self.initial_window = WINDOW, WINDOW
        self.buffer, self.block = b"", None
        self.unsent = []
        self.last_taken = None  # by GOAWAY: no stream beyond it is served, and none may be opened
        self.tls = isinstance(sock, ssl.SSLSocket)
        if server:
            self.expect_preface = True
            self.send_frame(SETTINGS, 0, 0, struct.pack("!HI", 4, 0x7fffffff))
        else:
            self.expect_preface = False
            self.unsent.append(PREFACE)
            self.send_frame(SETTINGS, 0, 0, struct.pack("!HIHI", 2, 0, 4, 0x7fffffff))
        self.send_frame(WINDOW_UPDATE, 0, 0, struct.pack("!I", 0x7fffffff - WINDOW))
        self.flush()

    def send_frame(self, kind, flags, stream, payload=b""):
        self.unsent.append(struct.pack("!I", len(payload))[1:] + bytes((kind, flags)) + struct.pack("!I", stream) + payload)

    def flush(self):
        data, self.unsent = b"".join(self.unsent), []
        self.socket.sendall(data)

    def close(self):
        self.socket.close()

    # -- sending

    def _whim(self, share):
        return self.rng is not None and self.rng.random() < share

    def send_head(self, stream, fields, end):
        if self._whim(0.01):
            self.deflater.resize(self.rng.choice([0, 100, 1000, 4096, 4096]))
        block = self.deflater.block(fields)
        prefix, suffix, flags = b"", b"", END_STREAM if end else 0
        if not self.server and self._whim(0.2):
            prefix, flags = b"\0\0\0\0\x10", flags | PRIORITIZED
        if self._whim(0.1):
            pad = self.rng.randint(0, 40)
            prefix, suffix, flags = bytes((pad,)) + prefix, b"\0" * pad, flags | PADDED
        first = len(block)
        if self._whim(0.1) or first > 8000:
            first = min(first, self.rng.randint(0, 8000) if self.rng else 8000)
        rest = block[first:]
        self.send_frame(HEADERS, flags | (0 if rest else END_HEADERS), stream, prefix + block[:first] + suffix)
        while rest:
            piece, rest = rest[:FRAME_MAX], rest[FRAME_MAX:]
            self.send_frame(CONTINUATION, 0 if rest else END_HEADERS, stream, piece)

    def request(self, fields, body=None, end=True, trailers=None):
        """Opens a stream; with end False its body goes on with `more`."""
        stream = Stream(self.next_id, self.initial_window)
        self.streams[stream.id] = stream
        self.next_id += 2
        self.send_head(stream.id, fields, end and not body and not trailers)
        stream.over_out = end and not body and not trailers
        if not stream.over_out:
            self.more(stream, body or b"", end, trailers)
        return stream

    def more(self, stream, body, end=False, trailers=None):
        stream.out += body
        stream.ending, stream.trailers = end, trailers
        self._pump(stream)

    def _pump(self, stream):
        """As much of the body as the windows let through."""
        while not stream.over_out and not stream.reset:
            n = min(len(stream.out), stream.window, self.window, FRAME_MAX - 256)
            if self._whim(0.1) and n > 1:
                n = self.rng.randint(1, n)
            last = stream.ending and n == len(stream.out)
            if not n and not last:
                return
            flags, pad = 0, b""
            if n and self._whim(0.05) and min(stream.window, self.window) > n + 40:
                pad, flags = b"\0" * self.rng.randint(0, 39), PADDED
            if last and stream.trailers is None:
                flags |= END_STREAM
            if n or stream.trailers is None:
                payload = (bytes((len(pad),)) if flags & PADDED else b"") + stream.out[:n] + pad
                self.send_frame(DATA, flags, stream.id, payload)
                stream.window -= len(payload)
                self.window -= len(payload)
                stream.out = stream.out[n:]
            if last:
                stream.over_out = True
                if stream.trailers is not None:
                    self.send_head(stream.id, stream.trailers, True)
            elif not n:
                return

    def cancel(self, stream):
        self.send_frame(RST_STREAM, 0, stream.id, struct.pack("!I", 8))
        stream.reset = True

    # -- receiving

    def receive(self):
        """Reads what there is, at least once, and takes it in. Streams that something came on."""
        data = self.socket.recv(65536)
        if not data:
            raise Closed
        self.buffer += data
        touched = []
        if self.expect_preface:
            if len(self.buffer) < len(PREFACE):
                return touched
            self.buffer, self.expect_preface = self.buffer[len(PREFACE):], False
        at = 0
        while len(self.buffer) - at >= 9:
            length = int.from_bytes(self.buffer[at:at + 3], "big")
            if len(self.buffer) - at - 9 < length:
                break
            kind, flags = self.buffer[at + 3], self.buffer[at + 4]
            number = int.from_bytes(self.buffer[at + 5:at + 9], "big")
            stream = self._frame(kind, flags, number, self.buffer[at + 9:at + 9 + length])
            if stream is not None and stream not in touched:
                touched.append(stream)
            at += 9 + length
        self.buffer = self.buffer[at:]
        if self._whim(0.02):
            self.send_frame(PING, 0, 0, b"kongtap!")
        if self.unsent:
            self.flush()
        return touched

    def _frame(self, kind, flags, number, payload):
        if kind in (HEADERS, CONTINUATION):
            return self._head(kind, flags, number, payload)
        if kind == DATA:
            return self._data(flags, number, payload)
        if kind == SETTINGS and not flags & ACK:
            self._settings(payload)
        elif kind == PING and not flags & ACK:
            self.send_frame(PING, ACK, 0, payload)
        elif kind == WINDOW_UPDATE:
            self._window(number, int.from_bytes(payload, "big"))
        elif kind == GOAWAY:
            self.last_taken = int.from_bytes(payload[:4], "big")
            if int.from_bytes(payload[4:8], "big"):
                raise Closed(f"GOAWAY {int.from_bytes(payload[4:8], 'big')}")
        elif kind == RST_STREAM:
            stream = self.streams.get(number)
            if stream:
                stream.reset = stream.over_in = True
            return stream
        return None

    def _head(self, kind, flags, number, payload):
        if kind == HEADERS:
            pad = payload[0] if flags & PADDED else 0
            begin = (1 if flags & PADDED else 0) + (5 if flags & PRIORITIZED else 0)
            self.block = [payload[begin:len(payload) - pad], flags & END_STREAM]
        else:
            self.block[0] += payload
        if not flags & END_HEADERS:
            return None
        block, end = self.block
        fields = self.inflater.fields(block)
        stream = self.streams.get(number)
        if stream is None and self.server:
            stream = self.streams[number] = Stream(number, self.initial_window)
        if stream is not None:
            stream.blocks.append(fields)
            stream.over_in = stream.over_in or bool(end)
        return stream

    def _data(self, flags, number, payload):
        stream = self.streams.get(number)
        if flags & PADDED:
            payload = payload[1:len(payload) - payload[0]]
        if stream is not None:
            stream.body.append(payload)
            stream.over_in = stream.over_in or bool(flags & END_STREAM)
        self.send_credit(len(payload))
        return stream

    def send_credit(self, n):
        """The connection's window is topped up; those of the streams are large enough for all."""
        if n:
            self.send_frame(WINDOW_UPDATE, 0, 0, struct.pack("!I", n))

    def _settings(self, payload):
        for key, value in struct.iter_unpack("!HI", payload):
            if key == 1:
                self.deflater.resize(min(value, 4096))
            elif key == 4:
                for stream in self.streams.values():
                    stream.window += value - self.initial_window
                self.initial_window = value
        self.send_frame(SETTINGS, ACK, 0)
        self._pump_all()

    def _window(self, number, increment):
        if number == 0:
            self.window += increment
        elif number in self.streams:
            self.streams[number].window += increment
        self._pump_all()

    def _pump_all(self):
        for stream in list(self.streams.values()):
            if stream.out or stream.ending:
                self._pump(stream)


def connect(port, tls, rng=None, table=4096):
    sock = socket.create_connection(("127.0.0.1", port), timeout=60)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.set_alpn_protocols(["h2"])
        sock = context.wrap_socket(sock)
        if sock.selected_alpn_protocol() != "h2":
            raise OSError("no h2 by ALPN")
    return Connection(sock, rng=rng, table=table)


def seeded(text):
    return random.Random(text)
