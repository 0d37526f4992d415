"""Test the command line: one line per image, errors on stderr, exit codes for scripts."""

import json
import re

from support.process import PROGRAMS, python
from support.standin.textures import render

from icon_classifier.__main__ import main
from icon_classifier.model.classifier import load_classifier


def run(*args, cwd=None, environment=".venv-page"):
    return python("-m", "icon_classifier", *map(str, args), environment=environment, cwd=cwd)


def test_predict_prints_a_line_per_image(site, drawing, tmp_path):
    """One line per image; images that are out of distribution are marked."""
    star = drawing("star")
    bad = tmp_path / "bad.png"
    bad.write_text("<html>")
    good = run("predict", star, cwd=site)
    assert good.returncode == 0 and good.stdout.split("\t")[:2] == [str(star), "star"]
    files = sorted((site / "photos/.others").rglob("*.png"))[::6]
    others = run("predict", *files, cwd=site)
    assert others.returncode == 0 and len(others.stdout.splitlines()) == len(files) == 30
    marked = [line.endswith("\tsomething else") for line in others.stdout.splitlines()]
    assert marked == [p.is_ood for p in load_classifier(site / "export/export.pkl").predict_many(files)]
    assert True in marked
    mixed = run("predict", bad, star, tmp_path / "none.png", "--json", "--export", site / "export")
    assert mixed.returncode == 1
    assert json.loads(mixed.stdout)["label"] == "star" and set(json.loads(mixed.stdout)["probabilities"]) > {"bell"}
    assert [line.split(": ")[1] for line in mixed.stderr.splitlines()] == [str(bad), str(tmp_path / "none.png")]
    assert "Traceback" not in mixed.stderr


def test_clean_lists_findings_and_changes_nothing(tmp_path):
    """Findings per check with their evidence, or one JSON object each; nothing changes, and fastai is not loaded."""
    net, spots = (render(label, 1) for label in ("net", "spots"))
    files = {"net/a.png": net, "net/b.jpg": net, "spots/c.png": net, "spots/d.png": spots}
    for file, image in files.items():
        (tmp_path / file).parent.mkdir(exist_ok=True)
        image.save(tmp_path / file)
    (tmp_path / "net/broken.jpg").write_text("<html>")
    (tmp_path / "net/notes.txt").write_text("not an image")
    before = {file: file.read_bytes() for file in tmp_path.rglob("*.*")}
    clean = run("clean", tmp_path, environment=".venv")
    assert clean.returncode == 0 and "notes" not in clean.stdout, clean.stderr
    assert clean.stderr == "Left out: 1 without an image's suffix (.txt)\n"
    first, *tables = clean.stdout.strip().split("\n\n")
    assert first == "5 photos, 4 findings. Nothing was changed."
    headings = ["degenerate (1)", "duplicates (1)", "the same photo under two labels (2)"]
    assert [table.splitlines()[0] for table in tables] == headings
    assert re.search(r"^  net/b.jpg +exclude  It shows the same as net/a.png: ", tables[1], re.MULTILINE)
    findings = [json.loads(line) for line in run("clean", tmp_path, "--json", environment=".venv").stdout.splitlines()]
    assert [found["file"] for found in findings] == ["net/broken.jpg", "net/b.jpg", "net/a.png", "spots/c.png"]
    assert set(findings[0]) == {"check", "file", "label", "score", "sentence", "evidence", "suggested", "other_label"}
    assert {file: file.read_bytes() for file in tmp_path.rglob("*.*")} == before
    run_of_checks = python(PROGRAMS / "print_modules.py", "icon_classifier.dataset.checks.run", environment=".venv")
    assert run_of_checks.stdout and not {"torch", "fastai"} & set(run_of_checks.stdout.split())
    for folder, environment, sentence in (
        (tmp_path / "none", ".venv", "There are no images in"),
        (tmp_path, ".venv-page", "cleaning needs scipy"),
    ):
        refused = run("clean", folder, environment=environment)
        assert refused.returncode == 2 and sentence in refused.stderr and "Traceback" not in refused.stderr


def test_card_prints_the_card(site, tmp_path):
    assert json.loads(run("card", cwd=site).stdout)["labels"] == ["bell", "heart", "star"]
    missing = run("card", cwd=tmp_path)
    assert missing.returncode == 2 and missing.stderr.startswith("icon-classifier: there is no export/card.json")


def test_compile_refuses_with_a_reason(site, capsys):
    without_fastai = run("compile", site / "export/export.pkl")
    assert without_fastai.returncode == 2 and "compiling needs fastai" in without_fastai.stderr
    assert "Traceback" not in without_fastai.stderr
    for file, sentence in (("card.json", "not a fastai image classifier"), ("nothing.pkl", "There is no file")):
        assert main(["compile", str(site / "export" / file)]) == 2
        assert sentence in capsys.readouterr().err


def test_compile_writes_onnx_model_and_card(site, tmp_path):
    (tmp_path / "bears.pkl").write_bytes((site / "export/export.pkl").read_bytes())
    made = run("compile", tmp_path / "bears.pkl", environment=".venv")
    assert made.returncode == 0 and "probabilities within" in made.stdout, made.stderr
    assert sorted(file.name for file in tmp_path.iterdir()) == [
        "bears.pkl",
        "card.json",
        "export.onnx",
        "model_card.md",
    ]
