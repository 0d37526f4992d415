"""The static page's engine in Chromium against Python: the network's input, the predictions, the refusals."""

import base64
import functools
import gzip
import hashlib
import http.server
import io
import random
import re
import shutil
import struct
import threading
import zlib

import numpy as np
import pytest
from parity_inputs import ICC, files, turned_exif
from PIL import Image
from support import ROOT
from support.profiles import P3, P3_RED
from test_images import encoded, near, png_claiming, two_halves

from icon_classifier.images import ImageError, open_image
from icon_classifier.model.classifier import load_classifier
from icon_classifier.model.preprocessing import PAD_MODES, RESIZES, _resize, visible_box

SITE = ROOT / "icon_classifier/site"
PAGE = """<!DOCTYPE html><script type="module">
import { resize } from "./prepare.js";
Object.assign(self, { resize });
self.base64 = (bytes) => {
  let text = "";
  for (let i = 0; i < bytes.length; i += 1 << 15) text += String.fromCharCode(...bytes.subarray(i, i + (1 << 15)));
  return btoa(text);
};
self.start = (script = "classifier.js") => {
  const worker = new Worker(script, { type: "module" });
  const waiting = new Map();
  worker.onmessage = ({ data }) => waiting.get(data.id)?.(data);
  worker.onerror = (event) => { throw new Error(event.message); };
  let id = 0;
  return (job, more) => new Promise((done) => {
    waiting.set(++id, done);
    worker.postMessage({ id, job, ...more });
  });
};
self.classify = async (ask, name, heatmap) => {
  const file = await (await fetch(name)).blob();
  const prepared = await ask("prepare", { file, thumbnail: false });
  if (!prepared.done) return prepared;
  const { size, rgb } = prepared.done;
  const predicted = await ask("predict", { size, rgb, heatmap });
  return { size, rgb: base64(rgb), ...predicted };
};
self.ready = true;
</script>"""


ASKED = []  # the names of all files that the browser asked for


class Host(http.server.SimpleHTTPRequestHandler):
    """Serves a folder. Paths that begin with "once-" or "always-" are damaged the first time or each time."""

    def do_GET(self):
        name = self.path.removeprefix("/")
        damaged = name.startswith("always-") or (name.startswith("once-") and name not in ASKED)
        ASKED.append(name)
        if damaged:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"\x1f\x8b and no more")
        else:
            super().do_GET()

    def log_message(self, *args):
        pass


@pytest.fixture(scope="module")
def folder(site, tmp_path_factory):
    """The files that the browser loads: the engine, its runtime, the sample's model, and a page for the tests."""
    folder = tmp_path_factory.mktemp("engine")
    for file in (*SITE.glob("static/*.js"), *SITE.glob("runtime/*"), ROOT / "icon_classifier/page/upload.js"):
        shutil.copy(file, folder)
    (folder / "index.html").write_text(PAGE)
    (folder / "int8.bin").write_bytes(gzip.compress((site / "export/export.onnx").read_bytes(), 1))
    return folder


@pytest.fixture(scope="module")
def page(browser, folder):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Host, directory=folder))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    page = browser.new_page()
    problems = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.goto(f"http://127.0.0.1:{server.server_port}/")
    page.wait_for_function("self.ready")
    yield page
    server.shutdown()
    page.close()
    assert problems == []


def load(page, folder, name, card, runtime="runtime.bin", model=(), cache=None):
    """Start a worker with a model as `self.NAME` of the page; return what it replies.

    runtime: the name of its file. model: the names of the pieces of the model; by default, one that is called `name`.
    cache: the name of a Cache.
    """
    model = list(model) or [f"{name}.bin"]
    config = {
        "bytes": sum((folder / piece).stat().st_size for piece in (runtime, *model)),
        "cache": cache,
        "runtime": [runtime],
        "model": model,
        "sha256": {piece: [hashlib.sha256((folder / piece).read_bytes()).hexdigest()] for piece in (runtime, *model)},
    }
    start = """async ([name, card, config]) => {
        self[name] = self.start();
        await self[name]("begin", { card });
        return self[name]("load", { config });
    }"""
    return page.evaluate(start, [name, {"labels": card.labels, "preprocessing": card.preprocessing}, config])


@pytest.fixture(scope="module")
def classifiers(page, folder, site, tmp_path_factory):
    """{precision: the Python classifier} of the sample's model, each of which the page has under the same name."""
    from icon_classifier.training.export import compile_export

    whole = tmp_path_factory.mktemp("fp32")
    shutil.copy(site / "export/export.pkl", whole)
    compile_export(whole / "export.pkl")
    (folder / "fp32.bin").write_bytes(gzip.compress((whole / "export.onnx").read_bytes(), 1))
    found = {
        "fp32": load_classifier(whole / "export.pkl"),
        "int8": load_classifier(site / "export/export.pkl"),
    }
    assert {name: classifier.card.onnx["precision"] for name, classifier in found.items()} == {n: n for n in found}
    for name, classifier in found.items():
        answer = load(page, folder, name, classifier.card)
        assert answer["done"]["fetched"] < answer["done"]["session"] < answer["done"]["warm"]
    return found


def predict(page, precision, names, heatmap):
    """What the page's engine makes of the images with these names: a list of dicts."""
    script = """async ([engine, names, heatmap]) => {
        const found = [];
        for (const name of names) found.push(await self.classify(self[engine], name, heatmap));
        return found;
    }"""
    return page.evaluate(script, [precision, names, heatmap])


def pixels_of(answer, preprocessing):
    width, height = preprocessing["size"]
    return np.frombuffer(base64.b64decode(answer["rgb"]), np.uint8).reshape(height, width, 3)


@pytest.fixture(scope="module")
def compared(page, folder, classifiers):
    """Ten images of each kind, as both see them: (kind, image, answer of the page, input of Python's network)."""
    images = list(files(10))
    names = [f"{number}.img" for number in range(len(images))]
    for name, (_, data) in zip(names, images, strict=True):
        (folder / name).write_bytes(data)
    preprocessing = classifiers["int8"].card.preprocessing
    answers = predict(page, "int8", names, True)
    return [
        (kind, opened := open_image(data), answer, np.asarray(_resize(opened, preprocessing)))
        for (kind, data), answer in zip(images, answers, strict=True)
    ]


NEAR = {  # kind of image -> how far the input of the network may be off, of 255
    "png grey 16 bits": 1,  # Chromium drops the lower bits, where images.py rounds
    "png grey profile": 1,  # LittleCMS approximates a profile of grey by 33 points
    "png linear grey profile": 2,
    "png transparent profile": 8,  # Chromium rounds transparent colours before they can be converted
    "jpeg cmyk profile": 80,  # browsers convert these in a way of their own
}


def test_inputs_equal_pythons_in_every_byte(compared, classifiers):
    preprocessing = classifiers["int8"].card.preprocessing
    off = {}
    for kind, image, answer, ours in compared:
        assert "done" in answer and answer["size"] == list(image.size), (kind, answer)
        difference = np.abs(pixels_of(answer, preprocessing).astype(int) - ours).max()
        off[kind] = max(off.get(kind, 0), int(difference))
    assert len(compared) >= 350
    assert {kind: by for kind, by in off.items() if by > NEAR.get(kind, 0)} == {}


def assert_same(answers, predictions):
    """Assert that the page's answers are Python's predictions: probabilities, OOD verdicts, heatmaps."""
    for answer, prediction in zip(answers, predictions, strict=True):
        found = answer["done"]
        assert found["probability"] == found["probabilities"][0][1]
        assert dict(found["probabilities"]) == pytest.approx(prediction.probabilities, abs=1e-5)
        shares = [share for _, share in found["probabilities"]]
        assert found["label"] == prediction.label or shares[0] - shares[1] < 2e-5
        assert found["is_ood"] is prediction.is_ood or abs(found["ood_score"]) < 1e-4
        if found["label"] == prediction.label:
            heatmap = np.reshape(found["heatmap"]["values"], (found["heatmap"]["rows"], found["heatmap"]["columns"]))
            assert heatmap.shape == prediction.heatmap.shape
            assert np.abs(heatmap - prediction.heatmap).max() <= 1e-3 * max(1, np.abs(prediction.heatmap).max())
    assert {answer["done"]["is_ood"] for answer in answers} == {True, False}


def test_predictions_equal_pythons(page, compared, classifiers):
    """In int8 for all images whose input is the same, in fp32 for some of them."""
    same = [(number, image, answer) for number, (kind, image, answer, _) in enumerate(compared) if kind not in NEAR]
    assert_same(
        [answer for *_, answer in same], classifiers["int8"].predict_many([i for _, i, _ in same], heatmap=True)
    )
    some = same[::4]
    answers = predict(page, "fp32", [f"{number}.img" for number, *_ in some], True)
    assert_same(answers, classifiers["fp32"].predict_many([image for _, image, _ in some], heatmap=True))
    boxes = [visible_box(image.size, classifiers["fp32"].card.preprocessing) for _, image, _ in some]
    assert [answer["done"]["crop"] for answer in answers] == [pytest.approx(box) for box in boxes]


def random_preprocessing(rng):
    resize = rng.choice(RESIZES)
    found = {"resize": resize, "size": rng.choices(range(8, 41), k=2), "resample": rng.choice([1, 2, 3, 4, 5])}
    if resize == "pad":
        found["pad_mode"] = rng.choice(list(PAD_MODES))
    if resize == "RandomResizedCrop":
        found["val_xtra"] = rng.choice([0, 0.14, 0.3])
    return found


def test_resizing_equals_pillows_in_every_byte(page):
    """All filters, kinds of resizing and of padding, on images of noise; smaller, larger and of the same size."""
    rng, noise = random.Random(5), np.random.default_rng(5)
    cases = []
    for _ in range(300):
        preprocessing = random_preprocessing(rng)
        size = rng.choice([preprocessing["size"], rng.choices(range(8, 90), k=2), [rng.randrange(8, 20), 200]])
        cases.append((preprocessing, noise.integers(0, 256, (size[1], size[0], 3), np.uint8)))
    script = """(cases) => cases.map(([preprocessing, size, text]) => {
        const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
        const read = (x, y, width, height) => {
            const part = new Uint8Array(width * height * 4);
            for (let i = 0; i < width * height; i++) {
                const at = ((y + Math.floor(i / width)) * size[0] + x + (i % width)) * 3;
                part.set(bytes.subarray(at, at + 3), i * 4);
            }
            return part;
        };
        return base64(resize(read, size, preprocessing));
    })"""
    asked = [(how, pixels.shape[1::-1], base64.b64encode(pixels.tobytes()).decode()) for how, pixels in cases]
    for (how, pixels), text in zip(cases, page.evaluate(script, asked), strict=True):
        ours = np.asarray(_resize(Image.fromarray(pixels), how))
        assert base64.b64decode(text) == ours.tobytes(), (how, pixels.shape)


LONG = 5_000_000  # bytes of metadata


def long_metadata():
    """Return {kind: file} with `LONG` metadata before whatever tells the size or describes the colours."""
    image, p3 = two_halves(size=(90, 70)), ICC["P3"]
    jpeg, webp = encoded(image, "JPEG", icc_profile=p3), encoded(image, "WEBP", lossless=True, icc_profile=p3)
    pngs = encoded(image, icc_profile=p3)
    segments = b"\xff\xe1" + struct.pack(">H", 65_535) + bytes(65_533)
    text = b"prVt" + bytes(LONG)
    chunk = struct.pack(">I", LONG) + text + struct.pack(">I", zlib.crc32(text))
    unknown = b"none" + struct.pack("<I", LONG) + bytes(LONG)
    return {
        "jpeg": jpeg[:2] + segments * (LONG // 65_537 + 1) + jpeg[2:],
        "png": pngs[:33] + chunk + pngs[33:],
        "webp": b"RIFF" + struct.pack("<I", len(webp) - 8 + len(unknown)) + webp[8:30] + unknown + webp[30:],
        "avif": with_free_box(encoded(image, "AVIF", quality=90)),
    }


def with_free_box(avif):
    """Put a box of `LONG` bytes behind the pixels, because those have their places written down."""
    return avif + struct.pack(">I", LONG + 8) + b"free" + bytes(LONG)


def test_metadata_of_any_length(page, folder, classifiers):
    card = classifiers["int8"].card
    images = long_metadata()
    for name, data in images.items():
        (folder / f"{name}.long").write_bytes(data)
    answers = predict(page, "int8", [f"{name}.long" for name in images], False)
    for data, answer in zip(images.values(), answers, strict=True):
        ours = np.asarray(_resize(open_image(data), card.preprocessing))
        assert "done" in answer, answer
        assert np.array_equal(pixels_of(answer, card.preprocessing), ours)


def test_thumbnails_are_upright_and_in_srgb(page, folder, classifiers):
    files = {
        "p3.png": encoded(Image.new("RGB", (1500, 900), P3_RED), icc_profile=P3),
        "p3.jpg": encoded(Image.new("RGB", (1500, 900), P3_RED), "JPEG", icc_profile=P3, quality=95),
        "turned.webp": encoded(two_halves(size=(800, 400)), "WEBP", lossless=True, exif=turned_exif(6)),
    }
    script = """async (name) => {
        const file = await (await fetch(name)).blob();
        const { thumbnail } = (await self.int8("prepare", { file, thumbnail: true })).done;
        return base64(new Uint8Array(await thumbnail.arrayBuffer()));
    }"""
    for name, data in files.items():
        (folder / name).write_bytes(data)
        thumbnail = Image.open(io.BytesIO(base64.b64decode(page.evaluate(script, name))))
        expected = open_image(data, max_side=640)
        assert thumbnail.size == expected.size
        for x, y in [(0.1, 0.1), (0.9, 0.1), (0.1, 0.9)]:
            place = int(x * expected.width), int(y * expected.height)
            assert near(thumbnail.getpixel(place), expected.getpixel(place), by=6), (name, place)


@pytest.mark.parametrize(("refused", "problem"), [("from-image", None), ("none", "This browser is too old")])
def test_browser_that_does_not_know_an_option(page, folder, compared, refused, problem):
    """Chrome before 112 does not know "from-image", which is the default."""
    (folder / f"old-{refused}.js").write_text(f"""
        const real = self.createImageBitmap;
        self.createImageBitmap = async (blob, options) => {{
          if (Object.values(options).includes("{refused}")) throw new TypeError("not a valid enum value");
          return real(blob, options);
        }};""")
    (folder / f"worker-{refused}.js").write_text(f'import "./old-{refused}.js"; import "./classifier.js";')
    script = """async ([script, card]) => {
        const ask = self.start(script);
        await ask("begin", { card });
        return ask("prepare", { file: await (await fetch("0.img")).blob(), thumbnail: false });
    }"""
    preprocessing = {"resize": "squish", "size": [64, 64], "resample": 2}
    answer = page.evaluate(script, [f"worker-{refused}.js", {"labels": ["a", "b"], "preprocessing": preprocessing}])
    assert answer["problem"].startswith(problem) if problem else "done" in answer


def test_browser_whose_frames_have_other_channels(page, folder):
    """Safari, and Chrome before 127, ignore the format that they are asked for."""
    (folder / "frames.js").write_text("""
        const real = VideoFrame.prototype.copyTo;
        VideoFrame.prototype.copyTo = function (to, { rect }) { return real.call(this, to, { rect }); };""")
    (folder / "worker-frames.js").write_text('import "./frames.js"; import "./classifier.js";')
    data = encoded(Image.new("RGBA", (64, 64), (*P3_RED, 200)), icc_profile=P3)
    (folder / "transparent.png").write_bytes(data)
    preprocessing = {"resize": "squish", "size": [64, 64], "resample": 2}
    script = """async (card) => {
        const ask = self.start("worker-frames.js");
        await ask("begin", { card });
        const file = await (await fetch("transparent.png")).blob();
        return { rgb: base64((await ask("prepare", { file, thumbnail: false })).done.rgb) };
    }"""
    answer = page.evaluate(script, {"labels": ["a", "b"], "preprocessing": preprocessing})
    ours = np.asarray(_resize(open_image(data), preprocessing)).astype(int)
    assert np.abs(pixels_of(answer, preprocessing).astype(int) - ours).max() <= 12


NOT_IMAGES = {
    "empty": b"",
    "html": b"<html><body>404 Not Found</body></html>",
    "svg": b'<svg xmlns="http://www.w3.org/2000/svg" width="90" height="90"/>',
    "postscript": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 90 90\n%%EndComments\n",
    "tiff": encoded(two_halves(), "TIFF"),
    "ico": encoded(two_halves(), "ICO"),
    "truncated jpeg": encoded(two_halves(size=(600, 400)), "JPEG")[:-400],
    "truncated png": encoded(two_halves(size=(600, 400)))[:-60],
    "tiny": encoded(Image.new("RGB", (1, 1))),
    "thin": encoded(Image.new("RGB", (1, 4000)), "JPEG"),
    "bomb": png_claiming(10_000, 10_000),
    "only a head": encoded(two_halves(), "JPEG")[:300],
}


def test_refusals_are_pythons_sentences(page, folder, classifiers):
    expected = {}
    for name, data in NOT_IMAGES.items():
        (folder / name).write_bytes(data)
        with pytest.raises(ImageError) as refusal:
            open_image(data)
        expected[name] = re.sub(r"BMP, AVIF or HEIC|BMP or AVIF", "BMP or AVIF", str(refusal.value))
    (folder / "heic").write_bytes(encoded(two_halves(), "HEIF"))  # Chromium cannot decode it, but Python can
    answers = dict(zip([*NOT_IMAGES, "heic"], predict(page, "int8", [*NOT_IMAGES, "heic"], None), strict=True))
    heic = "HEIC photos are not supported here. Save or share the photo as JPEG, and try again."
    assert answers.pop("heic")["problem"] == heic
    assert {name: answer.get("problem") for name, answer in answers.items()} == expected


def test_image_that_does_not_fit_into_memory_gets_a_sentence(page, folder, compared, classifiers):
    card = classifiers["int8"].card
    script = """async ([labels, preprocessing]) => {
        const ask = self.start();
        await ask("begin", { card: { labels, preprocessing } });
        return ask("prepare", { file: await (await fetch("0.img")).blob(), thumbnail: false });
    }"""
    answer = page.evaluate(script, [card.labels, card.preprocessing | {"size": [200_000, 200_000]}])
    assert answer["problem"].startswith("This device has too little free memory"), answer


def test_loading_repeats_damaged_downloads_and_keeps_what_came(page, folder, compared, classifiers):
    """The model in three pieces, of which one is damaged the first time; then from the cache, and never complete."""
    data = (folder / "int8.bin").read_bytes()
    pieces = ["once-0.bin", "once-1.bin", "piece-2.bin"]
    for number, name in enumerate(pieces):
        third = len(data) // 3 + 1
        (folder / name).write_bytes(data[number * third : (number + 1) * third])
    card = classifiers["int8"].card
    expected = predict(page, "int8", ["0.img"], True)[0]["done"]
    for attempt in ("first", "second"):
        ASKED.clear()
        answer = load(page, folder, attempt, card, model=pieces, cache="test")
        assert "done" in answer, answer
        asked = [name for name in ASKED if name.endswith(".bin")]
        assert sorted(asked) == ([*sorted(2 * pieces[:2]), "piece-2.bin", "runtime.bin"] if attempt == "first" else [])
        assert predict(page, attempt, ["0.img"], True)[0]["done"] == expected

    shutil.copy(folder / "piece-2.bin", folder / "always-2.bin")
    (folder / "unpacked.bin").write_bytes(gzip.decompress((folder / "runtime.bin").read_bytes()))
    answer = load(
        page, folder, "broken", card, runtime="unpacked.bin", model=[*pieces[:2], "always-2.bin"], cache="test"
    )
    sentence = "The model could not be downloaded completely. Check the connection, and reload the page."
    assert answer["problem"] == sentence and "always-2.bin: damaged" in answer["trouble"]
    assert predict(page, "broken", ["0.img"], True)[0]["problem"] == sentence
    assert "done" in load(page, folder, "unpacked", card, runtime="unpacked.bin", model=["int8.bin"])
    assert predict(page, "unpacked", ["0.img"], True)[0]["done"] == expected
