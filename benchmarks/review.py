"""Measure the review in Voila and Chromium: the time to open it, the time of a decision, and the kernel's memory.

It also prints the parts of the time to open it: until the page is complete, and what the kernel takes for the review.

The datasets have 2,000 and 20,000 photos; the review makes their thumbnails, but each file is one of a few small
stand-ins. Run it on a quiet machine: .venv/bin/python benchmarks/review.py
"""

import os
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

import psutil
from PIL import Image

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "tests/browser")]

from playwright.sync_api import sync_playwright  # noqa: E402
from support.page import CHROMIUM  # noqa: E402
from support.server import (  # noqa: E402
    kernels,
    serve,
    server_of,
)

from icon_classifier.dataset.checks.photo import Finding  # noqa: E402
from icon_classifier.dataset.manifest import Manifest  # noqa: E402
from icon_classifier.dataset.review.findings import read_findings, write_findings  # noqa: E402
from icon_classifier.dataset.review.grid import open_review  # noqa: E402
from icon_classifier.dataset.suspicion import RELABEL  # noqa: E402

LABELS = ("bell", "heart", "star")
DECISIONS = 40
SHOWN = "() => document.querySelector('.review-card img')?.naturalWidth > 0"


def write_dataset(folder, number):
    """Write a dataset of `number` photos of 512 px; a tenth of them have a finding."""
    stand_ins = []
    for i in range(20):
        noise = Image.effect_noise((512, 512), 60).convert("RGB")
        path = folder / f"stand-in-{i}.jpg"
        noise.save(path, quality=85)
        stand_ins.append(path)
    rows = []
    findings = []
    photos = folder / "photos"
    for i in range(number):
        label = LABELS[i % 3]
        file = f"{label}/{i:016x}.jpg"
        (photos / label).mkdir(parents=True, exist_ok=True)
        os.link(stand_ins[i % len(stand_ins)], photos / file)
        rows.append(dict(label=label, file=file, url=f"mine/{i}", origin="mine", sha256=f"{i:064x}", decision="kept"))
        if i % 10 == 0:
            other = LABELS[(i + 1) % 3]
            sentence = f"It resembles {other} (97%) more than {label} (2%)."
            findings.append(Finding("mislabelled", file, label, 1 - i / number, sentence, "", RELABEL, other))
    Manifest(photos).add(*rows)
    write_findings(photos, findings)
    return photos


def decide(page):
    """Exclude the current photo with a key; return the seconds until the page shows that the decision is saved."""
    before = page.locator(".review-summary").inner_text()
    began = time.perf_counter()
    page.keyboard.press("x")
    page.wait_for_function("(before) => document.querySelector('.review-summary').textContent !== before", arg=before)
    return time.perf_counter() - began


def measure(browser, number):
    """Print the figures for a dataset of `number` photos."""
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        photos = write_dataset(folder, number)
        shutil.copy(ROOT / "voila.json", folder)
        line = f"voila {ROOT / 'notebooks/review.ipynb'} --Voila.ip=localhost --port=$PORT --no-browser"
        began = time.perf_counter()
        open_review(photos, read_findings(photos)).close()
        made = time.perf_counter() - began
        opened = []
        came = []
        with serve(folder, ".venv", line, REVIEW_PHOTOS=str(photos)) as address:
            time.sleep(5)  # the fork server loads what kernels share
            for _ in range(5):
                with browser.new_context() as context:
                    page = context.new_page()
                    began = time.perf_counter()
                    page.goto(address, wait_until="commit")
                    page.wait_for_function(SHOWN)
                    opened.append(time.perf_counter() - began)
                    came.append(page.evaluate("performance.getEntriesByType('navigation')[0].responseEnd") / 1000)
                    page.locator(".review-card").first.focus()
                    decided = [decide(page) for _ in range(DECISIONS // 5)]
                    memory = max(kernel.memory_info().rss for kernel in kernels(server_of(address)))
    print(f"{number:>6,} photos: opens in {statistics.median(opened):.2f} s (slowest of 5: {max(opened):.2f}), "
          f"its page comes after {statistics.median(came):.2f} s, of which the review takes {made:.2f} s; "
          f"a decision takes {statistics.median(decided):.3f} s (slowest: {max(decided):.3f}); "
          f"the kernel takes {memory / 1e6:.0f} MB")  # fmt: skip


if __name__ == "__main__":
    print(f"{psutil.cpu_count()} CPU cores, load {psutil.getloadavg()[0]:.1f}")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(**CHROMIUM)
        for number in (2_000, 20_000):
            measure(browser, number)
        browser.close()
