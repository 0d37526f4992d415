"""Test the page in a Jupyter server that runs already, folders of several pages, and other notebooks as pages."""

import re
import shutil
import time

import nbformat
from playwright.sync_api import expect
from support import ROOT
from support.page import complaints_of, open_page, prediction, press, upload
from support.process import until
from support.server import furnish, get, health, serve


def test_jupyter_server_renders_the_page(browser, site, drawing):
    line = "jupyter server --no-browser --allow-root --ServerApp.port=$PORT --IdentityProvider.token="
    with serve(site, ".venv-page", line, ready="api") as address, browser.new_context() as context:
        page = context.new_page()
        open_page(page, f"{address}voila/render/notebooks/icon_classifier.ipynb")
        upload(page, drawing("bell"))
        press(page)
        expect(prediction(page)).to_contain_text("Prediction: bell")


def is_listed(page, address, name):
    """Open the list of pages; return whether it shows `name` within 30 s."""
    page.goto(address)
    return until(page.get_by_text(name).is_visible, 30)


def test_folder_of_pages_is_listed_without_hidden_notebooks(browser, site, drawing, tmp_path):
    shutil.copytree(ROOT / "notebooks", tmp_path / "notebooks")
    shutil.copy(ROOT / "voila.json", tmp_path)
    shutil.copytree(site / "export", tmp_path / "export")
    shutil.copy(tmp_path / "notebooks/icon_classifier.ipynb", tmp_path / "notebooks/second.ipynb")
    line = "voila notebooks --port=$PORT --no-browser"
    with serve(tmp_path, ".venv-page", line, ready="healthz") as address, browser.new_context() as context:
        page = context.new_page()
        asked = []
        complaints = complaints_of(page)
        page.on("request", lambda request: asked.append(request.url))
        # On a busy machine, JupyterLab's file browser was once seen to stay empty until a reload.
        assert any(is_listed(page, address, "second.ipynb") for _ in range(3)), complaints
        assert [url for url in asked if not url.startswith((address, "data:", "blob:"))] == []
        assert not [text for text in complaints if "Content Security Policy" in text]
        listing = get(f"{address}?classic-tree=True")[2]
        listed = {name for name in re.findall(r"[\w.]+\.ipynb|library", listing)}
        assert listed == {"icon_classifier.ipynb", "second.ipynb"}
        for hidden in (
            "train.ipynb",
            "review.ipynb",
            "library/00_sample.ipynb",
            "./train.ipynb",
            "library/../train.ipynb",
            "tr%61in.ipynb",
        ):
            assert get(f"{address}voila/render/{hidden}")[0] == 404
        for method, accept in (("GET", "text/html"), ("GET", "*/*"), ("HEAD", "*/*")):
            assert get(f"{address}voila/render/missing.ipynb", method, Accept=accept)[0] == 404
            assert get(f"{address}voila/render/second.ipynb", method, Accept="*/*")[0] == 200
        shutil.copy(drawing("star"), tmp_path / "notebooks/Star.PNG")
        assert get(f"{address}voila/render/Star.PNG", Accept="image/*")[1]["Content-Type"] == "image/png"
        open_page(page, f"{address}voila/render/second.ipynb")
        upload(page, drawing("star"))
        press(page)
        expect(prediction(page)).to_contain_text("Prediction: star")


def write_page(folder, name, cells):
    """Write a notebook that has a heading and `cells` into `folder`; return the command that serves it there."""
    notebook = nbformat.v4.new_notebook(
        cells=[
            nbformat.v4.new_markdown_cell("# Mine\n\nIt holds that $x^2 > 0$."),
            *map(nbformat.v4.new_code_cell, cells),
        ],
        metadata={"kernelspec": {"name": "python3", "display_name": "", "language": "python"}},
    )
    nbformat.write(notebook, furnish(folder) / f"notebooks/{name}.ipynb")
    return f"voila notebooks/{name}.ipynb --port=$PORT --no-browser"


def test_any_notebook_is_rendered_as_a_page(browser, tmp_path):
    """The output of cells is shown as in Voila, formulas included, for which MathJax is loaded."""
    cells = [
        "print('said')",
        "from IPython.display import HTML, display\ndisplay(HTML('<table><tr><td>a cell</td></tr></table>'))",
        "from ipywidgets import Button, FileUpload, Label, VBox",
        "VBox([Label('of $y_1$'), FileUpload(), Button(description='Classify Icon')])",
        "1 / 0",
    ]
    line = write_page(tmp_path, "mine", cells)
    with serve(tmp_path, ".venv-page", line) as address, browser.new_context(color_scheme="dark") as context:
        page = context.new_page()
        complaints = complaints_of(page)
        open_page(page, address)
        for words in ("said", "a cell", "There was an error when executing cell"):
            expect(page.get_by_text(words)).to_be_visible()
            light = page.get_by_text(words).evaluate(
                "(it) => Math.min(...getComputedStyle(it).color.match(/\\d+/g).slice(0, 3))"
            )
            assert light > 100, f"{words}: dark on dark"
        expect(page.locator("mjx-container")).to_have_count(2)
        assert page.title() == "Mine" and complaints == []


def test_broken_widget_does_not_hide_the_page(browser, tmp_path):
    broken = "from ipywidgets import Text\ntext = Text()\ntext._view_name = 'Unheard'\ntext"
    line = write_page(tmp_path, "broken", [broken, "print('done')"])
    with serve(tmp_path, ".venv", line) as address, browser.new_context() as context:
        page = context.new_page()
        page.goto(address, wait_until="commit")
        expect(page.get_by_text("Error displaying widget")).to_be_visible()
        expect(page.get_by_text("done")).to_be_visible()


def test_slow_page_shows_a_notice_and_keeps_its_kernel(browser, tmp_path):
    """No page connects before the cells have run. The kernel is ended only if the visitor has left."""
    wait = "import os, time\nwhile os.environ['QUERY_STRING'] or not os.path.exists('go'): time.sleep(0.1)"
    line = write_page(tmp_path, "slow", [wait, "print('done')"])
    line += " --VoilaConfiguration.http_keep_alive_timeout=1"
    line += " --VisitorKernelManager.connect_timeout=6 --MappingKernelManager.cull_interval=1"
    with serve(tmp_path, ".venv-page", line) as address:
        with browser.new_context() as context:
            page = context.new_page()
            page.goto(address, wait_until="commit")
            expect(page.get_by_text("This takes longer than usual")).to_be_visible()
            time.sleep(8)  # longer than connect_timeout
            (tmp_path / "notebooks/go").touch()
            expect(page.get_by_text("done")).to_be_visible()
            expect(page.get_by_text("This takes longer than usual")).to_have_count(0)
            page.goto(f"{address}?for-ever", wait_until="commit")
            expect(page.get_by_text("This takes longer than usual")).to_be_visible()
        assert until(lambda: health(address)["visitors"] == 0, 120)
