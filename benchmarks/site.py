"""Prints what a visit to the static page costs the visitor, beside the page that Voila serves and the page of 2021.

All run in a real Chromium that classifies photos of 12 megapixels. Run from the project's top folder: make bench
"""

import gzip
import shutil
import statistics
import sys
import tempfile
import threading
import time
from contextlib import contextmanager, nullcontext
from pathlib import Path

import psutil
from PIL import Image

ROOT = Path(__file__).parent.parent
sys.path += [str(ROOT / "tests"), str(ROOT / "tests/browser")]

from playwright.sync_api import expect, sync_playwright  # noqa: E402
from row import row  # noqa: E402
from serving import OLD, furnish_2021, upload_2021  # noqa: E402
from static_host import hosted  # noqa: E402
from support import page as visits  # noqa: E402
from support.server import furnish, serve  # noqa: E402

from icon_classifier.site.build import write_site  # noqa: E402

MB = 1 << 20
PHOTOS = 20
MBIT = 50  # per second, of the slow connection


@contextmanager
def fresh_page(browser):
    """A page of a visitor who was never here."""
    with browser.new_context() as context:
        yield context.new_page()


def measure(browser, address, photos):
    """Return the figures of one page, a dict: times in s, memory in MB."""
    found, buttons, durations, slow = {}, [], [], []
    for _ in range(3):
        with fresh_page(browser) as page:
            buttons.append(seconds(lambda page=page: visits.open_page(page, address)))
            classify(page, photos[:1])
            durations.append(seconds(lambda page=page: classify(page, photos[:1])))
            with half_a_core(renderers()):
                slow.append(seconds(lambda page=page: classify(page, photos[:1])))
    found["buttons"], found["prediction"] = statistics.median(buttons), statistics.median(durations)
    found["slow"] = statistics.median(slow)
    with fresh_page(browser) as page:
        visits.open_page(page, address)
        found["twenty"] = seconds(lambda: classify(page, photos))
    with fresh_page(browser) as page:  # another one, because the samples cost time
        visits.open_page(page, address)
        with samples_of_memory(renderers()) as samples:
            classify(page, photos)
        found["memory"] = max(samples) / MB
    return found


def measure_2021(browser, folder, photo):
    """Return the figures of the page of 2021, which takes one photo at a time: times in s, bytes in MB.

    Each figure is of a fresh page, because a second prediction with the same words would go unnoticed.
    """
    buttons, durations = [], {False: [], True: []}
    for slowed, found in durations.items():
        with serve(folder, ".venv", OLD) as address:  # anew, because it keeps the kernels of visitors who have gone
            for _ in range(3):
                with fresh_page(browser) as page:
                    buttons.append(seconds(lambda page=page: visits.open_page(page, address)))
                    with half_a_core(renderers()) if slowed else nullcontext():
                        found.append(seconds(lambda page=page: classify_2021(page, photo)))
            with fresh_page(browser) as page:
                _, first = visits.loaded(page, address)
    names = ("first", "buttons", "prediction", "slow")
    return dict(zip(names, (first, *map(statistics.median, (buttons, *durations.values()))), strict=True))


def classify(page, photos):
    visits.upload(page, *photos)
    visits.press(page)
    expect(visits.prediction(page)).to_have_count(len(photos), timeout=120_000)


def classify_2021(page, photo):
    upload_2021(page, photo)
    visits.press(page)
    expect(page.get_by_text("Prediction:")).to_be_visible(timeout=60_000)


@contextmanager
def samples_of_memory(processes):
    """Yield a list that grows, while the body runs, by the largest private memory of processes, in bytes."""
    samples = []

    def sample():
        samples.append(max(process.memory_full_info().uss for process in processes))
        time.sleep(0.02)

    with repeated(sample):
        yield samples


def renderers():
    """Chromium's processes that run pages."""
    children = psutil.Process().children(recursive=True)
    return [child for child in children if "--type=renderer" in child.cmdline()]


@contextmanager
def half_a_core(processes):
    """Let processes run half of the time. (The DevTools' throttling slows no workers.)"""

    def stop_and_go():
        for act in ("suspend", "resume"):
            for process in processes:
                getattr(process, act)()
            time.sleep(0.01)

    with repeated(stop_and_go):
        yield


@contextmanager
def repeated(action):
    """Repeat `action` in a thread while the body runs."""
    done = threading.Event()

    def repeat():
        while not done.is_set():
            action()

    thread = threading.Thread(target=repeat)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def second_visit(browser, folder, photos):
    """The megabytes of files that a second visit asks the host for, and how many of them are parts of the model."""
    with hosted(folder, compress=True) as host, fresh_page(browser) as page:
        visits.open_page(page, host.url)
        classify(page, photos[:1])
        page.wait_for_function("navigator.serviceWorker.controller !== null")
        host.requests.clear()
        visits.open_page(page, host.url)
        classify(page, photos[:1])
        asked = [folder / (path or "index.html") for path in host.requests]
        return sum(path.stat().st_size for path in asked if path.is_file()) / 1e6, len(host.parts())


def ready(browser, folder):
    """The seconds until the model is there, on a slow connection and a first visit."""
    # Compressing would take this host, but no real one, half a second.
    with hosted(folder, rate=MBIT * 1e6 / 8) as host, fresh_page(browser) as page:
        begin = time.perf_counter()
        visits.open_page(page, host.url)
        page.wait_for_selector(".icon-loading[hidden]", state="attached", timeout=60_000)
        return time.perf_counter() - begin


def sizes(folder):
    """The megabytes of a first visit: until the buttons work, and all of it; as hosts send them, compressed."""
    index = folder / "index.html"
    small = {path: len(gzip.compress(path.read_bytes())) for path in (index, *folder.glob("page-*/*"))}
    text = index.read_text(encoding="utf-8")
    needed = {path for path in small if path == index or (f'{path.name}"' in text and path.name != "classifier.js")}
    usable = sum(small[path] for path in needed)
    parts = sum(path.stat().st_size for path in folder.glob("parts/*"))
    return usable / 1e6, (sum(small.values()) + parts) / 1e6


def seconds(action):
    """The duration of `action`."""
    begin = time.perf_counter()
    action()
    return time.perf_counter() - begin


def main():
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        folder = Path(folder)
        browser = playwright.chromium.launch(**visits.CHROMIUM)
        photo = Image.effect_noise((400, 300), 60).convert("RGB").resize((4000, 3000))
        photo.save(folder / "00.jpg", quality=92)
        photos = [Path(shutil.copy(folder / "00.jpg", folder / f"{i:02}.jpg")) for i in range(1, PHOTOS + 1)]
        shutil.copytree(ROOT / "export", folder / "export", ignore=shutil.ignore_patterns("site*"))
        static, _ = write_site(folder / "static", folder / "export")
        with hosted(static, compress=True) as host:
            ours = measure(browser, host.url, photos)
        with serve(furnish(folder), ".venv-page") as address:
            theirs = measure(browser, address, photos)
            with fresh_page(browser) as page:
                _, first = visits.loaded(page, address)
                _, second = visits.loaded(page, address)
        old = measure_2021(browser, furnish_2021(folder / "old"), photos[0])
        usable, whole = sizes(static)
        slow = ready(browser, static)
        again, parts = second_visit(browser, static, photos)
        browser.close()
    print(f"the static page: {usable:.3f} MB until its buttons work")
    print(f"the static page: ready {slow:.2f} s after it was opened, at {MBIT} Mbit/s")
    print(f"the static page: a second visit loads {parts} parts of the model")
    row("first visit, cold cache: bytes", whole, first, "served", "MB")
    row("second visit: bytes", again, second, "served", "MB")
    row("first visit, cold cache: buttons", ours["buttons"], theirs["buttons"], "served", "s")
    row("12 megapixels: from the photo to the prediction", ours["prediction"], theirs["prediction"], "served", "s")
    row("the same, with half a core for the browser's page", ours["slow"], theirs["slow"], "served", "s")
    row(f"{PHOTOS} photos of 12 megapixels", ours["twenty"], theirs["twenty"], "served", "s")
    row(f"highest memory of the browser's page, {PHOTOS} photos", ours["memory"], theirs["memory"], "served", "MB")
    for what, value, key, unit in (
        ("first visit, cold cache: bytes", whole, "first", "MB"),
        ("first visit, cold cache: buttons", ours["buttons"], "buttons", "s"),
        ("12 megapixels: from the photo to the prediction", ours["prediction"], "prediction", "s"),
        ("the same, with half a core for the browser's page", ours["slow"], "slow", "s"),
    ):
        row(what, value, old[key], "2021", unit)


if __name__ == "__main__":
    main()
