"""Serve the static page (`icon-classifier site`) beside the page, for visitors for whom there is no kernel."""

import json
import os
from pathlib import Path

from jupyter_server.base.handlers import JupyterHandler
from tornado.web import HTTPError, StaticFileHandler, authenticated

from .fork_pool import exports_of

CSP = "Content-Security-Policy"


def site_of(notebook):
    """Return the folder of a page notebook's static page, which may not exist: `site`, in the folder of its export."""
    exports = exports_of([notebook])
    return Path(exports[0]).resolve().with_name("site") if exports else None


def static_only():
    """Return whether the static page is the only one: ICON_STATIC=1 in the environment."""
    return os.environ.get("ICON_STATIC") == "1"


def is_current(site):
    """Return whether there is a static page in the folder `site`, and it contains the model of the export around it."""
    try:
        card = json.loads(site.with_name("card.json").read_text(encoding="utf-8"))
        return (site / "model.txt").read_text() == card["onnx"]["sha256"]
    except (OSError, ValueError, KeyError, TypeError):  # there is no page, or the served page says what is wrong
        return False


class SiteHandler(JupyterHandler, StaticFileHandler):
    """Sends the files of the static page."""

    def set_default_headers(self):
        """Replace the policy of the served page: the static page contains its own, which allows less."""
        super().set_default_headers()
        self.set_header(CSP, "frame-ancestors 'self'")

    @authenticated
    async def get(self, path, include_body=True):
        return await StaticFileHandler.get(self, path, include_body)

    @authenticated
    async def head(self, path):
        return await StaticFileHandler.get(self, path, include_body=False)

    def parse_url_path(self, url_path):
        """Return the path of a file. Raise HTTP error 404 if it is hidden, as a repository beside the page is."""
        if any(part.startswith(".") for part in url_path.split("/")):
            raise HTTPError(404)
        return super().parse_url_path(url_path)

    def compute_etag(self):
        """Return the file's version. Tornado would keep the first one, although the page can be written again."""
        state = os.stat(self.absolute_path)
        return f'"{state.st_mtime_ns:x}-{state.st_size:x}"'

    def write_error(self, status_code, **kwargs):
        self.set_header("Content-Type", "text/plain")
        self.finish(f"{status_code}: {self._reason}\n")
