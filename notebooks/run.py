"""Run train.ipynb from the terminal, as `make train` does: show what happens, and end with a sentence if it fails."""

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

from icon_classifier.notebook_runner import Screen, StalledError, execute

TYPED = (
    "SOURCE",
    "PHOTOS",
    "LABELS",
    "OTHERS",
    "EPOCHS",
    "WEIGHTS",
)  # make's variables; make hands over what was typed: TYPED_LABELS
PATHS = "photos", "others", "weights"  # settings that are text though their default is None
PACKAGE = Path(__file__).parent.parent / "icon_classifier"


class SettingsError(ValueError):
    """What was typed cannot be a setting; the message says why."""


# What was typed


def defaults(notebook):
    """Return the settings of a notebook's cell tagged `parameters`, by name; those that are no literals are None."""
    found = {}
    for cell in nbformat.read(notebook, as_version=4).cells:
        if "parameters" in cell.metadata.get("tags", []):
            for line in ast.parse(cell.source).body:
                with suppress(ValueError, AttributeError):
                    found[line.targets[0].id] = None
                    found[line.targets[0].id] = ast.literal_eval(line.value)
    return found


def literal(text):
    """Return the Python value that `text` is; raises ValueError where it is none."""
    try:
        value = ast.literal_eval(text.strip())
    except (SyntaxError, TypeError, MemoryError, RecursionError) as error:
        raise ValueError(text) from error
    return list(value) if isinstance(value, tuple) else value


def read_setting(name, text, known):
    """Return the value of the setting `name` that was typed as `text`; raises `SettingsError`."""
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
    if name == "epochs" and value is not None and (type(value) is not int or value < 1):
        raise SettingsError(f"epochs is a whole number of at least 1, not {text!r}.")
    if not isinstance(value, int | float | list | dict | None):
        raise SettingsError(f"{name} is a number, True, False or None, not {text!r}.")
    return value


def split_labels(text):
    """Return the labels that commas separate in `text`, exactly as they were typed otherwise."""
    return [label.strip() for label in text.split(",") if label.strip()]


def split_args(text):
    """Return the words of ARGS, in which quotes count as in a shell; raises `SettingsError`."""
    try:
        return shlex.split(text)
    except ValueError as error:
        raise SettingsError(f"ARGS cannot be read ({error}): {text}") from error


def read_settings(typed, pairs, known):
    """Return the notebook's parameters as Python values; raises `SettingsError`.

    typed: the text of make's variables by name, "" where none was given; `pairs`: (setting, text) of each -p.
    """
    values = {}
    for variable in TYPED:
        name, text = variable.lower(), typed.get(variable, "")
        if text:
            values[name] = read_setting(name, text, known)
            if name == "labels":  # [a] is a label here, and no list
                values[name] = split_labels(text)
    values.update((name, read_setting(name, text, known)) for name, text in pairs)
    if "source" in known:
        values.setdefault("source", "search" if "labels" in values else "folder" if "photos" in values else "sample")
    if "labels" in values and values.get("source", "search") != "search":
        raise SettingsError(
            f"LABELS says what to search for, and SOURCE={values['source']} searches for nothing: "
            "leave one of them out."
        )
    if len(values.get("labels", "ab")) < 2:
        raise SettingsError(f"LABELS needs at least two labels, with commas between them, not only {values['labels']}.")
    return values


# What went wrong


def sentence(error):
    """Say in a line what an error in the notebook means: its message alone where that is a sentence of ours."""
    code = "\n".join(path.read_text(encoding="utf-8") for path in PACKAGE.rglob("*.py"))
    ours = error.ename in re.findall(r"^class (\w+)\(", code, re.MULTILINE)
    stated = error.ename == "AssertionError" and "assert" in error.source
    if error.evalue and (ours or stated):
        return error.evalue
    return f"{error.ename}: {error.evalue}" if error.evalue else error.ename


def run(notebook, output, log, parameters):
    """Run a notebook with `parameters` (Python values) in this folder; return an exit code, 0 where all went well."""
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
            code, last = 1, f"The notebook stands still: {error}. Run it again."
        except KeyboardInterrupt:
            code, last = 130, "Interrupted."
        screen.write("" if screen.fresh else "\n")
        print(f"The notebook as it ran: {output}. All that was printed: {log}.", last, sep="\n", file=sys.stderr)
        return code


def main():
    """Read what was typed, and run the notebook."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-p", nargs=2, action="append", default=[], metavar=("SETTING", "VALUE"), help="-p size 128")
    parser.add_argument("--notebook", default="notebooks/train.ipynb", type=Path)
    parser.add_argument("--output", default=".run/train.ipynb", type=Path, help="the notebook as it ran")
    logging.disable(logging.CRITICAL)  # papermill, nbclient and asyncio have nothing to say that `run` does not say
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
    print(f"Training ({parameters.get('source')}){about}. The notebook as it runs: {args.output}", flush=True)
    return run(args.notebook, args.output, args.output.with_suffix(".log"), parameters)


if __name__ == "__main__":
    sys.exit(main())
