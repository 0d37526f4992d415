"""Test network_guard.py: addresses as browsers request them, recorded by a socket server, and private addresses."""

import socket
import socketserver
import threading
from contextlib import contextmanager

import pytest

from icon_classifier.dataset.download import Fetcher
from icon_classifier.dataset.links import FetchError
from icon_classifier.dataset.network_guard import as_ascii, is_public


class Server(socketserver.ThreadingTCPServer):
    daemon_threads = allow_reuse_address = True


class Recorder(socketserver.StreamRequestHandler):
    """Responds to the first request with `server.header`, and to later ones without it; closes each connection."""

    def handle(self):
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += self.rfile.readline()
        line, *headers = head.decode("latin-1").split("\r\n")
        method, target, _ = line.split(" ")
        assert method == "GET"
        self.server.targets.append(target)
        self.server.hosts += [header.partition(": ")[2] for header in headers if header.startswith("Host: ")]
        first, self.server.header = self.server.header, b""
        status = b"302 Found" if first.startswith(b"Location") else b"200 OK"
        self.wfile.write(b"HTTP/1.1 " + status + b"\r\nConnection: close\r\nContent-Length: 0\r\n" + first + b"\r\n")


@contextmanager
def recorder(header=b"", family=socket.AF_INET):
    """Serve a host that records the `targets` and `hosts` of its requests; yield the server."""
    kind = type("Server", (Server,), {"address_family": family})
    with kind(("::1" if family == socket.AF_INET6 else "127.0.0.1", 0), Recorder) as server:
        host, server.port = server.server_address[:2]
        server.netloc = f"[{host}]:{server.port}" if ":" in host else f"{host}:{server.port}"
        server.header = header
        server.targets = []
        server.hosts = []
        server.allowed = [f"{host}:{server.port}", f"localhost:{server.port}"]
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        yield server
        server.shutdown()


def fetch(server, url):
    with Fetcher(server.allowed) as fetcher:
        return fetcher.fetch(url)


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("/1.jpg;jsessionid=A1", "/1.jpg;jsessionid=A1"),
        ("/a;b/c;d?e;f;", "/a;b/c;d?e;f;"),
        ("/x?", "/x?"),
        ("/x?a=b??c", "/x?a=b??c"),
        ("//a//b.jpg", "//a//b.jpg"),
        ("?size=1", "/?size=1"),
        ("", "/"),
        ("/a.jpg#top;?x", "/a.jpg"),
        ("#top", "/"),
        ("/a b.jpg?c d", "/a%20b.jpg?c%20d"),
        (" ", "/"),
        ("/a\tb\n.jpg", "/ab.jpg"),
        ("\\a\\b.jpg?c\\d", "/a/b.jpg?c%5Cd"),
        ("/100%.jpg?5%&%zz", "/100%25.jpg?5%25&%25zz"),
        ("/%C3%A4%2f%e4.jpg", "/%C3%A4%2f%e4.jpg"),
        ("/ä.jpg?ö", "/%C3%A4.jpg?%C3%B6"),
    ],
)
def test_request_has_the_path_of_the_address(path, target):
    with recorder() as host:
        assert fetch(host, f"http://{host.netloc}{path}").status == 200
        assert host.targets == [target] and host.hosts == [host.netloc]


@pytest.mark.parametrize(
    ("location", "target"),
    [
        ("/bär;a=b.jpg?ö".encode(), "/b%C3%A4r;a=b.jpg?%C3%B6"),
        ("/bär.jpg".encode("latin-1"), "/b%E4r.jpg"),  # the bytes with which the host names its file
        (b"/b%C3%A4r.jpg", "/b%C3%A4r.jpg"),
        (b"new.jpg", "/folder/new.jpg"),
        (b"../new.jpg;v=2#top", "/new.jpg;v=2"),
        (b"?size=2", "/folder/old.jpg;v=1?size=2"),
        (b"?", "/folder/old.jpg;v=1?"),
        (b"/new.jpg?", "/new.jpg?"),
        (b"//HOST//new.jpg", "//new.jpg"),
        (b"\\new\\a.jpg?b\\c", "/new/a.jpg?b%5Cc"),
        (b"/new one.jpg", "/new%20one.jpg"),
        (b"/100%.jpg", "/100%25.jpg"),
        (b"http://user:secret@HOST/new.jpg", "/new.jpg"),
    ],
)
def test_redirect_leads_to_its_location(location, target):
    with recorder() as host:
        host.header = b"Location: " + location.replace(b"HOST", host.netloc.encode()) + b"\r\n"
        assert fetch(host, f"http://{host.netloc}/folder/old.jpg;v=1?size=1").status == 200
        assert host.targets == ["/folder/old.jpg;v=1?size=1", target] and host.hosts == [host.netloc] * 2


@pytest.mark.parametrize(
    "location", [b"ftp://elsewhere/x", b"javascript:x", b"http://[::1", b"https://", b"//h:99999/"]
)
def test_redirect_to_an_invalid_address_is_reported(location):
    with recorder(b"Location: " + location + b"\r\n") as host:
        with pytest.raises(FetchError, match="is not a valid URL") as failure:
            fetch(host, f"http://{host.netloc}/")
        assert location.decode().strip("/") in str(failure.value) and len(host.targets) == 1


def test_ipv6_address_and_address_with_a_password():
    with recorder() as host:
        assert fetch(host, f"http://user:secret@LOCALHOST:{host.port}/x").status == 200
        assert host.hosts == [f"localhost:{host.port}"]
    if socket.has_ipv6:
        with recorder(family=socket.AF_INET6) as host:
            assert fetch(host, f"http://{host.netloc}/x").status == 200
            assert host.hosts == [host.netloc]


def test_headers_may_contain_any_bytes():
    header = b"Content-Type: Image/J\xe4\xff; x=\xc3\xa4\r\nX-Robots-Tag: \xfc\r\nRetry-After: \xb2\r\n"
    with recorder(header) as host:
        response = fetch(host, f"http://{host.netloc}/")
        assert (response.status, response.type, response.wait) == (200, "image/j\xe4\xff", 0)


@pytest.mark.parametrize(
    ("url", "asked"),
    [
        ("http://BÜCHER.example/", "http://xn--bcher-kva.example/"),
        ("http://straße.example/", "http://xn--strae-oqa.example/"),  # as browsers; another host than strasse.example
        ("http://例え。jp", "http://xn--r8jz45g.jp/"),
        ("http://💩.la/", "http://xn--ls8h.la/"),
        ("HTTPS://Host.example:443/", "https://host.example/"),
        ("http://host.example:443/", "http://host.example:443/"),
    ],
)
def test_hosts_are_normalized(url, asked):
    assert as_ascii(url) == asked


@pytest.mark.parametrize(
    "url", ["http://h:0/", "http://h:x/", "http://h:99999/", "http://ä..b/", "http://h/\ud800", ""]
)
def test_invalid_address_is_reported_and_stops_no_other(url):
    with recorder() as host, Fetcher(host.allowed) as fetcher:
        came = dict(fetcher.fetch_images([url, f"http://{host.netloc}/x"]))
        assert "is not a valid URL" in str(came[url]) and not came[f"http://{host.netloc}/x"].body


@pytest.mark.parametrize(
    "address",
    "127.0.0.1 10.1.2.3 192.168.0.1 172.16.0.1 169.254.169.254 0.0.0.0 100.64.0.1 224.0.0.1 255.255.255.255 ::1 :: "
    "fe80::1 fe80::1%eth0 fc00::1 ff02::1 ::ffff:127.0.0.1 ::ffff:10.0.0.1 2002:7f00:1:: 64:ff9b::7f00:1".split(),
)
def test_private_addresses_are_not_public(address):
    assert not is_public(address)


def test_public_addresses_are_public():
    assert all(map(is_public, ["1.1.1.1", "2606:4700::1111", "::ffff:1.1.1.1", "64:ff9b::101:101"]))


def test_host_with_a_private_and_a_public_address_is_refused(monkeypatch):
    """As in a DNS rebinding attack. The name is resolved once, and the checked address is used."""
    asked = []

    def resolve(host, port, *args, **kwargs):
        asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (ip, port)) for ip in ("1.1.1.1", "127.0.0.1")]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    with Fetcher() as fetcher, pytest.raises(FetchError, match=r"rebound\.example is a private address"):
        fetcher.fetch("http://rebound.example/x.jpg")
    assert asked == ["rebound.example"]


@pytest.mark.parametrize("url", ["ftp://example.org/x", "file:///etc/passwd", "heart.jpg", "http://", "http://[::1/x"])
def test_invalid_address_is_reported(url):
    with Fetcher() as fetcher, pytest.raises(FetchError, match="not a valid URL"):
        fetcher.fetch(url)
