"""Stand in for DuckDuckGo, which gives a token, then results as JSON; with all known and possible faults."""

import json
import threading
from collections import Counter
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlencode, urlsplit

# How a page may contain the token. jmd_imagescraper reads only the first form; today's page has the second.
QUOTINGS = {
    "bare": "<script src='/d.js?vqd={}&p=1'></script>",
    "double": '<script>vqd="{}";</script>',
    "single": "<script>vqd='{}';</script>",
    "json": '<script>{{"vqd":"{}"}}</script>',
    "escaped": '<script>s="vqd=\\"{}\\""</script>',
}
PAGE = 100
CAPTCHA = b"<html><body>Unfortunately, bots use DuckDuckGo too.</body></html>"


class Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128  # with the default of five, a dozen concurrent connections wait a second each


@contextmanager
def serve(handler, **attributes):
    """Run `handler` (a class) on a free port; yield the server, which has `attributes` and `asked`, a Counter."""
    server = Server(("127.0.0.1", 0), handler)
    server.asked = Counter()
    server.lock = threading.Lock()
    server.netloc = f"127.0.0.1:{server.server_port}"
    server.address = f"http://{server.netloc}"
    for name, value in attributes.items():
        setattr(server, name, value)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class Quiet(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else each response waits 40 ms for an acknowledgement

    def log_message(self, *_):
        pass

    def respond(self, status=200, body=b"", kind="text/html", **headers):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def count(self, what):
        with self.server.lock:
            self.server.asked[what] += 1
            return self.server.asked[what]


class Engine(Quiet):
    """Responds to POST and GET / with a token, to GET /i.js with results. The server's attributes are its faults."""

    def do_POST(self):
        form = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        self.token(parse_qs(form).get("q", [""])[0])

    def do_GET(self):
        parts = urlsplit(self.path)
        asked = {key: values[-1] for key, values in parse_qs(parts.query).items()}
        if parts.path == "/i.js":
            return self.results(asked)
        return self.token(asked.get("q", ""))

    def token(self, words):
        self.count("token")
        if self.server.token_status:
            return self.respond(self.server.token_status, CAPTCHA)
        if self.server.silent:
            return self.drip()
        token = f"4-{sum(words.encode()) + 10**20}"
        self.server.agents[token] = self.headers.get("User-Agent")
        page = "<html>" + "x" * 2000 + self.server.quoting.format(token) + "</html>"
        self.respond(body=page.encode())

    def results(self, asked):
        number = self.count("i.js")
        self.server.queries.append(asked)
        token = asked.get("vqd", "")
        bound = not self.server.bound or self.server.agents.get(token) == self.headers.get("User-Agent")
        if token not in self.server.agents or not bound:
            return self.respond(403, b"If this error persists, please let us know")
        if self.server.status and number > self.server.pages_before:
            headers = {"Retry_After": self.server.retry_after} if self.server.retry_after else {}
            return self.respond(self.server.status, CAPTCHA, **headers)
        if self.server.html:
            return self.respond(body=CAPTCHA)
        start = int(asked.get("s", 0))
        every = self.server.found(asked["q"])
        data = {"query": asked["q"], "results": every[start : start + PAGE]}
        if start + PAGE < len(every):
            following = {"q": asked["q"], "o": "json", "p": asked.get("p", "1"), "s": start + PAGE, "l": "us-en"}
            data["next"] = "i.js?" + urlencode(following)
        self.respond(body=json.dumps(data).encode(), kind="application/javascript")

    def drip(self):
        """Send a byte per second, without an end."""
        self.send_response(200)
        self.end_headers()
        try:
            while not self.server.stop.wait(1):
                self.wfile.write(b" ")
        except OSError:
            pass


@contextmanager
def engine(found, quoting="double", bound=True, status=0, token_status=0, pages_before=0, html=False, silent=False,
           retry_after=""):  # fmt: skip
    """Run a search engine, which by default behaves as DuckDuckGo does at present.

    found: a function from the query to its results (see `result`). quoting: a key of QUOTINGS.
    bound: whether a token is valid only for the user agent that requested it.
    status: the status of i.js after `pages_before` pages. token_status: the status of the first page.
    html: whether i.js responds with a page and status 200. silent: whether it sends a byte per second, without an end.
    """
    attributes = dict(found=found, quoting=QUOTINGS[quoting], bound=bound, status=status, token_status=token_status,
                      pages_before=pages_before, html=html, silent=silent, retry_after=retry_after)  # fmt: skip
    stop = threading.Event()
    with serve(Engine, agents={}, queries=[], stop=stop, **attributes) as server:
        try:
            yield server
        finally:
            stop.set()


def result(url, title="A photograph", page="https://example.org/page"):
    """Return a result as i.js gives it. The thumbnail has the address of the image."""
    return {"title": title, "image": url, "thumbnail": url, "url": page, "width": 64, "height": 64, "source": "Bing"}
