"""On import, make os.fork fail after the first call, as at a limit of processes."""

import os

really_fork = os.fork
left = [1]


def fork():
    if not left:
        raise BlockingIOError(11, "Resource temporarily unavailable")
    left.pop()
    return really_fork()


os.fork = fork
