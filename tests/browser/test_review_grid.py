"""The review in the real Voila and a real Chromium: keyboard, clicks, undo, two tabs, and a kernel that is killed."""

import re
import shutil
from importlib.util import find_spec
from pathlib import Path

import nbformat
import pytest
from axe_playwright_python.sync_playwright import Axe
from PIL import Image
from playwright.sync_api import expect
from support import ROOT
from support.page import complaints_of, jupyterlab
from support.process import python
from support.server import kernels, serve, server_of
from test_review import decisions, finding, make_dataset

from icon_classifier.dataset.checks.photo import Finding
from icon_classifier.dataset.manifest import Manifest
from icon_classifier.dataset.review.findings import write_findings

LINE = f"voila {ROOT / 'notebooks/review.ipynb'} --Voila.ip=localhost --port=$PORT --no-browser --Voila.auto_token=True"
FOUND = [  # the most suspicious photos of the dataset, in this order
    (
        "heart/00005.jpg",
        "It resembles star (97 %) more than heart (2 %).",
        dict(suggested="relabel", other_label="star"),
    ),
    ("star/00007.jpg", "It shows the same as star/00008.jpg: 2 of 64 bits differ.", dict(evidence="star/00008.jpg")),
    ("heart/00009.jpg", "It has only 20 x 20 pixels; less than 32 show little.", dict(suggested="exclude")),
]


MATRIX = """
from ipywidgets import VBox
from icon_classifier.dataset.review.grid import open_review
from icon_classifier.dataset.review.matrix import ConfusionMatrix
grid = open_review({photos!r})
found = [("heart/00002.jpg", "heart", "star", 1.5), ("heart/00003.jpg", "heart", "star", 2.5),
         ("star/00001.jpg", "star", "star", 0.1), ("heart/00004.jpg", "heart", "heart", 0.2)]
VBox([ConfusionMatrix(["heart", "star"], found, grid.show), grid])
"""
MANY_LABELS = """
from icon_classifier.dataset.review.findings import read_findings
from icon_classifier.dataset.review.grid import open_review
open_review({photos!r}, read_findings({photos!r}))
"""
MARKUP = "<i>bold<b>"  # a label, which is also a folder, and would be elements if it were not escaped


def furnish_review(folder, per_label):
    """Write a dataset and its findings to `folder`/photos."""
    shutil.copy(ROOT / "voila.json", folder)
    photos = make_dataset(folder / "photos", per_label)
    checks = ("looks mislabelled", "duplicates", "degenerate")
    found = [
        finding(file, 0.9 - 0.1 * i, checks[i], **{"sentence": sentence, **options})
        for i, (file, sentence, options) in enumerate(FOUND)
    ]
    write_findings(photos, [Finding(**vars(each)) for each in found])
    return photos


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    return furnish_review(tmp_path_factory.mktemp("review"), 1000)


@pytest.fixture(scope="module")
def address(photos):
    with serve(photos.parent, ".venv", LINE, REVIEW_PHOTOS=str(photos), JUPYTER_TOKEN="secret") as address:
        yield f"{address}?token=secret"


@pytest.fixture
def tab(browser, address):
    """Opens the review in a tab; whatever the browser complains about fails the test."""
    contexts, complaints = [], []

    def open_with(**options):
        contexts.append(browser.new_context(**options))
        page = contexts[-1].new_page()
        complaints.append(complaints_of(page))
        page.goto(address, wait_until="commit", timeout=90_000)
        shown(page)
        return page

    yield open_with
    for context in contexts:
        context.close()
    assert [text for each in complaints for text in each] == []


def shown(page):
    """Wait until photos are shown; they are all decoded."""
    page.wait_for_function("() => document.querySelector('.review-card img')?.naturalWidth > 0", timeout=90_000)


def card(page, position):
    return page.locator(f".review-card[aria-rowindex='{position + 1}']")


def said(page):
    return page.get_by_role("status")


def press(page, *keys):
    for key in keys:
        page.keyboard.press(key)


def focused(page):
    return page.evaluate("document.activeElement.position")


def test_decisions_with_the_keyboard(tab, photos):
    page = tab()
    expect(page.locator(".review-card")).to_have_count(30)
    for position, (_, sentence, _) in enumerate(FOUND):  # most suspicious first, with the reason
        expect(card(page, position)).to_contain_text(sentence)
    expect(card(page, 0).locator("img")).to_have_count(2)  # a photo of the other label beside it
    card(page, 0).focus()
    press(page, "Enter")  # as suggested
    expect(card(page, 0)).to_contain_text("relabelled")
    expect(said(page)).to_contain_text("relabelled as star")
    press(page, "k", "x", "a")
    for position, word in ((1, "kept"), (2, "excluded"), (3, "approved")):
        expect(card(page, position)).to_contain_text(word)
    assert focused(page) == 4
    press(page, "2")  # the second label
    expect(card(page, 4)).to_contain_text("relabelled")
    press(page, "Shift+ArrowRight", "Shift+ArrowRight")
    expect(page.locator("[aria-selected=true]")).to_have_count(3)
    press(page, "x")
    expect(said(page)).to_have_text("3 photos: excluded.")
    made = decisions(photos)
    assert len(made) == 8 and sorted(made.values()) == sorted(["relabel"] * 2 + ["keep", "approve"] + ["exclude"] * 4)
    press(page, "u")  # the range at once
    expect(said(page)).to_have_text("Undone: 3 photos.")
    assert len(decisions(photos)) == 5
    page.keyboard.down("u")
    page.keyboard.down("u")  # held: it undoes once
    page.keyboard.up("u")
    expect(page.locator(".review-summary")).to_contain_text("4 of 2000 photos decided")
    expect(said(page)).to_have_text("Undone: 1 photo.")
    for left in (3, 2, 1, 0):
        press(page, "u")
        expect(page.locator(".review-summary")).to_contain_text(f"{left} of 2000 photos decided")
    press(page, "u")
    expect(said(page)).to_have_text("There is nothing to undo.")
    assert decisions(photos) == {}
    # other pages; a selection can reach from one to another
    card(page, 29).focus()
    press(page, "Shift+ArrowRight")
    expect(page.locator(".review-pages")).to_contain_text("Page 2 of 67; 2 photos selected")
    expect(card(page, 30)).to_be_focused()
    press(page, "x")
    expect(said(page)).to_have_text("2 photos: excluded.")
    press(page, "u")
    expect(said(page)).to_have_text("Undone: 2 photos.")


def test_decisions_with_clicks_and_filters(tab, photos):
    page = tab(viewport={"width": 390, "height": 800}, has_touch=True)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "the review is wider than the phone"
    labels = page.get_by_role("combobox", name="Label")
    labels.evaluate("list => list.options[0].text = 'American black bear (Ursus americanus), a long label'")
    assert labels.evaluate("list => list.getBoundingClientRect().right") <= 390, "a long label is cut off"
    card(page, 0).get_by_role("button", name="Label star").tap()
    card(page, 2).get_by_role("button", name="Exclude").tap()
    expect(page.locator(".review-summary")).to_contain_text("2 of 2000 photos decided · 1 excluded · 1 relabelled")
    page.get_by_role("button", name="Select several").tap()
    card(page, 4).locator("img").first.tap()
    card(page, 6).get_by_role("button", name="Keep").tap()
    expect(page.locator(".review-summary")).to_contain_text("5 of 2000 photos decided · 3 kept")
    page.get_by_role("combobox", name="Reason").select_option("duplicates")
    expect(page.locator(".review-card")).to_have_count(1)
    page.get_by_role("combobox", name="Reason").select_option("")
    page.get_by_role("combobox", name="Show").select_option("exclude")
    expect(page.locator(".review-card")).to_have_count(1)
    expect(card(page, 0)).to_contain_text("excluded")  # not the photo of the filter before
    card(page, 0).get_by_role("button", name="Keep").tap()  # an excluded photo comes back
    expect(card(page, 0)).to_contain_text("kept")
    assert (photos / FOUND[2][0]).exists()
    page.get_by_role("button", name="Undo").tap()
    expect(card(page, 0)).to_contain_text("excluded")
    page.get_by_role("combobox", name="Show").select_option("")
    page.get_by_role("combobox", name="Label").select_option("star")
    expect(page.locator(".review-card .review-label").first).to_contain_text("star")
    for left in (2, 1, 0):
        page.get_by_role("button", name="Undo").tap()
        expect(page.locator(".review-summary")).to_contain_text(f"{left} of 2000 photos decided")


def test_selections_with_the_mouse(tab, photos):
    page = tab()
    chosen = page.locator("[aria-selected=true]")
    several = page.get_by_role("button", name="Select several")
    card(page, 0).locator("img").first.click()
    card(page, 2).locator("img").click(modifiers=["Shift"])
    expect(chosen).to_have_count(3)
    expect(card(page, 2)).to_be_focused()
    card(page, 1).get_by_role("button", name="Keep").click()  # a button of a selected photo is for all of them
    expect(said(page)).to_have_text("3 photos: kept.")
    press(page, "u")
    expect(said(page)).to_have_text("Undone: 3 photos.")
    # "Select several" with the keyboard
    several.focus()
    press(page, "Enter")
    card(page, 1).focus()
    press(page, "ArrowRight", "ArrowRight")
    expect(chosen).to_have_count(3)
    press(page, "Escape")
    expect(chosen).to_have_count(1)
    expect(several).to_have_attribute("aria-pressed", "false")
    # and across two pages
    several.click()
    card(page, 28).locator("img").click()
    page.get_by_role("button", name="Next page").click()
    expect(card(page, 30)).to_be_focused()
    card(page, 31).locator("img").click()
    expect(page.locator(".review-pages")).to_contain_text("Page 2 of 67; 4 photos selected")
    card(page, 31).get_by_role("button", name="Exclude").click()
    expect(said(page)).to_have_text("4 photos: excluded.")
    press(page, "u")
    expect(said(page)).to_have_text("Undone: 4 photos.")
    page.get_by_role("button", name="Previous page").click()  # it becomes disabled, and the focus is not lost
    expect(card(page, 0)).to_be_focused()
    assert decisions(photos) == {}


def test_a_view_that_is_late_and_one_without_photos(tab, photos):
    page = tab()
    # A click on a photo of the last view, while the next one is loading, must not decide about another photo.
    page.evaluate(
        """() => {
            const grid = document.querySelector(".review-grid");
            const click = () => grid.getAttribute("aria-busy") && grid.querySelector(".review-card button").click();
            new MutationObserver(click).observe(grid, { attributes: true, attributeFilter: ["aria-busy"] });
        }"""
    )
    page.get_by_role("combobox", name="Label").select_option("star")
    expect(said(page)).to_contain_text("Nothing was decided, because other photos are shown now.")
    expect(page.locator(".review-summary")).to_contain_text("0 of 2000 photos decided")
    assert decisions(photos) == {}
    page.get_by_role("combobox", name="Show").select_option("approve")
    expect(page.get_by_text("There is no photo here.")).to_be_visible()
    found = Axe().run(page, context=".icon-review").response["violations"]
    assert [(each["id"], each["nodes"][0]["html"]) for each in found] == []


def test_a_kernel_that_does_not_respond(tab, address, photos):
    page = tab()
    page.evaluate("() => { const real = setTimeout; window.setTimeout = (f, ms) => real(f, Math.min(ms, 1000)); }")
    card(page, 0).focus()
    running = kernels(server_of(address))
    for kernel in running:
        kernel.suspend()
    press(page, "x")
    expect(said(page)).to_contain_text("The kernel does not respond, so your last decision may not be saved.")
    for kernel in running:
        kernel.resume()
    expect(said(page)).to_have_text(f"{Path(FOUND[0][0]).name}: excluded.")
    press(page, "u")
    expect(said(page)).to_have_text("Undone: 1 photo.")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(tab, scheme):
    page = tab(color_scheme=scheme)
    backgrounds = "names => names.map(name => getComputedStyle(document.querySelector(name)).backgroundColor)"
    assert len(set(page.evaluate(backgrounds, ["body", "#rendered_cells", ".icon-review"]))) == 1
    card(page, 0).focus()
    press(page, "x")
    expect(card(page, 0)).to_contain_text("excluded")
    page.get_by_text("Keys", exact=True).click()
    found = Axe().run(page, context=".icon-review").response["violations"]
    assert [(each["id"], each["nodes"][0]["html"]) for each in found] == []
    press(page, "u")
    expect(said(page)).to_have_text("Undone: 1 photo.")
    card(page, 1).focus()
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"


def test_two_tabs(tab, photos):
    """Each sees what the other decided as soon as it does something; both undo only their own."""
    one, two = tab(), tab()
    card(one, 0).focus()
    press(one, "x")
    expect(card(one, 0)).to_contain_text("excluded")
    card(two, 1).focus()
    press(two, "x")
    expect(two.locator(".review-summary")).to_contain_text("2 of 2000 photos decided · 2 excluded")
    expect(card(two, 0)).to_contain_text("excluded")
    press(one, "u")
    expect(said(one)).to_have_text("Undone: 1 photo.")
    assert decisions(photos) == {FOUND[1][0]: "exclude"}
    card(one, 1).get_by_role("button", name="Keep").click()  # the later decision counts
    expect(card(one, 1)).to_contain_text("kept")
    press(two, "u")
    expect(said(two)).to_contain_text("Another tab has decided")
    press(one, "u")
    expect(card(one, 1)).to_contain_text("excluded")
    card(one, 1).get_by_role("button", name="Keep").click()
    expect(card(one, 1)).to_contain_text("kept")
    assert decisions(photos) == {FOUND[1][0]: "keep"}


def test_a_killed_kernel_loses_no_decision(tab, address, photos):
    before = len(decisions(photos))
    page = tab()
    card(page, 0).focus()
    for position in range(50):
        expect(card(page, position)).to_be_focused()
        press(page, "x")
        expect(page.locator(".review-summary")).to_contain_text(f"{before + position + 1} of 2000 photos decided")
    for kernel in kernels(server_of(address)):
        kernel.kill()
    assert list(decisions(photos).values()).count("exclude") == 50
    page.context.close()
    again = tab()
    expect(again.locator(".review-summary")).to_contain_text(f"{before + 50} of 2000 photos decided")
    assert "excluded" not in card(again, 0).inner_text()  # it continues where it was


def test_cells_of_the_confusion_matrix_open_their_photos(browser, tmp_path):
    """With ipywidgets 8, as on Kaggle and in a new JupyterLab.

    The page's environment lacks filelock, which the manifest needs, so it is lent to it.
    """
    version = python("-c", "import ipywidgets; print(ipywidgets.__version__)", environment=".venv-page").stdout
    assert version.startswith("8.")
    photos = furnish_review(tmp_path, 20)
    (tmp_path / "library").mkdir()
    (tmp_path / "library/filelock").symlink_to(Path(find_spec("filelock").origin).parent)
    cells = [MATRIX.format(photos=str(photos)), MANY_LABELS.format(photos=str(make_many_labels(tmp_path / "many")))]
    cells = [nbformat.v4.new_code_cell(cell) for cell in cells]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), tmp_path / "matrix.ipynb")
    line = LINE.replace(str(ROOT / "notebooks/review.ipynb"), "matrix.ipynb").replace(" --Voila.auto_token=True", "")
    with serve(tmp_path, ".venv-page", line, PYTHONPATH=f"{ROOT}:{tmp_path / 'library'}") as address:
        with browser.new_context() as context:
            page = context.new_page()
            complaints = complaints_of(page)
            page.goto(address, wait_until="commit", timeout=90_000)
            shown(page)
            found = Axe().run(page, context=".icon-matrix").response["violations"]
            assert [(each["id"], each["nodes"][0]["html"]) for each in found] == []
            expect(page.get_by_role("button", name="1 photo: star, predicted correctly")).to_be_visible()
            page.get_by_role("button", name="2 photos: heart, predicted as star").click()
            first, second = (page.locator(".icon-review").nth(i) for i in range(2))
            expect(first.locator(".review-only")).to_contain_text("2 photos: heart, predicted as star")
            expect(first.locator(".review-card")).to_have_count(2)
            card(first, 0).focus()
            press(page, "x", "k", "u")
            expect(first.locator(".review-summary")).to_have_text(re.compile("^1 of 40 photos decided"))
            assert decisions(photos) == {"heart/00003.jpg": "exclude"}  # the higher loss of the two comes first
            page.get_by_role("button", name="Photos with the highest losses").click()
            expect(first.locator(".review-only")).to_contain_text("4 photos: those with the highest losses")
            everything = first.get_by_role("button", name="Show all photos")
            everything.focus()
            press(page, "u")
            expect(said(first)).to_have_text("Undone: 1 photo.")
            expect(everything).to_be_focused()  # what the kernel says does not take the focus
            press(page, "Enter")
            expect(first.locator(".review-card")).to_have_count(30)
            expect(card(first, 0)).to_be_focused()  # because the button is gone
            decide_about_many_labels(page, second)
            assert complaints == []
    assert decisions(photos) == {}
    assert decisions(tmp_path / "many") == {"label 1/0-1.jpg": "relabel", "label 2/0.jpg": "exclude"}


def test_keys_decide_in_jupyterlab_and_not_about_cells(browser, tmp_path):
    """JupyterLab itself cuts a cell at X, adds one at A and deletes one at D D."""
    photos = furnish_review(tmp_path, 20)
    cell = nbformat.v4.new_code_cell(MANY_LABELS.format(photos=str(photos)))
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3"}}  # else JupyterLab asks for one
    nbformat.write(nbformat.v4.new_notebook(cells=[cell], metadata=kernel), tmp_path / "review.ipynb")
    with jupyterlab(browser, tmp_path, "review.ipynb") as page:
        shown(page)
        cells = page.locator(".jp-Notebook .jp-Cell").count()
        card(page, 0).focus()
        press(page, "x", "a", "k", "d", "d")
        for position, word in enumerate(("excluded", "approved", "kept")):
            expect(card(page, position)).to_contain_text(word)
        expect(page.locator(".jp-Notebook .jp-Cell")).to_have_count(cells)
    assert sorted(decisions(photos).values()) == ["approve", "exclude", "keep"]


def make_many_labels(folder):
    """Write a dataset of seven labels, whose first photo has a finding."""
    manifest = Manifest(folder)
    for i in range(7):
        label = MARKUP if i == 0 else f"label {i}"
        (folder / label).mkdir()
        Image.new("RGB", (16, 16), (30 * i, 0, 0)).save(folder / label / "0.jpg")
        manifest.add(dict(label=label, file=f"{label}/0.jpg", sha256=f"{i}", url=f"{i}", decision="kept"))
    found = finding(f"{MARKUP}/0.jpg", 0.9, sentence=f"It resembles {MARKUP}.", suggested="exclude")
    write_findings(folder, [Finding(**vars(found))])
    return folder


def decide_about_many_labels(page, review):
    """With more labels than there is place for buttons, a card has a list of them that opens."""
    expect(card(review, 0)).to_contain_text(f"It resembles {MARKUP}.")
    assert review.locator(".review-card i").count() == 0  # markup is text
    expect(review.locator(".review-bar li")).to_have_count(7)
    card(review, 0).locator("summary").focus()
    press(page, "Enter")
    labels = card(review, 0).locator("details button")
    expect(labels).to_have_count(6)
    found = Axe().run(page, context=".icon-review").response["violations"]
    assert [(each["id"], each["nodes"][0]["html"]) for each in found] == []
    labels.first.focus()
    press(page, "Enter")
    expect(said(review)).to_have_text("0-1.jpg: relabelled as label 1.")
    expect(card(review, 0)).to_be_focused()
    card(review, 2).focus()
    press(page, "x")
    expect(review.locator(".review-summary")).to_contain_text("2 of 7 photos decided")
