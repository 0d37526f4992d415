"""Test dataset/checks on images: planted duplicates are found, unrelated photos are not; degenerate photos; groups."""

import io
import random
from itertools import combinations
from statistics import median

import numpy as np
import pytest
from PIL import Image, ImageOps
from support.standin import textures

from icon_classifier.dataset.checks.degenerate import Degenerate
from icon_classifier.dataset.checks.duplicates import Duplicates, LabelConflicts, duplicate_groups, duplicate_pairs
from icon_classifier.dataset.checks.photo import REVIEW, Finding, read_photos
from icon_classifier.dataset.checks.run import by_suspicion, find_all
from icon_classifier.dataset.links import SourceError
from icon_classifier.dataset.suspicion import EXCLUDE
from icon_classifier.training.sample import LABELS, draw_icon, find_glyphs

SEEDS = range(10)


def icons(seed):
    """Yield (what it shows, image): 60 drawings of the sample. Two drawings of one glyph show the same."""
    rng = random.Random(seed)
    for label in LABELS:
        for glyph in rng.choices(find_glyphs(label), k=20):
            yield glyph, draw_icon(glyph, rng)


def symmetric(seed):
    """Yield the drawings of `icons`, each with its left half mirrored on the right, as logos and flags are."""
    for glyph, image in icons(seed):
        half = image.crop((0, 0, image.width // 2, image.height))
        image.paste(ImageOps.mirror(half), (image.width - half.width, 0))
        yield glyph, image


def photographs(seed):
    """Yield (what it shows, image): 24 renderings like photographs, no two of which show the same."""
    for label in textures.LABELS:
        for i in range(8):
            yield (label, i), textures.render(label, 100 * seed + i)


def re_encoded(image, rng):
    file = io.BytesIO()
    image.save(file, "JPEG", quality=rng.randint(50, 80))
    return Image.open(file)


def resized(image, rng):
    scale = rng.uniform(0.5, 0.9)
    return image.resize([round(scale * side) for side in image.size], Image.Resampling.LANCZOS)


def cropped(image, rng):
    """Return `image` without 2 % of each side, or without a pixel where that is less."""
    cut = [max(1, round(0.02 * side)) for side in image.size]
    left, top = (rng.randint(0, most) for most in cut)
    width, height = (side - most for side, most in zip(image.size, cut, strict=True))
    return image.crop((left, top, left + width, top + height))


def greyed(image, rng):
    return image.convert("L").convert("RGB")


def mirrored(image, rng):
    return ImageOps.mirror(image)


CHANGES = (re_encoded, resized, cropped, greyed, mirrored)


def found_shares(folder, images, seed):
    """Return (share of planted duplicates that were found, share of unrelated pairs that were taken for duplicates)."""
    (folder / "it").mkdir(parents=True)
    rng = random.Random(seed)
    shows = {}
    for i, (what, image) in enumerate(images):
        shows[f"it/{i}.jpg"] = what
        image.save(folder / f"it/{i}.jpg", quality=90)
        for change in CHANGES:
            change(image, rng).save(folder / f"it/{i}-{change.__name__}.jpg", quality=90)
    photos = read_photos(folder)
    pairs = {frozenset(photos[i].file for i in pair) for pair in duplicate_pairs(photos)}
    planted = [
        frozenset((file, file.replace(".jpg", f"-{change.__name__}.jpg"))) for file in shows for change in CHANGES
    ]
    unrelated = [frozenset(pair) for pair in combinations(shows, 2) if shows[pair[0]] != shows[pair[1]]]
    return [sum(pair in pairs for pair in some) / len(some) for some in (planted, unrelated)]


@pytest.mark.parametrize("images", [icons, symmetric, photographs])
def test_finds_planted_duplicates_and_no_others(images, tmp_path):
    found, wrong = zip(*(found_shares(tmp_path / str(seed), images(seed), seed) for seed in SEEDS), strict=True)
    print(f"{images.__name__}, seeds {SEEDS}: found {min(found):.1%} at worst, {median(found):.1%} in the median;")
    print(f"unrelated pairs {max(wrong):.2%} at worst, {median(wrong):.2%} in the median")
    assert min(found) >= 0.95
    assert max(wrong) <= 0.01


def write(folder, images):
    """Write {file: image or bytes} below `folder` and return the photos as the checks see them."""
    for file, image in images.items():
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        if isinstance(image, bytes):
            (folder / file).write_bytes(image)
        else:
            image.save(folder / file)
    return read_photos(folder)


def facts(findings):
    return [(found.file, found.evidence, found.suggested) for found in findings]


def test_keeps_the_largest_photo_of_each_group(tmp_path):
    """The same bytes and nearly the same pixels, with the nearest duplicate as evidence."""
    net, spots = (textures.render(label, 1) for label in ("net", "spots"))
    photos = write(
        tmp_path, {"net/a.png": net.resize((120, 120)), "net/b.png": net, "net/c.png": net, "net/d.png": spots}
    )
    found = Duplicates().find(photos)
    assert facts(found) == [("net/c.png", "net/b.png", EXCLUDE), ("net/a.png", "net/b.png", EXCLUDE)]
    assert found[0].sentence == "It is the same file as net/b.png."
    assert found[1].sentence.startswith("It shows the same as net/b.png: ")
    assert found[0].score == 1 and 0.9 < found[1].score <= 1
    assert Duplicates().find(photos) == found and LabelConflicts().find(photos) == []


def test_keeps_one_photo_of_each_image(tmp_path):
    """A darker photo shows the same, but is no certain copy; excluding what is certain leaves one photo of each."""
    image = textures.render("net", 1)
    dark = image.resize((200, 200)).point(lambda level: round(level * 0.9))
    photos = write(tmp_path, {"net/a.png": image, "net/b.png": dark, "net/c.png": dark.resize((180, 180))})
    found = Duplicates().find(photos)
    assert [(f.file, f.suggested) for f in found] == [("net/b.png", REVIEW), ("net/c.png", EXCLUDE)]
    assert found[1].evidence == "net/b.png"


def test_less_certain_duplicates_are_suggested_for_review(tmp_path):
    """A slightly darker photo is a copy; one that is darker than that can be another exposure."""
    image = textures.render("net", 1)
    levels = (range(0, dark * 256, dark) for dark in range(100, 88, -1))
    exposures = {f"net/{i:02}.png": image.point([level // 100 for level in row] * 3) for i, row in enumerate(levels)}
    brightest, *photos = write(tmp_path, exposures)
    suggested = [found.suggested for photo in photos for found in Duplicates().find([brightest, photo])]
    assert len(suggested) == 11 and set(suggested) == {EXCLUDE, REVIEW} and suggested == sorted(suggested)


def test_copies_are_certain_and_drawings_of_one_glyph_are_not(tmp_path):
    """Two drawings of one glyph have nearly the same hash, but not the same brightness and contrast."""
    glyph = find_glyphs("heart")[0]
    rng = random.Random(0)
    images = {f"heart/{i:02}.png": draw_icon(glyph, rng) for i in range(40)}
    photos = write(tmp_path / "drawn", images)
    drawn = Duplicates().find(photos)
    grouped = len(photos) - len(set(duplicate_groups(photos)))
    assert grouped >= 5 and len(drawn) <= grouped / 2  # in other colours: one group, but not worth a look
    assert sum(found.suggested == EXCLUDE for found in drawn) <= 1
    assert all(found.score <= 0.5 for found in drawn if found.suggested == REVIEW)
    copies = {f"heart/{i:02}.jpg": change(images["heart/00.png"], rng) for i, change in enumerate(CHANGES)}
    copies["heart/00.png"] = images["heart/00.png"]
    photos = write(tmp_path / "copies", copies)
    assert [found.suggested for found in Duplicates().find(photos)].count(EXCLUDE) >= 3


def test_mirror_image_is_suggested_for_review(tmp_path):
    """Even that of a photo which is nearly symmetric. Under two labels it is no conflict: they can be arrows."""
    net = textures.render("net", 3)
    images = textures.render("stripes", 1), Image.blend(ImageOps.mirror(net), net, 0.45)
    for i, image in enumerate(images):
        mirror_image = resized(ImageOps.mirror(image), random.Random(0))
        photos = write(tmp_path / str(i), {"it/large.png": image, "it/small.png": mirror_image})
        (found,) = Duplicates().find(photos)
        assert facts([found]) == [("it/small.png", "it/large.png", REVIEW)]
        assert found.sentence.startswith("It shows the same as it/large.png, mirrored: ")
        photos = write(tmp_path / f"two-{i}", {"left/large.png": image, "right/small.png": mirror_image})
        assert len(set(duplicate_groups(photos))) == 1 and LabelConflicts().find(photos) == []


def test_finds_the_same_photo_under_two_labels(tmp_path):
    net = textures.render("net", 1)
    photos = write(
        tmp_path, {"net/a.png": net, "net/b.png": net, "spots/c.jpg": net, "spots/d.png": textures.render("spots", 1)}
    )
    found = LabelConflicts().find(photos)
    assert facts(found) == [("net/a.png", "spots/c.jpg", REVIEW), ("spots/c.jpg", "net/a.png", REVIEW)]
    assert found[0].sentence.endswith("The copy has the label spots, so one of the labels is wrong.")
    assert [finding.other_label for finding in found] == ["spots", "net"]
    assert [finding.other_label for finding in Duplicates().find(photos)] == [""]
    assert find_all(tmp_path)[1] == Duplicates().find(photos) + found
    assert facts(Duplicates().find(photos)) == [("net/b.png", "net/a.png", EXCLUDE)]


def test_orders_photos_by_their_highest_score():
    def finding(file, score):
        return Finding(f"check {score}", file, "net", score, "It looks odd.")

    findings = [finding(*item) for item in [("c", 0.9), ("b", 0.2), ("a", 0.9), ("b", 0.9), ("d", 1.0)]]
    ordered = by_suspicion(findings)
    assert {file: [f.score for f in reasons] for file, reasons in ordered.items()} == {
        "d": [1.0], "b": [0.9, 0.2], "a": [0.9], "c": [0.9]
    }  # fmt: skip
    assert list(ordered) == ["d", "b", "a", "c"] and by_suspicion([]) == {}


def test_flat_photos_are_duplicates_only_if_their_bytes_are_the_same(tmp_path):
    flat = {f"flat/{i}.png": Image.new("RGB", (64, 64), (200, 200, 200 + i)) for i in range(4)}
    noise = np.random.default_rng(0).integers(0, 3, (64, 64, 3), dtype=np.uint8)
    photos = write(tmp_path, {**flat, "flat/n.png": Image.fromarray(200 + noise), "flat/same.png": flat["flat/0.png"]})
    assert {(photos[i].file, photos[j].file) for i, j in duplicate_pairs(photos)} == {("flat/0.png", "flat/same.png")}


def test_groups_are_connected_and_do_not_depend_on_the_order(tmp_path):
    """Also with more photos than are compared at a time."""
    image = textures.render("net", 1)
    images = {f"net/{i}.jpg": textures.render("net", i) for i in range(2, 8)}
    # A chain: each photo is like the next, and the ends are unlike.
    images |= {f"net/chain-{cut}.jpg": image.crop((cut, cut, 240, 240)) for cut in range(0, 24, 2)}
    photos = write(tmp_path, images)

    def sets(photos):
        groups = duplicate_groups(photos)
        return {frozenset(p.file for p, g in zip(photos, groups, strict=True) if g == group) for group in groups}

    chain = frozenset(file for file in images if "chain" in file)
    assert sets(photos) == {chain} | {frozenset([file]) for file in images if "chain" not in file}
    assert sets(photos[::-1]) == sets(photos)
    pairs = duplicate_pairs(photos)
    ends = [i for i, p in enumerate(photos) if p.file in ("net/chain-0.jpg", "net/chain-22.jpg")]
    assert tuple(ends) not in pairs
    many = photos * 100  # more than a block of them
    assert sets(many) == sets(photos)


def test_finds_degenerate_photos(tmp_path):
    image = textures.render("net", 1)
    photos = write(
        tmp_path,
        {
            "it/banner.png": image.crop((0, 0, 240, 48)),
            "it/tower.png": image.crop((0, 0, 48, 240)),
            "it/blank.png": Image.new("RGB", (64, 64), "white"),
            "it/broken.jpg": b"\xff\xd8\xff<html>",
            "it/good.png": image,
            "it/small.png": image.resize((31, 40)),
        },
    )
    found = {finding.file: finding.sentence for finding in Degenerate().find(photos)}
    assert found.pop("it/broken.jpg")
    assert found == {
        "it/banner.png": "It is 5.0 times as wide as it is high.",
        "it/tower.png": "It is 5.0 times as high as it is wide.",
        "it/blank.png": "It is blank: all its pixels have nearly the same brightness.",
        "it/small.png": "It has only 31 x 40 pixels; less than 32 show little.",
    }
    assert all(finding.suggested == EXCLUDE and 0.5 <= finding.score <= 1 for finding in Degenerate().find(photos))


def test_refuses_a_folder_without_images(tmp_path):
    for folder in (tmp_path, tmp_path / "none"):
        with pytest.raises(SourceError, match="There are no images in"):
            read_photos(folder)
