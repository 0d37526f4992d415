"""What a review must survive: equal photos, other processes, full disks, gathering, odd file names."""

import hashlib
import os
import random
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support import ROOT
from test_review import decisions, files, finding, make_dataset, number

from icon_classifier.dataset import manifest as manifest_module
from icon_classifier.dataset.checks.run import find_all
from icon_classifier.dataset.exclude import exclude, move_photo, relabel
from icon_classifier.dataset.manifest import BY_HAND, KEPT, DiskError, Manifest
from icon_classifier.dataset.review import decisions as decisions_module
from icon_classifier.dataset.review.approved import CompareWithApproved
from icon_classifier.dataset.review.decisions import APPROVE, EXCLUDE, KEEP, RELABEL, Review, ReviewError
from icon_classifier.dataset.review.findings import write_findings
from icon_classifier.dataset.review.grid import open_review
from icon_classifier.dataset.review.thumbnails import Thumbnails
from icon_classifier.dataset.split import GroupSplitter
from icon_classifier.training.gather import gather_from


def draw(path, seed=0, mode="wb"):
    """Write a photo of noise to `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    with open(path, mode) as file:
        Image.fromarray(pixels).save(file, "JPEG")


def contents(folder):
    return {file: (folder / file).read_bytes() for file in files(folder)}


def test_photos_of_the_same_bytes_stay_apart(tmp_path):
    make_dataset(tmp_path, per_label=1)
    for label in ("heart", "star"):
        draw(tmp_path / label / "same.jpg")
    before = contents(tmp_path)
    review = Review(tmp_path)
    review.decide([number(review, "heart/same.jpg")], RELABEL, "star")
    assert len(files(tmp_path)) == 4 and len({item.file for item in review.items}) == 4
    assert Review(tmp_path).changes() == [
        "heart: 2 photos, now 1 (1 moved to star)",
        "star: 2 photos, now 3 (1 came from heart)",
    ]
    review.decide(range(4), EXCLUDE)
    assert len(files(tmp_path)) == 4
    review.undo()
    review.undo()
    assert contents(tmp_path) == before


def test_a_path_stays_that_of_one_photo(tmp_path):
    """Else findings, thumbnails and undo would confuse them."""
    make_dataset(tmp_path)
    before = contents(tmp_path)
    review = Review(tmp_path)
    hearts, star = [number(review, f"heart/0000{i}.jpg") for i in (0, 1)], number(review, "star/00000.jpg")
    review.decide([hearts[0]], EXCLUDE)
    review.decide([hearts[1]], RELABEL, "star")
    review.decide([star], RELABEL, "heart")
    review.decide([number(review, "star/00001.jpg")], RELABEL, "heart")
    assert review.items[star].file == "heart/00000-1.jpg" and (tmp_path / "heart/00001-1.jpg").exists()
    assert Review(tmp_path).counts() == {"": 8, EXCLUDE: 1, RELABEL: 3}
    review.decide([star], RELABEL, "star")  # its own label again
    assert review.items[star].file == "star/00000.jpg" and not review.items[star].row["given_file"]
    for _ in range(5):
        review.undo()
    assert contents(tmp_path) == before and not decisions(tmp_path)


@pytest.fixture
def gathered(tmp_path):
    """Return a function that gathers 6 photos of 2 labels, and the dataset; the source is beside it."""
    for i in range(12):
        draw(tmp_path / f"source/{('heart', 'star')[i % 2]}/{i}.jpg", i)

    def gather():
        gather_from(tmp_path / "source", tmp_path / "dataset")

    gather()
    return gather, tmp_path / "dataset"


def by_hand(photos):
    """Return {the sides and decisions} of the photos that were added by hand, after a look whether they are there."""
    rows = [row for row in Manifest(photos).rows if row["origin"] == BY_HAND and row["decision"] == KEPT]
    assert all((photos / row["file"]).exists() for row in rows)
    return sorted((row["label"], row["given"], row["split"], decisions_module.decision_of(row)) for row in rows)


def test_normalizing_a_photo_keeps_what_was_decided_about_it(gathered):
    """A PNG that was added by hand becomes a JPEG of another name at the next gathering."""
    gather, photos = gathered
    for seed, name in enumerate(("moved", "approved")):
        noise = np.random.default_rng(50 + seed).integers(0, 256, (64, 64, 3), dtype=np.uint8)
        Image.fromarray(noise).save(photos / f"heart/{name}.png")
    review = Review(photos)
    review.decide([number(review, "heart/moved.png")], RELABEL, "star")
    review.decide([number(review, "heart/approved.png")], APPROVE)
    GroupSplitter()(sorted([*photos.glob("*/*.jpg"), *photos.glob("*/*.png")]))
    before = by_hand(photos)
    assert [(given, decision) for _, given, _, decision in before] == [("", APPROVE), ("heart", RELABEL)]
    gather()
    assert by_hand(photos) == before and not list(photos.glob("*/*.png"))
    Review(photos)
    assert by_hand(photos) == before


def test_a_photo_that_returns_under_another_name_is_still_that_photo(gathered):
    """An original of the same name is in .excluded already when its label leaves the source, and when it returns."""
    gather, photos = gathered
    draw(photos / "heart/hand.jpg", 70)
    draw(photos / ".excluded/heart/hand.jpg", 71)
    review = Review(photos)
    review.decide([number(review, "heart/hand.jpg")], APPROVE)
    source = photos.parent / "source"
    (source / "heart").rename(photos.parent / "away")
    gather()
    (photos.parent / "away").rename(source / "heart")
    gather()
    (row,) = [row for row in Manifest(photos).rows if row["origin"] == BY_HAND and row["decision"] == KEPT]
    assert hashlib.sha256((photos / row["file"]).read_bytes()).hexdigest() == row["sha256"]
    assert by_hand(photos) == [("heart", "", "", APPROVE)]


def test_an_approval_ends_with_the_label_it_was_about(tmp_path):
    make_dataset(tmp_path, per_label=2)
    review = Review(tmp_path)
    review.decide([number(review, "heart/00000.jpg")], APPROVE)
    relabel(tmp_path / "heart/00000.jpg", "star")
    assert Review(tmp_path).approved() == {}


def labels_of(photos):
    return sorted((file.split("/")[0], body) for file, body in photos.items())


def kill_before_the_row(folder, rng):
    """Leave the dataset as a process that was killed after moving a photo."""
    review = Review(folder)
    listed = [item for item in review.items if item.row]
    if listed:
        size = review.manifest.path.stat().st_size
        review.decide([rng.choice(listed).number], rng.choice([EXCLUDE, RELABEL]), rng.choice(["heart", "star"]))
        os.truncate(review.manifest.path, size)


@pytest.mark.parametrize("seed", range(10))
def test_any_decisions_in_two_tabs_lose_no_photo(tmp_path, seed):
    """Equal names and equal bytes under both labels, and tabs that are opened again."""
    rng = random.Random(seed)
    make_dataset(tmp_path, per_label=3, rows=rng.choice(["gathered", None]))
    for label in ("heart", "star"):
        draw(tmp_path / label / "same.jpg")
        draw(tmp_path / label / "2019/same.jpg", len(label))
    before = contents(tmp_path)
    tabs = [Review(tmp_path) for _ in range(2)]
    for _ in range(40):
        tab = rng.randrange(2)
        if rng.random() < 0.1:
            tabs[tab] = Review(tmp_path)
        elif rng.random() < 0.1:
            kill_before_the_row(tmp_path, rng)
            tabs = [Review(tmp_path) for _ in range(2)]
        elif rng.random() < 0.3:
            tabs[tab].undo()
        else:
            decision = rng.choice([KEEP, APPROVE, EXCLUDE, RELABEL, RELABEL])
            tabs[tab].decide(rng.sample(range(10), rng.randint(1, 4)), decision, rng.choice(["heart", "star"]))
        tabs[tab].refresh()
        assert len({item.place for item in tabs[tab].items}) == 10
        assert all((tmp_path / item.place).exists() for item in tabs[tab].items)
    after = contents(tmp_path)
    assert sorted(after.values()) == sorted(before.values())
    tabs[0].refresh()
    again = Review(tmp_path)
    assert {i.place: (i.label, i.decision) for i in tabs[0].items} == {
        i.place: (i.label, i.decision) for i in again.items
    }
    # as at first: every photo gets the label that its source gave
    for item in again.items:
        again.decide([item.number], KEEP)
        again.decide([item.number], RELABEL, item.row["given"] or item.label)
    # of two that are the same, either can be taken for the one that a killed process has moved
    assert labels_of(contents(tmp_path)) == labels_of(before)


def test_findings_and_features_follow_a_photo_that_got_a_number(tmp_path):
    make_dataset(tmp_path, per_label=12)
    found = [finding("heart/00000.jpg", 0.9), finding("star/00000.jpg", 0.5)]
    rng = np.random.default_rng(0)
    features = {file: np.eye(3)[0] + 0.01 * rng.random(3) for file in files(tmp_path)}
    features["heart/00000.jpg"] = np.eye(3)[2]
    review = Review(tmp_path)
    review.decide([number(review, "heart/00000.jpg")], RELABEL, "star")
    review.decide([number(review, f"star/{i:05}.jpg") for i in range(1, 12)], APPROVE)
    review = Review(tmp_path, found, far_from_approved=CompareWithApproved(features))
    first = review.items[review.view()[0]]
    assert (first.file, first.found_as) == ("star/00000-1.jpg", "heart/00000.jpg")
    assert {f.check for f in first.findings} == {"looks mislabelled", "far from the approved photos"}
    assert len(review.items[number(review, "star/00000.jpg")].findings) == 1
    review = Review(tmp_path, [finding("star/00000-1.jpg", 0.7)])  # the checks ran again
    assert review.items[review.view()[0]].file == "star/00000-1.jpg" and len(review.checks()) == 1


@pytest.mark.parametrize(
    ("rows", "move"),
    [("gathered", "star/00000-1.jpg"), (None, "star/00000-1.jpg"), (None, ".excluded/heart/00000-1.jpg")],
)
def test_a_kill_before_the_row_of_a_photo_that_got_a_number(tmp_path, rows, move):
    make_dataset(tmp_path, rows=rows)
    if rows is None:
        draw(tmp_path / ".excluded/heart/00000.jpg")  # the original of another photo, which was normalized
        Review(tmp_path).decide([0], KEEP)
    (tmp_path / "heart/00000.jpg").rename(tmp_path / move)
    review = Review(tmp_path)
    item = review.items[number(review, "heart/00000.jpg")]
    assert len(review.items) == 12 and (item.place, item.found_as) == (move, "heart/00000.jpg")
    assert item.decision == (RELABEL if "star" in move else EXCLUDE)
    review.decide([item.number], RELABEL, "heart")
    assert (tmp_path / "heart/00000.jpg").exists() and item.file == "heart/00000.jpg"


def test_another_photo_added_by_hand_is_not_taken_for_one_that_was_moved(tmp_path):
    make_dataset(tmp_path, rows=None)
    review = Review(tmp_path)
    review.decide([number(review, "heart/00000.jpg"), number(review, "heart/00001.jpg")], APPROVE)
    (tmp_path / "heart/00000.jpg").unlink()  # star/00000.jpg is another photo
    (tmp_path / "heart/00001.jpg").rename(tmp_path / "star/00001-1.jpg")
    assert decisions(tmp_path) == {"star/00001-1.jpg": RELABEL}


def test_a_photo_that_was_withdrawn_is_not_taken_for_a_deleted_one(tmp_path):
    """A source without the photo and one with it; a person has deleted the file of the second."""
    make_dataset(tmp_path)
    (tmp_path / ".excluded/heart").mkdir(parents=True)
    (tmp_path / "heart/00000.jpg").rename(tmp_path / ".excluded/heart/00000.jpg")
    manifest = Manifest(tmp_path)
    manifest.add({**manifest.rows[0], "origin": "another", "decision": "withdrawn"})
    assert len(Review(tmp_path).items) == 11
    assert [row["decision"] for row in Manifest(tmp_path).rows if row["file"] == "heart/00000.jpg"] == [
        "kept",
        "withdrawn",
    ]


def test_saving_keeps_what_others_decided_after_the_file_was_written_anew(tmp_path):
    make_dataset(tmp_path)
    gathering, another = Manifest(tmp_path), Manifest(tmp_path)
    review = Review(tmp_path)
    review.decide([0, 1, 2], KEEP)
    review.decide([3], APPROVE)
    another.change(another.rows[8], title="theirs")
    another.save()
    gathering.change(gathering.rows[0], decision="refused", reason="changed", file="")  # the review has decided
    gathering.change(gathering.rows[9], title="mine")
    gathering.drop(gathering.rows[10:11])
    gathering.save()
    rows = Manifest(tmp_path).rows
    assert Review(tmp_path).counts() == {KEEP: 3, APPROVE: 1, "": 8}  # a photo without a row is shown, too
    assert [row["title"] for row in rows] == [""] * 8 + ["theirs", "mine", ""]
    # an unsaved change outlives what is read in between
    gathering.change(gathering.rows[5], title="later")
    another.save()
    review.decide([4], KEEP)
    gathering.add(dict(label="heart", url="new", decision="found"))
    gathering.save()
    assert Manifest(tmp_path).rows[5]["title"] == "later" and Review(tmp_path).counts()[KEEP] == 4


def test_forgetting_keeps_what_others_wrote(tmp_path):
    make_dataset(tmp_path)
    forgetting, another = Manifest(tmp_path), Manifest(tmp_path)
    review = Review(tmp_path)
    review.decide([number(review, "heart/00000.jpg")], RELABEL, "star")  # it becomes star/00000-1.jpg
    review.decide([number(review, "heart/00001.jpg")], APPROVE)
    another.save()
    assert forgetting.forget("mine/heart/00000.jpg") == [tmp_path / "star/00000-1.jpg"]
    assert decisions(tmp_path) == {"heart/00001.jpg": APPROVE} and len(files(tmp_path)) == 11


def test_a_review_that_opens_while_another_decides(tmp_path, monkeypatch):
    make_dataset(tmp_path)
    first = Review(tmp_path)

    def decide():
        first.decide([0], EXCLUDE)
        first.decide([1], RELABEL, "star")
        first.decide([1], APPROVE)

    deciding = threading.Thread(target=decide)
    real = decisions_module.find_images

    def slow(folder):  # the manifest was read, and the other tab begins before the files are listed
        deciding.start()
        deciding.join(0.5)
        return real(folder)

    monkeypatch.setattr(decisions_module, "find_images", slow)
    second = Review(tmp_path)
    deciding.join()
    second.refresh()
    for each in (first, second):
        assert each.counts() == {EXCLUDE: 1, APPROVE: 1, "": 10}
    assert [first.undo() for _ in range(3)] == [[1], [1], [0]]


def test_a_folder_that_is_no_dataset_is_not_reviewed(tmp_path):
    """A decision would make it one, and the next gathering would normalize its photos."""
    make_dataset(tmp_path, rows=None)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(ReviewError, match="is not a dataset"):
        open_review(tmp_path)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_tab_shows_what_another_decided_while_it_loads_the_next_page(tmp_path):
    make_dataset(tmp_path, per_label=20)
    grid = open_review(tmp_path)
    sent = []
    grid.send = lambda content, buffers=None: sent.append(content)
    grid._receive(grid, {"page": 0, "view": grid._view_id}, [])
    Review(tmp_path).decide([0], EXCLUDE)
    grid._receive(grid, {"page": 1, "view": grid._view_id}, [])
    assert [message["changed"]["0"]["decision"] for message in sent if "changed" in message] == [EXCLUDE]


def test_a_program_that_keeps_the_lock_is_named(tmp_path, monkeypatch):
    make_dataset(tmp_path)
    review = Review(tmp_path)
    monkeypatch.setattr(manifest_module, "LOCK_TIMEOUT", 0.1)
    with (
        Manifest(tmp_path).locked(),
        pytest.raises(DiskError, match=r"^Another program has been writing to "),
    ):
        review.decide([0], KEEP)
    assert review.decide([0], KEEP) == [0]


def test_a_photo_that_could_not_be_decoded_is_tried_again(tmp_path):
    """Even if the file looks the same."""
    draw(tmp_path / "a.jpg", 1)
    body = (tmp_path / "a.jpg").read_bytes()
    path = tmp_path / "b.jpg"
    path.write_bytes(bytes(len(body)))
    time = path.stat().st_mtime_ns
    thumbnails = Thumbnails(tmp_path)
    photo, broken = thumbnails(["a.jpg", "b.jpg"])
    assert photo and broken is None
    with open(path, "r+b") as file:
        file.write(body)
    os.utime(path, ns=(time, time))
    assert thumbnails(["b.jpg"]) == [photo]


def test_a_label_without_photos_is_still_there(tmp_path):
    make_dataset(tmp_path, per_label=3)
    review = Review(tmp_path)
    review.decide(review.view(label="heart"), RELABEL, "star")
    again = Review(tmp_path)
    assert again.labels == review.labels == ["heart", "star"] and again.changes() == review.changes()
    assert again.changes()[0] == "heart: 3 photos, now 0 (3 moved to star)"
    again.decide([number(again, "heart/00000.jpg")], RELABEL, "heart")
    assert (tmp_path / "heart/00000.jpg").exists() and Manifest(tmp_path).folders()["heart"] == "heart"


def test_undo_works_after_a_full_disk(tmp_path):
    make_dataset(tmp_path)
    before = files(tmp_path)
    command = [sys.executable, str(ROOT / "tests/support/programs/undo_on_full_disk.py"), str(tmp_path)]
    run = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert run.stdout == "[0, 1, 2]\n", run.stderr
    assert files(tmp_path) == before and not decisions(tmp_path)


def test_gathering_keeps_the_decisions_of_a_review(tmp_path):
    from icon_classifier.training.gather import gather_from

    source, out = tmp_path / "mine", tmp_path / "out"
    for number_, file in enumerate(f"{label}/{i}.jpg" for label in ("heart", "star") for i in range(4)):
        draw(source / file, number_)
    gather_from(source, out)
    review = Review(out)
    hearts = review.view(label="heart")
    review.decide(hearts[:2], APPROVE)
    review.decide(hearts[2:3], RELABEL, "star")
    review.decide(review.view(label="star", decision="none")[:1], KEEP)
    before = decisions(out)
    (source / "heart").rename(tmp_path / "heart")
    gather_from(source, out)
    assert sorted(decisions(out).values()) == [KEEP]
    (tmp_path / "heart").rename(source / "heart")
    gather_from(source, out)
    assert decisions(out) == before and len(before) == 4
    # the source corrects a label: what was approved was the other label
    (approved,) = [row for row in Manifest(out).rows if row["file"] == review.items[hearts[0]].file]
    (source / "heart" / Path(approved["url"]).name).rename(source / "star" / "corrected.jpg")
    gather_from(source, out)
    assert sorted(decisions(out).values()) == [APPROVE, KEEP, RELABEL]


def test_a_photo_added_by_hand_goes_and_comes_back_with_its_folder(tmp_path):
    from icon_classifier.training.gather import gather_from

    source, out = tmp_path / "mine", tmp_path / "out"
    for number_, file in enumerate(f"{label}/{i}.jpg" for label in ("heart", "star") for i in range(2)):
        draw(source / file, number_)
    gather_from(source, out)
    draw(out / "heart/added.jpg", 9)
    draw(out / "heart/excluded.jpg", 10)
    review = Review(out)
    review.decide([number(review, "heart/added.jpg")], APPROVE)
    review.decide([number(review, "heart/excluded.jpg")], EXCLUDE)
    before = decisions(out)
    for _ in range(2):
        (source / "heart").rename(tmp_path / "heart")
        gather_from(source, out)
        assert decisions(out) == {"heart/excluded.jpg": EXCLUDE} and not (out / "heart").exists()
        (tmp_path / "heart").rename(source / "heart")
        gather_from(source, out)
        assert decisions(out) == before and (out / "heart/added.jpg").exists()


@contextmanager
def unprivileged(folder):
    """Run a block as a user who is not root, and who can enter the folders that contain `folder`."""
    parents = [parent for parent in folder.parents if parent.stat().st_uid == os.geteuid() and parent != Path("/")]
    modes = [(parent, parent.stat().st_mode) for parent in parents]
    for parent, mode in modes:
        parent.chmod(mode | 0o011)
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)
        for parent, mode in modes:
            parent.chmod(mode)


@pytest.fixture
def read_only(tmp_path):
    """Make a dataset, and let nobody write to it."""
    make_dataset(tmp_path)
    exclude(tmp_path, [tmp_path / "heart/00000.jpg"])
    for folder in [tmp_path, *(path for path in tmp_path.rglob("*") if path.is_dir())]:
        folder.chmod(0o555)
    with unprivileged(tmp_path):
        yield tmp_path
    tmp_path.chmod(0o755)


def test_a_dataset_that_cannot_be_written_to_can_be_looked_at(read_only):
    grid = open_review(read_only, [finding("star/00001.jpg", 0.5)])
    assert grid.review.counts() == {EXCLUDE: 1, "": 11} and grid.review.view()[0] == number(
        grid.review, "star/00001.jpg"
    )
    grid._receive(grid, {"decide": EXCLUDE, "first": 0, "last": 0, "view": grid._view_id}, [])
    assert "cannot be written to: Permission denied" in grid.status["said"] and grid.review.refresh() == []
    with pytest.raises(DiskError, match="cannot be written to"):
        write_findings(read_only, [])


def press(grid, **message):
    """Send a message as the browser does; return what the review says then."""
    grid._receive(grid, {"view": grid._view_id, **message}, [])
    return grid.status["said"]


def test_a_folder_of_a_label_that_cannot_be_written_to_is_named(tmp_path):
    """Nothing is decided, not even about the photo of the other label, which was moved first."""
    make_dataset(tmp_path)
    (tmp_path / ".excluded/star").mkdir(parents=True)
    for path in (tmp_path, *tmp_path.rglob("*")):
        path.chmod(0o777 if path.is_dir() else 0o666)
    heart, star = tmp_path / "heart", tmp_path / "star"
    heart.chmod(0o555)
    before = contents(tmp_path)
    with unprivileged(tmp_path):
        grid = open_review(tmp_path)
        first = grid._positions[number(grid.review, "star/00000.jpg")]
        said = press(grid, decide=EXCLUDE, first=first, last=grid._positions[number(grid.review, "heart/00000.jpg")])
        assert said.startswith(f"{heart} or {tmp_path}/.excluded/heart cannot be written to: Permission denied. ")
        assert press(grid, decide=RELABEL, label="heart", first=first, last=first).startswith(f"{star} or {heart} can")
        assert not decisions(tmp_path) and contents(tmp_path) == before
        with pytest.raises(DiskError, match=f"{heart} or .* cannot be written to"):
            move_photo(heart / "00001.jpg", star / "moved.jpg")
    heart.chmod(0o755)


def test_undo_says_which_photos_stay_and_why(tmp_path):
    make_dataset(tmp_path)
    grid, other = open_review(tmp_path), Review(tmp_path)
    press(grid, decide=EXCLUDE, first=0, last=2)
    other.refresh()
    other.decide([0], KEEP)
    (tmp_path / grid.review.items[1].place).rename(tmp_path / "moved by hand.jpg")
    assert press(grid, undo=True) == (
        "Undone: 1 photo. 1 photo is no longer there, because its file was moved or deleted. "
        "Another tab has decided about 1 photo since, so it stays."
    )
    press(grid, decide=EXCLUDE, first=3, last=4)
    for item in grid.review.items[3:5]:
        (tmp_path / item.place).unlink()
    assert press(grid, undo=True) == "2 photos are no longer there, because their files were moved or deleted."
    assert press(grid, undo=True) == "There is nothing to undo."


def test_decisions_are_shown_and_undone_if_the_comparison_fails(tmp_path):
    """The network has learned nothing: its features are not numbers."""
    make_dataset(tmp_path, per_label=12)
    compare = CompareWithApproved({file: np.full(3, np.nan) for file in files(tmp_path)})
    grid = open_review(tmp_path, far_from_approved=compare)
    sent = []
    grid.send = lambda content, buffers=None: sent.append(content)
    failed = "The comparison with the approved photos failed. The notebook's log says more."
    assert press(grid, decide=APPROVE, first=0, last=9) == f"10 photos: approved. {failed}"
    assert [item["decision"] for item in sent[-1]["changed"].values()] == [APPROVE] * 10
    assert open_review(tmp_path, far_from_approved=compare).status["said"] == failed
    assert press(grid, undo=True) == "Undone: 10 photos." and not decisions(tmp_path)


@pytest.mark.parametrize("outer", ["", "all of them/"])
def test_photos_in_deeper_folders_have_the_label_of_the_top_one(tmp_path, outer):
    make_dataset(tmp_path / outer, rows=None)
    top = tmp_path / outer
    for year in ("2019", "2020"):
        draw(top / "heart" / year / "x.jpg", int(year))
    photos, findings, _ = find_all(tmp_path)
    review = Review(tmp_path, findings)
    assert review.labels == ["heart", "star"] and {p.file: p.label for p in photos} == {
        i.file: i.label for i in review.items
    }
    review.decide([number(review, f"{outer}heart/2019/x.jpg")], RELABEL, "star")
    review.decide([number(review, f"{outer}heart/2020/x.jpg")], KEEP)
    assert (top / "star/x.jpg").exists() and Review(tmp_path).labels == ["heart", "star"]
    assert decisions(tmp_path) == {f"{outer}star/x.jpg": RELABEL, f"{outer}heart/2020/x.jpg": KEEP}
    assert relabel(top / "star/x.jpg", "heart") == (top / "heart/2019/x.jpg") or outer
    assert Manifest(tmp_path).folders()["heart"] == "heart"


@pytest.mark.parametrize("split", [True, False])
def test_splits_last_through_decisions(tmp_path, split):
    if split:
        make_dataset(tmp_path / "train", rows=None)
        make_dataset(tmp_path / "valid", rows=None)
    else:
        make_dataset(tmp_path)
    valid = [] if split else ["heart/00000.jpg", "heart/00001.jpg", "star/00005.jpg"]
    review = Review(tmp_path, valid=valid)
    mine = review.view(split="valid")
    review.decide(mine[:1], RELABEL, "star")
    review.decide(mine[1:2], EXCLUDE)
    again = Review(tmp_path, valid=valid)
    assert len(again.view(split="valid")) == len(mine) and not again.view(split="") == []
    assert {item.split for item in again.items if item.decision} == {"valid"}
    assert len(again.view(split="train")) == len(again.items) - len(mine)


def test_a_review_shows_the_splits_that_the_manifest_records(tmp_path):
    make_dataset(tmp_path)
    manifest = Manifest(tmp_path)
    manifest.add(*({**row, "split": "valid" if row["file"].endswith("0.jpg") else "train"} for row in manifest.rows))
    review = Review(tmp_path)
    review.decide(review.view(split="valid", label="heart"), RELABEL, "star")
    for each in (review, Review(tmp_path)):
        assert {each.items[i].found_as for i in each.view(split="valid")} == {"star/00000.jpg", "heart/00000.jpg"}
        assert len(each.view(split="train")) == 10


def test_a_photo_added_by_hand_is_not_taken_for_one_with_its_path_as_address(tmp_path):
    make_dataset(tmp_path, per_label=2)
    draw(tmp_path / "heart/a.jpg", 1)
    review, other = Review(tmp_path), Review(tmp_path)
    item = review.items[number(review, "heart/a.jpg")]
    draw(tmp_path / "heart/feed.jpg", 2)
    link = dict(url="heart/a.jpg", origin="other folder", sha256="q")
    Manifest(tmp_path).add(dict(label="heart", file="heart/feed.jpg", decision="kept", **link))
    review.refresh()
    other.decide([number(other, "heart/a.jpg")], EXCLUDE)
    review.refresh()
    assert (item.file, item.decision) == ("heart/a.jpg", EXCLUDE) and (tmp_path / "heart/feed.jpg").exists()


def test_file_names_that_are_not_utf8(tmp_path):
    make_dataset(tmp_path)
    odd = os.fsdecode(b"caf\xe9.jpg")
    draw(tmp_path / "heart" / odd)
    (tmp_path / "heart/00000.jpg").write_bytes((tmp_path / "heart" / odd).read_bytes())
    _, findings, _ = find_all(tmp_path)
    review = Review(tmp_path, findings, valid=[f"heart/{odd}"])
    item = review.items[number(review, "heart/café.jpg")]
    assert "duplicates" in {found.check for found in item.findings} and item.split == "valid"
    assert review.view(files=[f"heart/{odd}"]) == [item.number]
    review.decide(range(len(review.items)), KEEP)
    assert item.file == "heart/café.jpg" and (tmp_path / item.file).exists()
    review.decide([item.number], RELABEL, "star")
    again = Review(tmp_path, findings, valid=[f"heart/{odd}"])
    item = again.items[number(again, "heart/café.jpg")]
    assert (item.file, item.split, item.decision) == ("star/café.jpg", "valid", RELABEL) and item.findings
    assert len(again.items) == 13 and again.view(files=[f"heart/{odd}"]) == [item.number]


def test_photos_are_compared_with_those_that_are_approved_now(tmp_path):
    make_dataset(tmp_path, per_label=12)
    rng = np.random.default_rng(0)
    features = {file: np.eye(3)[0] + 0.01 * rng.random(3) for file in files(tmp_path)}
    features["heart/00011.jpg"] = np.eye(3)[2]
    given = [finding("star/00000.jpg", 0.1, "another check")]
    review, other = (Review(tmp_path, given, far_from_approved=CompareWithApproved(features)) for _ in range(2))
    hearts = [number(review, f"heart/{i:05}.jpg") for i in range(10)]
    far = {"another check": 1, "far from the approved photos": 1}
    review.decide(hearts, APPROVE)
    other.refresh()
    assert review.checks() == other.checks() == far
    review.undo()
    other.refresh()
    assert review.checks() == other.checks() == {"another check": 1}
    review.decide(hearts, APPROVE)
    review.decide(hearts[:1], KEEP)  # nine are left
    assert review.checks() == {"another check": 1}
