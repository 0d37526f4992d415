"""Test page.py without a browser: handling of all messages, and escaping of file names."""

import io
import random
import shutil
from dataclasses import replace

import psutil
import pytest
from PIL import Image

from icon_classifier.model.card import Card
from icon_classifier.model.classifier import Prediction, load_classifier
from icon_classifier.page.page import MAX_UPLOAD_BYTES, SERVER_ERROR, IconPage
from icon_classifier.page.render import bars, figure, in_a_sentence, unfold

MARKUP = "<img src=x onerror=alert(1)>"


def bad_files():
    """Return 500 damaged files: truncated, scrambled, empty, of other types, or too large when decoded."""
    rng = random.Random(0)
    for kind in ("JPEG", "PNG", "WEBP", "GIF", "BMP"):
        file = io.BytesIO()
        Image.effect_noise((64, 64), 80).convert("RGB").save(file, kind)
        whole = file.getvalue()
        for _ in range(45):
            yield whole[: rng.randrange(len(whole) - 8)]
        for _ in range(45):
            scrambled = bytearray(whole)
            for _ in range(rng.randint(1, 40)):
                scrambled[rng.randrange(len(whole))] = rng.randrange(256)
            yield bytes(scrambled)
    bomb = io.BytesIO()
    Image.new("1", (10_000, 10_000)).save(bomb, "PNG")  # 12 kB
    others = [
        b"",
        b"\0",
        b"<html>",
        b"<svg/>",
        b"%!PS-Adobe",
        b"%PDF-1.7",
        b"PK\x03\x04",
        b"....ftypheic",
        bomb.getvalue(),
    ]
    for number in range(50):
        yield others[number % len(others)] + (rng.randbytes(number) if number >= len(others) else b"")


@pytest.fixture
def page(site):
    return IconPage(load_classifier(site / "export/export.pkl"))


@pytest.fixture
def good(drawing):
    return drawing("star").read_bytes()


def send(page, message, *buffers):
    """Send a message of the browser to the page."""
    page.upload._handle_custom_msg(message, list(buffers))


def give(page, *contents, name="picture.jpg"):
    """Upload images as the browser does, and press the button."""
    send(page, {"begin": len(contents)})
    for content in contents:
        send(page, {"name": name, "address": "blob:1"}, memoryview(content))
    page.button.click()


def read(page):
    """Return the HTML of the cards."""
    return [card.value for card in page.predictions.children]


def test_damaged_files_are_refused_and_the_page_goes_on(page, good):
    said = []
    memory = []
    for number, content in enumerate(bad_files()):
        give(page, content, name=f"{number}{MARKUP}.png")
        said += read(page)
        if number % 100 == 99:
            give(page, good)
            assert "Prediction: star" in read(page)[0], "the page is dead"
            memory.append(psutil.Process().memory_info().rss)
    assert len(said) == 500 and not [words for words in said if SERVER_ERROR in words or MARKUP in words]
    problems = [words.partition('icon-problem">')[2] for words in said]
    assert sum(map(bool, problems)) > 350  # some scrambled files are still images
    assert sum("Prediction: " in words for words in said) == 500 - sum(map(bool, problems))
    for kind in ("is empty", "HEIC", "not an image", "damaged", "megapixels"):
        assert any(kind in words for words in problems), kind
    assert memory[-1] < 1.1 * memory[0]


def test_progress_is_shown(page, good):
    said = []
    page.note.observe(lambda change: said.append(change.new), "value")
    give(page, good, good, good)
    assert [f"picture {number} of 3" in words for number, words in enumerate(said[:3], 1)] == [True] * 3
    assert said[3:] == [""]


def test_a_press_waits_for_the_last_picture(page, good):
    send(page, {"begin": 2})
    page.button.click()
    assert "Receiving picture 1 of 2" in page.note.value
    send(page, {"name": "1", "address": "blob:1"}, good)
    assert "Receiving picture 2 of 2" in page.note.value and "Prediction" not in read(page)[0]
    send(page, {"name": "2", "address": "blob:2"}, good)
    assert ["Prediction: star" in words for words in read(page)] == [True, True] and page.note.value == ""
    send(page, {"begin": 1})  # others are not classified before the button is pressed again
    send(page, {"name": "3", "address": "blob:3"}, good)
    assert "Prediction" not in read(page)[0]
    send(page, {"begin": 1})
    page.button.click()
    send(page, {"name": "4", "address": "blob:4"}, b"<html>")
    assert "not an image" in read(page)[0] and page.note.value == ""


def test_pictures_that_were_lost_on_the_way_are_said(page, good):
    """The connection broke while they were sent."""
    send(page, {"begin": 3})
    send(page, {"name": "1", "address": "blob:1"}, good)
    page.button.click()
    assert "Prediction" not in read(page)[0]
    send(page, {"sent": 3})
    assert "Prediction: star" in read(page)[0]
    assert page.note.value == "2 pictures did not arrive. Choose them again." == page.upload.said
    send(page, {"begin": 2})  # here, the message that all were sent was lost as well
    page.button.click()
    send(page, {"name": "1", "address": "blob:1"}, good)
    page.button.click()
    assert "Prediction: star" in read(page)[0]
    send(page, {"name": "2", "address": "blob:2"}, good)  # or late
    assert "Prediction: star" in read(page)[1]
    send(page, {"begin": 1})
    send(page, {"sent": 1})
    assert page.note.value == "1 picture did not arrive. Choose it again."


def test_second_press_does_not_repeat_work(page, good, monkeypatch):
    asked = []
    predict = page.classifier.predict
    monkeypatch.setattr(page.classifier, "predict", lambda *args, **kw: asked.append(1) or predict(*args, **kw))
    give(page, good, good)
    before = read(page)
    page.button.click()
    assert len(asked) == 2 and read(page) == before and page.note.value == ""


def test_unexpected_error_is_reported_and_can_be_retried(page, good, monkeypatch, caplog):
    with monkeypatch.context() as broken:
        broken.setattr(page.classifier, "predict", lambda *args, **kw: 1 / 0)
        give(page, good)
        assert SERVER_ERROR in read(page)[0] and "ZeroDivisionError" in caplog.text
    page.button.click()
    assert "Prediction: star" in read(page)[0] and SERVER_ERROR not in read(page)[0]


def test_no_heatmap_is_offered_without_preprocessing(page, site, good, tmp_path):
    give(page, good)
    assert page.look.layout.display == ""
    shutil.copy(site / "export/export.pkl", tmp_path)
    card = Card.read(site / "export/card.json")  # as for a pickle that cannot be compiled
    replace(card, onnx=None, preprocessing=None).write(tmp_path / "card.json")
    page = IconPage(tmp_path / "export.pkl")
    give(page, good)
    assert "Prediction: star" in read(page)[0] and page.look.layout.display == "none"


def test_too_large_uploads_are_refused(page):
    big = io.BytesIO()
    Image.effect_noise((2000, 2000), 80).save(big, "BMP")  # 4 MB
    give(page, *[big.getvalue()] * 5)
    refused = ["Choose fewer at a time" in words for words in read(page)]
    assert refused == [number * len(big.getvalue()) > MAX_UPLOAD_BYTES for number in range(1, 6)] and any(refused)


def test_unexpected_messages_of_the_browser_are_refused(page, good):
    send(page, {"begin": 1_000_000})
    for _ in range(30):
        send(page, {"name": MARKUP, "address": MARKUP}, good)
    assert len(page.predictions.children) == page.upload.max_images and not any(MARKUP in words for words in read(page))
    send(page, {"begin": 1})
    send(page, {"name": "a folder", "address": ""})
    assert "If it is a folder" in read(page)[0]
    give(page, good)
    assert "Prediction: star" in read(page)[0]


def test_file_names_are_escaped():
    prediction = Prediction(MARKUP, 0.9, {MARKUP: 0.9, "b": 0.1}, True, "Odd.")
    shown = bars(prediction.probabilities) + unfold(MARKUP, [MARKUP])
    shown += figure(MARKUP, "blob:1", MARKUP) + figure(MARKUP, "blob:1", "", prediction, in_a_sentence(prediction))
    assert "<img src=x" not in shown and shown.count("&lt;img") == 9


def test_many_labels_give_five_bars_and_a_count():
    shown = bars({f"name {i}": 0.01 for i in range(100)})
    assert shown.count("icon-track") == 5 and "and 95 less likely" in shown


@pytest.mark.parametrize(
    ("probability", "is_ood", "begins"),
    [
        (0.99, False, "Almost certainly star."),
        (0.9, False, "Very likely star."),
        (0.6, False, "Probably star."),
        (0.4, False, "Perhaps star."),
        (0.99, None, "star is the closest of the model's 2 labels."),
        (0.99, True, "This is probably none of them; star is only the closest label. Odd."),
    ],
)
def test_sentence_follows_probability_and_ood(probability, is_ood, begins):
    prediction = Prediction("star", probability, {"star": 0.9, "bell": 0.1}, is_ood, "Odd." if is_ood else "")
    assert in_a_sentence(prediction) == begins
    if not is_ood:
        assert in_a_sentence(prediction, detects_ood=False).startswith("star is the closest of the model's 2 labels")
