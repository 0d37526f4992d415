"""What the tests of the served page share: a browser, its steps, and a look at the server's processes from outside."""

import json
import re
import socket
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from urllib.parse import urlsplit

import programs
import psutil
from playwright.sync_api import expect

CHROMIUM = {  # how it is started
    "executable_path": programs.find("chromium"),
    "args": [
        "--no-sandbox",
        "--disable-gpu",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
    ],
}
expect.set_options(timeout=30_000)  # what is expected comes in a blink, but a machine may be busy with something else


def open_page(page, address):
    """Go to the page and wait until its widgets are there."""
    page.goto(address, wait_until="commit", timeout=90_000)
    ready(page, 90_000)


def ready(page, timeout=30_000):
    """Wait until the page's buttons are there, which may come one after the other: ours, or those of 2021.

    They are looked at in each frame, where `wait_for` may look twice a second.
    """
    page.wait_for_function(
        """() => {
          const visible = (button) => button.checkVisibility({ visibilityProperty: true });
          const there = [...document.querySelectorAll("button")].filter(visible);
          const words = there.map((button) => button.textContent).join();
          return /Choose pictures|Upload/.test(words) && words.includes("Classify Icon");
        }""",
        timeout=timeout,
    )


def loaded(page, address):
    """Open the page; how many requests it makes to the server for that, and how many MB come."""
    asked, came = [], []
    network = page.context.new_cdp_session(page)
    network.on("Network.requestWillBeSent", lambda event: asked.append(event["request"]["url"]))
    network.on("Network.loadingFinished", lambda event: came.append(event["encodedDataLength"]))
    network.send("Network.enable")
    open_page(page, address)
    page.wait_for_load_state("networkidle")
    return sum(url.startswith(address) for url in asked), sum(came) / 1e6


@contextmanager
def new_cards(page, number=1):
    """Do what brings pictures in, and wait until so many other ones than before are on the page."""
    before = images(page)
    yield
    page.wait_for_function(
        """([number, before]) => {
          const now = [...document.querySelectorAll(".icon-card img")].map((image) => image.src);
          return now.length === number && !now.some((address) => before.includes(address));
        }""",
        arg=[number, before],
    )


def images(page):
    """Where the browser has the pictures that are on the page."""
    return page.locator(".icon-card img").evaluate_all("images => images.map((image) => image.src)")


def upload(page, *files):
    with new_cards(page, len(files)):
        with page.expect_file_chooser() as chooser:
            page.get_by_role("button", name="Choose pictures").click()
        chooser.value.set_files(files)


def sent(page):
    """A list that grows by the size of every message that the page, once it is loaded anew, sends to its kernel."""
    sizes = []
    page.on("websocket", lambda opened: opened.on("framesent", lambda payload: sizes.append(len(payload))))
    return sizes


def complaints_of(page):
    """A list that grows by whatever the browser complains about."""
    texts = []
    page.on("console", lambda message: texts.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: texts.append(str(error)))
    return texts


def press(page):
    page.get_by_role("button", name="Classify Icon").click()


def prediction(page):
    return page.locator(".icon-prediction")


@contextmanager
def visit(browser, address):
    """A visitor of their own (no shared cookies or cache), with the page open."""
    with browser.new_context() as context:
        page = context.new_page()
        open_page(page, address)
        yield page
        if not page.is_closed():
            with page.expect_event("close"):
                page.close(run_before_unload=True)


def get(address, method="GET", data=None, **headers):
    """(status, headers, text) of a request for HTML, whatever the status; `headers`: with _ for -."""
    headers = {"Accept": "text/html"} | {name.replace("_", "-"): value for name, value in headers.items()}
    request = urllib.request.Request(address, method=method, data=data, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=90) as response:
            return response.status, response.headers, response.read().decode(errors="replace")
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers, error.read().decode()


def leave(address, html):
    """Tell the server, as the page does, that the visitor who got `html` has gone."""
    get(f"{address}voila/api/shutdown/{kernel_of(html)}", "POST", b"", Origin=address.rstrip("/"))


def classify(browser, address, image):
    """A visit as it should be: the answer is read, the tab closed."""
    with visit(browser, address) as page:
        upload(page, image)
        press(page)
        expect(prediction(page)).to_contain_text("Prediction: ")


def come_and_go(browser, address, image):
    """Ten visits of all kinds: closed, reloaded, left in the middle of loading, aborted, fetched by a program."""
    classify(browser, address, image)
    with visit(browser, address) as page:
        page.reload()
        ready(page)
    for _ in range(2):
        with browser.new_context() as context:
            context.new_page().goto(address, wait_until="commit")
    for _ in range(3):
        with socket.create_connection(("127.0.0.1", urlsplit(address).port)) as raw:
            raw.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nAccept: text/html\r\n\r\n")
        get(address)


def kernel_of(html):
    """The kernel id that a page carries, ours or Voila's own."""
    return re.search(r'kernelId"?[ :=]+"([0-9a-f-]{36})"', html)[1]


def health(address):
    return json.loads(get(address + "healthz")[2])


def server_of(address):
    """The process that listens at `address`."""
    port = urlsplit(address).port
    pids = {link.pid for link in psutil.net_connections("tcp") if link.laddr.port == port and link.status == "LISTEN"}
    return psutil.Process(pids.pop())


def kernels(server):
    """The server's processes that are kernels: with a fork server, its children, else those that run ipykernel."""
    forker = fork_server(server)
    if forker:
        return forker.children()
    return [child for child in server.children() if "ipykernel_launcher" in child.cmdline()]


def fork_server(server):
    """The fork server, from which kernels are forked, or None."""
    return next((child for child in server.children() if "icon_classifier.server.fork_server" in child.cmdline()), None)


def own_memory(processes):
    """Bytes of memory that are the processes' own, shared pages once; not files, which another program may map too."""
    lines = [line.split() for process in processes for line in open(f"/proc/{process.pid}/smaps_rollup")]
    return sum(int(line[1]) << 10 for line in lines if line[0] == "Pss_Anon:")


def kept(server):
    """Bytes of memory that the server and its fork server keep once their visitors have gone."""
    time.sleep(6)  # the server collects what is left of kernels every five seconds
    return own_memory([server, fork_server(server)])


def until(condition, seconds):
    """Wait until `condition()` holds; whether it did within `seconds`."""
    end = time.monotonic() + seconds
    while not (held := condition()) and time.monotonic() < end:
        time.sleep(0.1)
    return bool(held)
