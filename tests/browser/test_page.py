"""The page as visitors meet it: the Procfile's own line, the real Voila, a real Chromium; ipywidgets 7 and 8."""

import re
import shutil
from functools import partial

import nbformat
import pytest
from axe_playwright_python.sync_playwright import Axe
from PIL import Image
from playwright.sync_api import expect
from support import ROOT
from support.page import complaints_of, images, jupyterlab, new_cards, open_page, prediction, press, ready, sent, upload
from support.process import python, until
from support.profiles import P3, P3_RED, SRGB_RED
from support.server import furnish, get, serve

from icon_classifier.images import open_image
from icon_classifier.model.card import Card
from icon_classifier.model.card_text import LIMITS, facts
from icon_classifier.model.classifier import load_classifier
from icon_classifier.page.page import NO_FILE, NOT_STORED

ENVIRONMENTS = {".venv": "7", ".venv-page": "8"}  # what authors have, what a host installs: their ipywidgets
MARKUP = "<img src=x onerror=alert(1)>"


@pytest.fixture(scope="module", params=ENVIRONMENTS)
def address(request, site):
    found = python("-c", "import ipywidgets; print(ipywidgets.__version__)", environment=request.param).stdout
    assert found.split(".")[0] == ENVIRONMENTS[request.param]
    with serve(site, request.param) as address:
        yield address


@pytest.fixture
def visitor(browser, address):
    """Opens the page in a browser with the given options; whatever the browser complains about fails the test."""
    contexts, complaints = [], []

    def open_with(**options):
        contexts.append(browser.new_context(**options))
        page = contexts[-1].new_page()
        complaints.append(complaints_of(page))
        open_page(page, address)
        return page

    yield open_with
    for context in contexts:
        context.close()
    assert [text for each in complaints for text in each] == []


@pytest.fixture
def page(visitor):
    return visitor(viewport={"width": 390, "height": 800})


@pytest.fixture
def photo(drawing, tmp_path):
    """A photo of 12 megapixels, which the camera took on its side; as it is upright, and its path."""
    icon = Image.open(drawing("star")).convert("RGB").resize((3000, 3000), Image.Resampling.BICUBIC)
    upright = Image.blend(icon, Image.effect_noise((3000, 3000), 60).convert("RGB"), 0.15)
    upright = upright.resize((3000, 4000))
    exif = Image.Exif()
    exif[0x0112] = 6  # turn it clockwise
    path = tmp_path / "photo.jpg"
    upright.transpose(Image.Transpose.ROTATE_90).save(path, quality=92, exif=exif)
    return upright, path


def test_a_visitor_reads_the_right_names(page, drawing):
    expect(page.locator(".icon-about")).to_have_text("This page can tell apart bell, heart and star.")
    for name in ("bell", "star"):
        upload(page, drawing(name))
        expect(prediction(page)).to_have_count(0)  # the last answer goes with its picture
        page.wait_for_function("() => document.querySelector('.icon-card img')?.naturalWidth > 0")
        press(page)
        expect(prediction(page)).to_contain_text(f"Prediction: {name}; Probability: ")
        assert 1 / 3 < float(prediction(page).inner_text().split(": ")[-1]) <= 1
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "the page is wider than the phone"


# The ways in


def transfer(page, *paths):
    """Return a handle of a DataTransfer that holds files."""
    return page.evaluate_handle(
        """(files) => {
          const held = new DataTransfer();
          const add = ([name, bytes]) => held.items.add(new File([new Uint8Array(bytes)], name, { type: "image/png" }));
          files.forEach(add);
          return held;
        }""",
        [[path.name, list(path.read_bytes())] for path in paths],
    )


def drop(page, path):
    held = transfer(page, path)
    page.dispatch_event("body", "dragover", {"dataTransfer": held})
    expect(page.locator(".icon-upload")).to_have_class(re.compile("icon-over"))
    page.dispatch_event("h1", "drop", {"dataTransfer": held})  # beside the mark: the whole page takes it
    expect(page.locator(".icon-upload")).not_to_have_class(re.compile("icon-over"))


def paste(page, path, after="h1"):
    """after: what the visitor clicked before."""
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.evaluate(
        """async (bytes) => {
          const picture = new Blob([new Uint8Array(bytes)], { type: "image/png" });
          await navigator.clipboard.write([new ClipboardItem({ "image/png": picture })]);
        }""",
        list(path.read_bytes()),
    )
    page.locator(after).click()
    page.keyboard.press("Control+V")


def photograph(page, path):
    """As on a phone, whose browser answers the button with its camera."""
    assert page.locator("input[capture=environment]").count() == 1
    with page.expect_file_chooser() as camera:
        page.get_by_role("button", name="Take a picture").click()
    camera.value.set_files(path)


def take_example(page, path):
    page.get_by_role("button", name="Example: bell").click()


@pytest.mark.parametrize("way", [drop, paste, photograph, take_example])
def test_ways_in(visitor, drawing, way):
    page = visitor(has_touch=way is photograph)
    expect(page.locator(".icon-camera")).to_be_visible(visible=way is photograph)
    with new_cards(page):
        way(page, drawing("bell"))
    page.keyboard.press("Enter")  # the button has the focus
    expect(prediction(page)).to_contain_text("Prediction: bell")


def test_what_holds_no_picture_is_said(visitor):
    page = visitor()
    page.evaluate("getSelection().selectAllChildren(document.querySelector('h1'))")
    page.keyboard.press("Control+C")
    page.keyboard.press("Control+V")
    expect(page.locator(".icon-note")).to_have_text(NO_FILE)


def test_a_link_that_is_dropped_is_answered_and_leads_nowhere(visitor):
    page = visitor()
    address = page.url
    link = "<a style='position:fixed;top:0;left:0;z-index:9' href='/elsewhere'>a link</a>"
    page.evaluate("(link) => document.body.insertAdjacentHTML('afterbegin', link)", link)
    page.get_by_text("a link").drag_to(page.locator("h1"))
    expect(page.locator(".icon-note")).to_have_text(NO_FILE)
    expect(page.get_by_role("status")).to_have_text(NO_FILE)
    assert page.url == address


def test_the_heading_stays_in_its_place_while_the_page_opens(browser, address):
    with browser.new_context() as context:
        page = context.new_page()
        page.add_init_script(
            """window.seen = new Set();
            (function look() {
              for (const heading of document.querySelectorAll("h1")) {
                if (!heading.checkVisibility({ visibilityProperty: true })) continue;
                const { x, y, height } = heading.getBoundingClientRect();
                if (!height) continue;  // it has no text yet
                seen.add([x, y, height].map(Math.round).join());
              }
              requestAnimationFrame(look);
            })()"""
        )
        open_page(page, address)
        places = page.evaluate("[...seen]")
        assert len(places) == 1, places


def test_with_the_keyboard_alone(visitor, drawing):
    page = visitor()
    page.on("filechooser", lambda chooser: chooser.set_files(drawing("star")))
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Choose pictures")).to_be_focused()
    with new_cards(page):
        page.keyboard.press("Enter")
    page.keyboard.press("Enter")
    expect(page.get_by_role("status")).to_have_text(re.compile("star"))  # and it is read aloud
    plain = images(page)
    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    assert until(lambda: images(page) not in (plain, []), 60), "no heatmap"
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.locator(".icon-facts li").first).to_be_visible()


def test_a_photo_is_made_smaller_before_it_is_sent(visitor, photo, site):
    upright, path = photo
    assert path.stat().st_size > 2_000_000
    page = visitor()
    sizes = sent(page)
    open_page(page, page.url)
    begun = len(sizes)
    upload(page, path)
    assert (
        page.evaluate("(({ naturalWidth: w, naturalHeight: h }) => h / w)(document.querySelector('.icon-card img'))")
        > 1
    )
    press(page)
    expect(prediction(page)).to_contain_text("Prediction: ")
    assert 10_000 < sum(sizes[begun:]) < 300_000
    expected = load_classifier(site / "export/export.pkl").predict(upright)
    name, probability = re.fullmatch("Prediction: (.*); Probability: (.*)", prediction(page).inner_text()).groups()
    assert name == expected.label and abs(float(probability) - expected.probability) < 0.02


def test_colours_are_the_same_whether_the_browser_or_the_server_converts_them(visitor, tmp_path):
    """A small file is sent as it is, profile and all; of a large one the browser makes a JPEG, which has no profile."""
    patches = Image.new("RGB", (4, 1))
    patches.putdata([P3_RED, (40, 90, 200), (30, 220, 60), (120, 120, 120)])
    files = [tmp_path / "small.png", tmp_path / "large.png"]
    for file, size in zip(files, [(400, 300), (2600, 2000)], strict=True):
        patches.resize(size, Image.Resampling.NEAREST).save(file, icc_profile=P3)
    page, frames = visitor(), []
    page.on("websocket", lambda opened: opened.on("framesent", lambda payload: frames.append(payload)))
    open_page(page, page.url)
    upload(page, *files)
    press(page)
    expect(prediction(page)).to_have_count(2)
    frames = [frame for frame in frames if isinstance(frame, bytes)]
    raw = next(frame[frame.index(b"\x89PNG") :] for frame in frames if b"\x89PNG" in frame)
    jpeg = next(frame[frame.index(b"\xff\xd8\xff") :] for frame in frames if b"\xff\xd8\xff" in frame)
    assert raw == files[0].read_bytes()
    seen = [open_image(data).resize((400, 300)) for data in (raw, jpeg)]  # what the classifier gets
    for x in (50, 150, 250, 350):
        by_server, by_browser = (image.getpixel((x, 150)) for image in seen)
        assert max(abs(a - b) for a, b in zip(by_server, by_browser, strict=True)) <= 4
    assert max(abs(a - b) for a, b in zip(seen[0].getpixel((50, 150)), SRGB_RED, strict=True)) <= 1


def test_a_photo_of_an_iphone_in_a_browser_that_cannot_read_it(page, drawing, tmp_path):
    Image.open(drawing("star")).convert("RGB").resize((640, 640)).save(tmp_path / "star.heic")
    upload(page, tmp_path / "star.heic")
    press(page)
    expect(prediction(page)).to_contain_text("Prediction: star")


def test_files_of_forty_megabytes(page, drawing, tmp_path):
    """One that the browser can read is made smaller; of another the server says what is wrong with it."""
    Image.open(drawing("star")).convert("RGB").resize((3700, 3700)).save(tmp_path / "star.bmp")
    (tmp_path / "film.mp4").write_bytes(b"\0\0\0 ftypisom" + bytes(40_000_000))
    assert (tmp_path / "star.bmp").stat().st_size > 40_000_000
    sizes = sent(page)
    open_page(page, page.url)
    upload(page, tmp_path / "star.bmp", tmp_path / "film.mp4")
    press(page)
    expect(prediction(page)).to_contain_text("Prediction: star")
    expect(page.locator(".icon-problem")).to_contain_text("not an image in a supported format")
    assert max(sizes) < 9_000_000


def test_a_small_file_of_many_pixels_is_made_smaller_too(page, tmp_path):
    """In the server it would take as much memory as a large one."""
    Image.new("RGB", (5000, 3000), "red").save(tmp_path / "flat.png")
    assert (tmp_path / "flat.png").stat().st_size < 100_000
    upload(page, tmp_path / "flat.png")
    press(page)
    expect(prediction(page)).to_contain_text("Prediction: ")


# What comes out


def test_the_answer_in_words_bars_and_heat(page, drawing):
    upload(page, drawing("star"))
    expect(page.locator(".icon-look")).to_be_hidden()
    press(page)
    words = page.locator(".icon-card figcaption > p").first
    expect(words).to_have_text(re.compile(r"(Almost certainly|Very likely|Probably) star\."))
    expect(page.get_by_role("status")).to_have_text(words.inner_text())
    chart = page.locator(".icon-chart span")
    expect(chart).to_have_count(9)  # three labels: each with its label, its bar and its share
    assert chart.nth(0).inner_text() == "star" and chart.nth(2).inner_text().endswith("%")
    wide, narrow = (page.locator(".icon-track i").nth(i).bounding_box()["width"] for i in (0, 2))
    assert wide > 5 * narrow
    plain = images(page)
    page.locator(".icon-look input").check()
    assert until(lambda: images(page)[0].startswith("data:image/jpeg"), 60)
    page.locator(".icon-look input").uncheck()
    assert until(lambda: images(page) == plain, 60)
    with new_cards(page):
        paste(page, drawing("bell"), after=".icon-look input")  # the last answer goes with its picture
    expect(page.locator(".icon-chart")).to_have_count(0)
    expect(page.locator(".icon-look")).to_be_hidden()


def test_what_is_none_of_them_is_said(page, site, drawing):
    classifier = load_classifier(site / "export/export.pkl")
    other = next(f for f in sorted((site / "photos/.others").rglob("*.png")) if classifier.predict(f).is_ood)
    upload(page, other)
    press(page)
    expect(page.locator(".icon-card.icon-modest")).to_contain_text("This is probably none of them")
    expect(prediction(page)).to_contain_text("Prediction: ")
    upload(page, drawing("heart"))
    press(page)
    expect(prediction(page)).to_contain_text("Prediction: heart")
    expect(page.locator(".icon-modest")).to_have_count(0)


def test_a_press_before_the_pictures_have_come_classifies_them(page, drawing):
    page.evaluate(
        """(dataTransfer) => {
          document.body.dispatchEvent(new DragEvent("drop", { dataTransfer, bubbles: true, cancelable: true }));
          const buttons = [...document.querySelectorAll("button")];
          buttons.find((button) => button.textContent.includes("Classify Icon")).click();
        }""",
        transfer(page, drawing("star"), drawing("bell")),
    )
    expect(prediction(page)).to_have_count(2)
    expect(page.get_by_role("status").first).to_contain_text("bell")
    expect(page.locator(".icon-note")).to_have_text("")


def test_the_kernel_learns_that_all_pictures_were_sent(visitor, drawing):
    """Else it would wait for those that a lost connection took."""
    page = visitor()
    said = []
    page.on("websocket", lambda opened: opened.on("framesent", lambda words: said.append(str(words))))
    page.reload()
    ready(page)
    upload(page, drawing("star"), drawing("bell"))
    assert until(lambda: page.title() and any(re.search(r'"sent": ?2\b', words) for words in said), 60)


def test_several_pictures_and_a_table_to_copy(visitor, drawing, tmp_path):
    """The good ones go on beside the bad ones, and the table says what the cards say."""
    page = visitor(viewport={"width": 360, "height": 740}, permissions=["clipboard-read", "clipboard-write"])
    cut = tmp_path / "cut.png"
    cut.write_bytes(drawing("heart").read_bytes()[:300])
    heic = tmp_path / "phone.heic"
    heic.write_bytes(b"\0\0\0\x18ftypheic" + bytes(100))
    (tmp_path / "empty.jpg").touch()
    markup = tmp_path / f"{MARKUP}.png".replace("/", "")
    markup.write_text("<html>not found</html>")
    decoy = "<button class=icon-button tabindex=-1></button><p class=icon-said></p>"
    page.evaluate("(decoy) => document.body.insertAdjacentHTML('afterbegin', decoy)", decoy)
    upload(page, drawing("star"), cut, heic, tmp_path / "empty.jpg", markup, drawing("bell"))
    expect(page.get_by_role("button", name="Classify Icon")).to_be_focused()  # a widget stays inside its own element
    problems = page.locator(".icon-problem")
    expect(problems).to_have_count(4)  # before any button is pressed
    for number, words in enumerate(["damaged or incomplete", "HEIC", "empty", "not an image"]):
        expect(problems.nth(number)).to_contain_text(words)
    press(page)
    expect(prediction(page)).to_have_count(2)
    expect(prediction(page).nth(0)).to_contain_text("Prediction: star")
    expect(prediction(page).nth(1)).to_contain_text("Prediction: bell")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "the page is wider than the phone"
    page.get_by_role("button", name="Copy the table").click()
    expect(page.locator(".icon-table .icon-said")).to_have_text("Copied")
    rows = [line.split("\t") for line in page.evaluate("navigator.clipboard.readText()").strip().splitlines()]
    assert rows[0] == ["Picture", "Prediction", "Probability", "Remark"] and len(rows) == 7
    assert rows[1][:2] == [drawing("star").name, "star"] and rows[1][2] in prediction(page).nth(0).inner_text()
    assert rows[5][0] == markup.name and "not an image" in rows[5][3]


def test_twenty_at_a_time(page, drawing):
    with new_cards(page, 20):
        with page.expect_file_chooser() as chooser:
            page.get_by_role("button", name="Choose pictures").click()
        chooser.value.set_files(sorted(drawing("star").parent.glob("*.png"))[:23])
    expect(page.locator(".icon-note")).to_have_text("This page takes 20 pictures at a time; 3 were left out.")
    press(page)
    expect(prediction(page)).to_have_count(20)


def test_about_the_model(page, site):
    expect(page.locator(".icon-facts li").first).to_be_hidden()
    page.locator(".icon-facts summary").click()
    told = facts(Card.read(site / "export/card.json"))
    expect(page.locator(".icon-facts li")).to_have_text([*told, *LIMITS, NOT_STORED])


def assert_accessible(page, state):
    """Assert that axe finds nothing serious in a state of the page."""
    page.mouse.move(0, 0)
    found = Axe().run(page).response["violations"]
    serious = [each for each in found if each["impact"] in ("serious", "critical")]
    assert [f"{each['id']}: {each['nodes'][0]['html']}" for each in serious] == [], state


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(visitor, drawing, site, tmp_path, scheme):
    page = visitor(viewport={"width": 390, "height": 800}, color_scheme=scheme)
    check = partial(assert_accessible, page)
    check("empty")
    press(page)
    expect(page.locator(".icon-note")).to_have_text("Choose a picture first, then press the button.")
    check("nothing chosen")
    upload(page, drawing("star"))
    check("chosen")
    press(page)
    expect(prediction(page)).to_have_count(1)
    page.locator(".icon-facts summary").click()
    check("answered")
    (tmp_path / "note.txt").write_text("hello")
    upload(page, *sorted((site / "photos/.others").rglob("*.png"))[:8], tmp_path / "note.txt")
    press(page)
    expect(page.get_by_role("table")).to_be_visible()
    check("several")
    dark = (
        page.evaluate("getComputedStyle(document.querySelector('#rendered_cells')).backgroundColor")
        != "rgb(255, 255, 255)"
    )
    assert dark == (scheme == "dark")


# What the page keeps to itself


def test_nothing_but_the_page_is_given_away(address):
    html = get(address)[2]
    assert "Icon Classifier" in html
    for code in ("IconPage", "icon_classifier.server", "import ", "export.pkl", "Traceback"):
        assert code not in html
    for path in (
        "voila/files/notebooks/icon_classifier.ipynb",
        "voila/files/export/export.pkl",
        "voila/files/voila.json",
    ):
        assert get(address + path)[0] in (403, 404)


def test_without_an_export_the_page_says_how_to_make_one(browser, tmp_path, drawing):
    with serve(furnish(tmp_path), ".venv-page") as address, browser.new_context() as context:
        page = context.new_page()
        open_page(page, address)
        expect(page.locator(".icon-about")).to_contain_text("To make one, run `make train`")
        upload(page, drawing("star"))
        press(page)
        expect(page.locator(".icon-note")).to_contain_text("There is no model")
        assert "Traceback" not in page.content()


def test_make_it_yours_as_the_docs_say(browser, site, drawing, tmp_path):
    """Its three short pieces of code, put into the notebook; and the fourth in a Python of its own."""
    section = (ROOT / "docs/customize.md").read_text().partition("## Make it yours\n")[2].partition("\n## ")[0]
    pieces = [re.sub("(?m)^    ", "", piece) for piece in re.findall(r"(?:^    .*\n)+", section, re.MULTILINE)]
    words, layout, colours, elsewhere = pieces
    assert all(piece.count("\n") <= 3 for piece in (words, layout, colours)) and elsewhere.count("\n") == 4
    shutil.copytree(site / "export", tmp_path / "export")
    furnish(tmp_path)
    path = tmp_path / "notebooks/icon_classifier.ipynb"
    notebook = nbformat.read(path, 4)
    notebook.cells[1].source += "\n" + words
    notebook.cells[2].source = colours + layout
    nbformat.write(notebook, path)
    with serve(tmp_path, ".venv-page") as address, browser.new_context() as context:
        page = context.new_page()
        page.goto(address)
        button = page.get_by_role("button", name="Tell me")
        expect(button).to_be_visible(timeout=60_000)
        expect(button).to_have_css("background-color", "rgb(179, 36, 95)")
        expect(page.locator(".widget-hbox .icon-predictions")).to_be_attached()
        page.set_viewport_size({"width": 390, "height": 800})
        for part in ("upload", "button"):
            box = page.locator(f".icon-{part}").bounding_box()
            assert box["width"] > 290 and box["x"] + box["width"] <= 390, "the columns are squeezed on a phone"
        expect(page.locator(".icon-label")).to_have_text("Who is this?")
        expect(page.locator(".icon-facts")).to_have_count(0)  # left out
        upload(page, drawing("star"))
        page.keyboard.press("Enter")
        expect(prediction(page)).to_contain_text("Prediction: star")
    code = f"{elsewhere}print(page.label.value)"
    run = python("-c", code, environment=".venv-page", cwd=tmp_path / "notebooks")
    assert run.stdout == "Show it a picture of one of them, or several:\n", run.stderr


def test_in_jupyterlab_the_same_notebook_is_the_page(browser, site, drawing):
    with jupyterlab(browser, site, "notebooks/icon_classifier.ipynb") as page:
        ready(page, 60_000)
        upload(page, drawing("bell"))
        press(page)
        expect(prediction(page)).to_contain_text("Prediction: bell; Probability: ")
        expect(page.locator(".icon-upload")).to_have_css("border-top-style", "dashed")  # it looks as in Voila
        expect(page.locator(".icon-chart")).to_have_css("display", "grid")
        button, mark = (page.locator(f".icon-{part}").bounding_box()["width"] for part in ("button", "upload"))
        assert button == mark
