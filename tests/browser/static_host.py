"""A web host for static files on 127.0.0.1, with the faults that real hosts have."""

import gzip
import threading
import time
from contextlib import contextmanager, nullcontext
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

# As a host without a table of types, and one that takes unknown files for pages. Browsers insist on those of scripts.
TYPES = {".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
CHUNK = 1 << 16
WRONG = {".bin": "text/html", ".webmanifest": "text/plain", ".svg": "image/svg+xml"}


class Host:
    """Serves `folder` at the address `url`, which is a subfolder of its site.

    requests: the paths of all requests so far, relative to the folder; times: when each came, in seconds.
    cut, stall: how many of the next responses for parts of the model end in the middle, or stop there without an end.
    instead: {path: bytes} that are sent instead of the file, as by a stale cache or a proxy that has a page of its own.
    compress: whether responses are compressed where the browser accepts that.
    gate: responses for parts of runtime and model wait until this event is set, as it is at first.
    rate: the bytes per second of all responses together, or None for no limit.
    """

    def __init__(self, folder, compress=False, rate=None):
        self.folder = folder
        self.compress = compress
        self.rate = rate
        self.line = threading.Lock()  # one response at a time sends, as on a slow connection
        self.free = 0.0  # when the connection has sent what was given to it so far
        self.requests = []
        self.times = []
        self.instead = {}
        self.cut = 0
        self.stall = 0
        self.gate = threading.Event()
        self.gate.set()
        self.stopped = threading.Event()
        host = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                host.respond(self)

            def log_message(self, *args):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}/pages/icons/"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def respond(self, handler):
        path = urlsplit(handler.path).path.removeprefix("/pages/icons/")
        self.requests.append(path)
        self.times.append(time.monotonic())
        file = self.folder / (path or "index.html")
        if not file.is_file():
            return handler.send_error(404)
        data = self.instead.get(path, file.read_bytes())
        handler.send_response(200)
        handler.send_header("Vary", "Origin, Accept, User-Agent")  # many hosts send one, on all files
        handler.send_header("Content-Type", (TYPES | WRONG).get(file.suffix, "application/octet-stream"))
        if self.compress and "gzip" in handler.headers.get("Accept-Encoding", ""):
            handler.send_header("Content-Encoding", "gzip")
            data = gzip.compress(data, 1)
        handler.send_header("Content-Length", str(len(data)))
        handler.end_headers()
        is_model = path.startswith("parts/model-")
        cut, stall = self.cut > 0 and is_model, self.stall > 0 and is_model
        self.cut -= cut
        self.stall -= stall
        if path.startswith("parts/"):
            self.gate.wait()
        try:
            self.send(handler.wfile, data[: len(data) // 2] if cut or stall else data)
            if stall:
                self.stopped.wait()
        except OSError:  # the visitor has left
            pass

    def send(self, file, data):
        for start in range(0, len(data), CHUNK):
            chunk = data[start : start + CHUNK]
            with self.line if self.rate else nullcontext():
                if self.rate:
                    # A sleep takes longer than asked; the next one is shorter by that, but by at most 0.1 s.
                    self.free = max(self.free, time.monotonic() - 0.1) + len(chunk) / self.rate
                    time.sleep(max(0, self.free - time.monotonic()))
                file.write(chunk)

    def parts(self):
        """Return the requests for parts of runtime and model."""
        return [path for path in self.requests if path.startswith("parts/")]

    def stop(self):
        self.stopped.set()
        self.gate.set()
        self.server.shutdown()
        self.server.server_close()


@contextmanager
def hosted(folder, **options):
    """Serve `folder` as a static page; yield the `Host`."""
    host = Host(folder, **options)
    try:
        yield host
    finally:
        host.stop()
