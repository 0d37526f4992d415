"""Prints what the twin saves: each figure beside fastai's own in the same run, as medians of several.

Run from the project's top folder, after `make train`: make bench
"""

import io
import random
import statistics
import subprocess
import sys
import time
from functools import partial

import numpy as np

from icon_classifier.classifier import load_classifier, open_pickle
from icon_classifier.pictures import open_picture
from icon_classifier.preprocessing import prepare
from icon_classifier.training.sample import draw_icon, find_glyphs

PICKLE = "export/export.pkl"


def median(action, times):
    """The median of `times` runs of `action`, in ms, after one that is not counted."""
    action()
    taken = []
    for _ in range(times):
        begin = time.perf_counter()
        action()
        taken.append(1000 * (time.perf_counter() - begin))
    return statistics.median(taken)


def process(load, photo):
    """Run a whole process: import, load with the named function, and one prediction."""
    code = f"import sys; from icon_classifier.classifier import {load} as load"
    code += f"; load({PICKLE!r}).predict(sys.stdin.buffer.read())"
    subprocess.run([sys.executable, "-c", code], input=photo, check=True, capture_output=True)


def row(what, ours, theirs, versus):
    print(f"{what:<42} {ours:8.1f} ms   {versus}: {theirs:8.1f} ms   ratio {ours / theirs:.2f}")


def main():
    icon = draw_icon(find_glyphs("star")[0], random.Random(0), 256).resize((1500, 1000))
    file = io.BytesIO()
    icon.save(file, "JPEG", quality=90)
    photo = file.getvalue()
    twin, pickle = load_classifier(PICKLE), open_pickle(PICKLE)
    assert type(twin).__name__ == "TwinClassifier", "run make train first"
    rule, ready = twin.card.preprocessing, np.zeros((1, 3, *twin.card.preprocessing["size"][::-1]), np.float32)

    starts = [median(partial(process, load, photo), 3) for load in ("load_classifier", "open_pickle")]
    answers = [median(partial(classifier.predict, photo), 30) for classifier in (twin, pickle)]
    decoded = median(lambda: prepare(open_picture(photo), rule), 30)
    network = median(lambda: twin.session.run(None, {"pictures": ready}), 30)
    row("import, load, first prediction", *starts, "fastai")
    row("prediction from a 1500 x 1000 JPEG", *answers, "fastai")
    row("the same", answers[0], decoded + network, "decode + resize + network alone")


if __name__ == "__main__":
    main()
