"""Stand in for image hosts, which send icons of the sample, or attack, hang or deceive."""

import gzip
import io
import random
import struct
import time
import zlib
from contextlib import contextmanager
from functools import cache
from urllib.parse import urlsplit

from icon_classifier.training.sample import LABELS, draw_icon, find_glyphs
from support.standin.engine import Quiet, result, serve


@cache
def icon(name, number):
    """Return a JPEG file of the drawing `number` of the label `name`. Each has different bytes."""
    glyphs = find_glyphs(name)
    rng = random.Random(f"{name} {number}")
    file = io.BytesIO()
    draw_icon(rng.choice(glyphs), rng).save(file, "JPEG", quality=90, comment=f"{number}".encode())
    return file.getvalue()


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def bomb():
    """Return a PNG of 100 megapixels in about 12 kB."""
    header = struct.pack(">IIBBBBB", 10_000, 10_000, 1, 0, 0, 0, 0)
    rows = zlib.compress(bytes(10_000 * 1251), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


class Photos(Quiet):
    """Responds to /photo/LABEL/NUMBER with a JPEG after `server.latency` s; /bad/KIND/NUMBER is a trap."""

    def do_GET(self):
        path = urlsplit(self.path).path
        _, kind, what, number = (path + "///").split("/")[:4]
        times = self.count(self.path)
        with self.server.lock:
            self.server.now += 1
            self.server.most = max(self.server.most, self.server.now)
        try:
            self.server.agents.add(self.headers.get("User-Agent"))
            time.sleep(self.server.latency)
            if kind == "photo":
                return self.respond(body=icon(what, int(number)), kind="image/jpeg")
            getattr(self, f"bad_{what}", self.bad_missing)(times)
        except OSError:  # the client has closed the connection
            self.close_connection = True
        finally:
            with self.server.lock:
                self.server.now -= 1

    def bad_missing(self, _):
        self.respond(404, b"Not found")

    def bad_drip(self, _):
        self.endless(b"\xff", 1)

    def bad_headers(self, _):
        """Send a header that never ends, a byte per second."""
        self.wfile.write(b"HTTP/1.1 200 OK\r\nX-Endless: ")
        for _ in range(60):
            self.wfile.write(b"x")
            time.sleep(1)

    def bad_endless(self, _):
        self.endless(b"\xff\xd8\xff" + bytes(65_536), 0)

    def endless(self, piece, pause):
        self.send_response(200)
        self.send_header("Content-Type", "image/jpeg")
        self.end_headers()
        self.close_connection = True
        for _ in range(60 if pause else 3000):
            self.wfile.write(piece)
            time.sleep(pause)

    def bad_html(self, _):
        self.respond(body=b"<html>A picture was here</html>", kind="image/jpeg")

    def bad_truncated(self, _):
        self.respond(body=icon("star", 0)[:-400], kind="image/jpeg")

    def bad_bomb(self, _):
        self.respond(body=bomb(), kind="image/png")

    def bad_gzip(self, _):
        body = gzip.compress(bytes(100_000_000), 9)
        self.respond(body=body, kind="image/jpeg", Content_Encoding="gzip")

    def bad_local(self, _):
        self.respond(302, Location=f"{self.server.elsewhere}/photo/star/1")

    def bad_metadata(self, _):
        self.respond(302, Location="http://169.254.169.254/latest/meta-data/")

    def bad_loop(self, _):
        self.respond(302, Location=self.path)

    def bad_pdf(self, _):
        self.respond(body=b"%PDF-1.7", kind="application/pdf")

    def bad_svg(self, _):
        self.respond(body=b"<svg xmlns='http://www.w3.org/2000/svg'/>", kind="image/svg+xml")

    def bad_noai(self, _):
        self.respond(body=icon("star", 2), kind="image/jpeg", X_Robots_Tag="noai, noimageai")

    def bad_busy(self, times):
        """Ask for a pause of a second the first time; then send the photo."""
        if times == 1:
            return self.respond(429, b"slow down", Retry_After="1")
        self.respond(body=icon("star", 999), kind="image/jpeg")

    def bad_closed(self, _):
        self.respond(503, b"come back tomorrow", Retry_After="86400")


@contextmanager
def photos(latency=0.0, elsewhere=""):
    """Run an image host; yield the server, whose `most` is the maximum of concurrent requests so far.

    elsewhere: the address to which /bad/local redirects.
    """
    with serve(Photos, latency=latency, elsewhere=elsewhere, now=0, most=0, agents=set()) as server:
        yield server


def icons_of(host, number):
    """Return a function from search words to `number` results at `host`, with addresses like those of thumbnails."""

    def found(query):
        labels = [label for label in LABELS if label in query]
        return [
            result(f"{host.address}/photo/{label}/{i}?id=OIP.{i}%20x&pid=Api", f"{label}, number {i}")
            for label in labels
            for i in range(number)
        ]

    return found
