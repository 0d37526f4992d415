"""Check whether the server can listen at a port, before a long step begins."""

import sys

from tornado.netutil import bind_sockets


def refusal(port, ip="localhost"):
    """Return a sentence that says why a server cannot listen at `port` of `ip`, or "" if it can."""
    if not (str(port).isascii() and str(port).isdigit() and 0 < int(port) < 65536):
        return f"The port should be a number between 1 and 65535, not {port!r}."
    try:
        for socket in bind_sockets(int(port), ip):
            socket.close()
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        return f"Port {port} is not available ({why}). Use another one: make app PORT=9000, or --port=9000."
    return ""


if __name__ == "__main__":
    sys.exit(refusal(sys.argv[1]) or 0)
