"""The static page as files: what is written, when it is refused, and the script that is made of its modules."""

import gzip
import hashlib
import json
import re
import shutil

import pytest
from support.process import python

from icon_classifier.errors import IconClassifierError
from icon_classifier.model.card import Card
from icon_classifier.site.build import write_site
from icon_classifier.site.bundle import BundleError, bundle
from icon_classifier.site.folder import MAX_PART_BYTES


@pytest.fixture(scope="module")
def export(site, tmp_path_factory):
    """An export as a host gets it: without the pickle."""
    folder = tmp_path_factory.mktemp("host") / "export"
    folder.mkdir()
    for name in ("export.onnx", "card.json"):
        shutil.copy(site / "export" / name, folder)
    return folder


@pytest.fixture(scope="module")
def written(export):
    """The folder that the command writes in an environment without fastai and torch."""
    run = python("-m", "icon_classifier", "site", "--export", str(export), environment=".venv-page")
    assert run.returncode == 0 and str(export / "site.html") in run.stdout, run.stderr
    return export / "site"


def contents(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_written_twice_it_has_the_same_bytes(written, export, tmp_path):
    folder, single = write_site(tmp_path / "again", export)
    assert contents(folder) == contents(written)
    assert single.read_bytes() == written.with_suffix(".html").read_bytes()


def test_hosts_accept_its_files(written, export):
    files = contents(written)
    assert {"index.html", "service_worker.js", ".nojekyll", "README.md", "licences/LICENSE"} < set(files)
    assert max(map(len, files.values())) <= MAX_PART_BYTES
    assert all(re.fullmatch(r"[\w./-]+", name) for name in files)
    parts = {name: data for name, data in files.items() if name.startswith("parts/")}
    if Card.read(export / "card.json").onnx["precision"] == "int8":
        assert sum(map(len, files.values())) < 15e6
    config = json.loads(re.search(r'id="config">(.*?)</script>', files["index.html"].decode())[1])
    assert {name: hashes[0] for name, hashes in config["sha256"].items()} == {
        name: hashlib.sha256(data).hexdigest() for name, data in parts.items()
    }
    model = gzip.decompress(b"".join(files[name] for name in config["model"]))
    assert model == (export / "export.onnx").read_bytes()


def test_it_is_small_until_its_buttons_work(written):
    """As a host sends it, compressed: the page, its styles, and the scripts that index.html names."""
    index = (written / "index.html").read_text()
    names = {"index.html", *re.findall(r'(?:href|src)="([^"]+\.(?:js|css))"', index)}
    assert len(names) > 5
    assert sum(len(gzip.compress((written / name).read_bytes())) for name in names) < 60_000


def test_another_model_has_other_addresses(written, export, tmp_path):
    """Otherwise a cache on the way could mix two models."""
    other = tmp_path / "export"
    shutil.copytree(export, other)
    model = (other / "export.onnx").read_bytes() + b"\0"
    (other / "export.onnx").write_bytes(model)
    card = Card.read(other / "card.json")
    card.onnx["sha256"] = hashlib.sha256(model).hexdigest()
    card.write(other / "card.json")
    folder, _ = write_site(tmp_path / "site", other)
    before, after = contents(written), contents(folder)
    changed = {name for name in before if before[name] != after.get(name)}
    assert {name for name in changed if name in after} == {"index.html", "model.txt", "service_worker.js"}
    assert changed - set(after) and all(name.startswith("parts/model-") for name in changed - set(after))


@pytest.mark.parametrize(
    ("remove", "sentence"),
    [
        (["export.onnx", "card.json"], "There is no model in"),
        (["card.json"], "There is no model in"),
        ([], "is damaged, or of another training"),
    ],
)
def test_unusable_export_is_refused(export, tmp_path, remove, sentence):
    shutil.copytree(export, tmp_path / "export", ignore=shutil.ignore_patterns("site*"))
    for name in remove:
        (tmp_path / "export" / name).unlink()
    if not remove:
        (tmp_path / "export/export.onnx").write_bytes(b"half of it")
    with pytest.raises(IconClassifierError, match=sentence):
        write_site(tmp_path / "site", tmp_path / "export")
    assert not (tmp_path / "site").exists()


def test_folder_with_other_files_is_kept(export, tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(IconClassifierError, match="contains other files"):
        write_site(tmp_path, export)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]
    (tmp_path / "site").mkdir()
    write_site(tmp_path / "site", export)
    write_site(tmp_path / "site", export)  # its own files are replaced
    assert sorted(path.name for path in tmp_path.iterdir()) == ["site", "site.html", "thesis.txt"]


def test_bundle_knows_the_forms_of_modules():
    sources = {
        "a.js": 'import b, * as c from "./b.js";\n',
        "main.js": 'import other from "./b.js";\nimport * as all from "./c.js";\nimport { x as y, z } from "./c.js";\n',
        "b.js": 'import { z } from "./c.js";\nconst x = 1;\nexport default { x };\n',
        "c.js": "const z = 2, q = 3;\nexport const x = 1;\nexport async function f() {}\nexport{z,q as r};\n",
    }
    script = bundle("main.js", sources)
    assert [script.index(f"const module_{name} = ") for name in ("c", "b", "main")] == sorted(
        script.index(f"const module_{name} = ") for name in ("c", "b", "main")
    )
    assert not re.search(r"^\s*(import|export)\b", script, re.MULTILINE)
    assert "const { x: y, z } = module_c;" in script and "const { default: other } = module_b;" in script
    with pytest.raises(BundleError, match=r"a\.js: import b"):
        bundle("a.js", sources)
