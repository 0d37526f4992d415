"""The static page in Firefox, which has an image decoder and a WebAssembly compiler of its own."""

import base64

import pytest
from parity_inputs import files
from PIL import Image
from static_host import hosted
from support import binaries
from support.firefox import firefox
from test_images import encoded
from test_parity import NEAR

from icon_classifier.images import open_image
from icon_classifier.model.classifier import load_classifier
from icon_classifier.site.build import write_site

pytestmark = pytest.mark.skipif(not binaries.find("firefox"), reason="there is no Firefox")

MAX_UPLOAD = 20  # files at a time
# By kind of image, how far a probability may be off. Firefox enlarges the colours of AVIF, which have fewer pixels than
# its brightness, in a way of its own.
TOLERANCES = {kind: 0.1 for kind in (*NEAR, "avif", "avif turned")}
TOLERANCES["jpeg cmyk profile"] = 1  # Firefox ignores these profiles
CARDS = """[...document.querySelectorAll(".icon-card")].map((card) => ({
  problem: card.querySelector(".icon-problem")?.textContent ?? "",
  line: card.querySelector(".icon-prediction")?.textContent ?? "",
  modest: card.classList.contains("icon-modest"),
  shares: [...card.querySelectorAll(".icon-chart span:not(.icon-track)")].map((span) => span.textContent),
}))"""


@pytest.fixture(scope="module")
def tab(tmp_path_factory):
    with firefox(tmp_path_factory.mktemp("firefox")) as tab:
        yield tab


@pytest.fixture(scope="module")
def built(site, tmp_path_factory):
    return write_site(tmp_path_factory.mktemp("static") / "site", site / "export")


def classify(tab, paths):
    """What the page shows of each file."""
    tab.upload("input[type=file]", *paths)
    tab.wait_for(f"document.querySelectorAll('.icon-card').length === {len(paths)}")
    tab.evaluate("[...document.querySelectorAll('button')].find((it) => it.textContent === 'Classify Icon').click()")
    done = ".icon-prediction, .icon-problem"
    tab.wait_for(f"document.querySelectorAll('{done}').length === {len(paths)}")
    return tab.evaluate(CARDS)


def assert_same(shown, prediction, tolerance=0.01):
    """Assert that a card shows what Python predicts."""
    assert shown["problem"] == "" and shown["line"].startswith("Prediction: ")
    shares = dict(zip(shown["shares"][::2], [float(share[:-1]) / 100 for share in shown["shares"][1::2]], strict=True))
    assert shares == pytest.approx(prediction.probabilities, abs=tolerance)
    first, second, *_ = prediction.probabilities.values()
    assert shown["line"].startswith(f"Prediction: {prediction.label};") or first - second < 2 * tolerance


def test_predictions_are_pythons(tab, built, site, tmp_path):
    """One image of each kind, through the page as visitors use it."""
    classifier = load_classifier(site / "export/export.pkl")
    images = dict(files(1))
    paths = [tmp_path / f"{kind}.img" for kind in images]
    for path, data in zip(paths, images.values(), strict=True):
        path.write_bytes(data)
    with hosted(built[0]) as host:
        tab.open(host.url)
        shown = [
            card
            for start in range(0, len(paths), MAX_UPLOAD)
            for card in classify(tab, paths[start : start + MAX_UPLOAD])
        ]
    assert len(shown) > 30
    for (kind, data), card in zip(images.items(), shown, strict=True):
        assert_same(card, classifier.predict(open_image(data)), TOLERANCES.get(kind, 0.01))
    assert tab.complaints == []


# A worker that tries to reach another address, and shows on the page whether it could.
PROBE = """fetch("{}", {{ mode: "no-cors" }}).then(() => 0.25, () => 0.75).then((progress) => {{
  setInterval(() => postMessage({{ progress }}), 50);
}});
"""


def test_worker_reaches_no_other_address(tab, site, drawing, tmp_path):
    folder, single = write_site(tmp_path / "site", site / "export")
    with hosted(folder) as host, hosted(folder) as other:
        probe = PROBE.format(other.url).encode()
        script = next(folder.glob("page-*/classifier.js"))
        script.write_bytes(probe + script.read_bytes())
        begin = b'id="worker">'
        single.write_bytes(single.read_bytes().replace(begin, begin + probe))
        for address in (host.url, single.as_uri()):
            tab.open(address)
            classify(tab, [drawing("star")])
            shown = "document.querySelector('progress').value"
            tab.wait_for(f"[0.25, 0.75].includes({shown})")
            assert tab.evaluate(shown) == 0.75
        assert other.requests == []
        asked = host.parts()
        tab.open(host.url)
        classify(tab, [drawing("star")])
        assert host.parts() == asked and len(asked) == len(set(asked))  # the worker finds the cache
    tab.complaints.clear()


def test_from_a_disk(tab, built, site, drawing):
    classifier = load_classifier(site / "export/export.pkl")
    tab.open(built[1].as_uri())
    paths = [drawing("star"), drawing("bell")]
    for card, path in zip(classify(tab, paths), paths, strict=True):
        assert_same(card, classifier.predict(path))
    assert tab.complaints == []


UPLOAD = """(async () => {
  const { default: upload } = await import("MODULES/upload.js");
  const { Model } = await import("MODULES/widget.js");
  const content = Uint8Array.from(atob("CONTENT"), (character) => character.charCodeAt(0));
  const el = document.createElement("div");
  return new Promise((done) => {
    const isSame = (bytes) => bytes.length === content.length && bytes.every((byte, i) => byte === content[i]);
    const receive = (message, [buffer]) => buffer && done(isSame(new Uint8Array(buffer)));
    const examples = [{ name: "x.bmp", content }];
    upload.render({ model: new Model({ max_images: 1, said: "", examples }, receive), el });
    el.querySelector(".icon-examples button").click();
  });
})()"""  # whether the served page sends a file as it is


def test_pixels_that_the_browser_hides_are_not_classified(built, drawing, tmp_path):
    """Firefox scrambles what pages read of a canvas if it resists fingerprinting, as Tor Browser and LibreWolf do."""
    icon = Image.open(drawing("star")).convert("RGB").resize((300, 300))
    content = base64.b64encode(encoded(icon, "BMP")).decode()
    modules = f"./{next(built[0].glob('page-*')).name}"
    with firefox(tmp_path, **{"privacy.resistFingerprinting": True}) as tab, hosted(built[0]) as host:
        tab.open(host.url)
        [shown] = classify(tab, [drawing("star")])
        assert shown["problem"].startswith("This browser hides the pixels of pictures from web pages")
        assert shown["line"] == ""
        assert tab.evaluate(UPLOAD.replace("MODULES", modules).replace("CONTENT", content))
