"""Fetching: an address becomes bytes or a sentence, in bounded time, politely, and from public addresses only."""

import asyncio
import queue
import socket
import threading
import time
import zlib
from concurrent.futures import CancelledError
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from ipaddress import IPv4Address, ip_address, ip_network
from itertools import islice
from urllib.parse import quote, urljoin, urlsplit

import httpcore2

USER_AGENT = "icon-classifier/1 (gathers pictures to learn to tell them apart; honours X-Robots-Tag)"
PICTURES = ("image/", "application/octet-stream", "binary/octet-stream")  # the types that a picture may come as
REDIRECTS = 5
ATTEMPTS = 3  # at a host that answers 429 or 503
PATIENCE = 5  # s; a host that wants a longer pause is left alone until the next run
_NAT64 = ip_network("64:ff9b::/96")
_AS_IT_IS = "/%:=&~+!$,;'@()*[]"  # in an address; all else is percent-encoded


class FetchError(Exception):
    """Nothing usable came from this address; the message is a sentence.

    `status`: the HTTP status, where there was one. `again`: another time it may work. `wait`: in how many seconds,
    where the host said so.
    """

    def __init__(self, message, status="", again=False, wait=None):
        super().__init__(message)
        self.status, self.again, self.wait = status, again, wait


@dataclass
class Answer:
    """What a server sent: its status, the type without parameters, the body, and the seconds of Retry-After (or 0)."""

    status: int
    type: str
    body: bytes
    wait: float = 0.0


@dataclass
class _Host:
    slots: asyncio.Semaphore
    resume: float = 0.0  # the host asked not to be asked before this time
    closed: FetchError | None = None  # why it is not asked any more
    silent: int = 0
    answered: bool = field(default=False)


def is_public(address):
    """Whether an IP `address` is one of the public internet: not private, loopback, link-local, multicast ..."""
    ip = ip_address(address.partition("%")[0])
    if ip.version == 6:
        ip = IPv4Address(int(ip) & 0xFFFFFFFF) if ip in _NAT64 else ip.ipv4_mapped or ip.sixtofour or ip
    return ip.is_global and not ip.is_multicast


class _PublicOnly(httpcore2.AnyIOBackend):
    """Connects to the very address that was checked: a name that resolves anew in between gains nothing by it."""

    def __init__(self, allow_hosts):
        self.allow_hosts = set(allow_hosts)

    async def connect_tcp(self, host, port, timeout=None, local_address=None, socket_options=None):
        try:
            found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError):
            raise FetchError(f"There is no host {host}, or no network.", again=True) from None
        addresses = [entry[4][0] for entry in found]
        if f"{host}:{port}" not in self.allow_hosts and not all(map(is_public, addresses)):
            raise FetchError(f"{host} is a private address, and an address from the web must not lead there.")
        for address in addresses[:-1]:
            try:
                return await super().connect_tcp(address, port, timeout, local_address, socket_options)
            except httpcore2.ConnectError:
                continue
        return await super().connect_tcp(addresses[-1], port, timeout, local_address, socket_options)


class Fetcher:
    """Fetches many addresses at once, as a context manager; its event loop has a thread of its own, as Jupyter needs.

    `allow_hosts`: "host:port" pairs that may be private. `per_host`, `at_once`: how many requests are under way, at
    one host and in all. `seconds`: the time for one link, from connecting to the last byte and over all redirects.
    `max_bytes`: the largest body, also once decompressed. Proxies of the environment are not used.
    """

    def __init__(self, allow_hosts=(), per_host=12, at_once=24, seconds=10, max_bytes=20_000_000):
        self.allow_hosts, self.per_host, self.at_once = allow_hosts, per_host, at_once
        self.seconds, self.max_bytes = seconds, max_bytes

    def __enter__(self):
        self._loop = asyncio.new_event_loop()
        self._hosts = {}
        self._pool = httpcore2.AsyncConnectionPool(
            max_connections=self.at_once, network_backend=_PublicOnly(self.allow_hosts)
        )
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_):
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _end(self):
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._pool.aclose()

    def fetch(self, url, method="GET", headers=None, content=None, seconds=None):
        """Fetch one address and return its `Answer`, whatever its status; raise `FetchError`."""
        ask = self._ask(url, method, headers or {}, content, None, seconds or self.seconds)
        return asyncio.run_coroutine_threadsafe(ask, self._loop).result()

    def fetch_pictures(self, urls):
        """Yield (url, `Answer` or `FetchError`) as they arrive; no more than `at_once` are ahead of the caller."""
        arrived, urls, under_way = queue.SimpleQueue(), iter(urls), 0
        for url in islice(urls, self.at_once):
            asyncio.run_coroutine_threadsafe(self._picture(url, arrived), self._loop)
            under_way += 1
        while under_way:
            yield arrived.get()
            under_way -= 1
            for url in islice(urls, 1):
                asyncio.run_coroutine_threadsafe(self._picture(url, arrived), self._loop)
                under_way += 1

    async def _picture(self, url, arrived):
        try:
            arrived.put((url, await self._polite(url)))
        except FetchError as error:
            arrived.put((url, error))
        except (asyncio.CancelledError, CancelledError):
            raise
        except Exception as error:  # a link must not stop the others, whatever a stranger's server thought up
            arrived.put((url, FetchError(f"The address could not be fetched: {type(error).__name__}: {error}.")))

    async def _polite(self, url):
        """Ask for a picture when the host has a slot free and wants to be asked."""
        name = urlsplit(url).hostname or ""
        host = self._hosts.setdefault(name, _Host(asyncio.Semaphore(self.per_host)))
        async with host.slots:
            for attempt in range(ATTEMPTS):
                if host.closed:
                    raise host.closed
                await asyncio.sleep(max(0, host.resume - time.monotonic()))
                try:
                    answer = await self._ask(url, "GET", {"User-Agent": USER_AGENT}, None, PICTURES, self.seconds)
                    host.answered = True
                    return answer
                except FetchError as error:
                    host.answered |= error.status != ""
                    host.silent += error.status == "" and error.again
                    if host.silent >= self.per_host and not host.answered:
                        host.closed = FetchError(
                            f"{name} did not answer {host.silent} times, and never did.", again=True
                        )
                    if error.wait is None:
                        raise
                    wait = error.wait or 2**attempt
                    if wait > PATIENCE or attempt == ATTEMPTS - 1:
                        host.closed = FetchError(f"{error} So {name} is left alone for now.", again=True)
                        raise
                    host.resume = max(host.resume, time.monotonic() + wait)

    async def _ask(self, url, method, headers, content, types, seconds):
        try:
            async with asyncio.timeout(seconds):  # over everything: a time-out for each read does not stop a drip
                for _ in range(REDIRECTS + 1):
                    answer, url = await self._hop(_ascii(url), method, headers, content, types)
                    if answer:
                        return answer
            raise FetchError(f"It redirects more than {REDIRECTS} times.")
        except TimeoutError:
            raise FetchError(f"It was not done within {seconds:.3g} s.", again=True) from None
        except (httpcore2.NetworkError, httpcore2.TimeoutException, httpcore2.RemoteProtocolError) as error:
            raise FetchError(f"The connection failed: {str(error) or type(error).__name__}.", again=True) from None
        except (httpcore2.UnsupportedProtocol, httpcore2.LocalProtocolError, ValueError) as error:
            raise FetchError(f"This is no address that can be fetched: {error}.") from None

    async def _hop(self, url, method, headers, content, types):
        """One request: its `Answer`, or None and the address that it leads to."""
        headers = {"Accept-Encoding": "identity", **headers}
        async with self._pool.stream(method, url, headers=list(headers.items()), content=content) as response:
            sent = [(key.decode("latin-1").lower(), value.decode("latin-1")) for key, value in response.headers]
            header, status = dict(sent), response.status
            if status in (301, 302, 303, 307, 308) and "location" in header:
                return None, urljoin(url, header["location"])
            kind = header.get("content-type", "").partition(";")[0].strip().lower()
            if types:
                _check(status, header, [value for key, value in sent if key == "x-robots-tag"], kind, types)
            body = bytearray()
            async for chunk in response.aiter_stream():
                body += chunk
                if len(body) > self.max_bytes:
                    raise FetchError(f"It is larger than {self.max_bytes / 1e6:.3g} MB.", status)
        body = self._decompress(bytes(body), header.get("content-encoding", ""), status)
        return Answer(status, kind, body, _seconds(header.get("retry-after", ""))), url

    def _decompress(self, body, encoding, status):
        if encoding in ("", "identity"):
            return body
        try:
            plain = zlib.decompressobj(47).decompress(body, self.max_bytes + 1)  # gzip or zlib, never more than asked
        except zlib.error:
            raise FetchError(f"It is compressed in a way that I do not read ({encoding}).", status) from None
        if len(plain) > self.max_bytes:
            raise FetchError(f"Decompressed it is larger than {self.max_bytes / 1e6:.3g} MB.", status)
        return plain


def _check(status, header, robots, kind, types):
    if status in (429, 503):
        wait = _seconds(header.get("retry-after", ""))
        when = f" and asks for {wait:.0f} s of rest" if wait else ""
        raise FetchError(f"The server is busy: it answers {status}{when}.", status, again=True, wait=wait)
    if status != 200:
        raise FetchError(f"The server answers {status}.", status, again=status >= 500)
    for value in robots:  # "noai, noindex", or "some-bot: noai", which is meant for some-bot
        agent, colon, rules = value.rpartition(":")
        words = {word.strip().lower() for word in rules.split(",")}
        refused = sorted(words & {"noai", "noimageai", "noindex", "noimageindex", "none"})
        if refused and (not colon or agent.strip().lower() in ("*", "icon-classifier")):
            raise FetchError(f"Its owner does not want it used (X-Robots-Tag: {refused[0]}).", status)
    if kind and (not kind.startswith(types) or kind == "image/svg+xml"):
        raise FetchError(f"It is no photograph: its type is {kind}.", status)


def _seconds(text):
    """Retry-After, a number or a date, as seconds; 0 where it says nothing."""
    try:
        return max(0.0, float(text))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except (TypeError, ValueError):
        return 0.0


def _ascii(url):
    """`url` with what is not ASCII or not allowed encoded; what is encoded already stays."""
    parts = urlsplit(url.strip())
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise FetchError("This is no address that begins with http:// or https://.")
    host = parts.hostname if parts.hostname.isascii() else parts.hostname.encode("idna").decode()
    host = f"[{host}]" if ":" in host else host
    port = f":{parts.port}" if parts.port else ""
    query = f"?{quote(parts.query, safe=_AS_IT_IS + '?')}" if parts.query else ""
    return f"{parts.scheme}://{host}{port}{quote(parts.path or '/', safe=_AS_IT_IS)}{query}"
