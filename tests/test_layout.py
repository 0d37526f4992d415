"""Test layout.py: labels of images in every kind of source, and updates of a dataset when its source changes."""

import csv
import io
import os
import zipfile
from collections import Counter
from pathlib import Path

import pytest
from PIL import Image
from support.standin.photos import icon, photos

from icon_classifier.dataset.datasets import dataset_of
from icon_classifier.dataset.exclude import move_photo
from icon_classifier.dataset.layout import in_words, is_label
from icon_classifier.dataset.links import SourceError
from icon_classifier.dataset.manifest import COLUMNS, Manifest
from icon_classifier.dataset.review.decisions import Review
from icon_classifier.dataset.sources import read_source
from icon_classifier.training.clean import exclude, relabel, restore
from icon_classifier.training.gather import count_photos, find_photos, forget, gather, gather_from


def fill(folder, files, first=0):
    """Write a different image into each of `files`, paths below `folder`."""
    for number, file in enumerate(files, first):
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_bytes(icon("heart", number))
    return folder


def zipped(folder):
    path = folder.parent / f"{folder.name}.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(folder.rglob("*")):
            archive.write(file, file.relative_to(folder))
    return path


def dataset(folder):
    """Return {"label" or "split/label": number} of the photos below `folder` that training uses."""
    return {"/".join(filter(None, key)): len(files) for key, files in find_photos(folder).items()}


# {case: (the files of a source, the number of photos by "label" or "split/label", what is printed as left out)}
LAYOUTS = {
    "deeper folders belong to the label": (["cat/1.jpg", "cat/more/2.jpg", "cat/a/b/3.jpg", "dog/4.jpg"],
        {"cat": 3, "dog": 1}, ""),
    "the camera's names": (["cat/1.JPG", "cat/2.jfif", "cat/3.JPE", "cat/4.Jpeg"], {"cat": 4}, ""),
    "a folder around everything": (["all of it/cat/1.jpg", "all of it/dog/2.jpg"], {"cat": 1, "dog": 1}, ""),
    "two of them": (["a/b/cat/1.jpg", "a/b/dog/more/2.jpg", "3.jpg"], {"cat": 1, "dog": 1}, "1 loose at the top"),
    "one label": (["cat/1.jpg", "cat/more/2.jpg"], {"cat": 2}, ""),
    "what does not belong": (["1.jpg", "2.jpg", "cat/3.jpg", "dog/4.jpg", "models/5.jpg", ".hidden/cat/6.jpg",
        "cat/.old/7.jpg", "cat/@eaDir/8.jpg", "__MACOSX/cat/9.jpg", "cat/Thumbs.db", "dog/.DS_Store", "dog/._4.jpg",
        "dog/notes.pdf", "dog/README"], {"cat": 1, "dog": 1},
        "3 created by the operating system (such as .DS_Store), 2 in hidden folders, 2 loose at the top, 1 in @eaDir, "
        "1 in __MACOSX, 1 in models, 1 without an image's suffix (.pdf), 1 without an image's suffix (none)"),
    "models that are a label's": (["cat/models/1.jpg", "dog/2.jpg"], {"cat": 1, "dog": 1}, ""),
    "a split": (["train/cat/1.jpg", "train/dog/2.jpg", "valid/cat/deep/3.jpg", "valid/dog/4.jpg"],
        {"train/cat": 1, "train/dog": 1, "valid/cat": 1, "valid/dog": 1}, ""),
    "a split by other names": (["x/Training/cat/1.jpg", "x/val/cat/2.jpg", "x/Training/3.jpg", "x/extra/4.jpg"],
        {"train/cat": 1, "valid/cat": 1}, "1 in extra, beside training and val, 1 loose in Training"),
    "a third split": (["train/cat/1.jpg", "validation/cat/2.jpg", "test/cat/3.jpg"],
        {"train/cat": 1, "valid/cat": 1}, "1 in test, beside train and validation"),
    "train and test": (["train/cat/1.jpg", "test/cat/2.jpg"], {"train/cat": 1, "valid/cat": 1}, ""),
    "train alone": (["train/cat/1.jpg", "train/dog/2.jpg", "test/3.jpg"],
        {"cat": 1, "dog": 1}, "1 in test, beside train"),
    "train and others": (["train/cat/1.jpg", "train/dog/2.jpg", "bus/3.jpg"], {"train_": 2, "bus": 1}, ""),
    "a train is no split": (["train/1.jpg", "bus/2.jpg", "valid/3.jpg"], {"train_": 1, "bus": 1, "valid_": 1}, ""),
}  # fmt: skip


@pytest.mark.parametrize("make", [lambda folder: folder, zipped], ids=["folder", "zip"])
@pytest.mark.parametrize(("files", "labels", "said"), LAYOUTS.values(), ids=LAYOUTS)
def test_labels_of_layouts(tmp_path, capsys, files, labels, said, make):
    source = make(fill(tmp_path / "mine", files))
    gather_from(source, tmp_path / "out")
    assert dataset(tmp_path / "out") == labels
    printed = capsys.readouterr().out
    assert (f"\nLeft out: {said}\n" in printed) if said else ("Left out" not in printed)


def test_empty_folders_and_datasets_are_counted(tmp_path, capsys):
    """The count shows that a label has no images."""
    source = fill(tmp_path / "mine", ["cat/1.jpg", "dog/2.jpg"])
    (source / "owl").mkdir()
    gather_from(fill(tmp_path / "other", ["cat/1.jpg", "dog/2.jpg"]), source / "made")
    capsys.readouterr()
    gather_from(source, tmp_path / "out")
    assert "\nLeft out: 1 empty folder, 1 folder that is a dataset\n" in capsys.readouterr().out


def test_links_to_folders_and_files_are_followed(tmp_path):
    fill(tmp_path / "elsewhere", ["1.jpg", "deep/2.jpg", "3.jpg"])
    source = fill(tmp_path / "mine", ["dog/9.jpg"], first=9)
    (source / "cat").symlink_to(tmp_path / "elsewhere")
    (source / "dog/alias.jpg").symlink_to(tmp_path / "elsewhere/3.jpg")
    (source / "dog/nowhere.jpg").symlink_to(tmp_path / "nothing.jpg")
    (source / "dog/circle").symlink_to(source)
    (tmp_path / "elsewhere/self").symlink_to(tmp_path / "elsewhere/self")
    found = {"cat": [], "dog": []}
    left_out = Counter()
    for link in read_source(source, left_out):
        found[link.label].append(link.url)
    assert found == {
        "cat": ["mine/cat/1.jpg", "mine/cat/3.jpg", "mine/cat/deep/2.jpg"],
        "dog": ["mine/dog/9.jpg", "mine/dog/alias.jpg", "mine/dog/nowhere.jpg"],
    }
    assert left_out.pop("in a cycle of links") == 1
    assert in_words(left_out) == "Left out: 1 without an image's suffix (none)"
    assert gather_from(source, tmp_path / "out") == {"cat": 3, "dog": 1}
    reasons = {row["url"]: row["reason"] for row in Manifest(tmp_path / "out").rows if row["reason"]}
    assert reasons == {
        "mine/dog/alias.jpg": "The same image as mine/cat/3.jpg (cat).",
        "mine/dog/nowhere.jpg": "The file cannot be read: No such file or directory.",
    }


def test_file_names_that_are_not_utf8_are_read(tmp_path):
    source = fill(tmp_path / "mine", ["dog/1.jpg"])
    os.mkdir(os.fsencode(source) + b"/B\xe4r")
    (source / os.fsdecode(b"B\xe4r") / "2.jpg").write_bytes(icon("star", 1))
    assert gather_from(source, tmp_path / "out") == {"Bär": 1, "dog": 1}


def test_dataset_inside_its_source_is_left_out(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    fill(Path("photos"), ["cat/1.jpg", "dog/2.jpg"])
    assert dataset_of("photos") == Path("photos/photos")
    for _ in range(2):
        assert gather_from("photos", dataset_of("photos")) == {"cat": 1, "dog": 1}


ZIPS = {
    "backslashes": ([b"cat\\more\\1.jpg", b"dog\\2.jpg"], {"cat": 1, "dog": 1}),
    "UTF-8 and no word of it": (["Bär/1.jpg".encode(), "東京/2.jpg".encode()], {"Bär": 1, "東京": 1}),
    "cp437, as the format says": (["Bär/1.jpg".encode("cp437"), b"dog/2.jpg"], {"Bär": 1, "dog": 1}),
}


@pytest.mark.parametrize(("names", "labels"), ZIPS.values(), ids=ZIPS)
def test_zips_of_other_systems(tmp_path, names, labels):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for number, name in enumerate(names):
            archive.writestr("x" * len(name), icon("star", number))
    body = (tmp_path / "a.zip").read_bytes()
    for name in names:
        body = body.replace(b"x" * len(name), name, 1)  # the local header's
    directory = body.index(b"PK\1\2")
    for name in names:
        at = body.index(b"x" * len(name), directory)
        body = body[:at] + name + body[at + len(name) :]
    (tmp_path / "a.zip").write_bytes(body)
    assert gather_from(tmp_path / "a.zip", tmp_path / "out") == labels


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "cp1252"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_encodings_of_lists(tmp_path, encoding, end):
    text = f"url\tlabel{end}http://a.example/1.jpg\tBär{end}http://b.example/2.jpg\tHund{end}"
    (tmp_path / "links.txt").write_bytes(text.encode(encoding))
    assert [(link.url, link.label) for link in read_source(tmp_path / "links.txt")] == [
        ("http://a.example/1.jpg", "Bär"),
        ("http://b.example/2.jpg", "Hund"),
    ]


def test_lists_with_invalid_lines(tmp_path, capsys):
    long = "http://a.example/" + "x" * 200_000
    with photos() as host:
        text = (
            f'url,label,title\n{host.address}/photo/heart/1,heart,"{long}"\n{long},heart\n,heart\n{host.address}/2,\n'
        )
        (tmp_path / "links.csv").write_text(text + f"{host.address}/photo/star/1,\u200b\n")
        for _ in range(2):  # the manifest can be read again
            assert gather_from(tmp_path / "links.csv", tmp_path / "out", allow_hosts=[host.netloc]) == {"heart": 1}
            assert (
                "Left out: 1 with a label that cannot be read, 1 with an address of more than 8,000 characters, "
                "1 without a label, 1 without an address\n"
            ) in capsys.readouterr().out


@pytest.mark.parametrize("line", ['"http://b.example/2.jpg,star\nhttp://c.example/3.jpg,star', '"a"b,star'])
def test_damaged_list_says_which_line(tmp_path, line):
    (tmp_path / "links.csv").write_text(f"url,label\nhttp://a.example/1.jpg,heart\n{line}\n")
    with pytest.raises(SourceError, match=r"Line [34] of .*links\.csv cannot be read: .* quotation marks"):
        list(read_source(tmp_path / "links.csv"))


def doubles(tmp_path, kind):
    """Return a source that contains one image three times: twice for heart, once for star."""
    same = icon("heart", 1)
    files = ["heart/a.jpg", "heart/b.jpg", "star/c.jpg", "star/d.jpg"]
    folder = fill(tmp_path / "mine", files)
    for file in files[:3]:
        (folder / file).write_bytes(same)
    return zipped(folder) if kind == "zip" else folder


@pytest.mark.parametrize("kind", ["folder", "zip", "list", "img2dataset"])
def test_first_of_identical_images_is_kept(tmp_path, capsys, kind):
    from test_sources import img2dataset

    with photos() as host:
        if kind == "list":
            source = tmp_path / "links.csv"
            address = f"{host.address}/photo/heart/1"
            source.write_text(
                f"url,label\n{address},heart\n{address}?b,heart\n{address}?c,star\n{host.address}/photo/star/2,star"
            )
        elif kind == "img2dataset":
            source = tmp_path / "million"
            bodies = [("heart", icon("heart", 1))] * 2 + [("star", icon("heart", 1)), ("star", icon("star", 2))]
            img2dataset(source, bodies, "files")
        else:
            source = doubles(tmp_path, kind)
        assert gather_from(source, tmp_path / "out", allow_hosts=[host.netloc]) == {"heart": 1, "star": 1}
    kept, *others = [row for row in Manifest(tmp_path / "out").rows if row["url"] and row["sha256"]][:3]
    if kind != "list":  # where the first that arrives is kept
        assert kept["decision"] == "kept"
        for row in others:
            assert row["decision"] == "refused" and row["reason"] == f"The same image as {kept['url']} (heart)."
    assert '1 x "The same image as one of (heart)"' in capsys.readouterr().out


def test_image_in_both_splits_is_kept_in_train(tmp_path):
    source = fill(
        tmp_path / "mine", [f"{side}/{label}/{i}.jpg" for side in ("train", "valid") for label in "ab" for i in "12"]
    )
    (source / "valid/a/1.jpg").write_bytes((source / "train/b/1.jpg").read_bytes())
    gather_from(source, tmp_path / "out")
    assert dataset(tmp_path / "out") == {"train/a": 2, "train/b": 2, "valid/a": 1, "valid/b": 2}


def photo_of(out, url):
    """Return the decision and the folder of the row whose address or path ends with `url`."""
    (row,) = [
        row for row in Manifest(out).rows if row["url"].endswith(url) and not row["reason"].startswith("The same a")
    ]
    return row["decision"], row["file"].rpartition("/")[0]


def test_corrected_label_moves_the_photo(tmp_path):
    source, out = tmp_path / "links.csv", tmp_path / "out"
    with photos() as host:

        def go(**labels):
            source.write_text(
                "url,label\n" + "".join(f"{host.address}/photo/star/{i[1:]},{label}\n" for i, label in labels.items())
            )
            return gather_from(source, out, allow_hosts=[host.netloc])

        assert go(_1="star", _2="star", _3="heart", _4="heart") == {"star": 2, "heart": 2}
        assert go(_1="star", _2="heart", _3="heart", _4="heart") == {"star": 1, "heart": 3}  # a corrected label
        assert dataset(out) == {"star": 1, "heart": 3}
        assert go(_1="star", _2="heart") == {"star": 1, "heart": 1}  # removed lines
        assert dataset(out) == {"star": 1, "heart": 1} and len(list((out / ".excluded/heart").iterdir())) == 2
        assert go(_3="heart", _4="bell", _2="heart") == {
            "heart": 2,
            "bell": 1,
        }  # added again, one corrected
        assert dataset(out) == {"heart": 2, "bell": 1}  # the label star is gone
        before = Manifest(out).path.read_bytes()
        assert go(_3="heart", _4="bell", _2="heart") == {"heart": 2, "bell": 1}
        assert Manifest(out).path.read_bytes() == before and max(host.asked.values()) == 1  # nothing is fetched again
        # one address under two labels: the first counts, until its line is removed
        text = f"url,label\n{host.address}/photo/star/2,heart\n{host.address}/photo/star/2,bell\n"
        source.write_text(text)
        assert gather_from(source, out, allow_hosts=[host.netloc]) == {"heart": 1, "bell": 0}
        assert {
            row["reason"] for row in Manifest(out).rows if row["label"] == "bell" and row["url"].endswith("/2")
        } == {"The same address came up for heart."}
        source.write_text(text.replace(f"{host.address}/photo/star/2,heart\n", ""))
        assert gather_from(source, out, allow_hosts=[host.netloc]) == {"bell": 1} and dataset(out) == {"bell": 1}
        assert max(host.asked.values()) == 1


def test_corrected_label_moves_an_excluded_photo(tmp_path):
    """If it is restored, it has the label that the source gives now. A file in its way stays."""
    source, out = tmp_path / "links.csv", tmp_path / "out"
    with photos() as host:

        def go(*labels):
            lines = [f"{host.address}/photo/star/{i},{label}\n" for i, label in enumerate(labels)]
            source.write_text("url,label\n" + "".join(lines))
            gather_from(source, out, allow_hosts=[host.netloc])
            return [row for row in Manifest(out).rows if row["decision"] == "excluded"]

        go("star", "star", "moon", "bell", "star")
        review = Review(out)
        numbers = [next(i.number for i in review.items if i.row["url"].endswith(f"/{n}")) for n in (0, 1)]
        review.decide(numbers[1:], "relabel", "moon")
        review.decide(numbers, "exclude")
        bodies = [(out / review.items[number].place).read_bytes() for number in numbers]
        in_the_way = out / ".excluded/moon" / Path(review.items[numbers[0]].file).name
        in_the_way.write_bytes(b"another file")
        for _ in range(2):
            rows = go("moon", "bell", "moon", "bell", "star")
            assert [(row["label"], row["file"].split("/")[0], row["given"]) for row in rows] == [
                ("moon", "moon", ""), ("bell", "bell", "")]  # fmt: skip
            assert [Manifest(out).place(row).read_bytes() for row in rows] == bodies
        assert dataset(out) == {"bell": 1, "moon": 1, "star": 1}
        review = Review(out)
        review.decide(review.view(decision="exclude"), "keep")
        assert dataset(out) == {"bell": 2, "moon": 2, "star": 1} and in_the_way.read_bytes() == b"another file"
        go("moon", "bell", "moon", "bell", "star")
        assert all(item.label == item.file.split("/")[0] for item in Review(out).items)
        assert max(host.asked.values()) == 1


def test_changed_folder_updates_the_dataset(tmp_path):
    source = fill(tmp_path / "mine", ["cat/1.jpg", "cat/2.jpg", "dog/3.jpg", "dog/4.jpg", "owl/5.jpg"])
    out = tmp_path / "out"

    def go():
        gather_from(source, out)
        return dataset(out)

    assert go() == {"cat": 2, "dog": 2, "owl": 1}
    (source / "owl").rename(tmp_path / "owl")  # a label is removed
    (source / "cat/2.jpg").rename(source / "dog/2.jpg")  # a label is corrected
    (source / "dog/4.jpg").rename(source / "dog/four.jpg")  # a file gets another name
    (source / "dog/3.jpg").unlink()
    assert go() == {"cat": 1, "dog": 2}
    assert {str(path.parent.relative_to(out)) for path in (out / ".excluded").rglob("*.jpg")} == {
        ".excluded/owl", ".excluded/cat", ".excluded/dog"}  # fmt: skip
    (tmp_path / "owl").rename(source / "owl")
    assert go() == {"cat": 1, "dog": 2, "owl": 1} == go()
    # a file contains another image: the old photo is excluded
    before = photo_of(out, "cat/1.jpg"), sorted((out / "cat").iterdir())
    (source / "cat/1.jpg").write_bytes(icon("bell", 77))
    assert go() == {"cat": 1, "dog": 2, "owl": 1}
    assert photo_of(out, "cat/1.jpg") == before[0] and sorted((out / "cat").iterdir()) != before[1]
    # the first of two identical images is removed: the second replaces it
    (source / "owl/same.jpg").write_bytes((source / "owl/5.jpg").read_bytes())
    assert go()["owl"] == 1 and photo_of(out, "owl/same.jpg")[0] == "refused"
    (source / "owl/5.jpg").unlink()
    assert go()["owl"] == 1 and photo_of(out, "owl/same.jpg")[0] == "kept"


def test_source_that_gains_or_loses_a_split(tmp_path):
    source = fill(tmp_path / "mine", ["cat/1.jpg", "dog/2.jpg"])
    out = tmp_path / "out"
    gather_from(source, out)
    for side in ("train", "valid"):
        fill(source, [f"{side}/cat/1.jpg", f"{side}/dog/2.jpg"])
    for number, file in enumerate(sorted(source.glob("*/*/*.jpg"))):
        file.write_bytes(icon("star", number))
    for label in ("cat", "dog"):
        (source / label / f"{'12'[label == 'dog']}.jpg").unlink()
    gather_from(source, out)
    assert dataset(out) == {"train/cat": 1, "train/dog": 1, "valid/cat": 1, "valid/dog": 1}
    assert sorted(path.name for path in out.iterdir() if is_label(path.name)) == ["manifest.csv", "train", "valid"]
    for side in ("train", "valid"):
        (source / side).rename(tmp_path / side)
    fill(source, ["cat/1.jpg", "dog/2.jpg"])
    gather_from(source, out)
    assert dataset(out) == {"cat": 1, "dog": 1}


def test_decisions_of_cleaning_survive_gathering(tmp_path):
    source = fill(tmp_path / "mine", [f"{label}/{i}.jpg" for label in ("cat", "dog") for i in range(4)])
    out = tmp_path / "out"
    gather_from(source, out)
    first, second, third, _ = sorted((out / "cat").iterdir())
    by_file = {row["file"]: row["url"] for row in Manifest(out).rows}
    urls = [by_file[file.relative_to(out).as_posix()] for file in (first, second, third)]
    moved = relabel(first, "dog")
    (excluded,) = exclude(out, [second])
    assert moved == out / "dog" / first.name and excluded == out / ".excluded/cat" / second.name
    for _ in range(2):
        assert gather_from(source, out) == {"cat": 2, "dog": 5} == dataset(out) == in_place(out)
        assert excluded.exists() and moved.exists()
    assert [photo_of(out, url) for url in urls] == [("kept", "dog"), ("excluded", "cat"), ("kept", "cat")]
    # the same image under another file name stays excluded
    (source / "cat" / Path(urls[1]).name).rename(source / "cat/other.jpg")
    gather_from(source, out)
    assert dataset(out) == {"cat": 2, "dog": 5}
    # a photo that is removed from the source is excluded, wherever cleaning has moved it; it returns to that place
    (source / "cat" / Path(urls[0]).name).rename(tmp_path / "kept.jpg")
    gather_from(source, out)
    assert dataset(out) == {"cat": 2, "dog": 4}
    (tmp_path / "kept.jpg").rename(source / "cat" / Path(urls[0]).name)
    gather_from(source, out)
    assert dataset(out) == {"cat": 2, "dog": 5} and moved.exists()
    assert restore(out, [excluded]) == [second]
    gather_from(source, out)
    assert dataset(out) == {"cat": 3, "dog": 5} and photo_of(out, "cat/other.jpg") == ("kept", "cat")
    # another image replaces the relabelled one: it has the label of its folder
    (source / "cat" / Path(urls[0]).name).write_bytes(icon("bell", 1))
    assert gather_from(source, out) == {"cat": 4, "dog": 4} == dataset(out)
    assert photo_of(out, urls[0]) == ("kept", "cat")


def test_relabelled_photo_is_not_searched_again(tmp_path):
    from support.standin.engine import engine
    from support.standin.photos import icons_of

    with photos() as host, engine(icons_of(host, 1000)) as server:
        where = dict(endpoint=server.address, allow_hosts=[host.netloc], seconds=60)
        for times in (1, 2):
            counts = gather(["heart", "star"], tmp_path, 6, **where)
            if times == 1:
                relabel(sorted((tmp_path / "heart").iterdir())[0], "star")
            assert dataset(tmp_path) == {"heart": 5, "star": 7}
        assert counts == {"heart": 5, "star": 7}
        assert server.asked["i.js"] == 2 and len(host.asked) == 12
        gather(["star"], tmp_path, 6, **where)
        assert dataset(tmp_path) == {"star": 6}  # the search for heart brought the seventh


@pytest.mark.parametrize("side", ["", "train/"])
def test_photos_are_counted_by_the_label_that_they_have_now(tmp_path, capsys, side):
    """A review has relabelled and kept photos: those count, and only the others have a reason."""
    sides = ("train/", "valid/") if side else ("",)
    files = [f"{top}{label}/{i}.jpg" for top in sides for label in ("heart", "moon", "AC_DC") for i in range(6)]
    source, out = fill(tmp_path / "mine", files), tmp_path / "out"
    gather_from(source, out)
    review = Review(out)
    hearts, moons = ([i.number for i in review.items if i.file.startswith(f"{side}{n}/")] for n in ("heart", "moon"))
    review.decide(hearts[:3], "relabel", "moon")
    review.decide(hearts[3:4], "exclude")
    review.decide(hearts[4:], "relabel", "AC_DC")
    review.decide(moons[:1], "relabel", "AC_DC")
    review.decide(moons[1:], "keep")
    (out / review.items[moons[5]].file).unlink()
    capsys.readouterr()
    counts = gather_from(source, out)
    assert counts == in_place(out)
    assert counts == ({"heart": 6, "moon": 13, "AC_DC": 15} if side else {"heart": 0, "moon": 7, "AC_DC": 9})
    title = " (train)" if side else ""
    printed = capsys.readouterr().out
    for line in (
        f'heart{title}: 0 photos, 6 links; 2 moved to AC_DC, 3 moved to moon, 1 x "It was excluded in the review"\n',
        f"moon{title}: 7 photos, 6 links; 1 moved to AC_DC, 3 came from heart\n",
        f"AC_DC{title}: 9 photos, 6 links; 2 came from heart, 1 came from moon\n",
    ):
        assert line in printed
    assert not side or "heart (valid): 6 photos, 6 links\n" in printed


def test_each_source_has_its_own_dataset(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    pets = fill(Path("pets"), ["cat/1.jpg", "dog/2.jpg"])
    zipped(pets)
    fill(Path("other/pets"), ["cat/3.jpg", "dog/4.jpg"], first=9)
    fill(Path("photos/mine"), ["cat/1.jpg", "dog/2.jpg"])
    fill(Path("x/search"), ["cat/1.jpg", "dog/2.jpg"])
    names = {}
    for _ in range(2):
        for source in ("pets", "pets.zip", "other/pets", "photos/mine", "x/search", "./other/../pets/"):
            names.setdefault(source, set()).add(str(dataset_of(source)))
            gather_from(source, dataset_of(source))
    assert names == {
        "pets": {"photos/pets"},
        "pets.zip": {"photos/pets.zip"},
        "other/pets": {"photos/pets (2)"},
        "photos/mine": {"photos/mine (2)"},  # because that folder exists
        "x/search": {"photos/search (2)"},
        "./other/../pets/": {"photos/pets"},
    }
    assert dataset_of("sample") == Path("photos/sample") and dataset_of("search") == Path("photos/search")
    assert dataset_of("photos/pets") == Path("photos/pets")  # it is a dataset
    assert in_place("photos/pets") == {"cat": 1, "dog": 1}
    capsys.readouterr()
    assert gather_from("other/pets", "photos/pets") == {"cat": 1, "dog": 1}  # as requested, with a warning
    said = capsys.readouterr().out.replace("~", str(Path.home()))
    assert f"photos/pets also holds 2 photos from {pets.resolve()}" in said
    gather_from("pets", "photos/pets")
    assert dataset(Path("photos/pets")) == {"cat": 2, "dog": 2}


def in_place(photos):
    return gather_from(photos, photos)


def test_photos_added_by_hand_are_normalized(tmp_path, capsys):
    out = tmp_path / "out"
    gather_from(fill(tmp_path / "mine", ["cat/1.jpg", "dog/2.jpg"]), out)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (900, 600), "navy").save(out / "cat/added.jpg", exif=exif)
    (out / "cat/deep").mkdir()
    Image.new("RGBA", (40, 40), (0, 0, 0, 0)).save(out / "cat/deep/clear.png")
    (out / "dog/plain.jpg").write_bytes(icon("star", 5))  # it is normalized already
    (out / "dog/broken.jpg").write_bytes(b"<html>")
    before = {path: path.read_bytes() for path in (out / "dog").iterdir()}
    assert in_place(out) == {"cat": 3, "dog": 3}
    assert "Added by hand and now normalized: 2; the originals are in .excluded" in capsys.readouterr().out
    assert sorted(Image.open(path).size for path in (out / "cat").glob("*.jpg")) == [(40, 40), (64, 64), (341, 512)]
    assert {path: path.read_bytes() for path in (out / "dog").iterdir()} == before
    originals = sorted(path.relative_to(out / ".excluded").as_posix() for path in (out / ".excluded").rglob("*.*"))
    assert originals == ["cat/added.jpg", "cat/deep/clear.png"]
    assert in_place(out) == {"cat": 3, "dog": 3} and "Added" not in capsys.readouterr().out


def test_manifest_of_an_earlier_version_is_read(tmp_path):
    """In that version the label was the folder name, and rows had no origin and no given label, but unused columns."""
    source = fill(tmp_path / "mine", ["cat/1.jpg", "cat/more/2.jpg", "dog/3.jpg"])
    out = tmp_path / "out"
    gather_from(source, out)
    (out / "more").mkdir()
    rows = Manifest(out).rows
    row = next(row for row in rows if row["url"].endswith("2.jpg"))
    file = row["file"].replace("cat/", "more/")
    (out / row["file"]).rename(out / file)
    row.update(label="more", file=file)
    old = [column for column in COLUMNS if column not in ("given", "origin")] + ["phash", "group"]
    text = io.StringIO()
    writer = csv.DictWriter(text, old, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    (out / "manifest.csv").write_text(text.getvalue())
    assert dataset(out) == {"cat": 1, "dog": 1, "more": 1}
    assert gather_from(source, out) == {"cat": 2, "dog": 1} and dataset(out) == {"cat": 2, "dog": 1}
    assert (out / "manifest.csv").read_text().splitlines()[0] == ",".join(COLUMNS)


def test_forgotten_address_is_refused_from_any_source(tmp_path):
    source = fill(tmp_path / "mine", ["cat/1.jpg", "cat/2.jpg", "dog/3.jpg"])
    out = tmp_path / "out"
    gather_from(source, out)
    assert len(forget("mine/cat/1.jpg", out)) == 1
    (source / "cat/1.jpg").rename(source / "cat/again.jpg")
    assert gather_from(source, out) == {"cat": 1, "dog": 1} and dataset(out) == {"cat": 1, "dog": 1}
    with pytest.raises(ValueError, match="at least two"):
        count_photos(out / "cat")


def test_excluded_photo_does_not_replace_another(tmp_path):
    """The same bytes are one photo; other bytes with the same file name get a free name."""
    photo, place = tmp_path / "heart/mine.jpg", tmp_path / ".excluded/heart/mine.jpg"
    photo.parent.mkdir()
    for body, moved in ((b"one", "mine.jpg"), (b"two", "mine-1.jpg"), (b"one", "mine.jpg")):
        photo.write_bytes(body)
        assert move_photo(photo, place) == place.with_name(moved) and not photo.exists()
    assert {file.name: file.read_bytes() for file in place.parent.iterdir()} == {
        "mine.jpg": b"one",
        "mine-1.jpg": b"two",
    }
    assert move_photo(photo, place) is None
