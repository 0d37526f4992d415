"""Compare OOD scores: how well each tells images of the labels from images of something else, over many trainings.

Run from the project's top folder:

    .venv/bin/python benchmarks/ood.py PHOTOS OTHERS... [--arch NAME] [--seeds N] [--leave-out]

PHOTOS has one folder per label, and each of OTHERS is a folder of images of something else. For each seed, the lesson's
recipe is trained on four fifths of PHOTOS, and the threshold is chosen on the last fifth. `sample` as PHOTOS takes the
drawings, as train.ipynb does. With --leave-out, each label in turn is left out of training, and is "something else".

It prints, per set of images, the AUROC of each score and the share that it refuses: median and worst over the seeds.
"""

import argparse
import statistics
import tempfile
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from fastai.vision import all as fv
from PIL import Image, ImageOps

from icon_classifier.model.network import Network
from icon_classifier.training.features import layers_and_scores
from icon_classifier.training.ood import auroc_figure, fit_ood_detector, fit_threshold
from icon_classifier.training.sample import OTHERS, VALID_FAMILIES, make_sample, write_icons

OURS = "this package"
DRAWN = 30  # images of plain colours, of noise and of gradients each


def draw_patterns(folder):
    """Write plain colours, noise of any grain, and gradients to `folder`."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(DRAWN):
        first, second = rng.integers(0, 256, (2, 3)).tolist()
        grain = int(2 ** rng.uniform(2, 8))
        noise = Image.fromarray(rng.integers(0, 256, (grain, grain, 3), dtype=np.uint8))
        ramp = Image.linear_gradient("L").rotate(rng.uniform(0, 360), expand=True)
        images = {
            "plain": Image.new("RGB", (256, 256), tuple(first)),
            "noise": noise.resize((256, 256), Image.Resampling.NEAREST),
            "gradient": ImageOps.colorize(ImageOps.fit(ramp, (180, 180)), first, second),
        }
        for name, image in images.items():
            image.save(folder / f"{name}-{number:02}.png")


def train(folder, arch, size, device, left_out, seed):
    """Train as train.ipynb does, on the labels of `folder` except `left_out`; return the Learner."""
    sample = (folder / "valid").exists()
    fv.set_seed(seed)
    block = fv.DataBlock(
        blocks=(fv.ImageBlock, fv.CategoryBlock),
        get_items=lambda top: [file for file in fv.get_image_files(top) if file.parent.name != left_out],
        splitter=fv.GrandparentSplitter() if sample else fv.RandomSplitter(valid_pct=0.2, seed=seed),
        get_y=fv.parent_label,
        item_tfms=fv.RandomResizedCrop(size, min_scale=0.5),
        batch_tfms=fv.aug_transforms(),
    )
    dls = block.dataloaders(folder, bs=16 if sample else 64, num_workers=0, device=torch.device(device))
    learn = fv.vision_learner(dls, getattr(fv, arch, arch), metrics=fv.error_rate, pretrained=not sample)
    with learn.no_bar(), learn.no_logging():
        if sample:
            learn.fit_one_cycle(8, 2e-3)
        else:
            learn.fine_tune(4)
    return learn


def vim(train, scores):
    """Return ViM's score (Wang et al., 2022): what is left outside the main directions of `train`, minus the energy."""
    center = train.mean(0)
    _, sizes, directions = torch.linalg.svd(train - center, full_matrices=False)
    main = directions[: int((sizes.square().cumsum(0) < 0.98 * sizes.square().sum()).sum()) + 1]

    def rest(features):
        return (features - center - (features - center) @ main.T @ main).norm(dim=1)

    alpha = scores.max(1).values.mean() / rest(train).mean()
    return lambda features, scores: alpha * rest(features) - scores.logsumexp(1)


def mahalanobis(train, targets):
    """Return the distance to the nearest label's mean (Lee et al., 2018), with a shared covariance, shrunk by 10%."""
    means = torch.stack([train[targets == target].mean(0) for target in targets.unique()])
    rest = train - means[targets]
    covariance = rest.T @ rest / len(rest)
    covariance = 0.9 * covariance + 0.1 * covariance.trace() / len(covariance) * torch.eye(len(covariance))
    precision = torch.linalg.inv(covariance)
    return lambda features, _: torch.stack([((features - m) @ precision * (features - m)).sum(1) for m in means]).amin(
        0
    )


def targets_of(learn, files):
    """Return the numbers of the files' labels."""
    return torch.tensor([learn.dls.vocab.o2i[fv.parent_label(file)] for file in files])


def ood_scores(learn):
    """Return {name: function of a list of layers and of scores}; high values are out of distribution."""
    photos = learn.dls.train_ds.items
    layers, scores = layers_and_scores(learn, photos)
    if reason := fit_ood_detector(learn).get("reason"):
        raise ValueError(f"No OOD detector could be fitted: {reason}. Add photos.")
    detector = Network(learn.model, learn.ood_detector)
    found = {
        "maximum probability": lambda _, scores: -scores.softmax(1).amax(1),
        "energy": lambda _, scores: -scores.logsumexp(1),
    }
    for ending, form in (("", lambda features: features), (", length 1", F.normalize)):
        train = form(layers[0])
        kinds = {
            "ViM": vim(train, scores),
            "Mahalanobis": mahalanobis(train, targets_of(learn, photos)),
            "nearest photo": lambda features, _, train=train: torch.cdist(features, train).amin(1),
        }
        for name, kind in kinds.items():
            found[name + ending] = lambda layers, scores, kind=kind, form=form: kind(form(layers[0]), scores)
    return {**found, OURS: lambda layers, _: detector.ood_score(layers)}


def measure(options, sets, left_out, seed):
    """Train one network; return its error rate and {set: {score: (AUROC, share refused)}}."""
    learn = train(*options, left_out, seed)
    files = learn.dls.valid_ds.items
    valid = layers_and_scores(learn, files)
    others = {kind: layers_and_scores(learn, images) for kind, images in sets.items()}
    found = {kind: {} for kind in others}
    for name, score in ood_scores(learn).items():
        threshold, _ = fit_threshold(score(*valid))
        for kind, values in others.items():
            odd = score(*values)
            found[kind][name] = auroc_figure(score(*valid), odd)["auroc"], float((odd > threshold).float().mean())
    return float((valid[1].argmax(1) != targets_of(learn, files)).float().mean()), found


def print_table(kind, networks):
    """Print a row per score; `networks` has {score: (AUROC, share refused)} for each network."""
    print(f"\n{f'{kind} ({len(networks)} networks)':<40}      AUROC              refused")
    print(f"{'':<40}median  worst   mean   median  worst")
    for name in networks[0]:
        aurocs, refused = zip(*(network[name] for network in networks), strict=True)
        numbers = f"{statistics.median(aurocs):.3f}  {min(aurocs):.3f}  {statistics.mean(aurocs):.3f}"
        print(f"  {name:<38} {numbers}     {statistics.median(refused):4.0%}   {min(refused):4.0%}")


def run(given, folder):
    """Train all networks and print the tables; drawings go to `folder`."""
    sample = given.photos == "sample"
    photos = folder / "sample" if sample else Path(given.photos)
    if sample:
        make_sample(photos, as_scraped=False)
    write_icons(folder / "icons", OTHERS, VALID_FAMILIES, per_label=18)
    draw_patterns(folder / "patterns")
    far = {path.name: fv.get_image_files(path) for path in (*given.others, folder / "icons", folder / "patterns")}
    by_label = {}
    for file in fv.get_image_files(photos):
        by_label.setdefault(file.parent.name, []).append(file)
    options = (photos, given.arch, given.size or (48 if sample else 224), given.device)
    jobs = {}
    found = {}
    with ProcessPoolExecutor(given.workers, get_context("spawn")) as pool:
        for seed in range(given.seeds):
            for label in sorted(by_label) if given.leave_out else [None]:
                sets = {f"{label}, left out": by_label[label]} if label else far
                jobs[pool.submit(measure, options, sets, label, seed)] = seed
        for job in as_completed(jobs):
            error, figures = job.result()
            own = "; ".join(f"{kind} {figures[kind][OURS][0]:.3f} {figures[kind][OURS][1]:.0%}" for kind in figures)
            print(f"seed {jobs[job]}: error {error:.1%}; {own}", flush=True)
            for kind, scores in figures.items():
                found.setdefault(kind, []).append(scores)
    for kind, networks in sorted(found.items()):
        print_table(kind, networks)
    if given.leave_out:
        print_table("any label, left out", [scores for networks in found.values() for scores in networks])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", help="a folder with one folder per label, or the word sample")
    parser.add_argument("others", nargs="*", type=Path, help="folders of images of something else")
    parser.add_argument("--arch", default="resnet18", help="an architecture of fastai or timm")
    parser.add_argument("--seeds", type=int, default=5, help="how many networks to train (per label, with --leave-out)")
    parser.add_argument("--size", type=int, help="pixels per side; the default is 224, and 48 for the sample")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--workers", type=int, default=1, help="networks to train at the same time")
    parser.add_argument("--leave-out", action="store_true", help="leave each label out of training in turn")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        run(given, Path(folder))


if __name__ == "__main__":
    main()
