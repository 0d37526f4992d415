"""Download images from public addresses, within a time limit, and respecting the hosts."""

import asyncio
import queue
import threading
import time
import zlib
from dataclasses import dataclass
from itertools import islice
from urllib.parse import urlsplit

import httpcore2

from .links import FetchError
from .network_guard import PublicOnly, as_ascii, redirect_target, request_of
from .robots import IMAGE_TYPES, USER_AGENT, check_headers, seconds_of

MAX_REDIRECTS = 5
MAX_ATTEMPTS = 3  # at a host that responds with 429 or 503
FIRST_SECONDS = 6  # the time limit of an image; it grows by a second per MIN_BYTES_PER_SECOND bytes received
MIN_BYTES_PER_SECOND = 50_000
MAX_RETRY_AFTER = 5  # seconds; a host that asks for a longer pause is skipped until the next run


@dataclass
class Response:
    """A response: its status, media type without parameters, body, and Retry-After in seconds (or 0)."""

    status: int
    type: str
    body: bytes
    wait: float = 0.0


@dataclass
class _Host:
    slots: asyncio.Semaphore
    resume: float = 0.0  # the monotonic time before which the host wants no request
    closed: FetchError | None = None  # why the host gets no more requests
    silent: int = 0  # the number of requests without a response
    responded: bool = False  # whether it ever responded


class Fetcher:
    """Fetches many addresses concurrently. A context manager.

    The event loop runs in its own thread, because Jupyter runs one in the main thread. Proxies of the environment are
    not used.

    allow_hosts: "host:port" pairs that may be private.
    per_host, at_once: the maximum number of concurrent requests, per host and in all.
    seconds: the time limit per link, including name resolution and all redirects.
    max_bytes: the maximum size of a body, before and after decompression.
    """

    def __init__(self, allow_hosts=(), per_host=12, at_once=24, seconds=12, max_bytes=20_000_000):
        self.allow_hosts = allow_hosts
        self.per_host = per_host
        self.at_once = at_once
        self.seconds = seconds
        self.max_bytes = max_bytes

    def __enter__(self):
        self._loop = asyncio.new_event_loop()
        self._hosts = {}
        self._pool = httpcore2.AsyncConnectionPool(
            max_connections=self.at_once, network_backend=PublicOnly(self.allow_hosts)
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
        """Fetch one address and return its `Response`, also for HTTP errors. Raises `FetchError`."""
        ask = self._ask(url, method, headers or {}, content, None, seconds or self.seconds)
        return asyncio.run_coroutine_threadsafe(ask, self._loop).result()

    def fetch_images(self, urls):
        """Yield (url, `Response` or `FetchError`) as they arrive, at most `at_once` ahead of the caller."""
        arrived = queue.SimpleQueue()
        urls = iter(urls)
        pending = 0
        for url in islice(urls, self.at_once):
            asyncio.run_coroutine_threadsafe(self._image(url, arrived), self._loop)
            pending += 1
        while pending:
            yield arrived.get()
            pending -= 1
            for url in islice(urls, 1):
                asyncio.run_coroutine_threadsafe(self._image(url, arrived), self._loop)
                pending += 1

    async def _image(self, url, arrived):
        try:
            arrived.put((url, await self._polite(url)))
        except FetchError as error:
            arrived.put((url, error))
        except Exception as error:  # an untrusted server can cause any error, and it should not stop the other links
            arrived.put((url, FetchError(f"The address could not be fetched: {type(error).__name__}: {error}.")))

    async def _polite(self, url):
        """Request an image when the host has a free slot and its Retry-After has passed."""
        name = urlsplit(as_ascii(url)).hostname
        host = self._hosts.setdefault(name, _Host(asyncio.Semaphore(self.per_host)))
        async with host.slots:
            for attempt in range(MAX_ATTEMPTS):
                if host.closed:
                    raise host.closed
                await asyncio.sleep(max(0, host.resume - time.monotonic()))
                try:
                    response = await self._ask(url, "GET", {"User-Agent": USER_AGENT}, None, IMAGE_TYPES, self.seconds)
                    host.responded = True
                    return response
                except FetchError as error:
                    host.responded |= error.status != ""
                    host.silent += error.status == "" and error.again
                    if host.silent >= self.per_host and not host.responded:
                        host.closed = FetchError(f"{name} does not respond, so it is skipped in this run.", again=True)
                    if error.wait is None:
                        raise
                    wait = error.wait or 2**attempt
                    if wait > MAX_RETRY_AFTER or attempt == MAX_ATTEMPTS - 1:
                        host.closed = FetchError(f"{error} So {name} is skipped in this run.", again=True)
                        raise
                    host.resume = max(host.resume, time.monotonic() + wait)

    async def _ask(self, url, method, headers, content, types, seconds):
        began = asyncio.get_running_loop().time()
        first = min(FIRST_SECONDS, seconds) if types else seconds
        try:
            async with asyncio.timeout(first) as limit:  # in all: a timeout per read does not end a slow drip

                def earn(size):
                    limit.reschedule(began + min(seconds, first + size / MIN_BYTES_PER_SECOND))

                url = as_ascii(url)
                for _ in range(MAX_REDIRECTS + 1):
                    response, url = await self._hop(url, method, headers, content, types, earn)
                    if response:
                        return response
            raise FetchError(f"The address redirects more than {MAX_REDIRECTS} times.")
        except TimeoutError:
            spent = asyncio.get_running_loop().time() - began
            raise FetchError(f"The download did not end within {spent:.0f} s.", again=True) from None
        except (httpcore2.NetworkError, httpcore2.TimeoutException, httpcore2.RemoteProtocolError) as error:
            raise FetchError(f"The connection failed: {str(error) or type(error).__name__}.", again=True) from None
        except (httpcore2.UnsupportedProtocol, httpcore2.LocalProtocolError, ValueError) as error:
            raise FetchError(f"This address cannot be fetched: {error}.") from None

    async def _hop(self, url, method, headers, content, types, earn):
        """Send one request; return (`Response`, its address), or (None, the address) for a redirect.

        earn: called with the number of bytes received so far.
        """
        asked, host = request_of(url)
        headers = {"Host": host, "Accept-Encoding": "identity", **headers}
        async with self._pool.stream(method, asked, headers=list(headers.items()), content=content) as response:
            sent = [(key.decode("latin-1").lower(), value) for key, value in response.headers]
            status = response.status
            location = dict(sent).get("location")
            if status in (301, 302, 303, 307, 308) and location is not None:
                return None, redirect_target(url, location)
            sent = [(key, _text(value)) for key, value in sent]
            header = dict(sent)
            kind = header.get("content-type", "").partition(";")[0].strip().lower()
            if types:
                check_headers(status, header, [value for key, value in sent if key == "x-robots-tag"], kind, types)
            body = bytearray()
            async for chunk in response.aiter_stream():
                body += chunk
                earn(len(body))
                if len(body) > self.max_bytes:
                    raise FetchError(f"The file is larger than {self.max_bytes / 1e6:.3g} MB.", status)
        body = self._decompress(bytes(body), header.get("content-encoding", ""), status)
        return Response(status, kind, body, seconds_of(header.get("retry-after", ""))), url

    def _decompress(self, body, encoding, status):
        if encoding in ("", "identity"):
            return body
        try:
            plain = zlib.decompressobj(47).decompress(body, self.max_bytes + 1)  # gzip or zlib, with a size limit
        except zlib.error:
            raise FetchError(f"The file has an unsupported compression ({encoding}).", status) from None
        if len(plain) > self.max_bytes:
            raise FetchError(f"Decompressed, the file is larger than {self.max_bytes / 1e6:.3g} MB.", status)
        return plain


def _text(value):
    """Return the bytes of a header as text: decoded as UTF-8, which is most common, or else as Latin-1."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")
