"""What the tests of the served page share: a browser, its steps, and a look at the server's processes from outside."""

import socket
from contextlib import contextmanager
from urllib.parse import urlsplit

from playwright.sync_api import expect

from support import binaries
from support.server import get

CHROMIUM = {  # how it is started
    "executable_path": binaries.find("chromium"),
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
