"""The static page as visitors meet it: on a host, from a disk, without a network, and in place of a full server."""

import gzip
import hashlib
import json
import random
import re
import shutil

import numpy as np
import pytest
import test_page
from PIL import Image
from playwright.sync_api import expect
from static_host import hosted
from support import ROOT
from support.page import CHROMIUM, complaints_of, images, open_page, prediction, press, upload, visit
from support.process import until
from support.server import furnish, get, health, serve

from icon_classifier.model.card import Card
from icon_classifier.model.card_text import LIMITS, facts
from icon_classifier.model.classifier import OOD_REASON, Prediction, load_classifier
from icon_classifier.page import render
from icon_classifier.page.page import Upload
from icon_classifier.server.handlers import NO_SITE
from icon_classifier.site.build import write_site
from icon_classifier.site.content import PRIVATE, Content
from icon_classifier.site.folder import MAX_PART_BYTES, site_files

# What visitors see of the served page, they see here: the same tests, with another `address`.
SHARED = """
test_a_visitor_reads_the_right_names test_ways_in test_what_holds_no_picture_is_said
test_a_link_that_is_dropped_is_answered_and_leads_nowhere test_the_heading_stays_in_its_place_while_the_page_opens
test_with_the_keyboard_alone test_a_small_file_of_many_pixels_is_made_smaller_too
test_the_answer_in_words_bars_and_heat test_what_is_none_of_them_is_said test_several_pictures_and_a_table_to_copy
test_a_press_before_the_pictures_have_come_classifies_them test_twenty_at_a_time
test_axe_finds_nothing_serious visitor page photo""".split()
globals().update({name: getattr(test_page, name) for name in SHARED})

UNEXPECTED = "Something went wrong in this browser"
INCOMPLETE = "The model could not be downloaded completely"
TRIED = "navigator.serviceWorker.getRegistration().then((it) => !it.installing)"
FETCH = "(url) => fetch(url, { mode: 'no-cors' }).then(() => 'allowed', () => 'refused')"


@pytest.fixture(scope="module")
def built(site, tmp_path_factory):
    """The static page of the export: the folder, and the one file."""
    return write_site(tmp_path_factory.mktemp("static") / "site", site / "export")


@pytest.fixture(scope="module")
def host(built):
    with hosted(built[0]) as host:
        yield host


@pytest.fixture(scope="module")
def address(host):
    return host.url


def classify(page, drawing, label="star", article=""):
    """article: what stands before the labels of this model."""
    upload(page, drawing(label))
    press(page)
    expect(prediction(page)).to_contain_text(f"Prediction: {article}{label};")


# The same as the served page


def random_prediction(chance):
    """A prediction with anything in its labels, and with probabilities at which rounding is difficult."""
    letters = "ab <>&\"'é東👩\n"
    labels = {"".join(chance.choices(letters, k=chance.randint(1, 9))) for _ in range(chance.randint(2, 12))}
    ties = [1, 0.95, 0.8, 0.5, 0.0625, 0.3125, 0.00005, 0.00015, 0.0005, 0.9995, 1e-9, 0]
    shares = sorted((chance.choice([chance.random(), chance.choice(ties)]) for _ in labels), reverse=True)
    probabilities = dict(zip(sorted(labels), shares, strict=True))
    label, probability = next(iter(probabilities.items()))
    is_ood = chance.choice([True, False, None])
    return Prediction(label, probability, probabilities, is_ood, OOD_REASON if is_ood else "")


def rendered(number, prediction, problem):
    """What the served page shows: the sentence, the figure, and the row of the table."""
    detects_ood = number % 3 > 0
    sentence = render.in_a_sentence(prediction, detects_ood)
    known = None if problem and number % 2 else prediction
    shown = Upload(f"{number}<\"&'>.png", "blob:x?a&b", problem=problem, prediction=known, sentence=sentence)
    figure = render.figure(shown.name, shown.address, problem, known, sentence)
    case = {"name": shown.name, "address": shown.address, "problem": problem, "sentence": sentence}
    words = {"label": prediction.label, "probability": prediction.probability, "is_ood": prediction.is_ood}
    words["probabilities"] = list(prediction.probabilities.items())
    case |= {"words": words, "prediction": words if known else None, "detectsOod": detects_ood, "reason": OOD_REASON}
    return case, [sentence, figure, list(shown.row())]


def test_both_pages_render_the_same(page, built):
    chance = random.Random(1)
    cases, expected = zip(
        *(rendered(i, random_prediction(chance), chance.choice(["", "", "<b>It</b> is 'cut'."])) for i in range(200)),
        strict=True,
    )
    module = next(built[0].glob("page-*")).name
    found = page.evaluate(
        """async ([module, cases]) => {
          const { inASentence, figure, row } = await import(module);
          return cases.map((each) => [inASentence(each.words, each), figure(each), row(each)]);
        }""",
        [f"./{module}/render.js", list(cases)],
    )
    for ours, theirs in zip(found, expected, strict=True):
        assert ours == theirs


def test_about_the_model_and_where_pictures_go(page, site):
    expect(page.get_by_text("Your pictures stay on this device.", exact=True)).to_be_visible()
    page.locator(".icon-facts summary").click()
    told = facts(Card.read(site / "export/card.json"))
    expect(page.locator(".icon-facts li")).to_have_text([*told, *LIMITS, PRIVATE])


def test_a_photo_gets_the_prediction_that_python_gives(page, photo, site):
    upright, path = photo
    upload(page, path)
    expect(page.locator(".icon-card img")).to_have_js_property("complete", True)
    width, height = page.evaluate(
        "(({ naturalWidth, naturalHeight }) => [naturalWidth, naturalHeight])(document.querySelector('.icon-card img'))"
    )
    assert width < height <= 640, "a thumbnail, upright"
    press(page)
    expect(prediction(page)).to_contain_text("Prediction: ")
    expected = load_classifier(site / "export/export.pkl").predict(upright)
    name, probability = re.fullmatch("Prediction: (.*); Probability: (.*)", prediction(page).inner_text()).groups()
    assert name == expected.label and abs(float(probability) - expected.probability) < 0.02


def test_large_files_and_files_that_no_browser_reads(page, drawing, tmp_path):
    Image.open(drawing("star")).convert("RGB").resize((3700, 3700)).save(tmp_path / "star.bmp")
    (tmp_path / "film.mp4").write_bytes(b"\0\0\0 ftypisom" + bytes(40_000_000))
    Image.open(drawing("star")).convert("RGB").resize((640, 640)).save(tmp_path / "star.heic")
    upload(page, tmp_path / "star.bmp", tmp_path / "film.mp4", tmp_path / "star.heic")
    expect(page.locator(".icon-problem").nth(0)).to_contain_text("not an image in a supported format")
    expect(page.locator(".icon-problem").nth(1)).to_contain_text("HEIC photos are not supported here")
    press(page)
    expect(prediction(page)).to_contain_text("Prediction: star")


# Bad files


def bad_files(folder, number):
    """Write `number` damaged files: cut off, with wrong bytes, with wrong headers, and with nothing right at all."""
    chance = random.Random(2)
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 60, 3), dtype=np.uint8))
    good = []
    for kind in ("JPEG", "PNG", "GIF", "WEBP", "BMP"):
        noise.save(folder / "good", kind)
        good.append((folder / "good").read_bytes())
    (folder / "good").unlink()
    for i in range(number):
        data = bytearray(good[i % 5])
        if i % 4 == 0:
            del data[chance.randrange(len(data)) :]
        elif i % 4 == 1:
            for _ in range(9):
                data[chance.randrange(len(data))] = chance.randrange(256)
        elif i % 4 == 2:
            at = chance.randrange(2, 40)
            data[at : at + 4] = chance.randbytes(4)
        else:
            data[chance.randrange(2, 12) :] = chance.randbytes(200)
        (folder / f"{i:03}.jpg").write_bytes(data)
    return sorted(folder.iterdir())


def test_bad_files_get_a_sentence_and_leave_the_page_alive(page, drawing, tmp_path):
    files = bad_files(tmp_path, 500)
    for start in range(0, len(files), 20):
        upload(page, *files[start : start + 20])
        press(page)
        expect(page.locator(".icon-card")).to_have_count(20)
        expect(page.get_by_role("table")).to_be_visible()
        assert UNEXPECTED not in page.locator("body").inner_text()
        remarks = page.locator("td:last-child").all_inner_texts()
        assert len(remarks) == 20 and page.locator(".icon-problem").count() + prediction(page).count() == 20
    classify(page, drawing)


# Hosts, disks and networks


def test_no_request_elsewhere_and_none_for_the_model_a_second_time(browser, built, drawing):
    """Also where the host compresses what is compressed; and without a network the page still works."""
    with hosted(built[0], compress=True) as host, browser.new_context() as context:
        page = context.new_page()
        complaints, asked = complaints_of(page), []
        page.on("request", lambda request: asked.append(request.url))
        open_page(page, host.url)
        classify(page, drawing)
        assert len(host.parts()) == len(set(host.parts())) > 1
        installed(page)
        host.requests.clear()
        open_page(page, host.url)
        classify(page, drawing, "bell")
        assert set(host.requests) <= {"service_worker.js"}
        worker = context.service_workers[0]
        worker.evaluate("() => { self.match = caches.match; caches.match = () => Promise.reject(Error('disk')); }")
        open_page(page, host.url)
        assert "" in host.requests  # from the host, as long as the browser's disk fails
        worker.evaluate("() => { caches.match = self.match; }")
        host.stop()
        for path in ("", "index.html", "?again"):
            open_page(page, host.url + path)
        classify(page, drawing, "heart")
        assert all(url.startswith((host.url, "blob:", "data:")) for url in asked)
        assert complaints == []


def installed(page):
    """Wait until a service worker is active and none is coming; return the names of the caches, in their order.

    A browser replaces a worker when that is idle. With its developer tools attached, as here, Chromium may wait 300 s.
    """
    script = """async () => {
      const settled = async () => {
        const it = await navigator.serviceWorker.getRegistration();
        return it && !it.installing && !it.waiting && it.active?.state === "activated";
      };
      const names = (await settled()) && (await caches.keys());
      return (await settled()) && names;
    }"""
    found = []
    assert until(lambda: found.append(page.evaluate(script)) or found[-1], 400)
    return found[-1]


def publish(folder, site, article, more=b""):
    """Write the page of another training and of another release to `folder`.

    Its labels have an article, its model has `more` bytes, and one of its scripts a comment.
    """
    model = (site / "export/export.onnx").read_bytes() + more
    card = Card.read(site / "export/card.json")
    figures = {key: card.figures[key] for key in ("photos", "error") if key in card.figures}
    onnx = {**card.onnx, "sha256": hashlib.sha256(model).hexdigest()}
    labels = [article + label for label in card.labels]
    content = Content(Card(labels, card.preprocessing, figures, {}, {}, card.sha256, onnx), model)
    content.scripts["widget.js"] += f"// {article}\n"
    shutil.rmtree(folder)
    for name, data in site_files(content).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)


AGAIN = b"\x32\x05again"  # ONNX's field `doc_string`, so that the model has other bytes and the same predictions


def test_a_new_page_is_shown_at_the_second_load_and_works_without_a_network(browser, built, site, drawing, tmp_path):
    """First one with the same model, then one with another."""
    folder = shutil.copytree(built[0], tmp_path / "site")
    others = "icon-classifier /pages/other/ page 1"  # a cache of another page of the same account
    with hosted(folder) as host, browser.new_context() as context:
        page = context.new_page()
        open_page(page, host.url)
        page.evaluate("(name) => caches.open(name)", others)
        classify(page, drawing)
        shown = ""
        for article, more in (("the ", b""), ("a ", AGAIN)):
            before = installed(page)
            script = next(folder.glob("page-*/page.js")).relative_to(folder).as_posix()
            publish(folder, site, article, more)
            host.requests.clear()
            host.gate.clear()
            open_page(page, host.url)
            if more:  # closed and opened again while the new one is fetched, with no other tab
                assert until(host.parts, 60)
                page.close()
                page = context.new_page()
                open_page(page, host.url)
            classify(page, drawing, article=shown)
            host.gate.set()
            assert until(lambda page=page, before=before: installed(page) != before, 60)
            new = host.parts()
            assert len(new) == len(set(new)) and bool(new) == bool(more), "only the parts that are other ones"
            open_page(page, host.url)
            expect(page.locator(".icon-about")).to_contain_text(f"{article}bell, {article}heart and {article}star")
            classify(page, drawing, article=article)
            assert host.parts() == new
            shown = article
        host.stop()
        page.close()
        page = context.new_page()
        open_page(page, host.url)
        classify(page, drawing, article=shown)
        status = page.evaluate("(script) => fetch(script).then((response) => response.status)", script)
        assert status == 200, "another tab may have the document of before, and not yet its scripts"
        assert len(installed(page)) == 4 and others in installed(page), "also the page before, without its model"


def test_the_page_before_this_one_is_kept_and_no_other(browser, built, site, tmp_path):
    """Also if the host goes back to an earlier one, or has half of a new one for a time."""
    folder = shutil.copytree(built[0], tmp_path / "site")
    with hosted(folder) as host, browser.new_context() as context:
        page = context.new_page()

        def pages():
            return [name for name in installed(page) if " page " in name]

        host.cut = 1000  # no visit gets the whole model
        open_page(page, host.url)
        kept, parts, scripts = [pages()], [], []
        for article in ("the ", "a ", "the ", "half ", "one "):
            publish(folder, site, article, AGAIN * len(article))
            scripts.append(next(folder.glob("page-*/page.js")).relative_to(folder).as_posix())
            host.requests.clear()
            host.instead = {scripts[-1]: b"half"} if article == "half " else {}
            open_page(page, host.url)
            if article == "half ":
                assert until(lambda path=scripts[-1]: path in host.requests, 60)
                assert until(lambda: page.evaluate(TRIED), 60)
            else:
                assert until(lambda before=kept[-1]: pages() != before, 60)
            kept.append(pages())
            parts.append(len(installed(page)) - len(kept[-1]))
        assert [len(names) for names in kept] == [1, 2, 2, 2, 2, 2] and max(parts) == 1
        fetch = "(script) => fetch(script).then(({ status }) => status)"
        assert [page.evaluate(fetch, script) for script in scripts] == [200, 404, 200, 404, 200]


def test_a_new_model_takes_the_place_of_the_old_one_where_there_is_no_room_for_both(
    browser, built, site, drawing, tmp_path
):
    folder = shutil.copytree(built[0], tmp_path / "site")
    with hosted(folder) as host, browser.new_context() as context:
        page = context.new_page()
        quota = {"origin": host.url.removesuffix("/pages/icons/"), "quotaSize": 24_000_000}
        context.new_cdp_session(page).send("Storage.overrideQuotaForOrigin", quota)
        open_page(page, host.url)
        classify(page, drawing)
        before = installed(page)
        publish(folder, site, "the ", AGAIN)
        open_page(page, host.url)
        assert until(lambda: installed(page) != before, 60)

        def needs_no_part():
            host.requests.clear()
            open_page(page, host.url)
            classify(page, drawing, article="the ")
            return not host.parts()

        assert until(needs_no_part, 120)


def test_a_page_that_is_taken_down_is_forgotten(browser, built, tmp_path):
    """As docs/deploy.md says."""
    lines = re.search(r"(?m)(^    .*\n)+", (ROOT / "docs/deploy.md").read_text().split("To take the page down")[1])[0]
    folder = shutil.copytree(built[0], tmp_path / "site")
    with hosted(folder) as host, browser.new_context() as context:
        page = context.new_page()
        open_page(page, host.url)
        installed(page)
        shutil.rmtree(folder)
        folder.mkdir()
        (folder / "index.html").write_text("<title>Another</title>")
        (folder / "service_worker.js").write_text(lines)
        page.goto(host.url)
        expect(page).to_have_title("Icon Classifier")
        assert until(lambda: not page.evaluate("navigator.serviceWorker.getRegistration().then(Boolean)"), 60)
        assert page.evaluate("caches.keys()") == []
        page.goto(host.url)
        expect(page).to_have_title("Another")


def test_a_returning_visitor_who_never_had_the_whole_model_gets_the_new_page_at_once(browser, built, site, tmp_path):
    folder = shutil.copytree(built[0], tmp_path / "site")
    with hosted(folder) as host, browser.new_context() as context:
        page = context.new_page()
        host.cut = 1000
        open_page(page, host.url)
        expect(page.locator(".icon-note")).to_contain_text(INCOMPLETE)
        before = installed(page)
        publish(folder, site, "the ", AGAIN)
        open_page(page, host.url)
        assert until(lambda: installed(page) != before, 60)
        open_page(page, host.url)
        expect(page.locator(".icon-about")).to_contain_text("the bell")


def test_half_a_deploy_leaves_the_page_of_before(browser, built, site, drawing, tmp_path):
    """Half a script, an old index.html from a CDN, half of one, half a part; then all, and a script of the host."""
    folder = shutil.copytree(built[0], tmp_path / "site")
    with hosted(folder) as host, browser.new_context() as context:
        page = context.new_page()
        open_page(page, host.url)
        classify(page, drawing)
        installed(page)
        old, old_parts = (folder / "index.html").read_bytes(), set((folder / "parts").iterdir())
        publish(folder, site, "the ", AGAIN)
        new = (folder / "index.html").read_bytes()
        part = next(path for path in (folder / "parts").iterdir() if path not in old_parts)
        script = next(folder.glob("page-*/page.js"))
        half = [(path.relative_to(folder).as_posix(), path.read_bytes()[:-9]) for path in (script, part)]
        for path, data in (half[0], ("", old), ("", new[: len(new) // 2]), half[1]):
            host.instead = {path: data}
            host.requests.clear()
            open_page(page, host.url)
            expect(page.locator(".icon-about")).to_contain_text("apart bell,")
            assert until(lambda path=path: path in host.requests, 60) and until(lambda: page.evaluate(TRIED), 60)
        classify(page, drawing)
        scripts = b'<head><script>var inserted;</script><script src="http://localhost:9/x.js"></script>'  # refused
        host.instead = {"": new.replace(b"<head>", scripts)}
        host.requests.clear()
        open_page(page, host.url)
        assert until(lambda: set(host.parts()) and installed(page), 60)
        open_page(page, host.url)
        classify(page, drawing, article="the ")
        expect(page.locator(".icon-note")).not_to_contain_text("Reload it")


@pytest.mark.parametrize("body", [b"", b"\n<!DOCTYPE html>Log in"])
def test_wrong_response_is_not_kept(browser, built, drawing, body):
    with hosted(built[0]) as host, browser.new_context() as context:
        page = context.new_page()
        runtime = next(built[0].glob("parts/runtime-*")).relative_to(built[0]).as_posix()
        host.instead = {runtime: body}
        open_page(page, host.url)
        expect(page.locator(".icon-note")).to_contain_text(INCOMPLETE)
        host.instead = {}
        open_page(page, host.url)
        classify(page, drawing)


def test_host_that_unpacks_files(browser, built, drawing):
    with hosted(built[0]) as host, browser.new_context() as context:
        page = context.new_page()
        for path in built[0].glob("parts/*"):
            if path.read_bytes()[:2] == b"\x1f\x8b" and path.stat().st_size < MAX_PART_BYTES:
                host.instead[path.relative_to(built[0]).as_posix()] = gzip.decompress(path.read_bytes())
        assert host.instead
        open_page(page, host.url)
        classify(page, drawing)
        asked = host.parts()
        open_page(page, host.url)
        classify(page, drawing)
        assert host.parts() == asked and len(asked) == len(set(asked))


def test_no_other_address_can_be_reached(browser, built, drawing):
    """By whatever runs in the page or in its worker: the browser refuses it."""
    with hosted(built[0]) as host, hosted(built[0]) as other, browser.new_context(service_workers="block") as context:
        for address in (host.url, built[1].as_uri()):
            page = context.new_page()
            open_page(page, address)
            classify(page, drawing)
            assert len(page.workers) == 1
            for place in (page, page.workers[0]):
                assert place.evaluate(FETCH, other.url) == "refused"
            page.close()
        assert other.requests == []


def test_from_a_disk(browser, built, drawing, site):
    with browser.new_context(viewport={"width": 390, "height": 800}) as context:
        page = context.new_page()
        complaints, asked = complaints_of(page), []
        page.on("request", lambda request: asked.append(request.url))
        open_page(page, built[1].as_uri())
        upload(page, drawing("star"), drawing("bell"))
        press(page)
        expect(prediction(page).nth(0)).to_contain_text("Prediction: star")
        expect(prediction(page).nth(1)).to_contain_text("Prediction: bell")
        expect(page.get_by_role("table")).to_be_visible()
        plain = images(page)
        page.locator(".icon-look input").check()
        assert until(lambda: not set(images(page)) & set(plain), 60)
        assert {url.partition(":")[0] for url in asked} <= {"file", "blob", "data"}
        assert [url for url in asked if url.startswith("file")] == [built[1].as_uri()]
        assert page.evaluate("document.documentElement.outerHTML.length") < 1e6  # the text of the model is removed
        assert complaints == []


def test_broken_download_is_tried_again_and_then_said(browser, built, drawing):
    with hosted(built[0]) as host, browser.new_context() as context:
        page = context.new_page()
        host.cut = 1
        open_page(page, host.url)
        classify(page, drawing)
        twice = next(path for path in host.parts() if host.requests.count(path) == 2)
        first, second = [time for time, path in zip(host.times, host.requests, strict=True) if path == twice]
        assert second - first > 0.9  # the connection gets time to come back
    with hosted(built[0]) as host, browser.new_context() as context:
        page = context.new_page()
        host.cut = 1000
        open_page(page, host.url)
        expect(page.locator(".icon-note")).to_contain_text(INCOMPLETE)
        upload(page, drawing("star"))  # the page works as far as it can
        press(page)
        expect(page.get_by_role("status")).to_contain_text(INCOMPLETE)
        host.cut = 0
        press(page)
        expect(prediction(page)).to_contain_text("Prediction: star")


def test_download_that_stops_is_tried_again(browser, built, drawing):
    """In a browser that stores nothing: in some frames, `caches` raises an error."""
    with hosted(built[0]) as host, browser.new_context(service_workers="block") as context:
        script = next(built[0].glob("page-*/classifier.js"))
        denied = 'Object.defineProperty(self, "caches", { get() { throw new DOMException("denied"); } });\n'
        patient, text = "const STALL = 30_000;", script.read_text()
        assert patient in text
        patched = denied + text.replace(patient, "const STALL = 1_000;")
        host.instead = {script.relative_to(built[0]).as_posix(): patched.encode()}
        host.stall = 1
        page = context.new_page()
        open_page(page, host.url)
        classify(page, drawing)
        assert sorted(map(host.requests.count, set(host.parts())))[-1] == 2


def test_worker_that_fails_is_said_and_replaced(browser, address, drawing):
    with browser.new_context(service_workers="block") as context:
        page = context.new_page()
        complaints = complaints_of(page)
        page.route("**/classifier.js", lambda route: route.abort())
        page.goto(address)
        expect(page.locator(".icon-note")).to_contain_text(INCOMPLETE)
        upload(page, drawing("star"))
        expect(page.locator(".icon-problem")).to_contain_text(INCOMPLETE)
        page.unroute("**/classifier.js")
        classify(page, drawing)
        assert [text for text in complaints if "ERR_FAILED" not in text] == []
        complaints.clear()
        page.workers[0].evaluate("postMessage({ id: 1e9, done: null })")  # as if the answer came late
        upload(page, drawing("bell"))
        page.workers[0].evaluate("() => { self.onmessage = () => { throw new Error('dead'); }; }")
        press(page)
        expect(page.locator(".icon-problem")).to_contain_text("The model stopped working")
        page.evaluate("async () => { for (const name of await caches.keys()) await caches.delete(name); }")
        page.route("**/parts/*", lambda route: route.abort())
        press(page)
        expect(page.locator(".icon-problem")).to_contain_text(INCOMPLETE)
        page.unroute("**/parts/*")
        press(page)
        expect(prediction(page)).to_contain_text("Prediction: bell")
        assert len(page.workers) == 1 and [text for text in complaints if "ERR_FAILED" not in text] == []


@pytest.mark.parametrize(
    ("lacks", "words"),
    [
        ("delete window.DecompressionStream", "This browser is too old for this page."),
        ("delete window.WebAssembly", "does not run WebAssembly"),
        ("page.js", "This browser is too old for this page."),
        ("a file page.js", "The page could not be loaded completely. Reload it."),
        ("a file render.js", "The page could not be loaded completely. Reload it."),
        ("a file page.css", "The page could not be loaded completely. Reload it."),
        ("JavaScript", "This page needs JavaScript"),
    ],
)
def test_browser_that_cannot_run_it_is_told_so(browser, address, drawing, lacks, words):
    with browser.new_context(java_script_enabled=lacks != "JavaScript") as context:
        page = context.new_page()
        if lacks.startswith("delete"):
            page.add_init_script(lacks)
        elif lacks.startswith("a file"):  # as after a deploy, which deletes the files that an old index.html names
            page.route(f"**/{lacks.split()[-1]}", lambda route: route.fulfill(status=404))
        elif lacks == "page.js":  # with syntax that comes after this browser
            page.route("**/page.js", lambda route: route.fulfill(body="syntax of 2030", content_type="text/javascript"))
        page.goto(address)
        expect(page.locator(".icon-note")).to_contain_text(words, use_inner_text=True)
        if lacks.startswith("delete"):
            upload(page, drawing("star"))
            press(page)
            expect(page.locator(".icon-problem")).to_contain_text(words)


def test_an_error_of_another_script_does_no_harm(browser, built, drawing):
    """An extension of the browser runs scripts in the page, also before those of the page have come."""
    with hosted(built[0]) as host, browser.new_context(service_workers="block") as context:
        context.add_init_script("setTimeout(() => { throw new Error('an extension') }, 0)")
        page = context.new_page()
        page.route("**/page.js", lambda route: page.wait_for_timeout(1000) or route.continue_())
        errors = []
        page.on("pageerror", lambda error: errors.append(error.message))
        open_page(page, host.url)
        classify(page, drawing)
        assert errors == ["an extension"]


@pytest.mark.parametrize("megabytes", [8, 32])  # less than the runtime asks for first; too little for the model
def test_too_little_memory_is_said(browser, address, drawing, megabytes):
    """V8 refuses WebAssembly more memory than that, as a phone does."""
    limit = f"--js-flags=--wasm-max-mem-pages={megabytes * 16}"  # of 64 kB
    small = browser.browser_type.launch(**{**CHROMIUM, "args": [*CHROMIUM["args"], limit]})
    try:
        page = small.new_page()
        complaints = complaints_of(page)
        open_page(page, address)
        expect(page.locator(".icon-note")).to_contain_text("This device has too little free memory")
        upload(page, drawing("star"))  # the page works as far as it can
        press(page)
        expect(page.get_by_role("status")).to_contain_text("This device has too little free memory")
        assert complaints == []
    finally:
        small.close()


# In place of the served page


def test_a_full_server_gives_the_static_page(browser, built, site, drawing, tmp_path):
    furnish(tmp_path)
    shutil.copytree(site / "export", tmp_path / "export", ignore=shutil.ignore_patterns("*.pkl", "site*"))
    with serve(tmp_path, ".venv-page", ICON_VISITORS="1") as address, visit(browser, address) as served:
        static = shutil.copytree(built[0], tmp_path / "export/site")
        (static / "model.txt").write_text("of an earlier training")
        assert get(address)[0] == 503 and "try again in a few seconds" in get(address)[2]
        shutil.copy(built[0] / "model.txt", static)
        status, _, html = get(address)
        assert status == 503 and "runs in your browser" in html
        with browser.new_context() as context:
            page = context.new_page()
            complaints = complaints_of(page)
            page.goto(address)
            page.wait_for_url(f"{address}site/?full")
            expect(page.locator(".icon-note")).to_contain_text("no room for more visitors")
            for part in ("h1", ".icon-about"):
                ours, theirs = (each.locator(part).bounding_box() for each in (page, served))
                assert (ours["x"], ours["y"]) == pytest.approx((theirs["x"], theirs["y"]), abs=1)
            classify(page, drawing)
            assert [text for text in complaints if "503" not in text] == []
        assert health(address)["visitors"] == 1
        assert {get(f"{address}site/{path}")[0] for path in ("../card.json", "%2e%2e/card.json", "x")} <= {403, 404}


def test_the_static_page_as_the_only_one(browser, built, site, drawing, tmp_path):
    furnish(tmp_path)
    shutil.copytree(site / "export", tmp_path / "export", ignore=shutil.ignore_patterns("*.pkl", "site*"))
    options = {"ready": "icons/voila/static/voila.js", "more": "--Voila.base_url=/icons", "ICON_STATIC": "1"}
    with serve(tmp_path, ".venv-page", **options) as address:
        assert NO_SITE[1] in get(address + "icons/")[2]
        shutil.copytree(built[0], tmp_path / "export/site")
        with visit(browser, address + "icons/") as page:
            assert page.url == f"{address}icons/site/"
            classify(page, drawing)
        assert json.loads(get(address + "icons/healthz")[2])["visitors"] == 0
