"""The static page as files: what is written, when it is refused, and the script that is made of its modules."""

import gzip
import hashlib
import json
import re
import shutil
import sys
from dataclasses import replace
from html import unescape
from pathlib import Path

import pytest
import yaml
from support.process import python

from icon_classifier.__main__ import main
from icon_classifier.errors import IconClassifierError
from icon_classifier.model.card import Card
from icon_classifier.site.build import write_site
from icon_classifier.site.bundle import BundleError, bundle
from icon_classifier.site.content import Content
from icon_classifier.site.folder import MAX_PART_BYTES
from icon_classifier.site.one_file import one_file
from icon_classifier.site.replace import SiteError, check_folder, replace_files


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


@pytest.mark.parametrize(
    "name", ["model.txt", "index.html", "parts/gears.stl", "README.md", "licences/mine.txt", "page-1/a.js"]
)
def test_folder_of_something_else_is_refused(export, tmp_path, name):
    """Whatever the names of its files: only index.html can say that this is a static page."""
    for files in ([name, "src/a.py", ".git/HEAD"], [name]):
        folder = tmp_path / str(len(files))
        for file in files:
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            (folder / file).write_text('<script id="config">mine</script>')
        before = contents(folder)
        with pytest.raises(SiteError, match=f"{folder} contains other files, such as {name.split('/')[0]}"):
            write_site(folder, export)
        assert contents(folder) == before


def test_rebuilt_page_keeps_all_files_that_are_not_its_own(written, export, tmp_path):
    folder = shutil.copytree(written, tmp_path / "site")
    theirs = {name: b"mine" for name in (".git/HEAD", ".well-known/a.txt", "CNAME", "robots.txt", "parts/mine.bin")}
    earlier = {name: b"old" for name in (f"page-{'0' * 12}/page.js", f"parts/model-{'0' * 12}.bin", "icon.svg")}
    killed = {name: b"half" for name in (f"parts/model-{'1' * 12}.bin.part", "index.html.part")}
    for name, data in (theirs | earlier | killed).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    write_site(folder, export)
    assert contents(folder) == contents(written) | theirs
    assert not (folder / f"page-{'0' * 12}").exists()


def test_page_can_be_written_into_a_new_repository(written, export, tmp_path):
    """As of GitHub Pages: an empty one, or one that contains only the page's domain."""
    theirs = {".git/HEAD": b"ref: refs/heads/main", ".gitignore": b"", "CNAME": b"icons.example"}
    for name, data in theirs.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(data)
    write_site(tmp_path, export)
    assert contents(tmp_path) == contents(written) | theirs


@pytest.fixture(scope="module")
def interrupted():
    """Return a function that runs `action` and interrupts it after some changes of files; whether it did."""
    left = None

    def interrupt(event, _args):
        nonlocal left
        if left is not None and event in ("os.rename", "os.remove"):
            left -= 1
            if left < 0:
                left = None
                raise KeyboardInterrupt

    def run(action, changes):
        nonlocal left
        left = changes
        try:
            action()
            return False
        except KeyboardInterrupt:
            return True
        finally:
            left = None

    sys.addaudithook(interrupt)
    return run


@pytest.mark.parametrize("rebuilt", [True, False])
def test_interrupted_build_leaves_a_usable_folder(written, tmp_path, interrupted, rebuilt):
    """What index.html names is there, a server uses only a complete page, and the next build makes the same page."""
    new = {name: data[:9] if name.startswith("parts/") else data for name, data in contents(written).items()}
    old = json.dumps({name: data.decode("latin-1") for name, data in new.items()})
    for i, value in enumerate(set(re.findall(r"(?:page|model)-([0-9a-f]{12})", old))):
        old = old.replace(value, f"{i:012}")
    old = {name: data.encode("latin-1") for name, data in json.loads(old).items()}
    assert set(old) - set(new) and old["index.html"] != new["index.html"]
    for changes in range(1000):
        folder = tmp_path / f"site{changes}"
        if rebuilt:
            replace_files(folder, old)
        if not interrupted(lambda folder=folder: replace_files(folder, new), changes):
            break
        found = contents(folder) if folder.exists() else {}
        if "index.html" in found:
            named = re.findall(r"(?:page|parts)[/-][\w./-]+\.\w+", found["index.html"].decode())
            assert len(named) > 10 and set(named) < set(found)
        assert "model.txt" not in found or any(page.items() <= found.items() for page in (old, new))
        check_folder(folder)
        replace_files(folder, new)
        assert contents(folder) == new
    assert len(new) < changes < 1000


def test_other_file_beside_the_folder_is_kept(export, tmp_path):
    """`site web/index` would replace the home page of a web site."""
    for content in (b"<h1>Home</h1>", b"", (write_site(tmp_path / "page", export)[0] / "index.html").read_bytes()):
        (tmp_path / "index.html").write_bytes(content)
        with pytest.raises(SiteError, match=f"{tmp_path}/index.html exists, and is not the page"):
            write_site(tmp_path / "index", export)
        assert (tmp_path / "index.html").read_bytes() == content
        assert not (tmp_path / "index").exists()
    write_site(tmp_path / "page", export)  # its own file is replaced


@pytest.mark.parametrize(
    ("folder", "sentence"),
    [
        ("file", "file is a file. Name a folder"),
        ("file/site", "cannot be written to file/site (Not a directory: file"),
        ("dangling", "cannot be written to dangling (File exists: dangling)"),
        ("/proc/icons", "cannot be written to /proc/icons (No such file or directory: /proc/icons)"),
        ("a" * 300, "(File name too long: aaa"),
        ("/", "/ contains other files"),
        (".", "contains other files, such as "),
    ],
)
def test_unusable_place_is_refused_in_a_sentence(export, tmp_path, capsys, monkeypatch, folder, sentence):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("mine")
    (tmp_path / "dangling").symlink_to("nothing")
    assert main(["site", folder, "--export", str(export)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert sentence in line
    assert sorted(path.name for path in tmp_path.iterdir()) == ["dangling", "file"]


def test_folder_without_a_name_and_symlink(export, written, tmp_path, monkeypatch):
    (tmp_path / "mine").mkdir()
    (tmp_path / "link").symlink_to("mine")
    monkeypatch.chdir(tmp_path)
    assert write_site("link", export) == (Path("link"), Path("link.html"))
    assert contents(tmp_path / "mine") == contents(written) and (tmp_path / "link").is_symlink()
    (tmp_path / "mine/deeper").mkdir()
    for here, folder in (("mine", "."), ("mine/deeper", "..")):
        monkeypatch.chdir(tmp_path / here)
        assert write_site(folder, export) == (tmp_path / "mine", tmp_path / "mine.html")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "link.html", "mine", "mine.html"]


def test_title(export, written, tmp_path):
    """In the page, in its manifest, and in the header of README.md, which is YAML."""
    title = 'Who is "this": <b> & co.?'
    assert main(["site", str(tmp_path / "site"), "--export", str(export), "--title", f" {title}\n"]) == 0
    for html in (tmp_path / "site/index.html", tmp_path / "site.html"):
        found = re.findall(r"<(title|h1)>(.*?)</\1>", html.read_text())
        assert [(tag, unescape(text)) for tag, text in found] == [("title", title), ("h1", title)]
    assert json.loads((tmp_path / "site/manifest.webmanifest").read_text())["name"] == title
    header = (tmp_path / "site/README.md").read_text().split("---\n")[1]
    assert yaml.safe_load(header) == {"title": title, "sdk": "static", "app_file": "index.html"}
    assert "<h1>Icon Classifier</h1>" in (written / "index.html").read_text()


def test_labels_cannot_end_the_element_with_the_settings(export):
    card = replace(Card.read(export / "card.json"), labels=["</script><b>", "<!--<script>", "a \\ b"])
    html = one_file(Content(card, b"")).decode()
    settings = re.search(r'id="config">(.*?)</script>', html)[1]
    assert json.loads(settings)["card"]["labels"] == card.labels and "<" not in settings


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
