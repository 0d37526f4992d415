"""The page as visitors meet it: the Procfile's own line, the real Voila, a real Chromium; ipywidgets 7 and 8."""

import re
import urllib.error
import urllib.request

import pytest
from conftest import furnish, python, serve
from playwright.sync_api import expect
from visits import answer, open_page, press, upload

from icon_classifier.card import LIMITS, Card
from icon_classifier.classifier import load_classifier
from icon_classifier.serving.page import NOT_STORED

ENVIRONMENTS = {".venv": "7", ".venv-page": "8"}  # what authors have, what a host installs: their ipywidgets


@pytest.fixture(scope="module", params=ENVIRONMENTS)
def address(request, site):
    found = python("-c", "import ipywidgets; print(ipywidgets.__version__)", environment=request.param).stdout
    assert found.split(".")[0] == ENVIRONMENTS[request.param]
    with serve(site, request.param) as address:
        yield address


@pytest.fixture
def page(browser, address):
    with browser.new_context(viewport={"width": 390, "height": 800}) as context:
        page = context.new_page()
        open_page(page, address)
        yield page


def test_a_visitor_reads_the_right_names(page, site):
    expect(page.locator(".icon-about")).to_have_text("This page can tell apart bell, heart and star.")
    for name in ("bell", "star"):
        upload(page, site / f"photos/sample/valid/{name}/material-001.png")
        expect(answer(page)).to_have_text("")  # the last answer goes with its picture
        thumbnail = page.locator(".icon-thumbnail img")
        expect(thumbnail).to_have_count(1)
        page.wait_for_function("document.querySelector('.icon-thumbnail img')?.naturalWidth > 0")
        press(page)
        expect(answer(page)).to_contain_text(f"Prediction: {name}; Probability: ", timeout=20_000)
        assert 1 / 3 < float(answer(page).inner_text().split(": ")[-1]) <= 1
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "the page is wider than the phone"


def test_the_answer_in_words_bars_and_heat(page, site):
    upload(page, site / "photos/sample/valid/star/material-001.png")
    expect(page.locator(".icon-look")).to_be_hidden()
    press(page)
    expect(page.locator(".icon-note")).to_have_text(re.compile(r"(Almost certainly|Very likely|Probably) star\."))
    chart = page.locator(".icon-chart span")
    expect(chart).to_have_count(9)  # three names: each with its name, its bar and its share
    assert chart.nth(0).inner_text() == "star" and chart.nth(2).inner_text().endswith("%")
    wide, narrow = (page.locator(".icon-track i").nth(i).bounding_box()["width"] for i in (0, 2))
    assert wide > 5 * narrow
    plain = page.locator(".icon-thumbnail img").get_attribute("src")
    page.locator(".icon-look input").check()
    page.wait_for_function("before => document.querySelector('.icon-thumbnail img')?.src !== before", arg=plain)
    page.locator(".icon-look input").uncheck()
    page.wait_for_function("before => document.querySelector('.icon-thumbnail img')?.src === before", arg=plain)
    upload(page, site / "photos/sample/valid/bell/material-001.png")  # the last answer goes with its picture
    for part in (".icon-note", ".icon-bars"):
        expect(page.locator(part)).to_have_text("")
    expect(page.locator(".icon-look")).to_be_hidden()


def test_what_is_none_of_them_is_said(page, site):
    classifier = load_classifier(site / "export/export.pkl")
    odd = next(f for f in sorted((site / "photos/.others").rglob("*.png")) if classifier.predict(f).known is False)
    upload(page, odd)
    press(page)
    expect(page.locator(".icon-note")).to_contain_text("I don't think this is any of them")
    expect(answer(page)).to_contain_text("Prediction: ")
    expect(answer(page)).to_have_class(re.compile("icon-modest"))
    upload(page, site / "photos/sample/valid/heart/material-001.png")
    press(page)
    expect(answer(page)).to_contain_text("Prediction: heart")
    expect(answer(page)).not_to_have_class(re.compile("icon-modest"))


def test_about_the_model(page, site):
    expect(page.locator(".icon-facts li").first).to_be_hidden()
    page.locator(".icon-facts summary").click()
    facts = Card.read(site / "export/card.json").facts()
    expect(page.locator(".icon-facts li")).to_have_text([*facts, *LIMITS, NOT_STORED])


def test_failures_are_sentences(page, site, tmp_path):
    press(page)
    expect(answer(page)).to_have_text("Choose a picture first, then press the button.")
    bad = tmp_path / "<img src=x onerror=alert(1)>.png"
    bad.write_text("<html>not found</html>")
    upload(page, bad)
    expect(answer(page)).to_contain_text("not a picture that I can read")
    press(page)
    expect(answer(page)).to_contain_text("not a picture that I can read")
    upload(page, site / "photos/sample/valid/heart/material-001.png")  # and the page goes on working
    press(page)
    expect(answer(page)).to_contain_text("Prediction: heart", timeout=20_000)


def test_a_large_photo_arrives(page, site, tmp_path):
    """A 30 MB picture: Voila's own limit would lose everything over 10 MB without a word."""
    from PIL import Image

    icon = Image.open(site / "photos/sample/valid/star/material-001.png").convert("RGB")
    icon.resize((3200, 3200)).save(tmp_path / "star.bmp")
    assert (tmp_path / "star.bmp").stat().st_size > 30_000_000
    upload(page, tmp_path / "star.bmp")
    page.locator(".icon-thumbnail img").wait_for(timeout=30_000)
    press(page)
    expect(answer(page)).to_contain_text("Prediction: star", timeout=30_000)


def test_nothing_but_the_page_is_given_away(address):
    html = urllib.request.urlopen(address, timeout=90).read().decode()
    assert "Icon Classifier" in html
    for code in ("IconPage", "icon_classifier.serving", "import ", "export.pkl", "Traceback"):
        assert code not in html
    for path in (
        "voila/files/notebooks/icon_classifier.ipynb",
        "voila/files/export/export.pkl",
        "voila/files/voila.json",
    ):
        with pytest.raises(urllib.error.HTTPError):
            urllib.request.urlopen(address + path, timeout=30)


def test_without_an_export_the_page_says_how_to_make_one(browser, tmp_path):
    with serve(furnish(tmp_path), ".venv-page") as address, browser.new_context() as context:
        page = context.new_page()
        open_page(page, address)
        expect(page.locator(".icon-about")).to_contain_text("To make one, run `make train`")
        press(page)
        expect(answer(page)).to_contain_text("There is no model")
        assert "Traceback" not in page.content()


def test_in_jupyterlab_the_same_notebook_is_the_page(browser, site):
    line = "jupyter lab --no-browser --allow-root --ServerApp.port=$PORT --IdentityProvider.token="
    with serve(site, ".venv", line, ready="api") as address, browser.new_context() as context:
        page = context.new_page()
        page.goto(f"{address}lab/tree/notebooks/icon_classifier.ipynb", wait_until="domcontentloaded", timeout=90_000)
        page.get_by_text("| Idle").wait_for(timeout=60_000)
        page.get_by_text("Run", exact=True).click()
        page.get_by_text("Run All Cells", exact=True).click()
        page.get_by_role("button", name="Classify Icon").wait_for(timeout=60_000)
        upload(page, site / "photos/sample/valid/bell/material-001.png")
        page.locator(".icon-thumbnail img").wait_for(timeout=20_000)
        press(page)
        expect(answer(page)).to_contain_text("Prediction: bell; Probability: ", timeout=20_000)
