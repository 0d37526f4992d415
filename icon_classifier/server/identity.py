"""Define the identity provider, which accepts every visitor, rejects cross-site requests, and adds the handlers."""

# `voila.json` names `VisitorIdentityProvider`. There are no accounts and no cookies here.

import re
from urllib.parse import urlsplit

from jupyter_server.auth.identity import IdentityProvider, User
from jupyter_server.services.kernels.handlers import KernelHandler
from tornado.web import HTTPError

from .handlers import page_handlers


class VisitorIdentityProvider(IdentityProvider):
    """Accepts every visitor and rejects cross-site requests that change something."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        voila = self.parent  # it builds addresses by appending to these two
        voila.base_url = _with_slashes(voila.base_url)
        voila.server_url = _with_slashes(voila.server_url or voila.base_url)

    async def get_user(self, handler):
        """Return the visitor. Raises HTTP error 403 for a cross-site request that changes something (CSRF).

        Voila's page sends no cookie, so Jupyter's check of a CSRF token would reject the page's own requests, and
        voila.json turns that check off. Every browser sends the site of origin in the header Origin instead.
        """
        request = handler.request
        if request.method not in ("GET", "HEAD", "OPTIONS"):
            site = urlsplit(request.headers.get("Origin", "")).netloc
            if site != request.host or request.headers.get("Sec-Fetch-Site", "same-origin") != "same-origin":
                raise HTTPError(403, "Cross-site requests are not allowed.")
        if isinstance(handler, KernelHandler):  # the page polls this every five seconds
            handler.kernel_manager.note_activity(handler.path_kwargs["kernel_id"])
        return await super().get_user(handler) if self.token else User("visitor")

    def get_handlers(self):
        """Return the page's handlers, which Voila inserts before its own.

        A standalone Voila loads no server extensions. Overriding `Voila.init_handlers` needs an application of our own,
        in place of the command `voila`; a configuration file can reach only this hook.
        """
        return page_handlers(self.parent)


def _with_slashes(path):
    """Return the path of a URL with a single slash at its beginning, at its end, and between its parts."""
    return re.sub("/+", "/", f"/{path}/")
