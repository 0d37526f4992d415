"""The command line: icon-classifier train, clean, predict, compile, card, compare, site and check."""

import argparse
import json
import os
import sys
from dataclasses import asdict
from pathlib import Path

from .errors import IconClassifierError
from .images import ImageError
from .model.card import Card
from .model.card_text import facts, model_card
from .model.classifier import load_classifier


def main(argv=None):
    """Run a command and return the exit code: 1 if an image was refused, 2 if there is no usable export."""
    args = parser().parse_args(argv)
    try:
        return args.run(args)
    except IconClassifierError as error:
        return complain(error, 2)


def parser():
    """Return the parser of the command line. Each command sets `run`, a function of the arguments."""
    top = argparse.ArgumentParser(prog="icon-classifier", description=__doc__)
    commands = top.add_subparsers(required=True, metavar="COMMAND")
    for add in (add_train, add_clean, add_predict, add_compile, add_card, add_compare, add_site, add_check):
        add(commands)
    return top


def add_train(commands):
    train = commands.add_parser("train", help="make an export from photos, as train.ipynb does, without a notebook")
    train.add_argument("photos", help='a folder with a folder per label, a zip, a CSV of addresses; or "sample"')
    train.add_argument("--epochs", type=at_least(1), metavar="N")
    train.add_argument("--arch", default="resnet18", help="an architecture of fastai or timm (default: resnet18)")
    train.add_argument("--size", type=at_least(32), metavar="PIXELS", help="each side of what the network sees")
    train.add_argument("--batch-size", type=at_least(2), metavar="N", help="photos per step, on all processes together")
    train.add_argument("--per-label", type=at_least(1), metavar="N", help="the maximum number of photos per label")
    train.add_argument("--seed", default=42, type=int, metavar="N", help="another number trains another network")
    others = 'images of other things, to measure "none of these"'
    train.add_argument("--others", type=Path, metavar="FOLDER", help=others)
    train.add_argument("--no-pretrained", dest="pretrained", action="store_false", default=None, help="from scratch")
    train.add_argument("--weights", type=Path, metavar="FILE", help="pretrained weights that need not be downloaded")
    add_export(train, run_train)


def add_clean(commands):
    clean = commands.add_parser("clean", help="list duplicates and photos of no use; nothing is changed")
    clean.add_argument("photos", type=Path, help="a folder that contains a folder per label")
    clean.add_argument("--json", action="store_true", help="print one JSON object per finding")
    clean.set_defaults(run=run_clean)


def add_predict(commands):
    predict = commands.add_parser("predict", help="classify images, one line per image: file, label, probability")
    predict.add_argument("files", nargs="+", metavar="FILE")
    every = "print every label's probability, one JSON object per image"
    predict.add_argument("--json", action="store_true", help=every)
    add_export(predict, run_predict)


def add_compile(commands):
    compile_ = commands.add_parser("compile", help="write the ONNX model (export.onnx) of any fastai image classifier")
    compile_.add_argument("pickle", help="an export.pkl; loading a pickle can run any code in it")
    compile_.set_defaults(run=run_compile)


def add_card(commands):
    card = commands.add_parser("card", help="print the data of the model card")
    card.add_argument("--text", action="store_true", help="print sentences, not JSON")
    add_export(card, run_card)


def add_compare(commands):
    compare = commands.add_parser("compare", help="test whether the errors of two models differ")
    compare.add_argument("cards", nargs=2, type=Path, metavar="CARD", help="a card.json, or the folder of an export")
    compare.set_defaults(run=run_compare)


def add_site(commands):
    site = commands.add_parser("site", help="write the page as static files, which need no server")
    site.add_argument("folder", nargs="?", type=Path, help="where (default: the folder site in that of the export)")
    site.add_argument("--title", default="", help='the heading of the page (default: "Icon Classifier")')
    add_export(site, run_site)


def add_check(commands):
    check = commands.add_parser("check", help="check whether a host can serve this page")
    check.add_argument("project", nargs="?", default=".", type=Path, help="the project's top folder (default: here)")
    check.set_defaults(run=run_check)


def add_export(command, run):
    """Add the option --export to a command, which calls `run`."""
    command.add_argument("--export", default="export", type=Path, help="the folder of the export (default: export)")
    command.set_defaults(run=run)


def complain(error, code):
    """Print an error to stderr and return the exit code `code`."""
    print(f"icon-classifier: {error}", file=sys.stderr)
    return code


def at_least(least):
    """Return a type for argparse: whole numbers from `least` on."""

    def number(text):
        if not (text.isascii() and text.isdigit() and int(text) >= least):
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least {least}")
        return int(text)

    return number


def run_train(args):
    if os.environ.get("RANK", "0") != "0":  # accelerate launch started several of these; only the main one speaks
        sys.stdout = open(os.devnull, "w")
    try:
        from .training.train import train
    except ImportError as error:
        return complain(f'training needs fastai ({error}): pip install "icon-classifier[training]"', 2)
    settings = {key: value for key, value in vars(args).items() if key not in ("run", "photos", "export")}
    card = train(args.photos, args.export, **settings)
    if card:
        print(*facts(card), sep="\n")
    return 0


def run_clean(args):
    try:
        from .dataset.checks.run import find_all, in_words
    except ImportError as error:
        return complain(f'cleaning needs scipy ({error}): pip install "icon-classifier[training]"', 2)
    photos, findings, left_out = find_all(args.photos)
    if args.json:
        for finding in findings:
            print(json.dumps(asdict(finding), ensure_ascii=False))
    else:
        print(in_words(photos, findings))
    if left_out:
        print(left_out, file=sys.stderr)
    return 0


def run_predict(args):
    classifier = load_classifier(args.export / "export.pkl")
    code = 0
    for file in args.files:
        try:
            prediction = classifier.predict(file)
        except (ImageError, OSError) as error:
            code = complain(f"{file}: {getattr(error, 'strerror', None) or error}", 1)
            continue
        if args.json:
            fields = {key: value for key, value in asdict(prediction).items() if key != "heatmap"}
            print(json.dumps({"file": file, **fields}, ensure_ascii=False))
        else:
            fields = [file, prediction.label, f"{prediction.probability:.4f}"]
            if prediction.is_ood:
                fields.append("something else")
            print(*fields, sep="\t")
    return code


def run_compile(args):
    try:
        from .training.export import CompileError, compile_export
    except ImportError as error:
        return complain(f'compiling needs fastai and onnx ({error}): pip install "icon-classifier[training]"', 2)
    try:
        card = compile_export(args.pickle)
    except CompileError as error:
        return complain(error, 2)
    onnx = Path(args.pickle).with_name("export.onnx")
    print(f"{onnx}: probabilities within {card.onnx['difference']:.1e} of learn.predict's")


def run_card(args):
    path = args.export / "card.json"
    try:
        card = Card.read(path)
    except FileNotFoundError:
        return complain(f"there is no {path}. Run `make train`, or name the folder of an export with --export.", 2)
    if args.text:
        return print(model_card(card), end="")
    print(json.dumps({**asdict(card), "examples": list(card.examples)}, indent=2, ensure_ascii=False))


def run_compare(args):
    from .model.compare import compare

    paths = [path / "card.json" if path.is_dir() else path for path in args.cards]
    try:
        cards = [Card.read(path) for path in paths]
    except FileNotFoundError as error:
        return complain(f"there is no {error.filename}. Check the path.", 2)
    print(f"a: {paths[0]}", f"b: {paths[1]}", compare(*cards), sep="\n")


def run_site(args):
    from .site.build import write_site

    folder, single = write_site(args.folder or args.export / "site", args.export, args.title)
    size = sum(path.stat().st_size for path in folder.glob("parts/*"))
    print(f"{folder}: copy this folder to any web host. A first visit loads {size / 1e6:.1f} MB.")
    print(f"{single}: the same page as one file ({single.stat().st_size / 1e6:.1f} MB), which opens from a disk.")
    return 0


def run_check(args):
    from .server.preflight import checks

    code = 0
    for what, found, todo in checks(args.project):
        print(f"{'FAIL' if todo else 'ok':<6}{what:<10}{found}", flush=True)
        if todo:
            code = 1
            print(f"{'':<16}what to do: {todo}")
    return code


if __name__ == "__main__":
    sys.exit(main())
