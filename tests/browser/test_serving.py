"""Test the served page with many visitors: kernels end, their number is limited, and no visitor affects another."""

import json
import shutil
import signal
import socket
import time
import urllib.request
import uuid
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import nbformat
import psutil
import pytest
import websocket
from playwright.sync_api import expect
from support.drawings import surest
from support.page import (
    classify,
    come_and_go,
    complaints_of,
    loaded,
    open_page,
    prediction,
    press,
    ready,
    upload,
    visit,
)
from support.process import until
from support.server import fork_server, furnish, get, health, kept, kernel_of, kernels, leave, serve, server_of

CAPACITY = 12


@pytest.fixture(scope="module")
def address(site):
    # Long enough for a slow machine; test_visits_leave_no_kernels_memory_or_files has the real timeouts.
    more = "--VisitorKernelManager.disconnect_timeout=10 --VisitorKernelManager.connect_timeout=40 "
    more += "--MappingKernelManager.cull_interval=1"
    with serve(site, ".venv-page", more=more, ICON_VISITORS=str(CAPACITY)) as address:
        assert health(address) == {"visitors": 0, "capacity": CAPACITY, "forked": True}
        yield address


@pytest.fixture(autouse=True)
def no_other_visitors(request):
    """Begin each test without visitors: wait until the kernels of the test before have ended."""
    if "address" in request.fixturenames:
        address = request.getfixturevalue("address")
        server = server_of(address)
        assert until(lambda: not health(address)["visitors"] and not kernels(server), 120), health(address)


@pytest.fixture
def kernel_id(address):
    """Return the id of the kernel of a page that is in no browser. The kernel is ended after the test."""
    html = get(address)[2]
    yield kernel_of(html)
    leave(address, html)


@pytest.fixture
def server(address):
    return server_of(address)


def star(site):
    return surest(site, "star")


def test_kernel_ends_with_its_page(browser, address, server, site):
    with browser.new_context() as context:
        page = context.new_page()
        open_page(page, address)
        (first,) = kernels(server)
        assert first.ppid() == fork_server(server).pid
        page.reload()
        ready(page)
        assert until(lambda: first not in kernels(server) and len(kernels(server)) == 1, 60)
        page.goto(address + "robots.txt")
        assert until(lambda: not kernels(server), 60), "the page was left, but its kernel did not end"
        page.go_back()
        ready(page)
        upload(page, star(site))
        press(page)
        expect(prediction(page)).to_contain_text("Prediction: star")
        page.close(run_before_unload=True)
        assert until(lambda: not kernels(server), 60), "the tab was closed, but its kernel did not end"
        assert context.cookies() == []


def test_page_requests_no_other_host_and_keeps_to_the_csp(browser, address, site):
    with browser.new_context() as context:
        page = context.new_page()
        asked = []
        complaints = complaints_of(page)
        page.on("request", lambda request: asked.append(request.url))
        page.on("websocket", lambda opened: asked.append(opened.url.replace("ws:", "http:")))
        open_page(page, address)
        upload(page, star(site))
        press(page)
        expect(prediction(page)).to_contain_text("Prediction: star")
        assert len(asked) > 10 and any(url.endswith("/channels") or "/channels?" in url for url in asked)
        assert [url for url in asked if not url.startswith((address, "data:", "blob:"))] == []
        assert complaints == []
        policy = get(address, "HEAD")[1]["Content-Security-Policy"]
        assert "default-src 'none'" in policy and "connect-src 'self'" in policy
        assert "http" not in policy and "unsafe-eval" not in policy
        # The browser enforces the policy: it refuses a request to another host.
        page.evaluate("fetch('http://localhost:9/').catch(() => {})")
        assert until(lambda: any("Content Security Policy" in text for text in complaints), 60)
        page.close(run_before_unload=True)


def test_request_without_html_starts_no_kernel(address, server):
    for path, method in (("", "HEAD"), ("", "GET"), ("healthz", "GET"), ("healthz", "HEAD"), ("robots.txt", "GET")):
        status, _, text = get(address + path, method, Accept="*/*")
        assert status == 200 and bool(text) == (method == "GET")
    _, headers, text = get(address, Accept="*/*")
    assert "<title>Icon Classifier</title>" in text and headers["Cache-Control"] == "no-store"
    assert "Disallow: /\n" in get(address + "robots.txt")[2]
    assert not kernels(server) and health(address)["visitors"] == 0


def startup_file(folder, code):
    """Write code that kernels execute when they start; return the variables that make them do so."""
    profile = folder / "profile_default/startup"
    profile.mkdir(parents=True)
    (profile / "startup.py").write_text(code)
    return {"IPYTHONDIR": str(folder)}


def test_head_of_the_page_is_sent_before_the_kernel_starts(site, tmp_path):
    """The browser can load the page's scripts meanwhile. The kernel waits until the test has read the head."""
    go = tmp_path / "go"
    variables = startup_file(tmp_path, f"import os, time\nwhile not os.path.exists({str(go)!r}): time.sleep(0.1)")
    with serve(site, ".venv-page", **variables) as address:
        request = urllib.request.Request(address, headers={"Accept": "text/html"})
        with urllib.request.urlopen(request, timeout=90) as response:
            head = b""
            while b"<p>One moment" not in head:
                head += response.read1()
            assert b"voila/static/voila.js" in head and b"<h1>" in head and b"kernelId" not in head
            go.touch()
            assert kernel_of((head + response.read()).decode())


def test_first_visit_is_small_and_the_next_uses_the_cache(browser, address):
    with browser.new_context() as context:
        requests, megabytes = loaded(context.new_page(), address)
        assert 60 < requests < 100 and 0.5 < megabytes < 2
        assert context.pages[0].evaluate("MathJax.version") is None  # a megabyte that only formulas need
        _, again = loaded(context.new_page(), address)
        assert again < 0.1


def test_full_server_returns_503_page_that_reloads(browser, site, tmp_path):
    """If there is no static page. test_site.py tests the other case."""
    shutil.copytree(site / "export", furnish(tmp_path) / "export", ignore=shutil.ignore_patterns("site*"))
    with serve(tmp_path, ".venv-page", ICON_VISITORS="1") as address, visit(browser, address) as first:
        status, headers, text = get(address)
        assert status == 503 and "The page is full" in text and 'http-equiv="refresh"' in text
        assert 1 <= int(headers["Retry-After"]) <= 60 and "http" not in text.replace("http-equiv", "")
        with browser.new_context() as context:
            second = context.new_page()
            assert second.goto(address).status == 503
            expect(second.get_by_role("heading")).to_have_text("The page is full")
            upload(first, star(site))  # the first visitor is not affected
            press(first)
            expect(prediction(first)).to_contain_text("Prediction: star")
            first.close(run_before_unload=True)
            ready(second, 120_000)
        assert len(kernels(server_of(address))) <= 1


def test_concurrent_visitors_get_200_or_503(address, server):
    """The slowest of them waits no longer than twenty visitors that come one after the other."""

    def alone():
        """Return the seconds that a visitor waits who is alone."""
        begin = time.monotonic()
        html = get(address)[2]
        seconds = time.monotonic() - begin
        leave(address, html)
        assert until(lambda: not kernels(server), 60)
        return seconds

    before = [alone() for _ in range(3)]
    begin = time.monotonic()
    with ThreadPoolExecutor(20) as pool:
        found = list(pool.map(lambda _: get(address), range(20)))
    seconds = time.monotonic() - begin
    served = [text for status, _, text in found if status == 200]
    refused = [text for status, _, text in found if status == 503 and "The page is full" in text]
    assert (len(served), len(refused)) == (CAPACITY, 20 - CAPACITY)
    assert len({kernel_of(text) for text in served}) == CAPACITY
    assert len(kernels(server)) <= CAPACITY
    for html in served:
        leave(address, html)
    assert until(lambda: not kernels(server), 60)
    slowest = max(before + [alone() for _ in range(3)])  # another program may have slowed down some of them
    assert seconds < 20 * slowest, f"the slowest waited {seconds:.1f} s, a visitor alone {slowest:.1f} s"


def test_unconnected_kernel_is_replaced_but_polling_page_keeps_its_kernel(browser, site):
    # A visit that never connects ends only to admit another visitor. Pages poll every five seconds.
    more = "--VisitorKernelManager.connect_timeout=600 --VisitorKernelManager.replace_timeout=20"
    with serve(site, ".venv-page", more=more, ICON_VISITORS="3") as address, browser.new_context() as context:
        server = server_of(address)
        for _ in range(3):
            with socket.create_connection(("127.0.0.1", urlsplit(address).port)) as raw:
                raw.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nAccept: text/html\r\n\r\n")
                time.sleep(0.05)  # the server begins to send the page
        assert until(lambda: health(address)["visitors"] == 0 and not kernels(server), 60), "aborted visits count"
        phone = context.new_page()
        phone.route("**/voila.js", lambda route: None)  # it loads for as long as the test runs
        phone.goto(address, wait_until="commit")
        assert until(lambda: phone.evaluate("document.body?.dataset.kernelId"), 60)
        mine = phone.evaluate("document.body.dataset.kernelId")
        with visit(browser, address) as other:
            program = kernel_of(get(address)[2])
            assert get(address)[0] == 503, "a page may still be loading"
            assert until(lambda: get(address)[0] == 200, 120), "a page that nobody opened uses capacity"
            assert get(f"{address}api/kernels/{program}")[0] == 404
            assert get(f"{address}api/kernels/{mine}")[0] == 200 and get(address)[0] == 503
            assert len(kernels(server)) == 3
            expect(other.get_by_role("alert")).to_be_hidden()


def test_killed_kernel_is_reported_on_the_page(browser, address, server, site):
    with visit(browser, address) as other:
        (theirs,) = kernels(server)
        with visit(browser, address) as page:
            (mine,) = set(kernels(server)) - {theirs}
            mine.kill()
            expect(page.get_by_role("alert")).to_contain_text("To go on, reload it")
            assert not mine.is_running() or mine.status() == psutil.STATUS_ZOMBIE
            assert until(lambda: health(address)["visitors"] == 1, 60), "a dead kernel counts as a visitor"
            page.get_by_role("button", name="Reload the page").click()
            ready(page)
            expect(page.get_by_role("alert")).to_be_hidden()
            for visitor in (page, other):
                upload(visitor, star(site))
                press(visitor)
                expect(prediction(visitor)).to_contain_text("Prediction: star")


@pytest.mark.parametrize("startup", ["import os; os._exit(1)", "import time; time.sleep(1000)"])
def test_kernel_that_cannot_start_is_reported_and_uses_no_capacity(browser, site, tmp_path, startup):
    variables = startup_file(tmp_path, startup)
    more = "--VoilaExecutor.startup_timeout=3"
    with serve(site, ".venv-page", more=more, **variables) as address, browser.new_context() as context:
        page = context.new_page()
        page.goto(address, wait_until="commit")
        expect(page.get_by_role("alert")).to_contain_text("To go on, reload it")
        server = server_of(address)
        assert until(lambda: health(address)["visitors"] == 0 and not kernels(server), 60)


def test_culled_kernel_is_reported_on_the_page(browser, site):
    more = "--MappingKernelManager.cull_idle_timeout=3 --MappingKernelManager.cull_interval=1"
    with serve(site, ".venv-page", more=more) as address, browser.new_context() as context:
        page = context.new_page()
        page.goto(address, wait_until="commit")  # on a slow machine, the kernel is culled before the page is complete
        expect(page.get_by_role("alert")).to_contain_text("it was not used for a while")
        assert until(lambda: not kernels(server_of(address)), 60)


def test_lost_connection_is_reported_until_it_is_back(browser, site):
    with serve(site, ".venv-page") as address, visit(browser, address) as page:
        alert = page.get_by_role("alert")
        page.context.set_offline(True)
        expect(alert).to_contain_text("cannot be reached at the moment")
        page.context.set_offline(False)
        expect(alert).to_be_hidden()
        upload(page, star(site))
        press(page)
        expect(prediction(page)).to_contain_text("Prediction: star")
        page.route("**/api/kernels/*", lambda route: route.fulfill(status=503))  # as a proxy responds
        expect(alert).to_contain_text("cannot be reached at the moment")
        page.unroute("**/api/kernels/*")
        expect(alert).to_be_hidden()
        server_of(address).kill()
        expect(alert).to_contain_text("cannot be reached at the moment")


def test_page_works_after_a_failed_first_connection(browser, address, server, site):
    """JupyterLab's client then connects without a subprotocol, and its binary messages have another format."""
    with browser.new_context() as context:
        page = context.new_page()
        binary = []
        page.add_init_script(
            """const Real = WebSocket;
            window.asked = [];  // for which subprotocols
            WebSocket = class extends Real {
              constructor(url, protocols) {
                super(asked.length ? url : url.replace("channels", "nowhere"), protocols);
                asked.push(protocols.length);
              }
            };"""
        )

        def listen(socket):
            socket.on("framereceived", lambda payload: binary.append(payload) if isinstance(payload, bytes) else None)

        page.on("websocket", listen)
        before = server.memory_info().rss
        open_page(page, address)
        upload(page, star(site))
        press(page)
        expect(prediction(page)).to_contain_text("Prediction: star")
        assert page.evaluate("asked") == [1, 0] and binary
        assert server.memory_info().rss < before + (64 << 20)


def test_rejects_cross_site_shutdown(browser, address, server):
    with visit(browser, address) as page:
        kernel_id = kernel_of(page.content())
        shutdown, delete = f"{address}voila/api/shutdown/{kernel_id}", f"{address}api/kernels/{kernel_id}"
        for target, method in ((shutdown, "POST"), (delete, "DELETE")):
            for headers in (
                {},
                {"Origin": "null"},
                {"Origin": "http://evil.example"},
                {"Origin": address.rstrip("/"), "Sec_Fetch_Site": "cross-site"},
            ):
                assert get(target, method, data=b"" if method == "POST" else None, **headers)[0] in (403, 404)
        # A page of another site in a real browser, to which localhost is another site than 127.0.0.1.
        with browser.new_context() as context:
            evil = context.new_page()
            evil.goto(address.replace("127.0.0.1", "localhost") + "robots.txt")
            evil.route("**/*", lambda route: route.continue_())
            done = evil.evaluate(
                """async (to) => { navigator.sendBeacon(to, new FormData());
                await fetch(to, {method: 'POST', mode: 'no-cors'}).catch(() => {}); return true }""",
                shutdown,
            )
            assert done
        assert len(kernels(server)) == 1 and health(address)["visitors"] == 1
        expect(page.get_by_role("alert")).to_be_hidden()
        assert get(shutdown, "POST", data=b"", Origin=address.rstrip("/"))[0] == 204
        assert until(lambda: not kernels(server), 60)


# A hostile client, which must not affect the visitor beside it


def message(msg_type, channel="shell", **content):
    header = {"msg_id": "1", "msg_type": msg_type, "username": "", "session": "s", "date": "", "version": "5.3"}
    return {"channel": channel, "header": header, "parent_header": {}, "metadata": {}, "content": content}


def frame(channel, header, *parts):
    """Return a frame of Jupyter's binary websocket protocol, v1."""
    pieces = [channel.encode(), json.dumps(header).encode(), *(json.dumps(part).encode() for part in parts)]
    offsets = [8 * (len(pieces) + 2)]
    for piece in pieces:
        offsets.append(offsets[-1] + len(piece))
    return b"".join(number.to_bytes(8, "little") for number in (len(offsets), *offsets)) + b"".join(pieces)


def connect(address, kernel_id, **options):
    channels = f"ws{address.removeprefix('http')}api/kernels/{kernel_id}/channels"
    return websocket.create_connection(channels, timeout=60, **options)


def send(hostile, msg_type, channel="shell", **content):
    header = message(msg_type)["header"] | {"msg_id": str(uuid.uuid4())}  # a kernel takes each message once
    hostile.send_binary(frame(channel, header, {}, {"version": "2.1.0"}, content))


def wait_for_kernel(hostile):
    """Send the kernel a request and wait for the reply. Then it has processed all earlier messages."""
    send(hostile, "kernel_info_request")
    while b"kernel_info_reply" not in hostile.recv():
        pass


V1 = ["v1.kernel.websocket.jupyter.org"]
BIG = 1 << 62
BROKEN = [
    (V1, b""),
    (V1, b"\0" * 8),
    (V1, b"\xff" * 64),
    (V1, BIG.to_bytes(8, "little")),  # a list of so many parts would take all memory
    (V1, (3).to_bytes(8, "little") + BIG.to_bytes(8, "little") * 3),
    (V1, "text instead of bytes"),
    ([], b"\xff\xff\xff\xff"),
    ([], (1 << 30).to_bytes(4, "big")),
    ([], "not JSON"),
    ([], "[" * 100_000),
    ([], json.dumps({"channel": "nowhere"})),
    ([], json.dumps({"channel": "shell"})),
    ([], json.dumps(message("comm_msg") | {"header": None})),
]


@pytest.fixture
def bystander(browser, address, site):
    """Return the page of another visitor; after the test, it still works."""
    with visit(browser, address) as page:
        yield page
        upload(page, star(site))
        press(page)
        expect(prediction(page)).to_contain_text("Prediction: star")
        expect(page.get_by_role("alert")).to_be_hidden()


def test_rejects_execute_requests(address, kernel_id, bystander, tmp_path):
    trace = tmp_path / "trace"
    code = {
        "code": f"open({str(trace)!r}, 'w')",
        "silent": False,
        "user_expressions": {"a": f"open({str(trace)!r}, 'w')"},
    }
    for protocols in (V1, []):
        hostile = connect(address, kernel_id, subprotocols=protocols)
        for channel in ("shell", "control", "stdin", "iopub"):
            for kind in ("execute_request", "complete_request", "inspect_request", "debug_request", "input_reply"):
                if protocols:
                    send(hostile, kind, channel, **code)
                else:
                    hostile.send(json.dumps(message(kind, channel, **code)))
        hostile.close()
    time.sleep(1)
    assert not trace.exists()
    # The kernel processes a frame of an allowed type, so the frames above were not refused because of their format.
    hostile = connect(address, kernel_id, subprotocols=V1)
    wait_for_kernel(hostile)
    hostile.close()


def test_source_of_cells_is_not_sent_to_the_page(tmp_path):
    """The cells wait until the test has connected to the kernel; then the last cell prints.

    Each waits a short time, because a connection is made between two cells.
    """
    waiting = "from pathlib import Path\nfrom time import sleep\nif not Path('go').exists():\n    sleep(0.5)"
    cells = [nbformat.v4.new_code_cell(source) for source in [waiting] * 100 + ["print('the last' + ' cell')"]]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), furnish(tmp_path) / "notebooks/icon_classifier.ipynb")
    with serve(tmp_path, ".venv-page") as address:
        assert health(address)["forked"]
        for subprotocols in (V1, []):
            received = "".join(received_by_a_page(address, subprotocols, tmp_path / "notebooks/go"))
            assert "the last cell" in received and "execute_input" not in received


def received_by_a_page(address, subprotocols, go):
    """Return what a page receives from its kernel, from before `go` exists to the output of the last cell."""
    request = urllib.request.Request(address, headers={"Accept": "text/html"})
    with urllib.request.urlopen(request, timeout=90) as response:
        html = ""
        while len(html.partition("kernelId")[2]) < 100:
            chunk = response.read1()
            assert chunk, html
            html += chunk.decode(errors="replace")
        watcher = connect(address, kernel_of(html), subprotocols=subprotocols)
        received = [str(watcher.recv())]  # the kernel sends to this page from now on
        go.touch()
        while "the last cell" not in received[-1]:
            received.append(str(watcher.recv()))
        html += response.read().decode(errors="replace")
    watcher.close()
    leave(address, html)
    go.unlink()
    return received


def test_damaged_frames_close_only_their_connection(address, server, kernel_id, bystander):
    before = server.memory_info().rss
    for protocols, payload in BROKEN:
        hostile = connect(address, kernel_id, subprotocols=protocols)
        hostile.send_binary(payload) if isinstance(payload, bytes) else hostile.send(payload)
        hostile.close()
        assert health(address)["visitors"] == 2
    hostile = connect(address, kernel_id)
    with pytest.raises((websocket.WebSocketException, OSError)):
        hostile.send_binary(b"\0" * (49 << 20))  # over the limit: the server closes the connection
        while hostile.recv():
            pass
    assert server.memory_info().rss < before + (64 << 20)


def test_long_url_does_not_stop_other_kernels(address, server, bystander):
    forker = fork_server(server)
    leave(address, get(f"{address}?" + '"' * 60_000)[2])
    assert fork_server(server) == forker and until(lambda: len(kernels(server)) == 1, 60)


def test_limits_connections_per_kernel(address, server, kernel_id, bystander):
    files = server.num_fds()
    several = [connect(address, kernel_id, subprotocols=V1) for _ in range(20)]
    assert until(lambda: sum(map(is_closed, several)) == 16, 120) and server.num_fds() < files + 60
    for hostile in several:
        hostile.close()


def is_closed(hostile):
    """Return whether the server has closed this connection."""
    hostile.settimeout(0.2)  # less than between two pings
    try:
        while hostile.recv():
            pass
    except websocket.WebSocketTimeoutException:
        return False
    except (OSError, websocket.WebSocketException):
        pass
    return True


def test_limits_memory_per_visitor(address, server, kernel_id, bystander):
    much = "x" * 8_000_000
    hostile = connect(address, kernel_id, subprotocols=V1)
    before = server.memory_info().rss
    for _ in range(8):  # nobody reads this channel
        send(hostile, "comm_msg", "iopub", comm_id="1", data=much)
    wait_for_kernel(hostile)
    assert server.memory_info().rss < before + 40_000_000
    names = {"_model_module": "@jupyter-widgets/controls", "_model_module_version": "2.0.0", "_model_name": "HTMLModel"}
    view = {"_view_module": "@jupyter-widgets/controls", "_view_module_version": "2.0.0", "_view_name": "HTMLView"}
    state = {**names, **view, "value": much}
    send(hostile, "comm_open", comm_id="1", target_name="jupyter.widget", data={"state": state})
    for _ in range(20):  # and nobody reads the responses
        send(hostile, "comm_msg", comm_id="1", data={"method": "request_state"})
    time.sleep(3)
    assert server.memory_info().rss < before + 100_000_000  # the responses alone have 160 MB
    assert until(lambda: is_closed(hostile), 120) and health(address)["visitors"] == 2


def test_rejects_guessed_kernel_ids_and_jupyters_apis(address, bystander):
    for guess in ("00000000-0000-4000-8000-000000000000", "a-a-a-a-a", "%2e%2e-a-a-a-a"):
        with pytest.raises((websocket.WebSocketBadStatusException, websocket.WebSocketException)):
            connect(address, guess)
        assert get(f"{address}api/kernels/{guess}")[0] in (403, 404)
    for path in ("api/kernels", "api/sessions", "api/contents", "voila/api/contents", "metrics", "api/status"):
        status, _, text = get(address + path)
        assert status in (403, 404) and "kernel" not in text.lower(), path
    kernel_id = kernel_of(bystander.content())
    with pytest.raises(websocket.WebSocketBadStatusException):  # nor the right id from another site
        connect(address, kernel_id, origin="http://evil.example")


def test_serves_only_images_beside_the_notebook(address, site):
    (site / "notebooks/dog.png").write_bytes(star(site).read_bytes())
    assert get(f"{address}voila/files/dog.png", "HEAD")[0] == 200
    assert get(f"{address}dog.png")[1]["Content-Type"] == "image/png"  # as an <img> in a cell names it
    for elsewhere in ("voila/render/notebooks/icon_classifier.ipynb", "icon_classifier.ipynb", "about"):
        status, _, text = get(address + elsewhere)
        assert status == 404 and '<a href="/">Go to the start page.</a>' in text
    for path in (
        "icon_classifier.ipynb",
        "../export/export.pkl",
        "../export/card.json",
        "%2e%2e/voila.json",
        "/etc/passwd",
    ):
        assert get(f"{address}voila/files/{path}")[0] in (400, 403, 404), path
    for override in ("?template=nope", "?theme=dark", "?voila-template=nope"):
        status, _, html = get(address + override)
        assert status == 200  # the usual page; Voila's own template handling would never respond
        leave(address, html)


# The end of the server


@pytest.mark.parametrize("visits", [0, 2])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_server_ends_without_a_traceback(site, tmp_path, visits, number):
    """Also if there was no visitor, so that nothing has read the fork server's first message."""
    (furnish(tmp_path) / "export").symlink_to(site / "export")  # another folder, because its log is read
    with serve(tmp_path, ".venv-page") as address:
        server = server_of(address)
        forker = fork_server(server)
        assert until(lambda: forker.memory_info().rss > 50_000_000, 120)
        time.sleep(1)  # it sends its first message
        for _ in range(visits):
            get(address)
        server.send_signal(number)
        assert psutil.wait_procs([server, forker], 60)[1] == []
    log = (tmp_path / ".venv-page.log").read_text()
    assert "Traceback" not in log and "Error" not in log, log


def test_page_works_below_a_base_url(browser, site):
    """With and without the slash at the end, to which relative addresses are appended."""
    more = "--Voila.base_url=/icons"
    with serve(site, ".venv-page", ready="icons/healthz", more=more) as address, browser.new_context() as context:
        page = context.new_page()
        complaints = complaints_of(page)
        open_page(page, f"{address}icons")
        assert page.url == f"{address}icons/"
        upload(page, star(site))
        press(page)
        expect(prediction(page)).to_contain_text("Prediction: star")
        assert complaints == [] and "Disallow" in get(f"{address}icons/robots.txt")[2]
        page.close(run_before_unload=True)
        assert until(lambda: health(f"{address}icons/")["visitors"] == 0, 60)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_ended_server_leaves_no_processes(site, number):
    more = "--VisitorKernelManager.connect_timeout=600"
    with serve(site, ".venv-page", more=more, ICON_VISITORS="5") as address:
        server = server_of(address)
        for _ in range(3):
            get(address)
        family = [fork_server(server), *kernels(server)]
        assert len(family) == 4
        server.send_signal(number)
        assert psutil.wait_procs([server, *family], 60)[1] == []


def test_killed_fork_server_is_replaced(browser, site):
    with serve(site, ".venv-page", ICON_VISITORS="5") as address, visit(browser, address) as page:
        server = server_of(address)
        forker = fork_server(server)
        orphans = kernels(server)
        forker.kill()
        expect(page.get_by_role("alert")).to_contain_text("To go on, reload it")
        assert psutil.wait_procs(orphans, 60)[1] == []
        page.get_by_role("button", name="Reload the page").click()
        ready(page)
        assert fork_server(server) != forker and len(kernels(server)) == 1 and health(address)["forked"]


def test_visits_leave_no_kernels_memory_or_files(browser, site):
    with serve(site, ".venv-page", ICON_VISITORS="40") as address:
        server = server_of(address)
        for _ in range(4):  # first visits load what is kept
            classify(browser, address, star(site))
        assert until(lambda: not kernels(server), 60)
        before = kept(server)
        files = server.num_fds()
        for _ in range(4):
            come_and_go(browser, address, star(site))
        assert until(lambda: not kernels(server), 120), health(address)
        assert until(lambda: kept(server) < 1.05 * before, 60), (before >> 20, kept(server) >> 20)
        # Browsers keep connections open for a next request, and close them later.
        assert until(lambda: server.num_fds() <= files, 120), (files, server.open_files(), server.net_connections())
