"""Record per visit whether its page is being sent, has connected, and when it was last heard of."""

import asyncio
import math
import time
from dataclasses import dataclass, field


@dataclass
class Visit:
    """The state of a visitor's page."""

    sending: asyncio.Task | None  # the task that sends the page; None once the page has been sent
    started: bool = False  # whether the kernel has started
    connected: bool = False  # whether the page ever connected to its kernel
    left: bool = False  # whether the visitor left before the page was sent
    heard: float = field(default_factory=time.monotonic)  # the time of the last sign of life

    def hear(self):
        self.heard = time.monotonic()

    def sent(self, _task):
        self.sending = None
        self.hear()

    def absent(self):
        """Return the seconds since the last sign of life: 0 while the page is being sent, infinity if they left."""
        if self.left:
            return math.inf
        return 0 if self.sending else time.monotonic() - self.heard


class Visits(dict):
    """The visits by the ids of their kernels. A visit lasts from the request for a kernel until the kernel is ended."""

    def begin(self, kernel_id, task):
        """Add and return the visit for which `task` sends the page."""
        visit = self[kernel_id] = Visit(task)
        task.add_done_callback(visit.sent)
        return visit

    def hear(self, kernel_id, connected=False):
        """Record a sign of life of a page. `connected`: whether it has connected to its kernel."""
        if visit := self.get(kernel_id):
            visit.hear()
            visit.connected |= connected

    def leave(self, task):
        """Record that a visitor left while `task` was sending their page."""
        for visit in self.values():
            visit.left |= visit.sending is task

    def longest_absent(self, seconds):
        """Return the kernel whose page never connected and has been silent longest, for more than `seconds`; or None.

        Such a visit came from a program, or was aborted: while a browser loads the page, it polls the kernel every five
        seconds.
        """
        absent = {key: visit.absent() for key, visit in self.items() if visit.started and not visit.connected}
        kernel_id = max(absent, key=absent.get, default=None)
        return kernel_id if absent.get(kernel_id, 0) > seconds else None
