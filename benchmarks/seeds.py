"""Print how much the figures of the sample differ between runs of train.ipynb with different seeds.

Run from the project's top folder: .venv/bin/python benchmarks/seeds.py [NUMBER OF SEEDS]
Each run takes one to two minutes. A folder as second argument keeps the notebooks as they ran, and their exports.
"""

import statistics
import sys
import tempfile
from contextlib import nullcontext
from pathlib import Path

from icon_classifier.model.card import Card
from icon_classifier.notebook_runner import Screen, execute

NOTEBOOK = Path("notebooks/train.ipynb").absolute()


def train(folder, seed):
    """Run train.ipynb in `folder`; return the card's figures and the seconds of the cell that trains."""
    folder.mkdir(parents=True, exist_ok=True)
    photos = folder.parent / "photos/sample"  # the same drawings for every seed
    parameters = {"seed": seed, "photos": str(photos)}
    with open(folder / "train.log", "w") as log:
        notebook = execute(NOTEBOOK, folder / "train.ipynb", parameters, Screen(log), cwd=folder)
    cell = next(cell for cell in notebook.cells if "learn.fit_one_cycle(" in cell.source)
    figures = Card.read(folder / "export/card.json").figures
    return figures["error"], figures["ood"], cell.metadata.papermill.duration


def spread(what, values, form):
    """Print the range of `values`, their median and their standard deviation."""
    low, median, high = min(values), statistics.median(values), max(values)
    deviation = statistics.stdev(values) if len(values) > 1 else 0
    print(f"{what:<34}{low:{form}} to {high:{form}}, median {median:{form}}, standard deviation {deviation:{form}}")


def main(number=20, keep=None):
    print("seed   wrong     AUROC   refused   training")
    errors = []
    aurocs = []
    refusals = []
    times = []
    with nullcontext(keep) if keep else tempfile.TemporaryDirectory() as folder:
        for seed in range(int(number)):
            error, ood, seconds = train(Path(folder).absolute() / str(seed), seed)
            errors.append(error["rate"])
            aurocs.append(ood["auroc"])
            refusals.append(ood["refused"] / ood["others"])
            times.append(seconds)
            print(
                f"{seed:4}   {error['errors']:2} of {error['photos']}   {ood['auroc']:.3f}   "
                f"{ood['refused']:3} of {ood['others']}   {seconds:.0f} s",
                flush=True,
            )
    spread("error", errors, ".1%")
    spread("AUROC, other things", aurocs, ".3f")
    spread("other things refused", refusals, ".0%")
    spread("training, seconds", times, ".0f")


if __name__ == "__main__":
    main(*sys.argv[1:])
