"""Test gathering: links become photos even if hosts misbehave, and nothing is lost or fetched twice."""

import re
import signal
import subprocess
import time
from collections import Counter

import pytest
from PIL import Image
from support.notebook import run_notebook
from support.process import PROGRAMS, start, until
from support.standin.engine import engine, result
from support.standin.photos import icon, icons_of, photos
from test_train_notebook import printed

from icon_classifier.dataset.manifest import COLUMNS, KEPT, Manifest
from icon_classifier.dataset.query import SearchError, SearchRefused
from icon_classifier.dataset.review.decisions import Review
from icon_classifier.dataset.robots import unwanted
from icon_classifier.training.gather import contact_sheet, count_photos, forget, gather, gather_from

# {trap: (its number among the hundred links, a part of the reason in the manifest)}
TRAPS = {
    "drip": (2, "did not end within 6 s"),
    "headers": (1, "did not end within 6 s"),
    "endless": (2, "larger than 20 MB"),
    "html": (1, "not an image"),
    "truncated": (2, "damaged or incomplete"),
    "bomb": (1, "10000 x 10000"),
    "gzip": (1, "Decompressed, the file is larger than 20 MB"),
    "local": (1, "private address"),
    "metadata": (1, "169.254.169.254 is a private address"),
    "loop": (1, "redirects more than"),
    "pdf": (1, "application/pdf"),
    "svg": (1, "image/svg+xml"),
    "missing": (1, "responds with HTTP status 404"),
    "noai": (1, "X-Robots-Tag: noai"),
}


def files(folder):
    """Return {path: bytes} of the photos below `folder`, excluded ones included."""
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*.jpg")}


def search_of(host, number=1000):
    return engine(icons_of(host, number))


def test_keeps_good_links_and_reports_bad_ones(tmp_path):
    with photos() as elsewhere, photos(elsewhere=elsewhere.address) as host:
        good = [f"{host.address}/photo/heart/{i}" for i in range(80)]
        bad = [f"{host.address}/bad/{trap}/{i}" for trap, (times, _) in TRAPS.items() for i in range(times)]
        bad += [good[0], good[1], f"{good[2]}?the-same"]
        links = [link for pair in zip(bad, good, strict=False) for link in pair] + good[len(bad) :]
        assert (len(links), len(bad)) == (100, 20)
        with engine(lambda query: [result(link) for link in links]) as server:
            began = time.monotonic()
            counts = gather(["heart"], tmp_path, 100, endpoint=server.address, allow_hosts=[host.netloc])
            seconds = time.monotonic() - began

    assert counts == {"heart": 80} and seconds <= 60  # several traps send a byte per second, without an end
    rows = Manifest(tmp_path).rows
    refused = [row for row in rows if row["decision"] != KEPT]
    assert (len(rows), len(refused)) == (100, 20) and all(row["reason"].endswith(".") for row in refused)
    for trap, (times, word) in TRAPS.items():
        reasons = [row["reason"] for row in refused if f"/bad/{trap}/" in row["url"]]
        assert len(reasons) == times and all(word in reason for reason in reasons), reasons
    doubles = Counter(row["reason"].partition(" http")[0] for row in refused if "/photo/" in row["url"])
    assert doubles == {"The same address came up before.": 2, "The same image as": 1}
    assert not elsewhere.asked  # the redirect to it was not followed
    assert len(files(tmp_path)) == 80
    for row in rows:
        if row["decision"] == KEPT:
            assert row["file"] == f"heart/{row['sha256'][:16]}.jpg"
            with Image.open(tmp_path / row["file"]) as photo:
                assert (photo.format, photo.mode, str(photo.width)) == ("JPEG", "RGB", row["width"])
                photo.load()


def test_private_address_needs_permission(tmp_path):
    with photos() as elsewhere, photos(elsewhere=elsewhere.address) as host:
        links = tmp_path / "heart.txt"
        links.write_text(f"{host.address}/bad/local/0\nhttp://localhost:{host.server_port}/photo/heart/1\n")
        assert gather_from(links, tmp_path / "a", allow_hosts=[host.netloc]) == {"heart": 0}
        assert not elsewhere.asked and host.asked == {"/bad/local/0": 1}
        allowed = [host.netloc, elsewhere.netloc, f"localhost:{host.server_port}"]
        assert gather_from(links, tmp_path / "b", allow_hosts=allowed) == {"heart": 2}


@pytest.mark.parametrize(
    ("values", "rule"),
    [
        (["noai, noimageai"], "noai"),
        (["index", "NoImageIndex"], "noimageindex"),
        (["unavailable_after: 25 Jun 2030 15:00:00 PST, noindex"], "noindex"),
        (["max-snippet: 20, none"], "none"),
        (["googlebot: noindex, noai"], ""),
        (["googlebot: nofollow", "*: noindex"], "noindex"),
        (["Icon-Classifier: noai"], "noai"),
        (["all", "nofollow, nosnippet"], ""),
        ([], ""),
    ],
)
def test_x_robots_tag_rules(values, rule):
    assert unwanted(values) == rule


def test_limits_requests_per_host_and_respects_retry_after(tmp_path):
    """A host gets at most twelve requests at a time, with our user agent, and its Retry-After is respected."""
    with photos(latency=0.2) as host:
        links = tmp_path / "star.csv"
        links.write_text(
            "\n".join(f"{host.address}/{path}" for path in ["bad/busy/0"] + [f"photo/star/{i}" for i in range(40)])
        )
        began = time.monotonic()
        assert gather_from(links, tmp_path / "photos", allow_hosts=[host.netloc]) == {"star": 41}
        assert time.monotonic() - began >= 1
        assert 6 <= host.most <= 12 and host.asked["/bad/busy/0"] == 2
        assert len(host.agents) == 1 and next(iter(host.agents)).startswith("icon-classifier/")


def test_host_with_long_retry_after_is_skipped(tmp_path):
    with photos(latency=0.02) as host:
        links = tmp_path / "star.csv"
        links.write_text("\n".join(f"{host.address}/bad/closed/{i}" for i in range(60)))
        assert gather_from(links, tmp_path / "photos", allow_hosts=[host.netloc]) == {"star": 0}
        assert sum(host.asked.values()) <= 12
        reasons = {row["reason"] for row in Manifest(tmp_path / "photos").rows}
        assert any("asks to wait 86400 s" in reason for reason in reasons)
        before = sum(host.asked.values())
        gather_from(links, tmp_path / "photos", allow_hosts=[host.netloc])  # later, it is asked again
        assert sum(host.asked.values()) > before


def test_concurrent_download_is_eight_times_as_fast(tmp_path):
    """Compared with jmd_imagescraper's download of thumbnails, where each takes a second; search and checks included.

    The latency is much longer than the time of the checks, so the ratio hardly depends on the machine.
    """
    from jmd_imagescraper.core import download_urls

    with photos(latency=1) as host, search_of(host) as server:
        for number in range(96):
            icon("heart", number)  # drawn beforehand, so that only the latency is measured
        urls = [r["thumbnail"] for r in icons_of(host, 12)("heart")]
        began = time.monotonic()
        assert len(download_urls(tmp_path / "serial", urls)) == 12
        serial = (time.monotonic() - began) / 12
        began = time.monotonic()
        counts = gather(["heart"], tmp_path / "ours", 96, endpoint=server.address, allow_hosts=[host.netloc])
        ours = (time.monotonic() - began) / 96
        assert counts == {"heart": 96}
    assert serial / ours >= 8, f"{serial:.2f} s per photo against {ours:.2f} s"


def start_gathering(server, host, folder, size=0):
    """Start gathering in a process; size: the maximum size of a file in bytes, or 0 for none."""
    options = dict(stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    return start(PROGRAMS / "gather_from_stand_in.py", server.address, host.netloc, folder, size, **options)


AT_ONCE = 24  # downloads of a `Fetcher` that are under way or not yet in the manifest


@pytest.mark.parametrize("signal_", [signal.SIGKILL, signal.SIGINT], ids=["kill -9", "Ctrl-C"])
def test_continues_after_being_killed(tmp_path, signal_):
    with photos(latency=0.2) as host, search_of(host, 60) as server:
        run = start_gathering(server, host, tmp_path / "killed")
        assert until(lambda: sum(host.asked.values()) >= 50, 120)
        run.send_signal(signal_)
        run.wait(60)
        run.stderr.close()
        assert run.returncode != 0
        assert until(lambda: host.now == 0, 60)  # it is sending nothing any more

        done = {row["url"] for row in Manifest(tmp_path / "killed").rows if row["decision"] == KEPT}
        assert 50 - AT_ONCE <= len(done) < 80
        first = Counter(host.asked)
        gather(["heart", "star"], tmp_path / "killed", 40, endpoint=server.address, allow_hosts=[host.netloc])
        again = {url for url, times in host.asked.items() if times > 1}
        assert not again & {url.removeprefix(host.address) for url in done}
        assert len(again) <= AT_ONCE and max(host.asked.values()) <= 2
        assert sum(first.values()) - len(done) <= AT_ONCE

        gather(["heart", "star"], tmp_path / "whole", 40, endpoint=server.address, allow_hosts=[host.netloc])
    assert files(tmp_path / "killed") == files(tmp_path / "whole") and len(files(tmp_path / "whole")) == 80
    left = sorted(path.name for path in (tmp_path / "killed").rglob("*") if path.is_file() and path.suffix != ".jpg")
    assert left == [".manifest.lock", "manifest.csv"]


def test_full_disk_is_reported_and_loses_one_image(tmp_path):
    with photos() as host, search_of(host, 60) as server:
        run = start_gathering(server, host, tmp_path, size=16_000)  # the manifest outgrows this after some rows
        _, error = run.communicate(timeout=300)
        assert run.returncode != 0 and "is safe. Solve this, and try again: it will continue from here." in error
        manifest = (tmp_path / "manifest.csv").read_text()
        assert manifest.endswith("\n")
        kept = [row for row in Manifest(tmp_path).rows if row["decision"] == KEPT]
        assert len(files(tmp_path)) <= len(kept) + 1
        done = {row["url"].removeprefix(host.address) for row in kept}
        gather(["heart", "star"], tmp_path, 40, endpoint=server.address, allow_hosts=[host.netloc])
        assert all(host.asked[url] == 1 for url in done)
    assert len(files(tmp_path)) == 80


def test_gathers_again_with_other_labels(tmp_path):
    with photos() as host, search_of(host) as server:

        def go(labels, number=12):
            before = Counter(host.asked), server.asked["i.js"]
            counts = gather(labels, tmp_path, number, endpoint=server.address, allow_hosts=[host.netloc])
            return counts, sum((host.asked - before[0]).values()), server.asked["i.js"] - before[1]

        assert go(["heart", "star"]) == ({"heart": 12, "star": 12}, 24, 2)
        assert go(["heart", "star"]) == ({"heart": 12, "star": 12}, 0, 0)  # nothing is fetched twice
        hearts = {path: body for path, body in files(tmp_path).items() if path.startswith("heart")}
        (tmp_path / "heart/mine.jpg").write_bytes(b"my own")
        assert go(["star", "bell"]) == ({"star": 12, "bell": 12}, 12, 1)  # heart is removed, bell is added
        assert count_photos(tmp_path) == {"star": 12, "bell": 12}
        excluded = {
            path.removeprefix(".excluded/"): body for path, body in files(tmp_path).items() if ".excluded" in path
        }
        assert excluded == hearts | {"heart/mine.jpg": b"my own"}  # nothing is deleted
        assert go(["heart", "bell", "star"]) == ({"heart": 12, "bell": 12, "star": 12}, 0, 0)
        assert files(tmp_path).items() >= excluded.items() and not list((tmp_path / ".excluded").rglob("*.jpg"))
        assert go(["heart"], 20)[1:] == (8, 1)  # only the new ones are fetched
        assert go({"heart": "heart symbol"}, 20)[1:] == (0, 1)  # other words that find the same photos
        assert sum(path.startswith("heart/") for path in files(tmp_path)) == 21
        assert go({"heart": "star instead"}, 5)[0] == {"heart": 5}  # others: the old ones are excluded
        assert sum(path.startswith("heart/") for path in files(tmp_path)) == 6  # five, and my own


def test_exhausted_search_is_not_repeated(tmp_path):
    with photos() as host, search_of(host, 7) as server:
        for _ in range(2):
            counts = gather(["heart"], tmp_path, 10, endpoint=server.address, allow_hosts=[host.netloc])
            assert counts == {"heart": 7} and server.asked["i.js"] == 1


def test_other_filters_are_a_new_search(tmp_path):
    """Photos with any licence are excluded when a certain licence is wanted."""
    with photos() as host:
        every = icons_of(host, 12)
        with engine(lambda query: every(query)) as server:
            where = dict(endpoint=server.address, allow_hosts=[host.netloc])
            gather(["heart"], tmp_path, 8, **where)
            every = icons_of(host, 5)
            assert gather(["heart"], tmp_path, 5, licence="Public", **where) == {"heart": 5}
        rows = [row for row in Manifest(tmp_path).rows if row["url"]]
        assert Counter((row["query"], row["licence"], row["decision"]) for row in rows) == {
            ("heart (licence Public)", "Public", "kept"): 5,
            ("heart", "", "withdrawn"): 3,
        }
        assert sum(host.asked.values()) == 8


def test_photos_from_another_source_stay(tmp_path):
    with photos() as host, search_of(host) as server:
        (tmp_path / "bell.txt").write_text(f"{host.address}/photo/bell/1\n")
        gather_from(tmp_path / "bell.txt", tmp_path / "photos", allow_hosts=[host.netloc])
        for labels in (["heart"], ["star"]):
            gather(labels, tmp_path / "photos", 3, endpoint=server.address, allow_hosts=[host.netloc])
    assert {path.split("/")[0] for path in files(tmp_path / "photos")} == {"bell", "star", ".excluded"}


def test_deleted_folder_is_filled_again(tmp_path):
    import shutil

    with photos() as host, search_of(host) as server:
        for times in (1, 2):
            counts = gather(["heart"], tmp_path, 3, endpoint=server.address, allow_hosts=[host.netloc])
            assert counts == {"heart": 3} and set(host.asked.values()) == {times}
            shutil.rmtree(tmp_path / "heart")
        assert server.asked["i.js"] == 1


def test_photos_excluded_in_cleaning_stay_excluded(tmp_path):
    from icon_classifier.training.clean import exclude

    with photos() as host, search_of(host) as server:
        for labels in (["heart", "star"], ["star"], ["heart", "star"]):
            gather(labels, tmp_path, 6, endpoint=server.address, allow_hosts=[host.netloc])
            if labels == ["heart", "star"] and not (tmp_path / ".excluded").exists():
                (bad,) = exclude(tmp_path, sorted((tmp_path / "heart").iterdir())[:1])
    assert bad.exists()
    assert count_photos(tmp_path) == {"heart": 5, "star": 6}


def test_photos_are_counted_by_the_label_that_they_have_now(tmp_path, capsys):
    """Also if that label is not searched for any more. Photos that were added by hand came from no link."""
    with photos() as host, search_of(host) as server:
        words = {"AC/DC": "heart", "star": "star"}
        where = dict(endpoint=server.address, allow_hosts=[host.netloc])
        gather(words, tmp_path, 6, **where)
        (tmp_path / "star/mine.jpg").write_bytes(icon("bell", 1))
        review = Review(tmp_path)
        mine = next(item.number for item in review.items if item.file == "star/mine.jpg")
        review.decide(review.view(label="AC/DC")[:2], "relabel", "star")
        review.decide([*review.view(label="star", decision="none")[:2], mine], "approve")
        capsys.readouterr()
        assert gather(words, tmp_path, 6, **where) == {"AC/DC": 4, "star": 8}
        printed = capsys.readouterr().out
        assert "AC/DC: 4 photos, 6 links; 2 moved to star\n" in printed
        assert "star: 8 photos, 6 links; 2 came from AC/DC\n" in printed
        assert gather_from(tmp_path, tmp_path) == {"AC/DC": 4, "star": 9}
        assert gather({"AC/DC": "heart"}, tmp_path, 6, **where) == {"AC/DC": 4, "star": 2}
        assert len(list((tmp_path / "star").iterdir())) == 2
        assert gather(["star"], tmp_path, 6, **where) == {"star": 6}


def test_refused_search_keeps_existing_photos(tmp_path):
    with photos() as host, engine(icons_of(host, 20), status=403, pages_before=1) as server:
        with pytest.raises(SearchRefused, match="refuses this computer's address"):
            gather(["heart", "star", "bell"], tmp_path, 10, endpoint=server.address, allow_hosts=[host.netloc])
        assert len(files(tmp_path)) == 10
        assert server.asked["i.js"] == 3  # one for heart, then jmd_imagescraper's and ddgs's for star, none for bell


def test_empty_search_is_reported_and_others_continue(tmp_path, capsys):
    with photos() as host, search_of(host) as server:
        counts = gather(["qwx", "heart"], tmp_path, 5, endpoint=server.address, allow_hosts=[host.netloc])
    assert counts == {"qwx": 0, "heart": 5}
    printed = capsys.readouterr().out
    assert 'nothing was found for "qwx", so try other words' in printed and "heart: 5 photos, 5 links" in printed


def test_other_search_words_keep_the_label(tmp_path):
    with photos() as host, search_of(host) as server:
        gather({"AC/DC": "star band", "drake": "heart portrait"}, tmp_path, 5, endpoint=server.address,
               allow_hosts=[host.netloc])  # fmt: skip
        assert [asked["q"] for asked in server.queries] == ["star band", "heart portrait"]
    rows = Manifest(tmp_path).rows
    assert {(row["label"], row["query"], row["file"].split("/")[0]) for row in rows} == {
        ("AC/DC", "star band", "AC／DC"),  # noqa: RUF001
        ("drake", "heart portrait", "drake"),
    }
    assert contact_sheet(tmp_path, side=32).height == 2 * (32 + 4 + 20)
    row = rows[0]
    assert list(row) == COLUMNS and row["title"] == "star, number 0" and row["page"] and row["time"].endswith("Z")
    assert (row["status"], row["type"], row["source"]) == ("200", "image/jpeg", "jmd_imagescraper")


def test_forgotten_photo_is_deleted_and_not_fetched_again(tmp_path):
    with photos() as host, search_of(host) as server:
        where = dict(endpoint=server.address, allow_hosts=[host.netloc])
        gather(["heart"], tmp_path, 5, **where)
        row = next(row for row in Manifest(tmp_path).rows if "/photo/heart/3" in row["url"])
        same = row["url"].replace("?", "?other&")
        assert forget(row["url"], tmp_path) == [tmp_path / row["file"]]
        never = f"{host.address}/photo/heart/6?id=OIP.6%20x&pid=Api"
        assert forget(never, tmp_path) == []
        before = Counter(host.asked)
        assert gather(["heart"], tmp_path, 10, **where) == {"heart": 8}
        fetched = {url.split("?")[0] for url in host.asked - before}
        assert fetched == {f"/photo/heart/{i}" for i in (5, 7, 8, 9)}
        with pytest.raises(ValueError, match="which address"):
            forget("", tmp_path)
        (tmp_path / "again.csv").write_text(f"url,label\n{same},heart\n")
        gather_from(tmp_path / "again.csv", tmp_path, allow_hosts=[host.netloc])  # the same picture, another address
    assert not (tmp_path / row["file"]).exists() and len(files(tmp_path)) == 8
    assert Counter(row["decision"] for row in Manifest(tmp_path).rows)["forgotten"] == 4


def test_invalid_filter_is_reported(tmp_path):
    with pytest.raises(SearchError, match="layout should be one of All, Square, Tall, Wide"):
        gather(["heart"], tmp_path, layout="round")


def test_train_notebook_with_a_search(tmp_path):
    """Run train.ipynb with source = "search". The stand-in finds the icons of the sample."""
    with photos() as host, search_of(host) as server:
        ran = run_notebook(
            tmp_path, source="search", labels=["heart", "star"], per_label=20, pretrained=False, size=32, epochs=1,
            batch_size=8, search=dict(endpoint=server.address, allow_hosts=[host.netloc]),
        )  # fmt: skip
    text = printed(ran)
    assert "heart: 20 photos, 20 links" in text and "40 files, 0 excluded" in text
    split = re.search(r"(\d+) training photos, (\d+) validation photos, 2 labels: heart, star", text)
    assert sum(map(int, split.groups())) == 40
    assert {file.name for file in (tmp_path / "export").iterdir()} > {"card.json", "export.onnx", "export.pkl"}
    assert Manifest(tmp_path / "photos/search").rows[0]["source"] == "jmd_imagescraper"
    assert len(Manifest(tmp_path / "photos/search").rows) == 40
