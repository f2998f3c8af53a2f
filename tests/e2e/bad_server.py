"""An HTTP server of files that misbehaves as told: it cuts, stalls, corrupts, redirects. Also a proxy.

Standard library only. Each request consumes one move of `moves`; without one it is answered well, with
Range and If-Range. A move is a dictionary:
  cut: N           N bytes of the answer, then the connection is closed
  stall: N         N bytes, then nothing until the client gives up
  hold: N          N bytes, then the rest after `release` was set
  corrupt: N       byte N of the answer is flipped
  swap: BYTES      (with cut) from then on the file has these bytes
  status: N        with headers: {…}
  redirect: PATH
  whole: True      Range is ignored
  part: N          206, but from byte N on, whatever was asked
  page: True       a web page with status 200
  endless: True    no Content-Length, and no end
"""
import hashlib
import http.server
import re
import ssl
import threading
import urllib.parse

PAGE = b"<html>Welcome to the network of this hotel</html>"


class BadServer:
    def __init__(self, certificate=None):
        """certificate: a PEM file with key and certificate for 127.0.0.1; then the server speaks TLS."""
        self.files = {}        # path -> bytes
        self.moves = []
        self.requests = []     # {path, range, if_range, status}, in the order of their beginning
        self.release = threading.Event()
        self.validators = True
        self.lock = threading.Lock()
        server = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                server.answer(self)

            def log_message(self, *_):
                pass

        class Server(http.server.ThreadingHTTPServer):
            def handle_error(self, *_):
                pass  # a client that went away is what these tests are about

        self.http = Server(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self.http.socket = context.wrap_socket(self.http.socket, server_side=True)
        self.url = f"http{'s' if certificate else ''}://127.0.0.1:{self.http.server_address[1]}"
        self.thread = threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.02})
        self.thread.start()

    def stop(self):
        self.release.set()
        self.http.shutdown()
        self.thread.join()
        self.http.server_close()

    def reset(self):
        self.release.set()  # whoever still holds an answer
        self.moves, self.requests, self.validators = [], [], True
        self.release = threading.Event()

    def answer(self, handler):
        # A proxy is asked for a whole URL.
        path = urllib.parse.urlsplit(handler.path).path
        with self.lock:
            move = self.moves.pop(0) if self.moves else {}
            seen = {"path": path, "url": handler.path, "range": handler.headers.get("Range"),
                    "if_range": handler.headers.get("If-Range")}
            self.requests.append(seen)
            content = self.files.get(path)
        try:
            seen["status"] = self.send(handler, move, content, seen)
        except OSError:  # the client went away
            handler.close_connection = True

    def send(self, handler, move, content, seen):
        if "redirect" in move:
            return self.head(handler, 302, {"Location": move["redirect"], "Content-Length": 0})
        if "status" in move:
            return self.head(handler, move["status"], {"Content-Length": 0, **move.get("headers", {})})
        if move.get("page"):
            self.head(handler, 200, {"Content-Type": "text/html", "Content-Length": len(PAGE)})
            handler.wfile.write(PAGE)
            return 200
        if content is None:
            return self.head(handler, 404, {"Content-Length": 0})
        if move.get("endless"):
            handler.close_connection = True
            self.head(handler, 200, {"Connection": "close"})
            while True:  # until the client closes
                handler.wfile.write(bytes(1 << 16))
        return self.send_file(handler, move, content, seen)

    def send_file(self, handler, move, content, seen):
        tag = '"' + hashlib.sha256(content).hexdigest()[:16] + '"'
        first = self.first_byte(move, content, seen, tag)
        headers = {"Content-Type": "application/octet-stream"}
        if self.validators:
            headers["ETag"] = tag
        if first is not None and first >= len(content):
            return self.head(handler, 416, {"Content-Range": f"bytes */{len(content)}", "Content-Length": 0})
        body = bytearray(content[first or 0:])
        if first is not None:
            headers["Content-Range"] = f"bytes {first}-{len(content) - 1}/{len(content)}"
        if "corrupt" in move:
            body[move["corrupt"]] ^= 1
        status = self.head(handler, 200 if first is None else 206, {**headers, "Content-Length": len(body)})
        sent = next((move[kind] for kind in ("cut", "stall", "hold") if kind in move), len(body))
        if "swap" in move:
            with self.lock:
                self.files[seen["path"]] = move["swap"]
        handler.wfile.write(body[:sent])
        handler.wfile.flush()
        if "cut" in move:
            handler.close_connection = True
        if "stall" in move:
            handler.connection.recv(1)  # returns when the client closes
            handler.close_connection = True
        if "hold" in move:
            self.release.wait()
            handler.wfile.write(body[sent:])
        return status

    def first_byte(self, move, content, seen, tag):
        if "part" in move:
            return move["part"]
        asked = re.fullmatch(r"bytes=(\d+)-", seen["range"] or "")
        if asked is None or move.get("whole") or seen["if_range"] not in (None, tag):
            return None
        return int(asked[1])

    @staticmethod
    def head(handler, status, headers):
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name, str(value))
        handler.end_headers()
        return status
