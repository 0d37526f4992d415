"""Print what the ONNX model saves and costs: each figure beside its counterpart, as medians of several calls.

Run from the project's top folder, after `make train`: make bench
"""

import io
import random
import statistics
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import numpy as np
from row import row

from icon_classifier.images import open_image
from icon_classifier.model.card_text import facts, onnx_in_words
from icon_classifier.model.classifier import load_classifier, open_pickle
from icon_classifier.model.preprocessing import prepare
from icon_classifier.training.sample import draw_icon, find_glyphs

PICKLE = "export/export.pkl"
PROGRAM = Path(__file__).parent.parent / "tests/support/programs/predict.py"
LOADS = "load_classifier", "open_pickle"


def medians(times, *actions):
    """Return the median duration of each of `actions` in ms. They run in turns, `times` times after a warm-up."""
    taken = [[] for _ in actions]
    for turn in range(times + 1):
        for action, durations in zip(actions, taken, strict=True):
            begin = time.perf_counter()
            action()
            if turn:
                durations.append(1000 * (time.perf_counter() - begin))
    return [statistics.median(durations) for durations in taken]


def jpeg(image, size):
    """Return the bytes of `image` as a JPEG of this size."""
    file = io.BytesIO()
    image.resize(size).save(file, "JPEG", quality=90)
    return file.getvalue()


def process(load, photo):
    """Run a process that imports the package, loads the export with the function called `load`, and predicts once."""
    subprocess.run([sys.executable, PROGRAM, load, PICKLE], input=photo, check=True, capture_output=True)


def at_224(folder):
    """Return the same network as for photographs, in fp32: 224 px, a last feature map of 7 x 7 cells."""
    from icon_classifier.training.export import compile_export

    learn = open_pickle(PICKLE).learn
    next(t for t in learn.dls.after_item if hasattr(t, "size")).size = (224, 224)
    path = Path(folder, "export.pkl").absolute()
    learn.export(path)
    compile_export(path)
    return load_classifier(path)


def main():
    icon = draw_icon(find_glyphs("star")[0], random.Random(0), 256)
    photo, camera, sent = (jpeg(icon, size) for size in ((1500, 1000), (4000, 3000), (683, 512)))
    onnx = load_classifier(PICKLE)
    pickle = open_pickle(PICKLE)
    if type(onnx).__name__ != "OnnxClassifier":
        sys.exit(f"There is no ONNX model beside {PICKLE}. Run: icon-classifier compile {PICKLE}")
    preprocessing = onnx.card.preprocessing
    prepared = np.zeros((1, 3, *preprocessing["size"][::-1]), np.float32)

    times = medians(3, *(partial(process, load, photo) for load in LOADS))
    row("import, load, first prediction", *times, "fastai", "ms")
    times = medians(30, partial(onnx.predict, photo), partial(pickle.predict, photo))
    row("prediction from a 1500 x 1000 JPEG", *times, "fastai", "ms")

    def bare():
        prepare(open_image(photo), preprocessing)
        onnx.session.run(["scores"], {"images": prepared}, onnx.options)

    row("the same", *medians(30, partial(onnx.predict, photo), bare), "decode + resize + network alone", "ms")
    sizes = medians(10, *(partial(onnx.predict, image) for image in (sent, camera)))
    row("prediction from what the browser makes of 12 MP", *sizes, "from the 12 MP", "ms")
    with tempfile.TemporaryDirectory() as folder:
        for what, classifier in (("the sample's", onnx), ("at 224 px, fp32", at_224(folder))):
            heatmap = medians(30, *(partial(classifier.predict, photo, heatmap) for heatmap in (True, False)))
            row(f"with a heatmap, {what}", *heatmap, "without", "ms")
    print(
        *facts(onnx.card), f"The ONNX model: {onnx.card.onnx['precision']}. {onnx_in_words(onnx.card.onnx)}", sep="\n"
    )


if __name__ == "__main__":
    main()
