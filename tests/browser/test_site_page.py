"""page.js: what the static page does while something loads, is missing, or happens in another order than usual."""

import re
from functools import partial

import pytest
from playwright.sync_api import expect
from static_host import hosted
from support.page import images, open_page, prediction, press, upload
from support.process import until
from test_page import assert_accessible

from icon_classifier.site.build import write_site

HIDDEN_WORKER = """Object.defineProperty(Navigator.prototype, "serviceWorker", {
  get() { throw new DOMException("The operation is insecure.", "SecurityError"); },
})"""  # as in a frame that is not allowed the same origin
OLD_BROWSER = "delete window.DecompressionStream"


@pytest.fixture(scope="module")
def host(site, tmp_path_factory):
    """A host that lacks the service worker, so that its registration fails."""
    folder, _ = write_site(tmp_path_factory.mktemp("static") / "site", site / "export")
    (folder / "service_worker.js").unlink()
    with hosted(folder) as host:
        yield host


@pytest.fixture
def visitor(browser):
    """Opens a page with options of its context; an error that nobody catches fails the test."""
    contexts, errors = [], []

    def visit(script="", **options):
        contexts.append(browser.new_context(viewport={"width": 390, "height": 800}, **options))
        page = contexts[-1].new_page()
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.add_init_script(script)
        return page

    yield visit
    for context in contexts:
        context.close()
    assert errors == []


@pytest.fixture
def page(visitor, host):
    page = visitor()
    open_page(page, host.url)
    return page


def note(page):
    return page.locator(".icon-note")


def hold_model(page):
    """Hold the requests for the model back; returns the list of them."""
    held = []
    page.route("**/parts/model-*", lambda route: held.append(route))
    return held


def test_heatmap_that_is_switched_off_while_it_is_made(page, drawing):
    upload(page, drawing("star"), drawing("bell"))
    press(page)
    expect(page.locator(".icon-look")).to_be_visible()
    plain = images(page)
    switch = "document.querySelector('.icon-look input')"
    page.evaluate(f"{switch}.click(); {switch}.click()")
    page.wait_for_timeout(1000)  # a heatmap takes some 20 ms
    assert images(page) == plain
    page.evaluate(f"{switch}.click(); {switch}.click(); {switch}.click()")
    assert until(lambda: all(each.startswith("data:") for each in images(page)), 60)
    page.evaluate("() => { HTMLCanvasElement.prototype.toDataURL = () => { throw new Error('no memory'); }; }")
    page.evaluate(f"{switch}.click(); {switch}.click()")
    assert until(lambda: images(page) == plain, 60)  # rather than nothing


def test_full_server_is_said_once_and_linked_to(visitor, host):
    page = visitor()
    page.goto(f"{host.url}?full")
    expect(note(page)).to_contain_text("The server has no room for more visitors")
    link = page.get_by_role("link", name="Try the server again")
    for _ in range(2):
        expect(link).to_be_visible()
        assert link.evaluate("link => link.href") == host.url.removesuffix("icons/")
        assert page.url == host.url
        page.reload()
    expect(page.get_by_role("button", name="Choose pictures")).to_be_visible()
    expect(note(page)).to_have_text("")
    page = visitor(OLD_BROWSER)
    page.goto(f"{host.url}?full")
    expect(note(page)).to_contain_text("This browser is too old for this page.")
    assert page.url == host.url


def test_frame_without_service_workers(visitor, host):
    page = visitor(HIDDEN_WORKER)
    open_page(page, host.url)
    expect(page.get_by_role("button", name="Choose pictures")).to_be_visible()
    expect(page.locator(".icon-loading")).to_be_hidden()


def test_film_is_refused_by_its_first_bytes(page, drawing, tmp_path):
    """However long it is. 3 GB are more than a page can have in memory as one piece."""
    with open(tmp_path / "film.mp4", "wb") as film:
        film.write(b"\0\0\0 ftypisom")
        film.truncate(3_000_000_000)
    upload(page, tmp_path / "film.mp4", drawing("star"))
    expect(page.locator(".icon-problem")).to_have_text(re.compile("^This is not an image in a supported format"))
    press(page)
    expect(prediction(page)).to_contain_text("Prediction: star")


def test_press_before_all_pictures_are_there_waits_for_them(page, drawing):
    """It is pressed before the first picture has come, and again when it is there."""
    page.evaluate("""() => {
        const [chooser] = document.querySelectorAll("input[type=file]");
        const [button] = document.querySelectorAll(".icon-button button");
        const chosen = chooser.onchange;
        chooser.onchange = () => { chosen(); button.click(); };
        const look = new MutationObserver(() => { button.click(); look.disconnect(); });
        look.observe(document.querySelector(".icon-predictions"), { childList: true });
    }""")
    labels = ["star", "bell", "heart", "star", "bell"]
    upload(page, *map(drawing, labels))
    expect(page.locator("td:nth-child(2)")).to_have_text(labels)
    expect(prediction(page)).to_have_count(len(labels))


def test_loading_is_announced_to_those_who_wait_for_it(visitor, host, drawing):
    page = visitor()
    held = hold_model(page)
    open_page(page, host.url)
    page.evaluate("""() => {
        self.heard = [];
        const status = document.querySelector("[role=status]");
        const listen = () => heard.push(status.textContent);
        new MutationObserver(listen).observe(status, { childList: true });
    }""")
    upload(page, drawing("star"))
    press(page)
    expect(page.get_by_role("status")).to_contain_text("The model is still loading.")
    for route in held:
        route.continue_()
    expect(prediction(page)).to_contain_text("Prediction: star")
    heard = [words for words in page.evaluate("heard") if words]
    assert heard[:3] == ["1 picture to classify.", "The model is still loading. The prediction follows.", heard[2]]
    assert heard[2] == "The model is loaded." and "star" in heard[3]
    press(page)
    upload(page, drawing("bell"))
    press(page)
    expect(prediction(page)).to_contain_text("Prediction: bell")
    assert page.evaluate("heard").count("The model is loaded.") == 1


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious_around_the_model(visitor, host, drawing, scheme):
    page = visitor(color_scheme=scheme)
    check = partial(assert_accessible, page)
    held = hold_model(page)
    page.goto(f"{host.url}?full")
    expect(page.locator(".icon-loading progress")).to_be_visible()
    check("loading, instead of a full server")
    page.route("**/parts/model-*", lambda route: route.abort())
    for route in held:
        route.abort()
    expect(note(page)).to_contain_text("The model could not be")
    check("failed")
    page.unroute("**/parts/model-*")
    upload(page, drawing("star"))
    press(page)
    expect(prediction(page)).to_have_count(1)
    page.locator(".icon-look input").check()
    assert until(lambda: images(page)[0].startswith("data:"), 60)
    check("heatmap")
    page.add_init_script(OLD_BROWSER)
    page.goto(host.url)
    expect(note(page)).to_contain_text("too old")
    check("unsupported")
