"""Test the sources that need no search engine, the folder names of labels, and the manifest."""

import csv
import io
import json
import shutil
import tarfile
import zipfile

import pytest
from PIL import Image
from support import ROOT
from support.process import PROGRAMS, python
from support.standin.photos import icon, photos

from icon_classifier.dataset.labels import LabelError, folder_names, safe_name
from icon_classifier.dataset.links import SourceError
from icon_classifier.dataset.manifest import Manifest, ManifestError
from icon_classifier.dataset.sources import read_source
from icon_classifier.training.gather import find_photos, gather_from


@pytest.fixture
def folder(tmp_path):
    """Return a typical folder of labels, with large, rotated and nested photos and files of operating systems."""
    folder = tmp_path / "my pictures"
    for name in ("heart", "Dr. Dre"):
        (folder / name / "more").mkdir(parents=True)
        for i in range(3):
            (folder / name / f"{i}.JPG").write_bytes(icon("heart", i + (name > "e") * 10))
    image = Image.new("RGB", (1600, 900), "navy")
    image.save(folder / "heart/big.png")
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees
    image.save(folder / "heart/turned.jpg", exif=exif)
    (folder / "heart/broken.jpg").write_bytes(b"<html>not found</html>")
    (folder / "heart/.DS_Store").write_bytes(b"x")
    (folder / ".excluded/heart").mkdir(parents=True)
    (folder / ".excluded/heart/no.jpg").write_bytes(icon("star", 1))
    (folder / "notes.txt.bak").write_text("mine")
    return folder


def zipped(folder, inside=""):
    path = folder.parent / "pictures.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(folder.rglob("*")):
            archive.write(file, f"{inside}{file.relative_to(folder)}")
        archive.writestr(f"{inside}__MACOSX/heart/._0.jpg", b"x")
    return path


@pytest.mark.parametrize(
    "make", [lambda f: f, zipped, lambda f: zipped(f, "all of it/")], ids=["folder", "zip", "nested"]
)
def test_reads_a_folder_per_label_and_a_zip_of_such_folders(folder, tmp_path, make):
    source = make(folder)
    out = tmp_path / "out"
    assert gather_from(source, out) == {"Dr. Dre": 3, "heart": 5}
    sizes = {Image.open(file).size for files in find_photos(out).values() for file in files}
    assert sizes == {(64, 64), (512, 288), (288, 512)}
    (broken,) = [row for row in Manifest(out).rows if row["decision"] == "refused"]
    assert "not an image" in broken["reason"] and broken["url"].endswith("heart/broken.jpg")
    before = (out / "manifest.csv").read_bytes()
    assert gather_from(source, out) == {"Dr. Dre": 3, "heart": 5} and (out / "manifest.csv").read_bytes() == before


def test_zip_with_wrong_size_or_password(tmp_path, monkeypatch):
    from icon_classifier.dataset import sources

    monkeypatch.setattr(sources, "MAX_FILE_BYTES", 1_000_000)
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("heart/bomb.jpg", bytes(50_000_000))
        archive.writestr("../heart/up.jpg", icon("heart", 1))
        archive.writestr("star/ok.jpg", icon("star", 1))
    raw = bytearray((tmp_path / "a.zip").read_bytes())
    start = raw.rindex(b"PK\x01\x02")
    raw[start + 8] |= 1  # the last file is marked as encrypted
    (tmp_path / "a.zip").write_bytes(raw)
    assert gather_from(tmp_path / "a.zip", tmp_path / "out") == {"heart": 0, "star": 0}
    reasons = {row["url"].rsplit("/", 1)[1]: row["reason"] for row in Manifest(tmp_path / "out").rows}
    assert "larger than 1 MB" in reasons["bomb.jpg"] and "cannot be unpacked" in reasons["ok.jpg"]
    assert len(reasons) == 2  # paths outside the archive are ignored
    assert {path.name for path in tmp_path.iterdir()} == {"a.zip", "out"}


LISTS = {
    "jmd's own": "URL,Label\n{0},heart\n{1},star\n",
    "no head": "{0},heart\n{1},star\n",
    "no head, labels first": "heart,{0}\nstar,{1}\n",
    "Excel's": "\ufeffname;url\r\nheart;{0}\r\nstar;{1}\r\n\r\n",
    "tabs": "class\timage_url\nheart\t{0}\nstar\t{1}\n",
    "more columns": 'url,title,label,page\n"{0}","a, b",heart,p\n{1},,star,\n',
}


@pytest.mark.parametrize("text", LISTS.values(), ids=LISTS)
def test_csv_of_addresses_with_labels(tmp_path, text):
    with photos() as host:
        addresses = [f"{host.address}/photo/{name}/1?a=b&c=%20d" for name in ("heart", "star")]
        (tmp_path / "links.csv").write_text(text.format(*addresses), encoding="utf-8", newline="")
        assert gather_from(tmp_path / "links.csv", tmp_path / "out", allow_hosts=[host.netloc]) == {
            "heart": 1,
            "star": 1,
        }
        assert host.asked == {"/photo/heart/1?a=b&c=%20d": 1, "/photo/star/1?a=b&c=%20d": 1}


def test_csv_without_labels_and_folder_of_csvs(tmp_path):
    with photos() as host:
        (tmp_path / "lists").mkdir()
        for name in ("heart", "star"):
            (tmp_path / f"lists/{name}.txt").write_text("".join(f"{host.address}/photo/{name}/{i}\n" for i in range(4)))
        allow = dict(allow_hosts=[host.netloc])
        assert gather_from(tmp_path / "lists/heart.txt", tmp_path / "one", **allow) == {"heart": 4}
        assert gather_from(tmp_path / "lists", tmp_path / "both", per_label=3, **allow) == {"heart": 3, "star": 3}


def test_manifest_is_a_valid_list(tmp_path):
    """A dataset can be passed on as its manifest, without the photos."""
    with photos() as host:
        (tmp_path / "heart.txt").write_text("".join(f"{host.address}/photo/heart/{i}\n" for i in range(4)))
        gather_from(tmp_path / "heart.txt", tmp_path / "mine", allow_hosts=[host.netloc])
        Manifest(tmp_path / "mine").forget(f"{host.address}/photo/heart/2")
        gather_from(tmp_path / "mine/manifest.csv", tmp_path / "yours", allow_hosts=[host.netloc])
    names = [{file.name for file in (tmp_path / whose / "heart").iterdir()} for whose in ("mine", "yours")]
    assert names[0] == names[1] and len(names[0]) == 3


def img2dataset(folder, images, kind, suffix="jpg"):
    """Write `images` as img2dataset 1.4x does: shards, with a jpg, a json and a txt (the caption) per image.

    Image 4 has no files, as if its download had failed. A label may be None, or bytes for the whole JSON.
    """
    for number, (label, body) in enumerate(images):
        shard, key = f"{number // 3:05}", f"{number // 3:05}{number % 3:04}"
        caption = None if isinstance(label, bytes) else label
        about = dict(caption=caption, url=f"https://example.org/{number}.jpg", key=key, status="success",
                     error_message=None, width=64, height=64, original_width=64, original_height=64, exif="{}",
                     sha256="0" * 64)  # fmt: skip
        text = label if isinstance(label, bytes) else json.dumps(about, indent=4).encode()
        members = {suffix: body, "txt": str(about["caption"]).encode(), "json": text}
        if number == 4:
            continue
        folder.mkdir(exist_ok=True)
        (folder / f"{shard}.parquet").write_bytes(b"PAR1")
        (folder / f"{shard}_stats.json").write_text("{}")
        if kind == "files":
            (folder / shard).mkdir(exist_ok=True)
            for kind_, data in members.items():
                (folder / shard / f"{key}.{kind_}").write_bytes(data)
        else:
            with tarfile.open(folder / f"{shard}.tar", "a", format=tarfile.USTAR_FORMAT) as archive:
                for kind_, data in members.items():
                    info = tarfile.TarInfo(f"{key}.{kind_}")
                    info.size = len(data)
                    archive.addfile(info, io.BytesIO(data))


def saved(name, number, suffix):
    """Return a file of that kind of the drawing `number` of the label `name`."""
    if suffix == "jpg":
        return icon(name, number)
    file = io.BytesIO()
    Image.open(io.BytesIO(icon(name, number))).save(file, suffix, lossless=True)
    return file.getvalue()


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp"])
@pytest.mark.parametrize("kind", ["files", "webdataset"])
def test_reads_img2dataset_output(tmp_path, kind, suffix):
    images = [(name, saved(name, i, suffix)) for i in range(4) for name in ("heart", "star")]
    img2dataset(tmp_path / "million", images, kind, suffix)
    assert gather_from(tmp_path / "million", tmp_path / "out") == {"heart": 3, "star": 4}
    rows = Manifest(tmp_path / "out").rows
    assert {row["url"] for row in rows} == {f"https://example.org/{i}.jpg" for i in range(8) if i != 4}
    assert {row["source"] for row in rows} == {"img2dataset"}


@pytest.mark.parametrize("kind", ["files", "webdataset"])
def test_damaged_items_of_img2dataset_are_left_out(tmp_path, capsys, kind):
    labels = ["heart", None, b'{"caption": "he', b"[1]", "never", "star", "star"]
    img2dataset(tmp_path / "million", [(label, icon("star", i)) for i, label in enumerate(labels)], kind)
    if kind == "files":
        (tmp_path / "million/00001/000010002.json").unlink()
        said = "2 whose JSON cannot be read, 1 without JSON, 1 without a caption"
    else:
        tar = tmp_path / "million/00002.tar"  # of the last image, which is cut off
        tar.write_bytes(tar.read_bytes()[:700])
        said = "2 whose JSON cannot be read, 1 incomplete tar, 1 without JSON, 1 without a caption"
    counts = gather_from(tmp_path / "million", tmp_path / "out")
    assert counts == ({"heart": 1, "star": 1}) and f"Left out: {said}\n" in capsys.readouterr().out
    img2dataset(tmp_path / "none", [(None, icon("star", 1))], kind)
    with pytest.raises(SourceError, match=r"1 without a caption\. Run img2dataset with --caption_col label"):
        gather_from(tmp_path / "none", tmp_path / "out")


def test_invalid_source_is_refused_with_a_reason(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty.csv").write_text("")
    (tmp_path / "words.csv").write_text("heart\nstar\n")
    (tmp_path / "photo.jpg").write_bytes(icon("star", 1))
    shutil.make_archive(tmp_path / "nothing", "zip", tmp_path / "empty")
    for name, word in {
        "nowhere": "There is no file or folder",
        "empty": "contains no photos of labels. Put one folder per label into it",
        "empty.csv": "contains no addresses",
        "words.csv": "Its first line should name the columns: url,label",
        "photo.jpg": "neither a zip nor a CSV",
        "nothing.zip": "contains no photos",
    }.items():
        with pytest.raises(SourceError, match=word):
            list(read_source(tmp_path / name))


def test_folder_is_not_gathered_into_itself(folder):
    before = sorted(folder.rglob("*"))
    with pytest.raises(SourceError, match="Choose another folder"):
        gather_from(folder, folder.parent / "." / folder.name)
    assert sorted(folder.rglob("*")) == before


def test_labels_become_folder_names():
    same = ["beyonce", "snoop dogg", "Beyoncé", "東京", "Dr. Dre", "R&B 100%", "🎺"]
    assert [safe_name(name) for name in same] == same
    for label, name in {
        "AC/DC": "AC／DC",  # noqa: RUF001
        "../../etc": "．./..／etc".replace("/", "／"),  # noqa: RUF001
        "..": "．．",  # noqa: RUF001
        ".excluded": "．excluded",  # noqa: RUF001
        "Will.i.am.": "Will.i.am．",  # noqa: RUF001
        "C:\\x": "C：＼x",  # noqa: RUF001
        " a \n b\t": "a b",
        "Beyonce\u0301": "Beyoncé",
        "zero\u200bwidth\x00": "zerowidth",
        "CON": "CON_",
        "com1.jpg": "com1_.jpg",
        "train": "train_",
        "Valid": "Valid_",
        "models": "models_",
    }.items():
        assert safe_name(label) == name
    assert len(safe_name("長" * 200).encode()) <= 150
    for label in ("", "  ", "\u200b"):
        with pytest.raises(LabelError, match="no visible characters"):
            safe_name(label)


def test_labels_have_different_folders():
    labels = ["Drake", "drake", "AC/DC", "AC／DC", "Straße", "STRASSE", "长" * 60, "长" * 61]  # noqa: RUF001
    folders = folder_names(labels)
    assert list(folders) == labels and len({folder.casefold() for folder in folders.values()}) == len(labels)
    assert folders["drake"] == "drake (2)"
    # a label keeps its folder
    assert folder_names(["drake", "Drake"], known=folders) == {"drake": "drake (2)", "Drake": "Drake"}


def test_labels_cannot_escape_the_dataset(tmp_path):
    labels = ["../up", "/etc", "..", "a/b", "CON", "manifest.csv", "Drake", "drake"]
    with photos() as host:
        with open(tmp_path / "links.csv", "w", newline="") as file:
            csv.writer(file).writerows(
                [["url", "label"], *([f"{host.address}/photo/star/{i}", n] for i, n in enumerate(labels))]
            )
        counts = gather_from(tmp_path / "links.csv", tmp_path / "out", allow_hosts=[host.netloc])
    assert counts == dict.fromkeys(labels, 1)
    assert {path.name for path in tmp_path.iterdir()} == {"links.csv", "out"}
    found = find_photos(tmp_path / "out")
    assert len(found) == 8 and all(len(files) == 1 for files in found.values())
    assert Manifest(tmp_path / "out").folders().keys() == set(labels)


def test_incomplete_last_line_is_dropped(tmp_path):
    manifest = Manifest(tmp_path)
    manifest.add(*({"label": "heart", "url": f"u{i}", "decision": "found", "title": 'a "b",\nc'} for i in range(5)))
    manifest.add({"label": "heart", "url": "u1", "decision": "kept", "file": "heart/1.jpg"})
    whole = manifest.path.read_bytes()
    for cut in range(len(whole)):
        manifest.path.write_bytes(whole[:cut])
        again = Manifest(tmp_path)
        lines = max(0, whole[: cut + 1].count(b"\n") - 1)  # without its line break, a line is complete, too
        assert [row["url"] for row in again.rows] == [f"u{i}" for i in range(min(lines, 5))]
        again.add({"label": "heart", "url": "new", "decision": "kept"})
        assert Manifest(tmp_path).rows[-1]["url"] == "new"
        assert manifest.path.read_bytes().endswith(b"\n")
    manifest.path.write_bytes(whole)
    rows = Manifest(tmp_path).rows
    assert len(rows) == 5 and rows[1]["decision"] == "kept" and rows[0]["title"] == 'a "b", c'  # one row per link


def test_other_manifest_is_refused_with_a_reason(tmp_path):
    (tmp_path / "manifest.csv").write_text("a,b\n1,2\n")
    with pytest.raises(ManifestError, match="Move it away"):
        Manifest(tmp_path)


def test_gathering_needs_neither_fastai_nor_torch():
    modules = sorted(path.stem for path in (ROOT / "icon_classifier/dataset").glob("*.py") if path.stem != "__init__")
    run = python(PROGRAMS / "print_modules.py", *(f"icon_classifier.dataset.{module}" for module in modules))
    assert run.returncode == 0, run.stderr
    assert not {"fastai", "torch", "jmd_imagescraper", "ddgs"} & set(run.stdout.split())
