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
LOADS = "load_classifier", "open_pickle"


def medians(times, *actions):
    """The median duration of each of `actions` in ms, taken in turns, `times` times after one that is not counted."""
    taken = [[] for _ in actions]
    for turn in range(times + 1):
        for action, durations in zip(actions, taken, strict=True):
            begin = time.perf_counter()
            action()
            if turn:
                durations.append(1000 * (time.perf_counter() - begin))
    return [statistics.median(durations) for durations in taken]


def jpeg(image, size):
    """The bytes of `image` as a JPEG of this size."""
    file = io.BytesIO()
    image.resize(size).save(file, "JPEG", quality=90)
    return file.getvalue()


def process(load, photo):
    """Run a whole process: import, load with the named function, and one prediction."""
    code = f"import sys; from icon_classifier.model.classifier import {load} as load"
    code += f"; load({PICKLE!r}).predict(sys.stdin.buffer.read())"
    subprocess.run([sys.executable, "-c", code], input=photo, check=True, capture_output=True)


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
    onnx, pickle = load_classifier(PICKLE), open_pickle(PICKLE)
    if type(onnx).__name__ != "OnnxClassifier":
        sys.exit(f"There is no ONNX model beside {PICKLE}. Run: icon-classifier compile {PICKLE}")
    rule, ready = onnx.card.preprocessing, np.zeros((1, 3, *onnx.card.preprocessing["size"][::-1]), np.float32)

    row(
        "import, load, first prediction",
        *medians(3, *(partial(process, load, photo) for load in LOADS)),
        "fastai",
        "ms",
    )
    times = medians(30, partial(onnx.predict, photo), partial(pickle.predict, photo))
    row("prediction from a 1500 x 1000 JPEG", *times, "fastai", "ms")

    def bare():
        prepare(open_image(photo), rule)
        onnx.session.run(["scores"], {"images": ready}, onnx.options)

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
