"""Drive the page in Chromium: open it, upload images, classify them, and visit it in several ways."""

import socket
from contextlib import contextmanager
from urllib.parse import urlsplit

from playwright.sync_api import expect

from support import binaries
from support.server import get, serve

CHROMIUM = {  # the options with which it is started
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
TIMEOUT = 60_000  # ms; because a machine may be slow, or busy with something else
expect.set_options(timeout=TIMEOUT)


def open_page(page, address):
    """Go to the page and wait until its widgets are there."""
    page.goto(address, wait_until="commit", timeout=90_000)
    ready(page, 90_000)


def ready(page, timeout=TIMEOUT):
    """Wait until both buttons of the page are visible: ours, or those of 2021.

    They are checked in each frame; `wait_for` may check twice a second, which is too coarse for the benchmarks.
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
    """Open the page; return the number of its requests to the server, and the MB that it receives."""
    asked = []
    came = []
    network = page.context.new_cdp_session(page)
    network.on("Network.requestWillBeSent", lambda event: asked.append(event["request"]["url"]))
    network.on("Network.loadingFinished", lambda event: came.append(event["encodedDataLength"]))
    network.send("Network.enable")
    open_page(page, address)
    page.wait_for_load_state("networkidle")
    return sum(url.startswith(address) for url in asked), sum(came) / 1e6


@contextmanager
def new_cards(page, number=1):
    """Run the body, which uploads images; then wait until `number` images are on the page, all of them new."""
    before = images(page)
    yield
    page.wait_for_function(
        """([number, before]) => {
          const now = [...document.querySelectorAll(".icon-card img")].map((image) => image.src);
          return now.length === number && !now.some((address) => before.includes(address));
        }""",
        arg=[number, before],
        timeout=TIMEOUT,
    )


def images(page):
    """Return the addresses of the images on the page."""
    return page.locator(".icon-card img").evaluate_all("images => images.map((image) => image.src)")


def upload(page, *files):
    with new_cards(page, len(files)):
        with page.expect_file_chooser() as chooser:
            page.get_by_role("button", name="Choose pictures").click()
        chooser.value.set_files(files)


def sent(page):
    """Return a list that grows by the size of each message that the page sends to its kernel after its next load."""
    sizes = []
    page.on("websocket", lambda opened: opened.on("framesent", lambda payload: sizes.append(len(payload))))
    return sizes


def complaints_of(page):
    """Return a list that grows by each error on the browser's console or in the page."""
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
    """Open the page as a new visitor, with their own cookies and cache; yield the page, and close it afterwards."""
    with browser.new_context() as context:
        page = context.new_page()
        open_page(page, address)
        yield page
        if not page.is_closed():
            with page.expect_event("close"):
                page.close(run_before_unload=True)


def classify(browser, address, image):
    """Visit the page as most visitors do: classify an image, read the prediction and close the tab."""
    with visit(browser, address) as page:
        upload(page, image)
        press(page)
        expect(prediction(page)).to_contain_text("Prediction: ")


def come_and_go(browser, address, image):
    """Make ten visits: closed, reloaded, left while loading, aborted, or sent by a program."""
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


@contextmanager
def jupyterlab(browser, folder, notebook):
    """Serve `folder` with JupyterLab, open the notebook at this path in it, and run all cells; yield the page."""
    line = "jupyter lab --no-browser --allow-root --ServerApp.port=$PORT --IdentityProvider.token="
    with serve(folder, ".venv", line, ready="api") as address, browser.new_context() as context:
        page = context.new_page()
        page.goto(f"{address}lab/tree/{notebook}", wait_until="domcontentloaded", timeout=90_000)
        page.get_by_text("| Idle").wait_for(timeout=60_000)
        page.get_by_text("Run", exact=True).click()
        page.get_by_text("Run All Cells", exact=True).click()
        yield page
