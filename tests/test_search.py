"""Test searches by jmd_imagescraper and ddgs, over real sockets, in a stand-in for DuckDuckGo on 127.0.0.1."""

import json
import subprocess
import time
from contextlib import ExitStack

import pytest
from support.process import PROGRAMS, start, until
from support.standin.engine import QUOTINGS, engine, result

from icon_classifier.dataset.query import Query, SearchError, SearchRefused
from icon_classifier.dataset.search import by_ddgs, by_jmd, search

BOUND = 10  # s, of a search; a slow machine needs a little longer
NO_TOKEN, WAITS = "AssertionError: Failed to obtain search token", "it is still waiting"


def results(number):
    return lambda query: [
        result(f"https://images.example.org/{query}/{i}.jpg?of=a%20b", f"No {i}") for i in range(number)
    ]


# {case: (the options of `engine`, the links that a search for 150 finds, or its error; jmd_imagescraper alone)}
CASES = {
    "bare token": (dict(quoting="bare", bound=False), 150, "150 links"),
    "bare token, bound to the user agent": (dict(quoting="bare"), 150, WAITS),
    **{f"{q} token": (dict(quoting=q, bound=False), 150, NO_TOKEN) for q in QUOTINGS if q != "bare"},
    "today": (dict(), 150, NO_TOKEN),
    "202": (dict(quoting="bare", bound=False, status=202), "refuses this computer's address (HTTP status 202)", WAITS),
    "403": (dict(quoting="bare", bound=False, status=403), "refuses this computer's address (HTTP status 403)", WAITS),
    "418": (dict(quoting="bare", bound=False, status=418), "refuses this computer's address (HTTP status 418)", WAITS),
    "429 for a minute": (dict(quoting="bare", status=429, bound=False, retry_after="60"),
        "429). It asks to wait 60 s", WAITS),
    "refused at once": (dict(token_status=202), "refuses this computer's address (HTTP status 202)", NO_TOKEN),
    "throttle after page one": (dict(quoting="bare", bound=False, status=403, pages_before=1), 100, WAITS),
    "HTML for JSON": (dict(quoting="bare", bound=False, html=True), "response contains no results", WAITS),
    "zero results": (dict(quoting="bare", bound=False, number=0), 0, "0 links"),
    "a byte a second": (dict(silent=True), "did not end within", WAITS),
}  # fmt: skip


@pytest.fixture(scope="module")
def alone():
    """Return {case: (what jmd_imagescraper alone does, how often it asks for results)}.

    It sleeps for 5 s between attempts. A case in which it repeats them, or in which no response ends, has no outcome.
    """
    with ExitStack() as stack:
        servers = {}
        for case, (faults, _, _) in CASES.items():
            faults = dict(faults)
            servers[case] = stack.enter_context(engine(results(faults.pop("number", 250)), **faults))
        endpoints = {case: server.address for case, server in servers.items()}
        end = [case for case, (_, _, by_itself) in CASES.items() if by_itself != WAITS]
        outcome = dict.fromkeys(CASES, WAITS)
        with start(PROGRAMS / "jmd_alone.py", json.dumps(endpoints), "120", stdout=subprocess.PIPE, text=True) as run:
            while any(outcome[case] == WAITS for case in end) and (line := run.stdout.readline()):
                outcome |= json.loads(line) if line.startswith("{") else {}  # other lines are jmd_imagescraper's
            repeat = [server for case, server in servers.items() if case not in end and not server.silent]
            assert until(lambda: all(server.asked["i.js"] >= 2 for server in repeat), 120)
            run.kill()
        yield {case: (outcome[case], servers[case].asked["i.js"]) for case in CASES}


@pytest.mark.parametrize("case", CASES)
def test_search_ends_in_time_with_links_or_an_error(case, alone):
    faults, expected, by_itself = CASES[case]
    faults = dict(faults)
    found = results(faults.pop("number", 250))
    began = time.monotonic()
    with engine(found, **faults) as server:
        query = Query("heart", 150, endpoint=server.address, seconds=BOUND)
        if isinstance(expected, int):
            links, note = search(query)
            assert [link.url for link in links] == [r["thumbnail"] for r in found("heart")[:expected]]
            assert [link.title for link in links] == [r["title"] for r in found("heart")[:expected]]
            assert all(link.source == "jmd_imagescraper" and link.page for link in links)
            assert bool(note) == (case == "throttle after page one")
        else:
            with pytest.raises(SearchError) as failure:
                search(query)
            sentence = str(failure.value)
            assert expected in sentence and sentence.count(". ") <= 1 and sentence.endswith(".")
            assert "a folder with one folder per label, a zip of such folders, or a CSV of addresses" in sentence
            assert isinstance(failure.value, SearchRefused) == ("refuses" in expected or "429" in case)
    assert time.monotonic() - began < 3 * BOUND
    assert server.asked["token"] <= 2 and server.asked["i.js"] <= max(2, -(-query.number // 100))  # few requests
    ended, times = alone[case]
    assert ended == by_itself
    if by_itself == WAITS and not faults.get("silent"):
        assert times >= 2  # it asks again every 5 s, without an end


@pytest.mark.parametrize("faults", [dict(), dict(quoting="bare"), dict(quoting="single")], ids=str)
def test_ddgs_finds_the_same_links(faults):
    found = results(250)
    with engine(found, **faults) as server:
        links, note = search(Query("heart", 250, endpoint=server.address), [by_ddgs])
    assert [link.url for link in links] == [r["thumbnail"] for r in found("heart")] and not note
    assert {link.source for link in links} == {"ddgs"} and links[3].title == "No 3"


@pytest.mark.parametrize(
    ("faults", "outcome"),
    [
        (dict(status=403), SearchRefused),
        (dict(token_status=202), SearchRefused),
        (dict(html=True), SearchError),
        (dict(status=418, pages_before=1), 100),
        (dict(number=0), 0),
        (dict(silent=True), SearchError),
    ],
    ids=str,
)
def test_ddgs_ends_in_time(faults, outcome):
    faults = dict(faults)
    began = time.monotonic()
    with engine(results(faults.pop("number", 250)), **faults) as server:
        query = Query("heart", 150, endpoint=server.address, seconds=4)
        if isinstance(outcome, int):
            assert len(search(query, [by_ddgs])[0]) == outcome
        else:
            with pytest.raises(SearchError) as failure:
                search(query, [by_ddgs])
            assert type(failure.value) is outcome
    assert time.monotonic() - began < 3 * BOUND


def test_second_source_is_used_after_an_error():
    def broken(query, deadline):
        raise SearchError("The page has changed")

    with engine(results(30)) as server:
        links, _ = search(Query("heart", 20, endpoint=server.address), [broken, by_ddgs])
    assert len(links) == 20 and links[0].source == "ddgs"


@pytest.mark.parametrize("source", [by_jmd, by_ddgs])
def test_filters_reach_the_search_engine(source):
    from jmd_imagescraper.core import ImgColor, ImgSize

    by_name = dict(size="Large", type="Clipart", layout="Wide", color="Red", licence="Public")
    for safe, wanted in ((True, by_name), (False, by_name | dict(size=ImgSize.Large, color=ImgColor.Red))):
        with engine(results(10)) as server:
            search(Query("heart", 5, endpoint=server.address, safe=safe, **wanted), [source])
            (asked,) = server.queries
        assert asked["p"] == ("1" if safe else "-1")
        for part in ("size:Large", "type:clipart", "layout:Wide", "color:Red", "license:Public"):
            assert part.lower() in asked["f"].lower()


def test_default_query_equals_the_lessons():
    with engine(results(10)) as server:
        search(Query("heart", 5, endpoint=server.address))
    (asked,) = server.queries
    assert asked["p"] == "1" and "type:Photo" in asked["f"] and "layout:Square" in asked["f"]


def test_unknown_filter_is_named():
    with pytest.raises(SearchError, match="size should be one of Cached, Small, Medium, Large, Wallpaper, not 'huge'"):
        search(Query("heart", size="huge"))


def test_missing_network_is_reported():
    began = time.monotonic()
    with pytest.raises(SearchError, match="cannot be reached"):
        search(Query("heart", endpoint="http://127.0.0.1:9"))  # nobody listens there
    assert time.monotonic() - began < 3 * BOUND


def test_replaced_attributes_are_restored():
    import requests
    from ddgs.http_client import HttpClient
    from jmd_imagescraper import core

    assert core.requests is requests and HttpClient.request.__module__ == "ddgs.http_client"
