"""Guard against SSRF: connect to public addresses only, and normalize addresses as browsers do."""

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
_AS_IT_IS = "/%:=&~+!$,;'@()*[]?"  # characters of an address that are not percent-encoded


def is_public(address):
    """Return whether an IP `address` is public: not private, loopback, link-local, multicast, and so on."""
    ip = ip_address(address.partition("%")[0])
    if ip.version == 6:
        ip = IPv4Address(int(ip) & 0xFFFFFFFF) if ip in _NAT64 else ip.ipv4_mapped or ip.sixtofour or ip
    return ip.is_global and not ip.is_multicast


class PublicOnly(httpcore2.AnyIOBackend):
    """Connects to the address that was checked, so that a host name that resolves differently later has no effect."""

    def __init__(self, allow_hosts):
        self.allow_hosts = {allow_hosts} if isinstance(allow_hosts, str) else set(allow_hosts)

    async def connect_tcp(self, host, port, timeout=None, local_address=None, socket_options=None):
        try:
            found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError):
            raise FetchError(f"The host {host} was not found, or there is no network.", again=True) from None
        addresses = list(dict.fromkeys(entry[4][0] for entry in found))
        if f"{host}:{port}" not in self.allow_hosts and not all(map(is_public, addresses)):
            raise FetchError(f"{host} is a private address, and only public addresses are allowed.")
        for address in addresses[:-1]:
            try:  # an IPv6 address may be unreachable
                return await super().connect_tcp(address, port, 2, local_address, socket_options)
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout):
                continue
        return await super().connect_tcp(addresses[-1], port, timeout, local_address, socket_options)


def as_ascii(url):
    """Return `url` as a browser requests it. Raises `FetchError` if it is not a valid address.

    Characters that are already encoded stay, and so does the rest of the path and the query, such as `;`, `//` and an
    empty `?`. The fragment, the user name and password, and the scheme's default port are removed.
    """
    try:
        before, query, after = _as_browsers_read(url).partition("?")
        parts = urlsplit(before)
        if parts.scheme not in PORTS or not parts.hostname or parts.port == 0:
            raise FetchError(f"{url[:200]!r} is not a valid URL: it should begin with http:// or https://.")
        host = f"[{parts.hostname}]" if ":" in parts.hostname else _ascii_host(parts.hostname)
        port = f":{parts.port}" if parts.port not in (None, PORTS[parts.scheme]) else ""
        return f"{parts.scheme}://{host}{port}{_quoted(parts.path or '/')}{query}{_quoted(after)}"
    except ValueError as error:  # an invalid port, IPv6 address or host
        raise FetchError(f"{url[:200]!r} is not a valid URL: {error}.") from None


def redirect_target(url, location):
    """Return the target of a redirect from `url` with the header `location` (bytes); see `as_ascii`."""
    there = _as_browsers_read(location.decode("utf-8", "surrogateescape"))
    try:  # urljoin removes the question mark of an empty query
        there = urljoin(url, f"{there}x")[:-1] if there.endswith("?") else urljoin(url, there)
    except ValueError:  # `as_ascii` raises the error with its reason
        pass
    return as_ascii(there)


def _as_browsers_read(url):
    """Return `url` without fragment, surrounding white space and line breaks; replace `\\` before the query by `/`."""
    before, query, after = re.sub("[\t\r\n]", "", url.strip()).partition("#")[0].partition("?")
    return before.replace("\\", "/") + query + after


def _ascii_host(host):
    try:
        return host if host.isascii() else idna.encode(host, uts46=True).decode()
    except idna.IDNAError:  # some names, such as emoji, are valid in IDNA 2003 only
        return host.encode("idna").decode()


def _quoted(text):
    """Percent-encode characters that a path or a query may not contain, and percent signs that begin no escape."""
    text = re.sub("%(?![0-9a-fA-F]{2})", "%25", text)
    return quote(text, safe=_AS_IT_IS, errors="surrogateescape")  # a header may contain bytes that are not UTF-8


def request_of(url):
    """Return the `httpcore2.URL` and the header Host of a `url` that `as_ascii` returned.

    httpcore2 would remove the text after a `;` from a string, and write an IPv6 host into Host without brackets.
    """
    parts = urlsplit(url)
    target = f"/{url.split('/', 3)[3]}"
    return httpcore2.URL(scheme=parts.scheme, host=parts.hostname, port=parts.port, target=target), parts.netloc
