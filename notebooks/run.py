"""Run train.ipynb from the terminal, as `make train` does: show the progress, and a sentence if it fails."""

import argparse
import ast
import logging
import os
import re
import shlex
import signal
import sys
from contextlib import suppress
from pathlib import Path

import nbformat
from nbclient.exceptions import DeadKernelError
from papermill.exceptions import PapermillExecutionError

from icon_classifier.errors import SettingsError
from icon_classifier.notebook_runner import Screen, StalledError, execute

# variables of make, which passes on TYPED_LABELS and so on
TYPED = ("SOURCE", "PHOTOS", "LABELS", "OTHERS", "EPOCHS", "WEIGHTS")
PATHS = ("photos", "others", "weights")  # settings that are text although their default is None
COUNTS = ("epochs", "per_label", "size", "batch_size")
PACKAGE = Path(__file__).parent.parent / "icon_classifier"


# Settings


def defaults(notebook):
    """Return {name: value} of the settings in the notebook's cell tagged `parameters`; None if not a literal."""
    found = {}
    for cell in nbformat.read(notebook, as_version=4).cells:
        if "parameters" in cell.metadata.get("tags", []):
            for line in ast.parse(cell.source).body:
                with suppress(ValueError, AttributeError):
                    found[line.targets[0].id] = None
                    found[line.targets[0].id] = ast.literal_eval(line.value)
    return found


def literal(text):
    """Return the Python value of `text`. Raises ValueError if it is not a literal."""
    try:
        value = ast.literal_eval(text.strip())
    except (SyntaxError, TypeError, MemoryError, RecursionError) as error:
        raise ValueError(text) from error
    return list(value) if isinstance(value, tuple) else value


def read_setting(name, text, known):
    """Return the value of the setting `name`, which was typed as `text`. Raises `SettingsError`.

    known: {name: default} of all settings.
    """
    if name not in known:
        raise SettingsError(f"There is no setting {name!r}. The settings: {', '.join(known)}.")
    if name in PATHS or isinstance(known[name], str):
        return text
    try:
        value = literal(text)
    except ValueError:
        value = text
    if name == "labels":
        return value if isinstance(value, list | dict) else split_labels(text)
    if name in COUNTS and value is not None and (type(value) is not int or value < 1):
        raise SettingsError(f"{name} should be a whole number of at least 1, not {text!r}.")
    if not isinstance(value, int | float | list | dict | None):
        raise SettingsError(f"{name} should be a number, True, False or None, not {text!r}.")
    return value


def split_labels(text):
    """Return the labels in `text`, which commas separate, without surrounding white space."""
    return [label.strip() for label in text.split(",") if label.strip()]


def split_args(text):
    """Split ARGS into words as a shell does. Raises `SettingsError`."""
    try:
        return shlex.split(text)
    except ValueError as error:
        raise SettingsError(f"ARGS cannot be read ({error}): {text}") from error


def read_settings(typed, pairs, known):
    """Return the notebook's parameters as Python values. Raises `SettingsError`.

    typed: {variable of make: text}. pairs: (setting, text) of each option -p. known: {name: default} of all settings.
    """
    values = {}
    for variable in TYPED:
        name, text = variable.lower(), typed.get(variable, "")
        if text:
            values[name] = read_setting(name, text, known)
            if name == "labels":  # here [a] is a label and not a list
                values[name] = split_labels(text)
    values.update((name, read_setting(name, text, known)) for name, text in pairs)
    if "source" in known:
        values.setdefault("source", "search" if "labels" in values else "folder" if "photos" in values else "sample")
    if "labels" in values and values.get("source", "search") != "search":
        raise SettingsError(
            f"LABELS says what to search for, but SOURCE={values['source']} does not search: leave one of them out."
        )
    if len(values.get("labels", "ab")) < 2:
        raise SettingsError(f"LABELS needs at least two labels, separated by commas, not only {values['labels']}.")
    return values


# Running


def own_errors():
    """Return the names of `IconClassifierError` and its subclasses in the package.

    They are read from the source, because importing all modules takes seconds.
    """
    bases = {}
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                bases[node.name] = {ast.unparse(base) for base in node.bases}
    found = {"IconClassifierError"}
    while more := {name for name, above in bases.items() if above & found} - found:
        found |= more
    return found


def sentence(error):
    """Return an error in the notebook as a line: only the message if it is one of this project's errors."""
    if error.evalue and error.ename in own_errors():
        return error.evalue
    return f"{error.ename}: {error.evalue}" if error.evalue else error.ename


def run(notebook, output, log, parameters):
    """Run a notebook with `parameters` (Python values) in the current folder; return an exit code, 0 on success."""
    output.parent.mkdir(parents=True, exist_ok=True)
    with open(log, "w", encoding="utf-8") as file:
        screen = Screen(sys.stdout, file)
        try:
            execute(notebook, output, parameters, screen)
            return 0
        except PapermillExecutionError as error:
            file.write(re.sub(r"\x1b\[[\d;]*m", "", "\n".join(error.traceback)) + "\n")
            code, last = 1, sentence(error)
        except DeadKernelError:
            code, last = 1, "The notebook's kernel was ended from outside, most often because memory ran out."
        except StalledError as error:
            code, last = 1, f"The notebook stalled: {error}. Run it again."
        except KeyboardInterrupt:
            code, last = 130, "Interrupted."
        screen.write("" if screen.fresh else "\n")
        print(f"The executed notebook: {output}. The complete output: {log}.", last, sep="\n", file=sys.stderr)
        return code


def main():
    """Read the settings from the command line and the environment, and run the notebook."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-p", nargs=2, action="append", default=[], metavar=("SETTING", "VALUE"), help="-p size 128")
    parser.add_argument("--notebook", default="notebooks/train.ipynb", type=Path)
    parser.add_argument("--output", default=".run/train.ipynb", type=Path, help="the executed notebook")
    logging.disable(logging.CRITICAL)  # `run` reports everything that papermill, nbclient and asyncio would log
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    try:
        args = parser.parse_args([*sys.argv[1:], *split_args(os.environ.get("TYPED_ARGS", ""))])
        typed = {name: os.environ.get(f"TYPED_{name}", "") for name in TYPED}
        parameters = read_settings(typed, args.p, defaults(args.notebook))
    except SettingsError as error:
        print(error, file=sys.stderr)
        return 2
    about = ": about 2 minutes without a GPU" if parameters.get("source") == "sample" else ""
    print(f"Training ({parameters.get('source')}){about}. The executed notebook: {args.output}", flush=True)
    return run(args.notebook, args.output, args.output.with_suffix(".log"), parameters)


if __name__ == "__main__":
    sys.exit(main())
