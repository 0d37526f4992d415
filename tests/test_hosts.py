"""Test the files for Docker, Binder and Heroku: the Procfile's command, and only files that the page needs."""

import json
import re
import shlex

from support import ROOT
from support.server import furnish, get, kernel_of, serve


def test_container_runs_the_procfile_command(tmp_path):
    """Run the Dockerfile's CMD with its shell, in a folder with the files that the Dockerfile copies."""
    command = json.loads(re.search(r"^CMD (\[.*\])$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)[1])
    furnish(tmp_path)
    with serve(tmp_path, ".venv-page", shlex.join(command)) as address:
        assert "Icon Classifier" in (page := get(address)[2]) and kernel_of(page)


def test_dockerfile_copies_all_files_sent_to_docker():
    copied = [
        path
        for line in re.findall(r"^COPY (.*)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
        for path in line.split()[:-1]
    ]
    assert {"Procfile", "voila.json", "export/export.onnx"} < set(copied)
    made_by_training = {"export/export.onnx", "export/card.json"}
    assert all((ROOT / path).exists() for path in set(copied) - made_by_training)
    sent = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if not line.startswith("#")]
    unused = ["icon_classifier/site"]  # writes the static page, on the computer that has the model
    assert sent == ["*", *(f"!{path}" for path in copied), *unused, "**/__pycache__"]


def test_slug_contains_only_files_of_the_page():
    left_out = (ROOT / ".slugignore").read_text().split()
    assert all((ROOT / path).exists() for path in left_out) and "notebooks/train.ipynb" in left_out
    needed = ["Procfile", "requirements.txt", "runtime.txt", "voila.json", "icon_classifier", "export"]
    assert not any(path.startswith(tuple(left_out)) for path in [*needed, "notebooks/icon_classifier.ipynb"])


def test_binder_installs_requirements_and_the_package():
    """Without the folder .binder, Binder would build the Dockerfile, which contains no Jupyter."""
    binder = ROOT / ".binder"
    assert (binder / "runtime.txt").read_text() == (ROOT / "runtime.txt").read_text()
    referred, package = (binder / "requirements.txt").read_text().split("\n")[:2]
    assert (binder / referred.removeprefix("-r ")).samefile(ROOT / "requirements.txt")
    assert package == "." and (ROOT / "pyproject.toml").exists()  # as seen from the top folder, where pip is run


def test_app_json_matches_the_procfile():
    app = json.loads((ROOT / "app.json").read_text())
    assert [*app["formation"]] == [(ROOT / "Procfile").read_text().partition(":")[0]]
    code = (ROOT / "icon_classifier/server/kernel_manager.py").read_text()
    assert all(variable in code for variable in app["env"])


def test_links_to_the_page_name_the_notebook():
    documents = "".join(path.read_text() for path in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")])
    paths = re.findall(r"/voila/render/([\w/.]+)", documents.replace("%2F", "/"))
    assert len(paths) > 1 and all((ROOT / path).exists() for path in paths)


def test_links_between_documents_exist():
    for document in [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]:
        links = re.findall(r"\]\((?!https?:)([^)#]+)", document.read_text())
        assert [link for link in links if not (document.parent / link).exists()] == [], document
