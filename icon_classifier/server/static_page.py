"""Serve the static page (`icon-classifier site`) beside the page, for visitors for whom there is no kernel."""

import os
from pathlib import Path

from jupyter_server.base.handlers import JupyterHandler
from tornado.web import StaticFileHandler, authenticated

from .fork_pool import exports_of

CSP = "Content-Security-Policy"


def site_of(notebook):
    """Return the folder of a page notebook's static page, which may not exist: `site`, in the folder of its export."""
    exports = exports_of([notebook])
    return Path(exports[0]).resolve().with_name("site") if exports else None


def static_only():
    """Return whether the static page is the only one: ICON_STATIC=1 in the environment."""
    return os.environ.get("ICON_STATIC") == "1"


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

    def write_error(self, status_code, **kwargs):
        self.set_header("Content-Type", "text/plain")
        self.finish(f"{status_code}: {self._reason}\n")
