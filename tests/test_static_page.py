"""The static page beside the served one: which of its files a server sends, and when it uses the page."""

import shutil

import pytest
from support.server import furnish, get, serve

from icon_classifier.server.handlers import NO_SITE
from icon_classifier.site.build import write_site


@pytest.fixture(scope="module")
def folder(site, tmp_path_factory):
    """What a host has: the files of the served page, an export, and its static page in a repository of its own."""
    folder = furnish(tmp_path_factory.mktemp("host"))
    shutil.copytree(site / "export", folder / "export", ignore=shutil.ignore_patterns("*.pkl", "site*"))
    static, _ = write_site(folder / "export/site", folder / "export")
    (static / ".git").mkdir()
    (static / ".git/config").write_text("url = https://user:password@example.com")
    return folder


@pytest.fixture(scope="module")
def address(folder):
    with serve(folder, ".venv-page", ICON_STATIC="1") as address:
        yield address


@pytest.mark.parametrize("path", [".git/config", "%2egit/config", "parts/../.git/config", ".nojekyll", "../card.json"])
def test_hidden_files_are_not_sent(address, path):
    for method in ("GET", "HEAD"):
        assert get(f"{address}site/{path}", method)[0] == 404


def test_rebuilt_page_reaches_returning_visitors(address, folder):
    """Also while the server runs: a browser asks whether the file that it has is still the present one."""
    first = get(f"{address}site/")
    known = {"If_None_Match": first[1]["Etag"]}
    assert first[0] == 200 and get(f"{address}site/", **known)[0] == 304
    write_site(folder / "export/site", folder / "export", "The new page")
    status, _, html = get(f"{address}site/", **known)
    assert status == 200 and "<h1>The new page</h1>" in html


def test_incomplete_page_is_not_used(address, folder):
    """`write_site` writes model.txt last."""
    assert "<h1>" in get(address)[2] and NO_SITE[1] not in get(address)[2]
    (folder / "export/site/model.txt").unlink()
    assert NO_SITE[1] in get(address)[2]
