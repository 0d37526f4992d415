"""Guard against SSRF: connect to public addresses only, and write addresses as browsers do."""

import asyncio
import re
import socket
from ipaddress import IPv4Address, ip_address, ip_network
from urllib.parse import quote, urljoin, urlsplit

import httpcore2
import idna

from .links import FetchError

_NAT64 = ip_network("64:ff9b::/96")
PORTS = {"http": 80, "https": 443}
_AS_IT_IS = "/%:=&~+!$,;'@()*[]?"  # in an address; all else is percent-encoded


def is_public(address):
    """Whether an IP `address` is one of the public internet: not private, loopback, link-local, multicast ..."""
    ip = ip_address(address.partition("%")[0])
    if ip.version == 6:
        ip = IPv4Address(int(ip) & 0xFFFFFFFF) if ip in _NAT64 else ip.ipv4_mapped or ip.sixtofour or ip
    return ip.is_global and not ip.is_multicast


class PublicOnly(httpcore2.AnyIOBackend):
    """Connects to the very address that was checked: a name that resolves anew in between gains nothing by it."""

    def __init__(self, allow_hosts):
        self.allow_hosts = {allow_hosts} if isinstance(allow_hosts, str) else set(allow_hosts)

    async def connect_tcp(self, host, port, timeout=None, local_address=None, socket_options=None):
        try:
            found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError):
            raise FetchError(f"There is no host {host}, or no network.", again=True) from None
        addresses = list(dict.fromkeys(entry[4][0] for entry in found))
        if f"{host}:{port}" not in self.allow_hosts and not all(map(is_public, addresses)):
            raise FetchError(f"{host} is a private address, and an address from the web must not lead there.")
        for address in addresses[:-1]:
            try:  # IPv6 may be announced and lead nowhere
                return await super().connect_tcp(address, port, 2, local_address, socket_options)
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout):
                continue
        return await super().connect_tcp(addresses[-1], port, timeout, local_address, socket_options)


def as_ascii(url):
    """Return `url` as it is asked for, as browsers write it; raise `FetchError` where it is no address.

    What is encoded already stays, and so does all else of a path or query, `;`, `//` and an empty `?` included. The
    fragment, a user's name and password, and the scheme's own port are left out.
    """
    try:
        before, query, after = _as_browsers_read(url).partition("?")
        parts = urlsplit(before)
        if parts.scheme not in PORTS or not parts.hostname or parts.port == 0:
            raise FetchError(f"{url[:200]!r} is no address that begins with http:// or https://.")
        host = f"[{parts.hostname}]" if ":" in parts.hostname else _ascii_host(parts.hostname)
        port = f":{parts.port}" if parts.port not in (None, PORTS[parts.scheme]) else ""
        return f"{parts.scheme}://{host}{port}{_quoted(parts.path or '/')}{query}{_quoted(after)}"
    except ValueError as error:  # a port, an IPv6 address or a host that cannot be
        raise FetchError(f"{url[:200]!r} is no address that can be fetched: {error}.") from None


def redirect_target(url, location):
    """Return where the header `location` (bytes) leads from `url`, as `as_ascii` does."""
    there = _as_browsers_read(location.decode("utf-8", "surrogateescape"))
    try:  # urljoin takes an empty query for none
        there = urljoin(url, f"{there}x")[:-1] if there.endswith("?") else urljoin(url, there)
    except ValueError:  # it cannot be read, and `as_ascii` says why
        pass
    return as_ascii(there)


def _as_browsers_read(url):
    """`url` without its fragment, white space around it and line breaks in it; `\\` means `/` before the query."""
    before, query, after = re.sub("[\t\r\n]", "", url.strip()).partition("#")[0].partition("?")
    return before.replace("\\", "/") + query + after


def _ascii_host(host):
    try:
        return host if host.isascii() else idna.encode(host, uts46=True).decode()
    except idna.IDNAError:  # what only the older rules allow, such as an emoji
        return host.encode("idna").decode()


def _quoted(text):
    """Percent-encode what a path or a query may not hold, and a percent sign that begins no escape."""
    text = re.sub("%(?![0-9a-fA-F]{2})", "%25", text)
    return quote(text, safe=_AS_IT_IS, errors="surrogateescape")  # bytes of a header that are not UTF-8 stay so


def request_of(url):
    """Return the `httpcore2.URL` and the header Host for a `url` that `as_ascii` returned.

    From a string, httpcore2 would drop what follows a `;`, and take an IPv6 host for Host as it is.
    """
    parts = urlsplit(url)
    target = f"/{url.split('/', 3)[3]}"
    return httpcore2.URL(scheme=parts.scheme, host=parts.hostname, port=parts.port, target=target), parts.netloc
