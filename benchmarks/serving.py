"""Print the memory and the times of a visit, beside those of the page of 2021 on today's versions.

The page of 2021 (page_2021.ipynb) loads fastai and the pickle in each visitor's kernel, served by plain Voila. Visitors
are real Chromium tabs that classify a photo of 12 megapixels. Run from the project's top folder: make bench
"""

import os
import shutil
import statistics
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
from PIL import Image

ROOT = Path(__file__).parent.parent
sys.path.append(str(ROOT / "tests"))

from playwright.sync_api import expect, sync_playwright  # noqa: E402
from row import row  # noqa: E402
from support import page as steps  # noqa: E402
from support import server as servers  # noqa: E402
from support.process import until  # noqa: E402
from support.server import furnish, get, serve  # noqa: E402

MB = 1 << 20
VISITORS = 10
OLD = "voila page_2021.ipynb --port=$PORT --no-browser"  # the Procfile's of 2021, as far as its options still exist


def upload_2021(page, file):
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Upload").click()
    chooser.value.set_files(file)
    expect(page.get_by_text("(1)")).to_be_visible(timeout=30_000)


def furnish_2021(folder):
    """Copy what the page of 2021 needs into `folder`, which does not exist yet; return it."""
    shutil.copytree(ROOT / "export", folder / "export")
    source = (ROOT / "benchmarks/page_2021.ipynb").read_text(encoding="utf-8")
    (folder / "page_2021.ipynb").write_text(source.replace("../export/", "export/"), encoding="utf-8")
    return folder


def measure(browser, folder, environment, line, visitors, upload):
    """Return the figures of one page, a dict. Each of `visitors` opens it, classifies an image and stays."""
    contexts = []
    durations = []
    found = {"cold": statistics.median(cold(folder, environment, line) for _ in range(3))}
    with serve(folder, environment, line, ICON_VISITORS="20") as address:
        server = servers.server_of(address)
        for _ in range(visitors):
            context = browser.new_context()
            page = context.new_page()
            sent = steps.sent(page)
            steps.open_page(page, address)
            sent.clear()
            durations.append(seconds(lambda page=page: classify(page, folder, upload)))
            contexts.append(context)
        found["prediction"] = statistics.median(durations)
        found["sent"] = sum(sent) / 1e6
        time.sleep(2)
        pids = [server.pid, *(child.pid for child in server.children(recursive=True))]
        memory = {pid: psutil.Process(pid).memory_full_info() for pid in pids}
        fork_server = servers.fork_server(server)
        theirs = [memory[pid].uss for pid in pids if pid not in (server.pid, fork_server.pid if fork_server else None)]
        found["private"] = max(sorted(theirs)[-visitors:]) / MB
        found["kernels"] = len(theirs)  # the page of 2021 also keeps those of visitors who have left
        found["together"] = sum(each.pss for each in memory.values()) / MB
        for context in contexts:
            context.close()
    with serve(folder, environment, line, ICON_VISITORS="20") as address:
        get(address)
        found["warm"] = median(lambda: get(address))
        with tempfile.TemporaryDirectory() as profile:  # a browser with a cache, as visitors have
            context = browser.browser_type.launch_persistent_context(profile, **steps.CHROMIUM)
            found["requests"], found["megabytes"] = steps.loaded(context.new_page(), address)
            found["visible"] = median(lambda: steps.open_page(context.new_page(), address))
            context.close()
    return found


def cold(folder, environment, line):
    """Return the seconds that a server takes for its first page."""
    with serve(folder, environment, line) as address:
        return seconds(lambda: get(address))


def classify(page, folder, upload):
    upload(page, folder / "photo.jpg")
    steps.press(page)
    expect(page.get_by_text("Prediction:")).to_be_visible(timeout=60_000)


def median(action):
    """Return the median of three durations of `action`, in seconds."""
    return statistics.median(seconds(action) for _ in range(3))


def seconds(action):
    """Return the duration of `action` in seconds."""
    begin = time.perf_counter()
    action()
    return time.perf_counter() - begin


def crowd(folder):
    """Return what twenty concurrent visitors get from a server with a capacity of ten."""
    with serve(folder, ".venv-page", ICON_VISITORS="10") as address, ThreadPoolExecutor(20) as pool:
        get(address + "healthz")
        statuses = []
        slowest = seconds(lambda: statuses.extend(pool.map(lambda _: get(address)[0], range(20))))
    return f"{statuses.count(200)} served, {statuses.count(503)} asked to wait, the slowest within {slowest:.2f} s"


def many(browser, folder, image):
    """Return what two hundred visits leave: the kernels after at most 60 s, and the memory after and before, in MB."""
    with serve(folder, ".venv-page", ICON_VISITORS="60") as address:
        server = servers.server_of(address)
        for _ in range(4):  # first visits load what is kept
            steps.classify(browser, address, image)
        until(lambda: not servers.kernels(server), 60)
        before = servers.kept(server)
        for _ in range(20):
            steps.come_and_go(browser, address, image)
        until(lambda: not servers.kernels(server), 60)
        return len(servers.kernels(server)), servers.kept(server) / MB, before / MB


def main():
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        browser = playwright.chromium.launch(**steps.CHROMIUM)
        ours, old = Path(folder, "ours"), Path(folder, "old")
        photo = Image.effect_noise((400, 300), 60).convert("RGB").resize((4000, 3000))
        shutil.copytree(ROOT / "export", ours / "export")
        furnish(ours)
        furnish_2021(old)
        for place in (ours, old):
            photo.save(place / "photo.jpg", quality=92)
        photo.resize((400, 300)).save(ours / "small.jpg")
        here = measure(browser, ours, ".venv-page", None, VISITORS, steps.upload)
        few = int(os.environ.get("VISITORS_2021", 3))  # ten kernels with fastai need 4 GB
        there = measure(browser, old, ".venv", OLD, few, upload_2021)
        at_once = crowd(ours)
        left, after, before = many(browser, ours, ours / "small.jpg")
        browser.close()
    each = (there["together"] - 100) / there["kernels"]
    row(f"private memory per visitor ({VISITORS}; 2021: {few})", here["private"], there["private"], "2021", "MB")
    together = 100 + VISITORS * each
    row(f"total memory, {VISITORS} visitors (2021: extrapolated)", here["together"], together, "2021", "MB")
    for what, key, unit in (
        ("the page complete, the server's first", "cold", "s"),
        ("the page complete, warm", "warm", "s"),
        ("widgets visible in Chromium, warm", "visible", "s"),
        ("12 megapixels: from the photo to the prediction", "prediction", "s"),
        ("12 megapixels: sent to the server", "sent", "MB"),
        ("first visit, cold cache: requests", "requests", ""),
        ("first visit, cold cache: bytes", "megabytes", "MB"),
    ):
        row(what, here[key], there[key], "2021", unit)
    print(f"20 visitors at once, capacity 10: {at_once}")
    print(f"200 visits of all kinds: {left} kernels left within 60 s, {after:.0f} MB kept; before: {before:.0f} MB")
    if here["private"] > 32 or here["together"] > 512 or left or after > 1.1 * before:
        sys.exit("more than documented: 32 MB per visitor, 512 MB in total, and no kernels or memory left")


if __name__ == "__main__":
    main()
