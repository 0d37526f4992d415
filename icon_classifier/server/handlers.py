"""Add HTTP handlers to Voila: the page, /healthz and /robots.txt; and compress the responses."""

import asyncio
import os
import random
import re
from html import escape
from pathlib import Path
from string import Template

from jupyter_server.base.handlers import JupyterHandler
from jupyter_server.utils import url_path_join
from tornado.web import Finish, GZipContentEncoding, HTTPError, RedirectHandler
from voila.tornado.handler import TornadoVoilaHandler

from .static_page import CSP, SiteHandler, is_current, site_of, static_only

TEMPLATES = Path(__file__).with_name("templates")
FULL = (
    "The page is full",
    "Too many people are using this page at the moment. It will try again in a few seconds; you do not need to do "
    "anything.",
)
STATIC_INSTEAD = (
    "The page is full",
    "Too many people are using this page at the moment. The same page opens now, and runs in your browser.",
)
NO_SITE = "There is no page yet", "ICON_STATIC=1 selects the static page. To write it, run: icon-classifier site"
SERVER_ERROR = "Something went wrong", "Something went wrong on the server. Please try again in a moment."
NO_TOKEN = (
    "This page needs its token",
    "The program that serves this page printed its address when it was started. Open that address, with its token.",
)
NOT_FOUND = "Page not found", "There is no page at this address."


def page_handlers(voila):
    """Return the handlers to insert before Voila's own, and compress the responses of all handlers.

    voila: the `voila.app.Voila` application, before it adds its handlers.
    """
    voila.app.add_transform(CompressedResponse)
    voila.app.settings["voila_jinja2_env"].loader.searchpath.insert(0, str(TEMPLATES))  # for the list of pages
    page = {
        "template_paths": [str(TEMPLATES), *voila.template_paths],
        "config": voila.config,
        "voila_configuration": voila.voila_configuration,
    }
    site = site_of(voila.notebook_path) if voila.notebook_path else None
    if voila.notebook_path:
        page["notebook_path"] = os.path.relpath(voila.notebook_path, voila.root_dir)
        page["site"] = site
        address = "/((?!voila/(?:files|labextensions)/).*)"
    else:
        address = "/voila/render/(.*)"
        headers = voila.app.settings["headers"]
        # The list of pages compiles the schema of its settings with eval.
        headers[CSP] = headers[CSP].replace("script-src ", "script-src 'unsafe-eval' ")
    handlers = []
    if site:
        files = {"path": str(site), "default_filename": "index.html"}
        handlers.append((url_path_join(voila.server_url, "/site/(.*)"), SiteHandler, files))
    if voila.server_url != "/":
        redirect = {"url": voila.base_url, "permanent": False}
        handlers.append((voila.server_url.rstrip("/"), RedirectHandler, redirect))
    own = [("/healthz", HealthHandler), ("/robots.txt", RobotsHandler), (address, PageHandler, page)]
    return handlers + [(url_path_join(voila.server_url, path), *rest) for path, *rest in own]


class CompressedResponse(GZipContentEncoding):
    """Compresses text, which is nearly all of the page, to a third of its size."""

    GZIP_LEVEL = 1  # takes half the time of the default 6 for slightly larger responses; compression blocks the server


class PageHandler(TornadoVoilaHandler):
    """Sends the page, which starts a kernel; or if the server is full, a page that opens the static page.

    site: the folder of the static page, or None. If there is no static page, a page is sent that reloads itself.
    """

    _sending = None

    def initialize(self, site=None, **kwargs):
        super().initialize(**kwargs)
        self._site = site

    async def get(self, path=None):
        """Send the page to clients that accept HTML, as browsers do; others get the title, and no kernel is started."""
        allowed = self.voila_configuration.file_allowlist
        if any(re.fullmatch(pattern, path, re.IGNORECASE) for pattern in allowed):
            return self.redirect_to_file(path)  # an image beside the notebook
        self._check_exists(path)
        if static_only():
            address = self._static_address()
            return self.redirect(address) if address else self._send_message(*NO_SITE)
        if "text/html" in self.request.headers.get("Accept", ""):
            self._sending = asyncio.current_task()
            return await super().get(path)
        title = Path(self.notebook_path or path).stem.replace("_", " ").title()
        self._send_message(title, "Open this page in a browser.")

    def get_login_url(self):
        """Raise HTTP error 403: the request lacks the server's token, and there is no page on which to enter it."""
        raise HTTPError(403)

    def on_connection_close(self):
        """Note that the visitor left before the page was sent."""
        super().on_connection_close()
        if self._sending:
            self.kernel_manager.leave(self._sending)

    def write(self, chunk):
        """Send a part of the page. End the request if the visitor has left, because tornado would continue it."""
        if self._left():
            self.on_connection_close()  # tornado may not have called it yet
            raise Finish
        super().write(chunk)

    def head(self, path=None):
        """Respond with the status of the page, without starting a kernel."""
        self._check_exists(path)
        self.set_header("Content-Type", "text/html")

    def _check_exists(self, path):
        """Raise HTTP error 404 if there is no page at `path`, or if it is a hidden file in a folder of pages."""
        files = self.contents_manager
        listed = path and all(map(files.should_list, path.strip("/").split("/"))) and files.file_exists(path)
        if path and (self.notebook_path or not listed):
            raise HTTPError(404)

    def write_error(self, status_code, **kwargs):
        title, text = {503: FULL, 404: NOT_FOUND, 403: NO_TOKEN}.get(status_code, SERVER_ERROR)
        refresh = ""
        if status_code == 503 and (address := self._static_address()):  # 503, so that a proxy asks another server first
            title, text = STATIC_INSTEAD
            text += f' <a href="{address}?full">Open it.</a>'
            refresh = f'<meta http-equiv="refresh" content="1; url={address}?full">'
        elif status_code == 503:
            seconds = random.randint(5, 15)  # random, so that clients do not all return at the same time
            self.set_header("Retry-After", str(seconds))
            refresh = f'<meta http-equiv="refresh" content="{seconds}">'
        elif status_code == 404:
            text += f' <a href="{self.base_url}">Go to the start page.</a>'
        self._send_message(title, text, refresh)

    def _static_address(self):
        """Return the address of the static page, or None if it was not written since the last training."""
        return f"{self.base_url}site/" if self._site and is_current(self._site) else None

    def _send_message(self, title, text, refresh=""):
        self.set_header("Content-Type", "text/html")
        self.set_header("Cache-Control", "no-store")  # the same address may send the page a moment later
        page = Template((TEMPLATES / "message.html").read_text(encoding="utf-8"))
        if not self._left():
            self.finish(page.substitute(title=escape(title), text=text, refresh=refresh))

    def _left(self):
        """Return whether the visitor has left."""
        return self.request.connection.stream.closed()


class HealthHandler(JupyterHandler):
    """Responds to a health check with the number of visitors and the capacity. Starts no kernel."""

    async def get(self):
        kernels = self.kernel_manager
        capacity = await kernels.capacity()
        self.finish({"visitors": kernels.visitors(), "capacity": capacity, "forked": kernels.forks()})

    head = get


class RobotsHandler(JupyterHandler):
    """Disallows crawlers, because each visit could start a kernel."""

    def get(self):
        self.set_header("Content-Type", "text/plain")
        self.finish("User-agent: *\nDisallow: /\n")

    head = get
