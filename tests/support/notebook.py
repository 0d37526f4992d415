"""Run train.ipynb."""

from support import ROOT


def run_notebook(folder, **parameters):
    """Execute train.ipynb in `folder` as `make train` does; return the executed notebook."""
    from icon_classifier.notebook_runner import Screen, execute

    output = folder / "train.ipynb"
    with open(folder / "train.log", "w") as log:
        execute(ROOT / "notebooks/train.ipynb", output, parameters, Screen(log), cwd=folder)
    return output
