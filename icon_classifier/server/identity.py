"""The identity provider: accepts every visitor, rejects cross-site requests, and registers the page's handlers."""

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
        voila = self.parent  # builds addresses by appending to these two
        voila.base_url, voila.server_url = (
            re.sub("/+", "/", f"/{url}/") for url in (voila.base_url, voila.server_url or voila.base_url)
        )

    async def get_user(self, handler):
        """Return the visitor; raises HTTP error 403 for a cross-site request that changes something.

        Voila's page sends no cookie, so Jupyter's check of a CSRF token would reject its own requests, and voila.json
        turns that check off. Every browser names the site that a request comes from in the header Origin.
        """
        request = handler.request
        if request.method not in ("GET", "HEAD", "OPTIONS"):
            site = urlsplit(request.headers.get("Origin", "")).netloc
            if site != request.host or request.headers.get("Sec-Fetch-Site", "same-origin") != "same-origin":
                raise HTTPError(403, "A page of another site may not do this.")
        if isinstance(handler, KernelHandler):  # the page polls this every five seconds
            handler.kernel_manager.note_activity(handler.path_kwargs["kernel_id"])
        return await super().get_user(handler) if self.token else User("visitor")

    def get_handlers(self):
        """Return the page's handlers, which Voila puts before its own.

        This is the only hook of a standalone Voila for handlers: it loads no server extensions.
        """
        return page_handlers(self.parent)
