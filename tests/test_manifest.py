"""Test that a manifest survives other programs: spreadsheets, text editors, and people to whom it is passed on."""

import csv
import io
from collections import Counter

import pytest
from support.standin.photos import photos
from test_review import decisions, make_dataset, number

from icon_classifier.dataset.datasets import dataset_of
from icon_classifier.dataset.exclude import exclude
from icon_classifier.dataset.manifest import COLUMNS, Manifest, ManifestError, is_dataset
from icon_classifier.dataset.review.decisions import EXCLUDE, RELABEL, Review
from icon_classifier.dataset.sources import read_source
from icon_classifier.dataset.split import GroupSplitter
from icon_classifier.training.gather import gather_from


def saved(path, encoding="utf-8", columns=COLUMNS, end=True, **options):
    """Return a CSV as another program would save it. end: with a last line break. options: of csv.writer."""
    rows = list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"))))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, **options)
    writer.writeheader()
    writer.writerows(rows)
    text = text.getvalue()
    return (text if end else text.rstrip("\r\n")).encode(encoding)


READABLE = {
    "all fields quoted": dict(quoting=csv.QUOTE_ALL),
    "with a byte order mark": dict(encoding="utf-8-sig"),
    "semicolons": dict(delimiter=";", encoding="utf-8-sig"),
    "semicolons, quoted": dict(delimiter=";", quoting=csv.QUOTE_ALL),
    "tabs": dict(delimiter="\t"),
    "UTF-16 (Excel's Unicode text)": dict(encoding="utf-16", delimiter="\t"),
    "line breaks of old Macs": dict(lineterminator="\r"),
    "columns in another order": dict(columns=sorted(COLUMNS), quoting=csv.QUOTE_ALL),
}
REFUSED = {
    "Windows-1252": (dict(encoding="cp1252"), 'was not saved as UTF-8. Save it again, as "CSV UTF-8"'),
    "Windows-1252, with semicolons": (dict(encoding="cp1252", delimiter=";"), "was not saved as UTF-8"),
    "without a quotation mark": (None, r"Line 4 of .*manifest\.csv cannot be read: .* quotation marks"),
}


@pytest.fixture
def dataset(tmp_path):
    """Return a dataset with a label that is not ASCII and three decisions, the last of which ends its manifest."""
    folder = tmp_path / "photos"
    make_dataset(folder)
    (folder / "star").rename(folder / "Zoë")
    path = folder / "manifest.csv"
    path.write_text(path.read_text().replace("star", "Zoë"), encoding="utf-8")
    review = Review(folder)
    review.decide([number(review, "heart/00000.jpg")], RELABEL, "Zoë")
    review.decide([number(review, "heart/00001.jpg")], RELABEL, "Zoë")
    review.decide([number(review, "heart/00002.jpg")], EXCLUDE)
    return folder


@pytest.mark.parametrize("options", READABLE.values(), ids=READABLE)
@pytest.mark.parametrize("ends", [True, False], ids=["", "without a line break at the end"])
def test_manifest_that_another_program_has_saved_is_read(dataset, options, ends):
    path = dataset / "manifest.csv"
    rows, decided = Manifest(dataset).rows, decisions(dataset)
    assert len(decided) == 3 and EXCLUDE in decided.values()
    body = saved(path, **options)
    review = Review(dataset)  # is open meanwhile
    path.write_bytes(body if ends else saved(path, end=False, **options))
    assert is_dataset(dataset) and dataset_of(dataset) == dataset
    if ends:
        review.refresh()
        assert review.counts()[EXCLUDE] == 1
    assert Manifest(dataset).rows == rows and decisions(dataset) == decided
    exclude(dataset, [dataset / "heart/00003.jpg"])  # appends a line
    review.decide([number(review, "heart/00004.jpg")], EXCLUDE)
    assert set(decisions(dataset)) - set(decided) == {"heart/00003.jpg", "heart/00004.jpg"}
    assert len(Manifest(dataset).rows) == len(rows) and review.counts()[EXCLUDE] == 3


@pytest.mark.parametrize(("options", "says"), REFUSED.values(), ids=REFUSED)
def test_manifest_that_cannot_be_read_is_refused_until_it_is_saved_again(dataset, options, says):
    """Nothing is gathered anew, appended or written, and a review and a gathering that are open continue afterwards."""
    path = dataset / "manifest.csv"
    review = Review(dataset)
    gathering = Manifest(dataset)
    gathering.change(gathering.rows[3], title="found again")
    before = path.read_bytes()
    body = saved(path, **options) if options else b"\n".join([*before.split(b"\n")[:3], b'"a"b,c', b""])
    path.write_bytes(body)
    photo = number(review, "heart/00003.jpg")
    files = sorted(dataset.rglob("*.jpg"))
    assert is_dataset(dataset)
    source = dataset.parent / "mine/photos"
    source.mkdir(parents=True)
    for use in [
        lambda: Manifest(dataset),
        lambda: dataset_of(source, dataset.parent),
        lambda: GroupSplitter()(files),
        *[lambda: review.decide([photo], EXCLUDE)] * 2,
        *[gathering.save] * 2,
        lambda: gathering.add({"label": "heart", "url": "u"}),
    ]:
        with pytest.raises(ManifestError, match=says):
            use()
        assert path.read_bytes() == body and all(file.exists() for file in files)
    path.write_bytes(before)
    gathering.save()
    assert review.decide([photo], EXCLUDE) == [photo] and review.counts()[EXCLUDE] == 2
    assert Manifest(dataset).rows[3]["title"] == "found again"
    assert Counter(decisions(dataset).values())[EXCLUDE] == 2


def test_line_that_an_editor_appends_is_read_or_refused(dataset):
    manifest = Manifest(dataset)
    path = manifest.path
    before = path.read_bytes()
    line = f"Zoë,Zoë/new.jpg,,,,,https://example.org/1{',' * 9}kept,,,,,"
    path.write_bytes(before + line.encode("cp1252") + b"\n")
    for _ in range(2):
        with pytest.raises(ManifestError, match="not saved as UTF-8"):
            manifest.refresh()
    path.write_bytes(before + line.encode())  # without a line break
    manifest.refresh()
    assert manifest.rows[-1]["label"] == "Zoë" and len(manifest.rows) == 13 and path.read_bytes().endswith(b"\n")


def test_line_cut_by_a_killed_process_is_dropped(dataset):
    """Wherever it is cut: also within a character, a quoted field or the last field."""
    manifest = Manifest(dataset)
    manifest.save()  # one line per photo
    before = manifest.path.read_bytes()
    manifest.add({"label": "Zoë", "url": "https://example.org/1", "reason": 'a "b", c', "split": "valid"})
    line = manifest.path.read_bytes()[len(before) :]
    after = line.rindex(b",") + 1  # cut here, the line is complete: it only has no side
    for cut in range(1, len(line)):
        manifest.path.write_bytes(before + line[:cut])
        rows = Manifest(dataset).rows
        if cut in (after, len(line) - 1):
            assert [row["split"] for row in rows[12:]] == ["" if cut == after else "valid"]
        else:
            assert len(rows) == 12 and manifest.path.read_bytes() == before


def test_manifest_passed_on_after_a_review(tmp_path):
    """Of a photo's lines the last counts, and another link to an excluded photo does not bring it back."""
    mine = tmp_path / "mine"
    with photos() as host:
        rows = [f"{host.address}/photo/{label}/{i},{label}\n" for label in ("heart", "star") for i in range(6)]
        rows.append(f"{host.address}/photo/heart/0?again,heart\n")  # the same image as the first
        rows.append(f"{host.address}/photo/heart/1,star\n")  # the same address as the second
        (tmp_path / "links.csv").write_text("url,label\n" + "".join(rows))
        allow = dict(allow_hosts=[host.netloc])
        assert gather_from(tmp_path / "links.csv", mine, **allow) == {"heart": 6, "star": 6}
        kept = [row for row in Manifest(mine).rows if row["file"].startswith("heart/")]
        by_number = {row["url"].rpartition("/")[2][0]: row["file"] for row in kept}  # image 0: of either link
        review = Review(mine)
        review.decide([number(review, by_number[n]) for n in "01"], EXCLUDE)
        review.decide([number(review, by_number["2"])], RELABEL, "star")
        path = mine / "manifest.csv"
        path.write_bytes(path.read_bytes() + "star,ë".encode()[:-1])  # a process was killed
        left_out = Counter()
        links = [(link.url, link.label) for link in read_source(path, left_out)]
        assert left_out == {"excluded in cleaning": 2, "that repeat another image of the manifest": 2}
        assert gather_from(path, tmp_path / "yours", **allow) == {"heart": 3, "star": 7}
    Manifest(mine).save()  # one line per photo
    assert [(link.url, link.label) for link in read_source(path)] == links
    for options in (dict(delimiter=";"), dict(encoding="utf-16", delimiter="\t"), dict(quoting=csv.QUOTE_ALL)):
        (tmp_path / "passed on.csv").write_bytes(saved(path, **options))
        assert [(link.url, link.label) for link in read_source(tmp_path / "passed on.csv")] == links
