"""Test two servers of the page behind HAProxy with the configuration docs/haproxy.cfg, and real visitors."""

import shutil
from contextlib import ExitStack, contextmanager

import pytest
import websocket
from playwright.sync_api import expect
from support import ROOT, binaries
from support.drawings import surest
from support.page import prediction, press, ready, upload, visit
from support.process import until
from support.server import furnish, get, health, kernel_of, serve, server_of

CAPACITY = 2  # of each server


@pytest.fixture(scope="module")
def servers(site, tmp_path_factory):
    """Serve the page twice, each in its own folder as on its own machine; yield the addresses."""
    with ExitStack() as stack:
        addresses = []
        for name in ("one", "two"):
            folder = furnish(tmp_path_factory.mktemp(name))
            # Without the static page, which a full server would send to a visitor who reloads.
            shutil.copytree(site / "export", folder / "export", ignore=shutil.ignore_patterns("site*"))
            more = "--VisitorKernelManager.disconnect_timeout=6 --VisitorKernelManager.connect_timeout=20 "
            more += "--MappingKernelManager.cull_interval=1"
            addresses.append(stack.enter_context(serve(folder, ".venv-page", more=more, ICON_VISITORS=str(CAPACITY))))
            assert health(addresses[-1])["forked"]
        yield addresses


@pytest.fixture(autouse=True)
def no_other_visitors(servers):
    """Begin each test without visitors: wait until the kernels of the test before have ended."""
    assert until(lambda: visitors(servers) == [0, 0], 120), visitors(servers)


@contextmanager
def proxy(folder, servers, configuration=ROOT / "docs/haproxy.cfg"):
    """Run the proxy; yield its address once its health checks have found a server."""
    one, two = (address.split("/")[2] for address in servers)
    line = f"{binaries.find('haproxy')} -f {configuration}"
    with serve(folder, ".venv-page", line, ready="healthz", ONE=one, TWO=two) as address:
        yield address


def classify(page, site, name):
    upload(page, surest(site, name))
    press(page)
    expect(prediction(page)).to_contain_text(f"Prediction: {name}")


def visitors(servers):
    return [health(address)["visitors"] for address in servers]


def test_visitors_stay_with_their_server(browser, site, servers, tmp_path):
    with proxy(tmp_path, servers) as address, ExitStack() as stack:
        pages = [stack.enter_context(visit(browser, address)) for _ in range(2 * CAPACITY)]
        assert visitors(servers) == [CAPACITY, CAPACITY]
        for page, name in zip(pages, ("star", "bell", "heart", "star"), strict=True):
            classify(page, site, name)
        status, _, text = get(address)  # both servers are full
        assert status == 503 and "The page is full" in text
        pages[0].reload()
        ready(pages[0])
        classify(pages[0], site, "heart")
        assert until(lambda: visitors(servers) == [CAPACITY, CAPACITY], 60)
        for page in pages:
            expect(page.get_by_role("alert")).to_be_hidden()
            (cookie,) = page.context.cookies()
            assert cookie["value"] in ("one", "two") and cookie["expires"] == -1
    assert until(lambda: visitors(servers) == [0, 0], 60), "the tabs were closed, but kernels did not end"


def test_without_sticky_sessions_visits_fail(browser, servers, tmp_path):
    lines = (ROOT / "docs/haproxy.cfg").read_text().splitlines(keepends=True)
    without = [line.partition(" cookie ")[0].rstrip() + "\n" for line in lines if not line.startswith("    cookie ")]
    assert len(without) == len(lines) - 1 and "cookie one" not in "".join(without)
    (tmp_path / "haproxy.cfg").write_text("".join(without))
    with proxy(tmp_path, servers, tmp_path / "haproxy.cfg") as address, browser.new_context() as context:
        page = context.new_page()
        page.goto(address, wait_until="domcontentloaded")
        expect(page.get_by_role("alert")).to_contain_text("This page has ended")


def test_rejects_other_sites_behind_a_proxy(servers, tmp_path):
    """The proxy passes Host on. If it terminates TLS, as Heroku's does, the origin is https and the request http."""
    with proxy(tmp_path, servers) as address:
        _, headers, text = get(address, Host="icons.example")
        sticky = headers["Set-Cookie"].partition(";")[0]
        kernel_id = kernel_of(text)
        theirs = {"Host": "icons.example", "Cookie": sticky, "X_Forwarded_Proto": "https"}
        channels = f"ws{address.removeprefix('http')}api/kernels/{kernel_id}/channels"
        connect = {"host": "icons.example", "cookie": sticky, "timeout": 60}
        with pytest.raises(websocket.WebSocketBadStatusException):
            websocket.create_connection(channels, origin="https://evil.example", **connect)
        websocket.create_connection(channels, origin="https://icons.example", **connect).close()
        shutdown = f"{address}voila/api/shutdown/{kernel_id}"
        assert get(shutdown, "POST", b"", Origin="https://evil.example", **theirs)[0] == 403
        assert sum(visitors(servers)) == 1
        assert get(shutdown, "POST", b"", Origin="https://icons.example", **theirs)[0] == 204
        assert until(lambda: visitors(servers) == [0, 0], 60)


def test_visitors_of_a_hanging_server_move_to_the_other(browser, site, servers, tmp_path):
    """The server still accepts connections but never responds, which only health checks detect."""
    with proxy(tmp_path, servers) as address, visit(browser, address) as page:
        server = server_of(servers[visitors(servers).index(1)])
        server.suspend()
        try:
            expect(page.get_by_role("alert")).to_contain_text("To go on, reload it")
            page.get_by_role("button", name="Reload the page").click()
            ready(page)
            classify(page, site, "bell")
        finally:
            server.resume()
        assert until(lambda: sorted(visitors(servers)) == [0, 1], 60), "the kernel of the visitor who left did not end"


@pytest.mark.parametrize(
    "line", ["http-request deny if { hdr(Upgrade) -i websocket }", "http-request set-header Host other.example"]
)
def test_proxy_that_blocks_websockets_is_reported(browser, servers, tmp_path, line):
    """The page names the cause, and its kernel, which no page can reach, ends."""
    configuration = (ROOT / "docs/haproxy.cfg").read_text()
    (tmp_path / "haproxy.cfg").write_text(
        configuration.replace("    default_backend", f"    {line}\n    default_backend")
    )
    with proxy(tmp_path, servers, tmp_path / "haproxy.cfg") as address, browser.new_context() as context:
        page = context.new_page()
        page.goto(address, wait_until="commit")
        expect(page.get_by_role("alert")).to_contain_text("has to pass on WebSockets")
        assert until(lambda: visitors(servers) == [0, 0], 60), "the kernel did not end"
        expect(page.get_by_role("button", name="Reload the page")).to_be_visible()
