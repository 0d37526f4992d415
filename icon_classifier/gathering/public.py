"""The public internet and nothing else: which addresses may be connected to, and how they are written."""

import asyncio
import socket
from ipaddress import IPv4Address, ip_address, ip_network
from urllib.parse import quote, urlsplit

import httpcore2

from .links import FetchError

_NAT64 = ip_network("64:ff9b::/96")
_AS_IT_IS = "/%:=&~+!$,;'@()*[]"  # in an address; all else is percent-encoded


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
    """`url` with what is not ASCII or not allowed encoded; what is encoded already stays."""
    parts = urlsplit(url.strip())
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise FetchError("This is no address that begins with http:// or https://.")
    host = parts.hostname if parts.hostname.isascii() else parts.hostname.encode("idna").decode()
    host = f"[{host}]" if ":" in host else host
    port = f":{parts.port}" if parts.port else ""
    query = f"?{quote(parts.query, safe=_AS_IT_IS + '?')}" if parts.query else ""
    return f"{parts.scheme}://{host}{port}{quote(parts.path or '/', safe=_AS_IT_IS)}{query}"
