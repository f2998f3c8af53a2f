"""An HTTP/2 client's side of a TCP connection, frame by frame (RFC 9113): for what no library sends."""
import select
import socket
import ssl
import struct
import time

DATA, HEADERS, RESET, SETTINGS, PING, GOAWAY, WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
END_STREAM, END_HEADERS, ACK = 1, 4, 1
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
MAX_FRAME = 16384
FIRST_WINDOW = 65535


def frame(kind, flags=0, stream=0, payload=b""):
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def call_headers(stream, path):
    """The begin of a gRPC call without a deadline."""
    fields = [(":method", "POST"), (":scheme", "http"), (":path", path), (":authority", "localhost"),
              ("te", "trailers"), ("content-type", "application/grpc")]
    # Literals that are neither indexed nor Huffman-coded; all shorter than 127 bytes.
    block = b"".join(b"\0" + bytes([len(name)]) + name.encode() + bytes([len(value)]) + value.encode()
                     for name, value in fields)
    return frame(HEADERS, END_HEADERS, stream, block)


def message(payload, length=None):
    """gRPC's prefix and the bytes; `length` is what the prefix claims instead of the truth."""
    return struct.pack(">BI", 0, len(payload) if length is None else length) + payload


class Connection:
    """Loopback, in plain or over an ssl.SSLContext. Keeps what was received, answers pings, knows the server's
    windows."""

    def __init__(self, port, timeout=20, tls=None):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout)
        if tls:
            self.socket = tls.wrap_socket(self.socket, server_hostname="localhost")
        self.received = b""
        self.open = True
        self.unparsed = b""
        self.windows = {0: FIRST_WINDOW}
        self.first_window = FIRST_WINDOW

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.socket.close()
        self.open = False

    def send(self, data):
        """False once the server has closed."""
        try:
            self.socket.sendall(data)
            return True
        except OSError:
            self.open = False
            return False

    def greet(self):
        return self.send(PREFACE + frame(SETTINGS))

    def read(self, seconds):
        """Reads what comes within the time; returns at once when the server has closed."""
        end = time.monotonic() + seconds
        # select() would not take descriptors above 1,023, of which a flood has many.
        readable = select.poll()
        if self.open:
            readable.register(self.socket, select.POLLIN)
        while self.open:
            decrypted = isinstance(self.socket, ssl.SSLSocket) and self.socket.pending()
            if not decrypted and not readable.poll(1e3 * max(0, end - time.monotonic())):
                return
            try:
                data = self.socket.recv(1 << 16)
            except OSError:
                data = b""
            if not data:
                self.open = False
                return
            self.received += data
            self.unparsed += data
            self._parse()

    def _parse(self):
        while len(self.unparsed) >= 9:
            length = int.from_bytes(self.unparsed[:3], "big")
            if len(self.unparsed) < 9 + length:
                return
            kind, flags, stream = struct.unpack(">BBI", self.unparsed[3:9])
            payload = self.unparsed[9:9 + length]
            self.unparsed = self.unparsed[9 + length:]
            if kind == WINDOW_UPDATE:
                self.windows[stream] = self._window(stream) + int.from_bytes(payload, "big")
            elif kind == PING and not flags & ACK:
                self.send(frame(PING, ACK, 0, payload))
            elif kind == SETTINGS and not flags & ACK:
                for at in range(0, length, 6):
                    name, value = struct.unpack(">HI", payload[at:at + 6])
                    if name == 4:  # INITIAL_WINDOW_SIZE
                        for known in [s for s in self.windows if s]:
                            self.windows[known] += value - self.first_window
                        self.first_window = value
                self.send(frame(SETTINGS, ACK))

    def _window(self, stream):
        return self.windows.setdefault(stream, FIRST_WINDOW if stream == 0 else self.first_window)

    def send_data(self, stream, data):
        """As much of it as the server's windows allow now; returns how much."""
        size = min(len(data), self._window(0), self._window(stream))
        for at in range(0, size, MAX_FRAME):
            if not self.send(frame(DATA, 0, stream, data[at:min(size, at + MAX_FRAME)])):
                return 0
        self.windows[0] -= size
        self.windows[stream] -= size
        return size
