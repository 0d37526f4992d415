"""What hosts other than Heroku are given: the same command, and nothing that the page does not need."""

import json
import re
import shlex
import urllib.request

from conftest import ROOT, furnish, serve


def test_the_container_runs_the_procfiles_command(tmp_path):
    """The Dockerfile's CMD, run by the shell that it names, in a folder that holds what the Dockerfile copies."""
    command = json.loads(re.search(r"^CMD (\[.*\])$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)[1])
    furnish(tmp_path)
    with serve(tmp_path, ".venv-page", shlex.join(command)) as address:
        assert b"Icon Classifier" in urllib.request.urlopen(address, timeout=90).read()


def test_what_is_copied_exists():
    copied = [
        path
        for line in re.findall(r"^COPY (.*)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
        for path in line.split()[:-1]
    ]
    assert {"Procfile", "voila.json", "export/export.onnx"} < set(copied)
    made_by_training = {"export/export.onnx", "export/card.json"}
    assert all((ROOT / path).exists() for path in set(copied) - made_by_training)


def test_a_slug_holds_the_page_and_not_the_workshop():
    left_out = (ROOT / ".slugignore").read_text().split()
    assert all((ROOT / path).exists() for path in left_out) and "notebooks/train.ipynb" in left_out
    needed = ["Procfile", "requirements.txt", "runtime.txt", "voila.json", "icon_classifier", "export"]
    assert not any(path.startswith(tuple(left_out)) for path in [*needed, "notebooks/icon_classifier.ipynb"])
