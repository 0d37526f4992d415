"""The page as the lesson has it: in a Jupyter server that runs already; and several pages in a folder."""

import re
import shutil
import urllib.error
import urllib.request

import pytest
from conftest import ROOT, serve
from playwright.sync_api import expect
from visits import answer, open_page, press, upload


def test_voila_render_of_a_running_jupyter_server(browser, site):
    line = "jupyter server --no-browser --allow-root --ServerApp.port=$PORT --IdentityProvider.token="
    with serve(site, ".venv-page", line, ready="api") as address, browser.new_context() as context:
        page = context.new_page()
        open_page(page, f"{address}voila/render/notebooks/icon_classifier.ipynb")
        upload(page, site / "photos/sample/valid/bell/material-001.png")
        press(page)
        expect(answer(page)).to_contain_text("Prediction: bell", timeout=20_000)


def test_a_folder_of_pages_is_a_list_without_the_training_notebook(browser, site, tmp_path):
    shutil.copytree(ROOT / "notebooks", tmp_path / "notebooks")
    shutil.copy(ROOT / "voila.json", tmp_path)
    shutil.copytree(site / "export", tmp_path / "export")
    shutil.copy(tmp_path / "notebooks/icon_classifier.ipynb", tmp_path / "notebooks/second.ipynb")
    line = "voila notebooks --port=$PORT --no-browser"
    with serve(tmp_path, ".venv-page", line, ready="healthz") as address, browser.new_context() as context:
        page, asked, complaints = context.new_page(), [], []
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
        page.goto(address)
        expect(page.get_by_text("second.ipynb")).to_be_visible(timeout=30_000)
        assert [url for url in asked if not url.startswith((address, "data:", "blob:"))] == []
        assert not [text for text in complaints if "Content Security Policy" in text]
        listing = urllib.request.urlopen(f"{address}?classic-tree=True", timeout=60).read().decode()
        listed = {name for name in re.findall(r"[\w.]+\.ipynb|library", listing)}
        assert listed == {"icon_classifier.ipynb", "second.ipynb"}
        for hidden in (
            "train.ipynb",
            "library/00_sample.ipynb",
            "./train.ipynb",
            "library/../train.ipynb",
            "tr%61in.ipynb",
        ):
            with pytest.raises(urllib.error.HTTPError) as refused:
                urllib.request.urlopen(f"{address}voila/render/{hidden}", timeout=60)
            assert refused.value.code == 404
        open_page(page, f"{address}voila/render/second.ipynb")
        upload(page, site / "photos/sample/valid/star/material-001.png")
        press(page)
        expect(answer(page)).to_contain_text("Prediction: star", timeout=20_000)
