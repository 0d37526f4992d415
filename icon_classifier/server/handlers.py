"""Upper floor: the door that visitors come in by: who is refused, and in what words."""

# `voila.json` names `Door` as Voila's identity provider, which is asked about every request before it is answered and
# may add addresses to the server; and `Connection` for the websockets. There are no accounts and no cookies here.

import asyncio
import os
import random
import re
from html import escape
from pathlib import Path
from string import Template
from urllib.parse import urlsplit

from jupyter_server.auth.identity import IdentityProvider, User
from jupyter_server.base.handlers import JupyterHandler
from jupyter_server.services.kernels.connection.channels import ZMQChannelsWebsocketConnection
from jupyter_server.services.kernels.handlers import KernelHandler
from jupyter_server.utils import url_path_join
from tornado.iostream import StreamBufferFullError
from tornado.web import Finish, GZipContentEncoding, HTTPError, RedirectHandler
from traitlets import Integer
from voila.tornado.handler import TornadoVoilaHandler

from . import capacity

POLICY = "Content-Security-Policy"
TEMPLATE = Path(__file__).with_name("templates")
FULL = (
    "All places are taken",
    "So many people are here that there is no place left just now. This page tries again by itself in a few seconds; "
    "you need not do anything.",
)
SORRY = "Something went wrong", "Something went wrong on this side. Please try again in a moment."
NOTHING = "Nothing is here", "There is no page at this address."


class Door(IdentityProvider):
    """Lets every visitor in, but nobody whom another site sends to change something."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        voila = self.parent  # which is about to build addresses by adding to these
        voila.base_url, voila.server_url = (
            re.sub("/+", "/", f"/{url}/") for url in (voila.base_url, voila.server_url or voila.base_url)
        )

    async def get_user(self, handler):
        """The visitor; raises HTTP error 403 for a request that changes something and comes from another site.

        Voila's own page could not prove where it comes from by a cookie (it sends none), so that voila.json turns
        that check off; every browser names the site in the header Origin.
        """
        request = handler.request
        if request.method not in ("GET", "HEAD", "OPTIONS"):
            site = urlsplit(request.headers.get("Origin", "")).netloc
            if site != request.host or request.headers.get("Sec-Fetch-Site", "same-origin") != "same-origin":
                raise HTTPError(403, "A page of another site may not do this.")
        if isinstance(handler, KernelHandler):  # the page asks every five seconds; a refused websocket tells nothing
            handler.kernel_manager.seen(handler.path_kwargs["kernel_id"])
        return await super().get_user(handler) if self.token else User("visitor")

    def get_handlers(self):
        """The addresses that are added to Voila's, which come after these. Compresses what all of them answer."""
        voila = self.parent
        voila.app.add_transform(Compressed)
        voila.app.settings["voila_jinja2_env"].loader.searchpath.insert(0, str(TEMPLATE))  # for the list of pages
        page = {
            "template_paths": [str(TEMPLATE), *voila.template_paths],
            "config": voila.config,
            "voila_configuration": voila.voila_configuration,
        }
        if voila.notebook_path:
            page["notebook_path"] = os.path.relpath(voila.notebook_path, voila.root_dir)
            address = "/((?!voila/(?:files|labextensions)/).*)"
        else:
            address, headers = "/voila/render/(.*)", voila.app.settings["headers"]
            # the list of pages compiles what it checks its settings with
            headers[POLICY] = headers[POLICY].replace("script-src ", "script-src 'unsafe-eval' ")
        handlers = []
        if voila.server_url != "/":
            handlers.append(
                (voila.server_url.rstrip("/"), RedirectHandler, {"url": voila.base_url, "permanent": False})
            )
        own = [("/healthz", HealthHandler), ("/robots.txt", RobotsHandler), (address, PageHandler, page)]
        return handlers + [(url_path_join(voila.server_url, path), *rest) for path, *rest in own]


class Compressed(GZipContentEncoding):
    """Sends text, of which nearly all of the page is made, in a third of its bytes."""

    GZIP_LEVEL = 1  # a few bytes more than by the usual 6, in half the time, in which nobody else is served


class PageHandler(TornadoVoilaHandler):
    """The page, which costs a kernel; where there is no place for one, words and the promise to try again."""

    _sending = None

    async def get(self, path=None):
        """The page, for who asks for HTML, as browsers do; health checks and the like get its name and no kernel."""
        pictures = self.voila_configuration.file_allowlist
        if any(re.fullmatch(kind, path, re.IGNORECASE) for kind in pictures):
            return self.redirect_to_file(path)  # beside the notebook
        self._find(path)
        if "text/html" in self.request.headers.get("Accept", ""):
            self._sending = asyncio.current_task()
            return await super().get(path)
        name = Path(self.notebook_path or path).stem.replace("_", " ").title()
        self._say(name, "This is a page for browsers: open it in one.")

    def on_connection_close(self):
        """The visitor has left before the page was sent."""
        super().on_connection_close()
        if self._sending:
            self.kernel_manager.leave(self._sending)

    def write(self, chunk):
        """Add a part to the page; ends the request of a visitor who has left, with which tornado would go on."""
        if self._left():
            self.on_connection_close()  # which tornado may be about to call
            raise Finish
        super().write(chunk)

    def head(self, path=None):
        """For those who ask whether the page is there."""
        self._find(path)
        self.set_header("Content-Type", "text/html")

    def _find(self, path):
        """Raises HTTP error 404 beside a single page, and in a folder of pages for what its list hides: train.ipynb."""
        files = self.contents_manager
        listed = path and all(map(files.should_list, path.strip("/").split("/"))) and files.file_exists(path)
        if path and (self.notebook_path or not listed):
            raise HTTPError(404)

    def write_error(self, status_code, **kwargs):
        title, words = {503: FULL, 404: NOTHING}.get(status_code, SORRY)
        again = ""
        if status_code == 503:
            seconds = random.randint(5, 15)  # not all of them at the same moment
            self.set_header("Retry-After", str(seconds))
            again = f'<meta http-equiv="refresh" content="{seconds}">'
        elif status_code == 404:
            words += f' <a href="{self.base_url}">Here is one.</a>'
        self._say(title, words, again)

    def _say(self, title, words, again=""):
        self.set_header("Content-Type", "text/html")
        self.set_header("Cache-Control", "no-store")  # others who ask, or later, get the page
        page = Template((TEMPLATE / "sorry.html").read_text(encoding="utf-8"))
        if not self._left():
            self.finish(page.substitute(title=escape(title), words=words, again=again))

    def _left(self):
        """Whether the visitor has left."""
        return self.request.connection.stream.closed()


class HealthHandler(JupyterHandler):
    """For a host that asks whether the server is alive: how many visitors there are, and how many there may be."""

    async def get(self):
        kernels = self.kernel_manager
        self.finish({"visitors": kernels.visitors(), "places": await kernels.places_ready(), "forked": kernels.forks()})

    head = get


class RobotsHandler(JupyterHandler):
    """Asks crawlers to stay away: each of their visits would start a kernel."""

    def get(self):
        self.set_header("Content-Type", "text/plain")
        self.finish("User-agent: *\nDisallow: /\n")

    head = get


class Connection(ZMQChannelsWebsocketConnection):
    """The websocket between a page and its kernel. Jupyter drops what visitors may not send; this, what is damaged.

    It also bounds what one visitor can make the server keep: the server has no more than any kernel to spare.
    """

    most = Integer(4, config=True, help="At most so many connections to one kernel; a page has one.")

    def connect(self):
        """Connect to the kernel; one connection too many is closed."""
        kernels, stream = self.multi_kernel_manager, self.websocket_handler.ws_connection.stream
        stream.max_write_buffer_size = capacity.WAITING
        if kernels._kernel_connections.get(self.kernel_id, 0) < self.most:
            return super().connect()
        kernels.notify_connect(self.kernel_id)  # for its end is counted too
        self.websocket_handler.close(1013, "There are too many connections to this page.")
        return asyncio.sleep(0)

    def create_stream(self):
        super().create_stream()
        for name in ("iopub", "stdin"):  # these only listen: what is sent there would be kept for ever
            self.channels[name].send_multipart = lambda *_args, **_options: None

    def handle_outgoing_message(self, stream, outgoing_msg):
        """Pass on what the kernel says; hang up where nobody fetches it."""
        try:
            super().handle_outgoing_message(stream, outgoing_msg)
        except StreamBufferFullError:
            self.log.warning("Nobody fetches what kernel %s says.", self.kernel_id)
            self.websocket_handler.ws_connection.stream.close()

    def handle_incoming_message(self, incoming_msg):
        """Pass a message on; close the connection at one that cannot be read."""
        try:
            if isinstance(incoming_msg, bytes):
                self._check_parts(incoming_msg)
            super().handle_incoming_message(incoming_msg)
        except Exception as error:  # whatever a hostile client makes of its bytes
            self.log.warning("A damaged message to kernel %s: %s", self.kernel_id, type(error).__name__)
            self.websocket_handler.close(1003)

    def _check_parts(self, frame):
        """A frame begins with the number of its parts. Jupyter believes it and makes a list of so many."""
        size, order = (8, "little") if self.subprotocol else (4, "big")
        if not 0 < int.from_bytes(frame[:size], order) < min(len(frame) // size, 1000):
            raise ValueError("a wrong number of parts")
