"""page.py without a browser: its handler takes whatever is uploaded, and what it shows of names is text."""

import io
import random
import zlib

import psutil
import pytest
from PIL import Image

from icon_classifier.classifier import Prediction, load_classifier
from icon_classifier.serving.page import IconPage, bars, in_a_sentence, unfold

MARKUP = "<img src=x onerror=alert(1)>"


def bad_files():
    """500 files that are no whole pictures: cut off, scrambled, empty, of other types, too large once decoded."""
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
    header = b"IHDR" + (100_000).to_bytes(4, "big") * 2 + b"\x08\x02\0\0\0"
    bomb = b"\x89PNG\r\n\x1a\n\0\0\0\r" + header + zlib.crc32(header).to_bytes(4, "big")
    others = [b"", b"\0", b"<html>", b"<svg/>", b"%!PS-Adobe", b"%PDF-1.7", b"PK\x03\x04", b"....ftypheic", bomb]
    for number in range(50):
        yield others[number % len(others)] + (rng.randbytes(number) if number >= len(others) else b"")


def give(page, content, name="picture.jpg"):
    """Upload as the browser does (here with ipywidgets 7), and press the button."""
    page.upload.set_trait("value", {name: {"metadata": {"name": name}, "content": content}})
    page.button.click()


def test_five_hundred_bad_files(site):
    page = IconPage(load_classifier(site / "export/export.pkl"))
    good = (site / "photos/sample/valid/star/material-001.png").read_bytes()
    said, memory = [], []
    for number, content in enumerate(bad_files()):
        give(page, content, f"{number}{MARKUP}.png")
        said.append(page.prediction.value)
        if number % 100 == 99:
            give(page, good)
            assert page.prediction.value.startswith("Prediction: star"), "the page is dead"
            memory.append(psutil.Process().memory_info().rss)
    assert len(said) == 500 and all(said)
    assert not [words for words in said if "went wrong" in words or MARKUP in words]
    assert sum(words.startswith("Prediction") for words in said) < 150  # some scrambled ones are pictures all the same
    assert len(set(said)) > 5 and memory[-1] < 1.1 * memory[0]


def test_names_are_text():
    shown = bars({MARKUP: 0.9, "b": 0.1}) + unfold(MARKUP, [MARKUP])
    assert "<img" not in shown and shown.count("&lt;img") == 3


def test_many_names_give_five_bars_and_the_number_of_the_others():
    shown = bars({f"name {i}": 0.01 for i in range(100)})
    assert shown.count("icon-track") == 5 and "and 95 less likely" in shown


@pytest.mark.parametrize(
    ("probability", "known", "begins"),
    [
        (0.99, True, "Almost certainly star."),
        (0.9, None, "Very likely star."),
        (0.6, True, "Probably star."),
        (0.4, None, "Perhaps star."),
        (0.99, False, "I don't think this is any of them; star is only the nearest guess. Odd."),
    ],
)
def test_in_a_sentence(probability, known, begins):
    assert in_a_sentence(Prediction("star", probability, {}, known, "Odd." if known is False else "")) == begins
