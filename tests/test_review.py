"""The review's decisions, without a browser: rows, undo, filters, other processes, and a kernel that is killed."""

import csv
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from support import ROOT

from icon_classifier.dataset.checks.run import by_suspicion
from icon_classifier.dataset.exclude import exclude, relabel, restore
from icon_classifier.dataset.manifest import COLUMNS, Manifest
from icon_classifier.dataset.review.approved import CompareWithApproved
from icon_classifier.dataset.review.decisions import APPROVE, KEEP, Review, ReviewError
from icon_classifier.dataset.review.grid import in_words
from icon_classifier.dataset.review.thumbnails import Thumbnails
from icon_classifier.dataset.suspicion import EXCLUDE, RELABEL

LABELS = ("heart", "star")


def make_dataset(folder, per_label=6, rows="gathered", names="{i:05}"):
    """Write a dataset with small photos, all different; `rows`: as in whose manifest; None: it has none."""
    manifest = Manifest(folder) if rows else None
    lines = []
    for label in LABELS:
        (folder / label).mkdir(parents=True)
        for i in range(per_label):
            file = f"{label}/{names.format(label=label, i=i)}.jpg"
            Image.new("RGB", (16, 16), (i % 256, i // 256, 200 * (label == "star"))).save(folder / file, quality=95)
            link = dict(url=f"mine/{file}", origin="mine") if rows == "gathered" else {}
            lines.append(dict(label=label, file=file, sha256=file, decision="kept", **link))
    if rows:
        manifest.add(*lines)
    return folder


def finding(file, score, check="looks mislabelled", **options):
    label = file.split("/")[-2]
    options = dict(sentence=f"{check}.", evidence="", suggested="review", other_label="") | options
    return SimpleNamespace(file=file, score=score, check=check, label=label, **options)


def number(review, file):
    return next(item.number for item in review.items if file in (item.file, item.found_as))


def files(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.jpg"))


def decisions(folder):
    """Return {file: decision} as a new review sees it."""
    return {item.file: item.decision for item in Review(folder).items if item.decision}


@pytest.mark.parametrize("rows", ["gathered", "sample", None])
def test_decisions_move_photos_and_last(tmp_path, rows):
    make_dataset(tmp_path, rows=rows)
    before = files(tmp_path)
    review = Review(tmp_path)
    review.decide([number(review, "heart/00000.jpg")], EXCLUDE)
    review.decide([number(review, "heart/00001.jpg"), number(review, "heart/00002.jpg")], RELABEL, "star")
    review.decide([number(review, "star/00005.jpg")], KEEP)
    review.decide([number(review, "star/00004.jpg")], APPROVE)
    assert sorted(path.name for path in (tmp_path / "heart").iterdir()) == ["00003.jpg", "00004.jpg", "00005.jpg"]
    assert (tmp_path / ".excluded/heart/00000.jpg").exists() and len(files(tmp_path)) == len(before)
    again = Review(tmp_path)  # as after a restart
    for each in (review, again):
        assert each.counts() == {"": 7, EXCLUDE: 1, RELABEL: 2, KEEP: 1, APPROVE: 1}
        assert each.approved() == {"star": ["star/00004.jpg"]}
        assert len(each.manifest.rows) == (12 if rows else 5)
        assert each.changes() == [
            "heart: 6 photos, now 3 (1 excluded, 2 moved to star)", "star: 6 photos, now 8 (2 came from heart)"
        ]  # fmt: skip
    for row in (row for row in Manifest(tmp_path).rows if row["given"]):
        assert (row["given"], row["label"]) == ("heart", "star") and (tmp_path / row["file"]).exists()
    # a photo that was excluded comes back, and one that got another label returns to its own
    again.decide([number(again, "heart/00000.jpg")], KEEP)
    again.decide([number(again, "star/00001-1.jpg")], RELABEL, "heart")
    assert (tmp_path / "heart/00000.jpg").exists()
    assert again.changes()[0] == "heart: 6 photos, now 5 (1 moved to star)"
    with pytest.raises(ReviewError, match=r"There is no label 'bell' in .*: heart, star"):
        again.decide([0], RELABEL, "bell")
    with pytest.raises(ReviewError, match=r"There is no decision 'drop'.*: keep, approve, exclude, relabel"):
        again.decide([0], "drop")
    relabelled = number(again, "star/00002-1.jpg")
    again.decide([relabelled], RELABEL, "star")  # once more: it stays relabelled
    assert again.items[relabelled].decision == RELABEL


def test_undo_takes_back_steps_and_ranges(tmp_path):
    make_dataset(tmp_path)
    before = files(tmp_path)
    review = Review(tmp_path)
    assert review.undo() is None
    review.decide(range(4), EXCLUDE)  # a range is one step
    review.decide([0], RELABEL, "star")
    review.decide([5], KEEP)
    assert review.undo() == [5] and review.counts()[KEEP] == 0
    assert review.undo() == [0] and review.items[0].decision == EXCLUDE
    assert sorted(review.undo()) == [0, 1, 2, 3] and files(tmp_path) == before
    assert review.undo() is None and decisions(tmp_path) == {}
    # what another process has decided since is not undone
    review.decide([0, 1], EXCLUDE)
    other = Review(tmp_path)
    other.decide([number(other, "heart/00000.jpg")], KEEP)
    assert review.undo() == [1] and decisions(tmp_path) == {"heart/00000.jpg": KEEP}


def test_a_file_of_the_same_name_is_not_overwritten(tmp_path):
    """Undo brings each back to its own place."""
    make_dataset(tmp_path)
    content = {file: (tmp_path / file).read_bytes() for file in files(tmp_path)}
    review = Review(tmp_path)
    review.decide([number(review, "heart/00000.jpg")], RELABEL, "star")
    assert (tmp_path / "star/00000-1.jpg").read_bytes() == content["heart/00000.jpg"]
    assert Review(tmp_path).counts()[RELABEL] == 1
    review.undo()
    assert {file: (tmp_path / file).read_bytes() for file in files(tmp_path)} == content


def test_order_and_filters(tmp_path):
    make_dataset(tmp_path, per_label=3, names="{label}-{i}")
    found = [
        finding("star/star-1.jpg", 0.4),
        finding("heart/heart-2.jpg", 0.9, "duplicates", evidence="heart/heart-0.jpg"),
        finding("star/star-1.jpg", 0.8, other_label="heart"),
    ]
    review = Review(tmp_path, found, valid=["star/star-1.jpg"])

    def names(**filters):
        return [review.items[i].file for i in review.view(**filters)]

    assert names()[:2] == ["heart/heart-2.jpg", "star/star-1.jpg"] and len(names()) == 6
    assert names(check="looks mislabelled") == names(split="valid") == ["star/star-1.jpg"]
    assert names(label="star")[0] == "star/star-1.jpg" and len(names(label="star")) == 3
    assert names(files=["star/star-0.jpg", "gone.jpg", "heart/heart-2.jpg"]) == ["star/star-0.jpg", "heart/heart-2.jpg"]
    assert review.checks() == {"looks mislabelled": 1, "duplicates": 1}
    assert review.evidence(found[1]).file == "heart/heart-0.jpg"
    assert review.evidence(found[2]).label == "heart" and not review.evidence(found[2]).findings
    assert review.evidence(found[0]) is None
    review.decide(review.view(check="duplicates"), EXCLUDE)
    assert "heart/heart-2.jpg" not in names(decision="none") and names(decision=EXCLUDE) == ["heart/heart-2.jpg"]
    # a restart: the findings are of the photos as they were
    review.decide([number(review, "star/star-1.jpg")], RELABEL, "heart")
    again = Review(tmp_path, found)
    assert [again.items[i].found_as for i in again.view()[:2]] == list(by_suspicion(found))  # as the checks list them
    first = again.items[again.view()[1]]
    assert (first.file, [f.score for f in first.findings]) == ("heart/star-1.jpg", [0.8, 0.4])


def test_ten_approved_photos_turn_on_their_check(tmp_path):
    make_dataset(tmp_path, per_label=12)
    rng = np.random.default_rng(0)
    features = {file: np.eye(3)[0] + 0.01 * rng.random(3) for file in files(tmp_path)}
    features["heart/00011.jpg"] = np.eye(3)[2]
    far = CompareWithApproved(features)
    review = Review(tmp_path, far_from_approved=far)
    hearts = [number(review, f"heart/{i:05}.jpg") for i in range(11)]
    review.decide(hearts[:9], APPROVE)
    assert review.items[review.view()[0]].file == "heart/00000.jpg" and review.checks() == {}
    for approved in (hearts[9:10], hearts[10:]):
        review.decide(approved, APPROVE)
        first = review.items[review.view()[0]]
        assert first.file == "heart/00011.jpg" and len(first.findings) == 1
        assert review.evidence(first.findings[0]).decision == APPROVE
        assert all(item.label == "heart" for item in review.items if item.findings)
    assert Review(tmp_path, far_from_approved=far).view()[0] == first.number  # after a restart
    review.undo()
    assert first.findings
    review.decide(hearts[:2], EXCLUDE)  # eight are left, with which nothing is compared
    assert review.checks() == {}
    review.undo()
    assert first.findings


DECIDE = """
import sys
from icon_classifier.dataset.review.decisions import Review
review = Review(sys.argv[1])
mine = [item.number for item in review.items if (item.row["given"] or item.label) == sys.argv[2]]
for count, number in enumerate(mine):
    if count % 2: review.decide([number], "relabel", "star" if sys.argv[2] == "heart" else "heart")
    else: review.decide([number], "exclude")
    print(count + 1, flush=True)
    if count == 200: sys.stdin.read()  # until it is killed
"""


def start(folder, label):
    command = [sys.executable, "-c", DECIDE, str(folder), label]
    return subprocess.Popen(command, stdin=-1, stdout=-1, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)})


def test_a_killed_process_loses_no_decision(tmp_path):
    make_dataset(tmp_path, per_label=400)
    process = start(tmp_path, "heart")
    while int(process.stdout.readline()) < 50:
        pass
    process.send_signal(signal.SIGKILL)
    said = 50 + len(process.stdout.read().splitlines())
    process.wait()
    made = decisions(tmp_path)
    assert said <= len(made) <= said + 1 < 400  # one may have been written and not said
    assert len(files(tmp_path)) == 800


def test_two_processes_do_not_corrupt_the_manifest(tmp_path):
    make_dataset(tmp_path, per_label=60)
    review = Review(tmp_path)
    processes = [start(tmp_path, label) for label in LABELS]
    for process in processes:
        process.communicate(timeout=300)
    assert sorted(review.refresh()) == list(range(120)) and review.refresh() == []
    for each in (review, Review(tmp_path)):
        assert each.counts() == {EXCLUDE: 60, RELABEL: 60} and len(each.items) == 120
        assert all((tmp_path / item.place).exists() for item in each.items)
    with open(tmp_path / "manifest.csv", newline="") as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == 240 and {tuple(line) for line in lines} == {tuple(COLUMNS)}
    assert Counter(row["decision"] for row in Manifest(tmp_path).rows) == {"kept": 60, "excluded": 60}
    # a process that read the manifest before and writes all of it anew keeps them
    review.manifest.save()
    assert Review(tmp_path).counts() == {EXCLUDE: 60, RELABEL: 60}


def test_gathering_in_another_process_keeps_decisions(tmp_path):
    """Gathering holds the rows in memory for minutes, and then writes them all."""
    make_dataset(tmp_path)
    gathering = Manifest(tmp_path)
    review = Review(tmp_path)
    review.decide([0], EXCLUDE)
    gathering.change(gathering.rows[3], title="found again")
    gathering.save()
    assert Review(tmp_path).counts()[EXCLUDE] == 1 and Manifest(tmp_path).rows[3]["title"] == "found again"
    review.decide([1], EXCLUDE)  # the file was written anew
    assert Review(tmp_path).counts()[EXCLUDE] == 2


def test_a_torn_line_of_a_killed_process_is_dropped(tmp_path):
    make_dataset(tmp_path)
    review = Review(tmp_path)
    with open(tmp_path / "manifest.csv", "a") as file:
        file.write("heart,heart/000")
    review.decide([0], EXCLUDE)
    assert decisions(tmp_path) == {"heart/00000.jpg": EXCLUDE} and len(Manifest(tmp_path).rows) == 12


def test_where_a_photo_lies_counts(tmp_path):
    """A process was killed between a move and its row, or a person has moved files."""
    make_dataset(tmp_path)
    exclude(tmp_path, [tmp_path / "heart/00003.jpg"])
    (tmp_path / "heart/00000.jpg").rename(tmp_path / ".excluded/heart/00000.jpg")
    (tmp_path / "heart/00001.jpg").rename(tmp_path / "star/00009.jpg")
    (tmp_path / ".excluded/heart/00003.jpg").rename(tmp_path / "heart/00003.jpg")
    (tmp_path / "heart/00002.jpg").rename(tmp_path / "star/heart-2.jpg")
    review = Review(tmp_path)
    assert review.counts()[EXCLUDE] == 1 and number(review, "heart/00003.jpg") is not None
    assert len(review.items) == 12


def test_cleaning_and_the_review_share_the_manifest(tmp_path):
    make_dataset(tmp_path)
    (excluded,) = exclude(tmp_path, [tmp_path / "heart/00000.jpg"])
    moved = relabel(tmp_path / "heart/00001.jpg", "star")
    assert decisions(tmp_path) == {"heart/00000.jpg": EXCLUDE, "star/00001-1.jpg": RELABEL}
    assert moved == tmp_path / "star/00001-1.jpg" and relabel(tmp_path / "heart/00001.jpg", "star") is None
    assert exclude(tmp_path, [tmp_path / "heart/00000.jpg"]) == []
    assert restore(tmp_path, [excluded]) == [tmp_path / "heart/00000.jpg"]
    assert decisions(tmp_path) == {"star/00001-1.jpg": RELABEL}


def test_a_full_disk_moves_no_photo(tmp_path, monkeypatch):
    make_dataset(tmp_path)
    before = files(tmp_path)
    review = Review(tmp_path)
    code = (
        "import resource, signal, sys\nfrom icon_classifier.dataset.review.decisions import Review\n"
        "review = Review(sys.argv[1])\nsignal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "size = (review.photos / 'manifest.csv').stat().st_size\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (size + 50, size + 50))\nreview.decide(range(3), 'exclude')"
    )
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    run = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, env=env)
    assert "DiskError" in run.stderr and files(tmp_path) == before and decisions(tmp_path) == {}
    assert review.counts() == {"": 12}


def test_a_thumbnail_shows_the_photo_that_is_there_now(tmp_path):
    """A photo was moved away, and then another one got its path."""
    make_dataset(tmp_path)
    thumbnails = Thumbnails(tmp_path)
    heart, star = thumbnails(["heart/00000.jpg", "star/00000.jpg"])
    assert heart != star
    (tmp_path / "star/00000.jpg").rename(tmp_path / "star/moved.jpg")
    assert thumbnails(["star/00000.jpg", "star/moved.jpg"]) == [None, star]
    (tmp_path / "heart/00000.jpg").rename(tmp_path / "star/00000.jpg")
    assert thumbnails(["star/00000.jpg"]) == [heart]


def test_decisions_in_words(tmp_path):
    make_dataset(tmp_path)
    review = Review(tmp_path)

    def decided(numbers, *decision):
        return in_words([review.items[i] for i in review.decide(numbers, *decision)])

    assert decided([0], EXCLUDE) == "00000.jpg: excluded."
    assert decided([1, 2], KEEP) == "2 photos: kept."
    stars = [item.number for item in review.items if item.label == "star"][:1]
    assert decided([3, 4, *stars], RELABEL, "star") == "3 photos: 2 relabelled as star, 1 kept."
    assert decided([], KEEP) == ""


def test_a_decision_takes_no_longer_with_more_photos(tmp_path):
    """It is appended, so that it takes a small part of the time of reading the manifest."""
    folder = make_dataset(tmp_path, per_label=20)
    manifest = Manifest(folder)
    more = [f"star/x{i}.jpg" for i in range(20_000)]
    rows = [dict(label="star", file=file, url=file, sha256=file, decision="kept") for file in more]
    manifest.add(*rows)
    began = time.perf_counter()
    review = Review(folder)
    opened = time.perf_counter()
    for i in range(20):
        review.decide([i], EXCLUDE)
    assert (time.perf_counter() - opened) / 20 < (opened - began) / 5
