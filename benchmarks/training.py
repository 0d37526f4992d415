"""Print how fast the training loop is beside the network's forward and backward pass alone, on the same batches.

Run from the project's top folder: .venv/bin/python benchmarks/training.py [SIZE]
Both are measured in turns. It makes the photos: 512 px as after gathering, with grain as from a camera.
"""

import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from fastai.vision.all import (
    Callback,
    ChannelsLast,
    ImageDataLoaders,
    MixedPrecision,
    RandomResizedCrop,
    aug_transforms,
    resnet18,
    vision_learner,
)
from PIL import Image
from row import row

from icon_classifier.training.timing import Timing

TURNS = 3
GPU = torch.cuda.is_available()
PER_LABEL = 500 if GPU else 24


def make_photos(folder):
    """Write two labels of photos: smooth shapes with grain, about 80 kB each."""
    rng = np.random.default_rng(0)
    for label in ("one", "two"):
        (folder / label).mkdir(parents=True)
        for i in range(PER_LABEL):
            shapes = Image.fromarray(rng.integers(0, 256, (12, 16, 3), np.uint8)).resize((512, 384), Image.BICUBIC)
            grain = rng.normal(0, 12, (384, 512, 1))
            image = Image.fromarray(np.clip(np.asarray(shapes) + grain, 0, 255).astype(np.uint8))
            image.save(folder / label / f"{i}.jpg", quality=90)


def dataloaders(folder, size):
    """Return DataLoaders as train.ipynb makes them."""
    return ImageDataLoaders.from_folder(
        folder,
        valid_pct=0.2,
        seed=42,
        item_tfms=RandomResizedCrop(size, min_scale=0.5),
        batch_tfms=aug_transforms(),
        bs=64 if GPU else 8,
        num_workers=None if GPU else 0,
    )


class Keep(Callback):
    """Keeps the batches that were trained on, on the network's device."""

    run_valid = False

    def before_fit(self):
        self.batches = []

    def before_batch(self):
        self.batches.append((self.xb[0].as_subclass(torch.Tensor), self.yb[0].as_subclass(torch.Tensor)))


def bare(learn, batches):
    """Return the photos per second of forward and backward passes; in 16 bits on a GPU, as in the loop."""
    model = learn.model.train()
    begin = time.perf_counter()
    for images, targets in batches:
        with torch.autocast("cuda", torch.float16, enabled=GPU):
            loss = learn.loss_func(model(images), targets)
        loss.backward()
        model.zero_grad()
    if GPU:
        torch.cuda.synchronize()
    return sum(map(len, (images for images, _ in batches))) / (time.perf_counter() - begin)


def main(size=224):
    with tempfile.TemporaryDirectory() as folder:
        make_photos(Path(folder))
        learn = vision_learner(dataloaders(folder, int(size)), resnet18, pretrained=False)
        timing = Timing()
        keep = Keep()
        loop = []
        alone = []
        with learn.no_bar(), learn.no_logging():
            for turn in range(TURNS + 1):  # the first one warms up
                learn.fit(1, cbs=[MixedPrecision() if GPU else ChannelsLast(), timing, keep])
                rates = timing.photos / sum(timing.seconds.values()), bare(learn, keep.batches)
                if turn:
                    loop.append(rates[0])
                    alone.append(rates[1])
    print(torch.cuda.get_device_name() if GPU else f"a CPU, {torch.get_num_threads()} threads")
    what = f"training loop, resnet18 at {size} px, photos per second"
    row(what, statistics.median(loop), statistics.median(alone), "forward + backward alone", "/s")
    print(timing)


if __name__ == "__main__":
    main(*sys.argv[1:])
