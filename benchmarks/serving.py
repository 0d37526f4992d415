"""Prints what a visitor costs, beside the page of 2021 on today's versions, both in the same run.

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
sys.path += [str(ROOT / "tests"), str(ROOT / "tests/browser")]

import programs  # noqa: E402
import visits  # noqa: E402
from conftest import furnish, serve  # noqa: E402
from playwright.sync_api import expect, sync_playwright  # noqa: E402

MB = 1 << 20
VISITORS = 10
OLD = "voila page_2021.ipynb --port=$PORT --no-browser"  # the Procfile's of 2021, as far as its options still exist


def measure(browser, folder, environment, line, visitors):
    """The figures of one page, a dict; `visitors` come, classify and stay."""
    found, contexts = {}, []
    with serve(folder, environment, line, ICON_VISITORS="20") as address:
        server = visits.server_of(address)
        begin = time.perf_counter()
        visits.leave(address, visits.get(address)[2])
        found["cold"] = time.perf_counter() - begin
        time.sleep(2)
        for _ in range(visitors):
            context = browser.new_context()
            page = context.new_page()
            page.goto(address, wait_until="domcontentloaded", timeout=120_000)
            page.get_by_role("button", name="Classify Icon").wait_for(timeout=120_000)
            with page.expect_file_chooser() as chooser:
                page.get_by_text("Choose a picture").or_(page.get_by_role("button", name="Upload")).first.click()
            chooser.value.set_files(folder / "photo.jpg")
            expect(page.get_by_text("(1)")).to_be_visible(timeout=30_000)
            page.get_by_role("button", name="Classify Icon").click()
            expect(page.get_by_text("Prediction:")).to_be_visible(timeout=60_000)
            contexts.append(context)
        time.sleep(2)
        pids = [server.pid, *(child.pid for child in server.children(recursive=True))]
        memory = {pid: psutil.Process(pid).memory_full_info() for pid in pids}
        warm = visits.warm_process(server)
        theirs = [memory[pid].uss for pid in pids if pid not in (server.pid, warm.pid if warm else None)]
        found["private"] = max(sorted(theirs)[-visitors:]) / MB
        found["kernels"] = len(theirs)  # the page of 2021 keeps those of visitors who have gone, too
        found["together"] = sum(each.pss for each in memory.values()) / MB
        for context in contexts:
            context.close()
    with serve(folder, environment, line, ICON_VISITORS="20") as address:
        visits.get(address)
        times = []
        for _ in range(3):
            begin = time.perf_counter()
            visits.get(address)
            times.append(time.perf_counter() - begin)
        found["warm"] = statistics.median(times)
    if visitors == VISITORS:  # twenty kernels with fastai would need 9 GB
        with serve(folder, environment, line, ICON_VISITORS="10") as address, ThreadPoolExecutor(20) as pool:
            visits.get(address + "healthz")
            begin = time.perf_counter()
            answers = list(pool.map(lambda _: visits.get(address)[0], range(20)))
            found["twenty"] = time.perf_counter() - begin
            found["answers"] = f"{answers.count(200)} served, {answers.count(503)} asked to wait"
    return found


def row(what, ours, theirs, unit):
    print(f"{what:<52} {ours:7.2f} {unit}   2021: {theirs:7.2f} {unit}   ratio {ours / theirs:.2f}")


def main():
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=programs.find("chromium"), args=visits.ARGS)
        ours, old = Path(folder, "ours"), Path(folder, "old")
        photo = Image.effect_noise((400, 300), 60).convert("RGB").resize((4000, 3000))
        for place in (ours, old):
            shutil.copytree(ROOT / "export", place / "export")
            photo.save(place / "photo.jpg", quality=92)
        furnish(ours)
        shutil.copy(ROOT / "benchmarks/page_2021.ipynb", old / "page_2021.ipynb")
        source = (old / "page_2021.ipynb").read_text().replace("../export/", "export/")
        (old / "page_2021.ipynb").write_text(source)
        here = measure(browser, ours, ".venv-page", None, VISITORS)
        few = int(os.environ.get("VISITORS_2021", 3))
        there = measure(browser, old, ".venv", OLD, few)
        browser.close()
    row(f"private memory a visitor ({VISITORS}; 2021: {few})", here["private"], there["private"], "MB")
    each = (there["together"] - 100) / there["kernels"]
    row(f"everything together, {VISITORS} visitors (2021: reckoned)", here["together"], 100 + VISITORS * each, "MB")
    row("the page complete, the server's first", here["cold"], there["cold"], "s ")
    row("the page complete, warm", here["warm"], there["warm"], "s ")
    print(f"20 visitors at once, 10 places: {here['answers']}, the slowest within {here['twenty']:.2f} s")
    if here["private"] > 32 or here["together"] > 512:
        sys.exit("more memory than the page promises: 32 MB a visitor, 512 MB together")


if __name__ == "__main__":
    main()
