"""Serve the page, send requests to the server, and inspect its processes."""

import json
import os
import re
import shutil
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from urllib.parse import urlsplit

import psutil
import pytest

from icon_classifier.server.preflight import Failed, procfile, served
from support import ROOT


def furnish(folder):
    """Copy the files that a host needs to serve the page into `folder`."""
    (folder / "notebooks").mkdir(exist_ok=True)
    for name in ("Procfile", "voila.json", "requirements.txt", "runtime.txt", "notebooks/icon_classifier.ipynb"):
        shutil.copy(ROOT / name, folder / name)
    return folder


@contextmanager
def serve(folder, environment, line=None, ready="voila/static/voila.js", more="", **variables):
    """Run the Procfile's command in `folder` as Heroku does, with the code's root as PYTHONPATH; yield the address.

    line, ready: another command, and a path below the address to which it responds when it has started.
    more: further arguments of the command. variables: further environment variables.
    """
    path = f"{ROOT / environment / 'bin'}{os.pathsep}{os.environ['PATH']}"
    variables = {"PATH": path, "PYTHONPATH": str(ROOT), "PYTHONFAULTHANDLER": "1", **variables}
    with open(folder / f"{environment}.log", "w+") as log:
        try:
            line = f"{line or procfile(folder)} {more}"
            with served(folder, line, ready, log, **variables) as (_, address):
                yield address
        except Failed as failure:
            log.seek(0)
            pytest.fail(f"{failure}:\n{log.read()}")


def get(address, method="GET", data=None, **headers):
    """Request HTML; return (status, headers, text) for any status. headers: their names have _ instead of -."""
    headers = {"Accept": "text/html"} | {name.replace("_", "-"): value for name, value in headers.items()}
    request = urllib.request.Request(address, method=method, data=data, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=90) as response:
            return response.status, response.headers, response.read().decode(errors="replace")
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers, error.read().decode()


def leave(address, html):
    """Tell the server, as the page does, that the visitor with the page `html` has left."""
    get(f"{address}voila/api/shutdown/{kernel_of(html)}", "POST", b"", Origin=address.rstrip("/"))


def kernel_of(html):
    """Return the kernel id in the HTML of a page, ours or Voila's own."""
    return re.search(r'kernelId"?[ :=]+"([0-9a-f-]{36})"', html)[1]


def health(address):
    return json.loads(get(address + "healthz")[2])


def server_of(address):
    """Return the process that listens at `address`."""
    port = urlsplit(address).port
    pids = {link.pid for link in psutil.net_connections("tcp") if link.laddr.port == port and link.status == "LISTEN"}
    return psutil.Process(pids.pop())


def kernels(server):
    """Return the kernels of a server: the children of its fork server, or else its processes that run ipykernel."""
    forker = fork_server(server)
    if forker:
        return forker.children()
    return [child for child in server.children() if "ipykernel_launcher" in child.cmdline()]


def fork_server(server):
    """Return the fork server of a server, or None."""
    return next((child for child in server.children() if "icon_classifier.server.fork_server" in child.cmdline()), None)


def own_memory(processes):
    """Return the bytes of the processes' own memory, with shared pages counted once, and without mapped files."""
    lines = [line.split() for process in processes for line in open(f"/proc/{process.pid}/smaps_rollup")]
    return sum(int(line[1]) << 10 for line in lines if line[0] == "Pss_Anon:")


def kept(server):
    """Return the bytes of memory that the server and its fork server keep when their visitors have left."""
    time.sleep(6)  # the server frees the memory of ended kernels every five seconds
    return own_memory([server, fork_server(server)])
