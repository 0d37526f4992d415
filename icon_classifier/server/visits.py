"""One record per visit: whether its page is being sent, is connected, or has not been heard of for a while."""

import asyncio
import math
import time
from dataclasses import dataclass, field


@dataclass
class Visit:
    """What is known of a visitor's page."""

    page: asyncio.Task | None  # sends it, until it has been sent
    started: bool = False  # whether there is a kernel
    connected: bool = False  # whether the page ever was, to its kernel
    left: bool = False  # whether the visitor left before the page was sent
    heard: float = field(default_factory=time.monotonic)  # when it last was

    def hear(self):
        self.heard = time.monotonic()

    def sent(self, _page):
        self.page = None
        self.hear()

    def absent(self):
        """For how many seconds nothing was heard of the page: 0 while it is sent, infinite once its visitor left."""
        if self.left:
            return math.inf
        return 0 if self.page else time.monotonic() - self.heard


class Visits(dict):
    """The visits, by the ids of their kernels: from the request for a kernel until its end begins."""

    def begin(self, kernel_id, page):
        """Add and return the visit for which the task `page` sends the page."""
        visit = self[kernel_id] = Visit(page)
        page.add_done_callback(visit.sent)
        return visit

    def hear(self, kernel_id, connected=False):
        """Note that a page is there; `connected`: and has connected to its kernel."""
        if visit := self.get(kernel_id):
            visit.hear()
            visit.connected |= connected

    def leave(self, page):
        """Note that a visitor left while the task `page` was at work."""
        for visit in self.values():
            visit.left |= visit.page is page

    def longest_absent(self, seconds):
        """The kernel whose page never connected and was not heard of for longest, for more than `seconds`; or None.

        That is a program's, or an aborted visit's: a browser asks for its kernel every five seconds, however slowly it
        loads the page.
        """
        absent = {it: visit.absent() for it, visit in self.items() if visit.started and not visit.connected}
        kernel_id = max(absent, key=absent.get, default=None)
        return kernel_id if absent.get(kernel_id, 0) > seconds else None
