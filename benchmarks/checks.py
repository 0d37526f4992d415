"""Print how much of planted faults the checks find in the first 12% of a review, and how long they take.

Run from the project's top folder: .venv/bin/python benchmarks/checks.py [NUMBER OF SEEDS] [PHOTOS]
It makes the photos: the sample's icons, and textures like photographs, whose features are those of EfficientNet-Lite0
with ImageNet's weights. PHOTOS is a folder of your own, with one folder per label.
"""

import statistics
import sys
import tempfile
import time
from functools import partial
from itertools import permutations
from pathlib import Path
from typing import NamedTuple

import numpy as np
from fastai.vision.all import ImageDataLoaders, RandomResizedCrop, get_image_files, resnet18, set_seed, vision_learner
from safetensors.torch import save_file

sys.path.append(str(Path(__file__).parent.parent / "tests"))
from support.standin import lite0, textures

from icon_classifier.dataset.checks.approved import FarFromApproved
from icon_classifier.dataset.checks.mislabelled import Mislabelled
from icon_classifier.dataset.checks.outliers import Outliers
from icon_classifier.dataset.checks.photo import Photo
from icon_classifier.dataset.checks.run import by_suspicion, find_all
from icon_classifier.training.early_look import WRONG_LABELS_INVERSE_PENALTY, out_of_sample
from icon_classifier.training.features import FrozenFeatures, _scaled, frozen_features
from icon_classifier.training.sample import LABELS, TRAIN_FAMILIES, write_icons
from icon_classifier.training.weights import pretrained_weights

REVIEWED = 0.12  # the share of the photos that a person looks at
FLIPPED = 0.1
IMPOSTORS = 0.1  # of a label
APPROVED = 10  # per label


class Features(NamedTuple):
    """Arrays (photos, n): `values`, on which heads are trained, and `raw`, between which distances are measured."""

    values: np.ndarray
    raw: np.ndarray

    def of(self, photos):
        return Features(*(part[photos] for part in self))


def features_of(photos, pretrained):
    """Return (features, labels) of the photos in the folder `photos`."""
    set_seed(0)
    crop = RandomResizedCrop(224 if pretrained else 48, min_scale=0.5)  # as in train.ipynb
    dls = ImageDataLoaders.from_folder(photos, valid_pct=0.2, item_tfms=crop, bs=32, num_workers=0)
    if not pretrained:
        found = frozen_features(vision_learner(dls, resnet18, pretrained=False))
    else:
        with tempfile.TemporaryDirectory() as folder:
            save_file(lite0.weights(), Path(folder) / "lite0.safetensors")
            with pretrained_weights(lite0.ARCH, Path(folder) / "lite0.safetensors") as options:
                found = frozen_features(vision_learner(dls, lite0.ARCH, **options))
    return Features(found.values, found.raw), np.array(found.labels)[found.targets]


def review(features, labels, seed, approved=()):
    """Return the indices of the photos that are reviewed. approved: indices of photos that need no review."""
    names = sorted(set(labels))
    targets = np.array([names.index(label) for label in labels])
    number = len(labels)
    look = FrozenFeatures(list(range(number)), targets, features.values, number, tuple(names), True)
    photos = [Photo(str(i), label, "") for i, label in enumerate(labels)]
    checks = (
        Mislabelled(names, out_of_sample(look, seed=seed, inverse_penalty=WRONG_LABELS_INVERSE_PENALTY), features.raw),
        Outliers(features.raw),
        FarFromApproved(features.raw, map(str, approved)),
    )
    order = map(int, by_suspicion([found for check in checks for found in check.find(photos)]))
    approved = set(approved)
    return set([i for i in order if i not in approved][: round(REVIEWED * number)])


def flips_found(features, labels, seed):
    """Return the share of flipped labels among the reviewed photos."""
    rng = np.random.default_rng(seed)
    flipped = rng.permutation(len(labels))[: round(FLIPPED * len(labels))]
    given = labels.copy()
    for i in flipped:
        given[i] = rng.choice([label for label in sorted(set(labels)) if label != labels[i]])
    return len(review(features, given, seed) & set(flipped.tolist())) / len(flipped)


def impostors_found(features, labels, victim, impostor, seed):
    """Return the share of photos of the label `impostor`, planted under `victim`, among the reviewed photos."""
    rng = np.random.default_rng(seed)
    wanted = round((labels == victim).sum() * IMPOSTORS / (1 - IMPOSTORS))
    planted = rng.permutation(np.flatnonzero(labels == impostor))[:wanted]
    number = len(planted)
    kept = np.concatenate([np.flatnonzero(labels != impostor), planted])
    given = np.where(labels == impostor, victim, labels)[kept]
    good = np.arange(len(kept)) < len(kept) - number
    approved = [
        i for label in sorted(set(given)) for i in rng.permutation(np.flatnonzero(good & (given == label)))[:APPROVED]
    ]
    return len(review(features.of(kept), given, seed, approved) & set(np.flatnonzero(~good).tolist())) / number


def seconds_of(number=2000):
    """Return the seconds that all checks take on `number` photos whose features are known."""
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        images = [textures.render(label, seed).resize((512, 512)) for label in textures.LABELS for seed in range(10)]
        for i in range(number):
            label = textures.LABELS[i % 3]
            (Path(folder) / label).mkdir(exist_ok=True)
            left, top = (int(side) for side in rng.integers(0, 128, 2))
            image = images[i % len(images)].crop((left, top, left + 384, top + 384))
            image.save(Path(folder) / label / f"{i}.jpg", quality=90)
        raw = rng.normal(size=(number, 1024)).astype(np.float32)
        labels = np.array(textures.LABELS)[np.arange(number) % 3]
        start = time.perf_counter()
        find_all(folder)
        review(Features(_scaled(raw), raw), labels, 0, range(30))
        return time.perf_counter() - start


def cases(folder, per_label=(100, 150)):
    """Return {what: function from a seed to the share found}. per_label: of the textures, and of the icons."""
    textures.write_textures(folder / "textures", per_label[0])
    write_icons(folder / "icons", LABELS, TRAIN_FAMILIES, per_label[1])
    pretrained, drawn = features_of(folder / "textures", True), features_of(folder / "icons", False)
    return {
        "flipped labels, textures": partial(flips_found, *pretrained),
        "flipped labels, icons, random features": partial(flips_found, *drawn),
        **impostors(*pretrained),
    }


def impostors(features, labels):
    """Return {what: function from a seed to the share found} for each two labels."""
    pairs = permutations(sorted(set(labels)), 2)
    return {f"impostor ({i} in {victim})": partial(impostors_found, features, labels, victim, i) for victim, i in pairs}


def main(seeds=10, photos=None):
    with tempfile.TemporaryDirectory() as folder:
        found = cases(Path(folder))
    if photos:
        assert get_image_files(photos), f"there are no images in {photos}"
        own = features_of(photos, True)
        found |= {"flipped labels, your photos": partial(flips_found, *own), **impostors(*own)}
    print(f"Found in the first {REVIEWED:.0%} of the order, seeds 0 to {int(seeds) - 1}: at worst, in the median")
    for what, share in found.items():
        shares = [share(seed) for seed in range(int(seeds))]
        print(f"{what:<42}{min(shares):>8.0%}{statistics.median(shares):>8.0%}", flush=True)
    print(f"All checks on 2,000 photos with known features: {seconds_of():.0f} s")


if __name__ == "__main__":
    main(*sys.argv[1:])
