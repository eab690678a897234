"""Images by address, from hosts that the deployer allowed, and from nowhere else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

import aiohttp
from yarl import URL

from colpali_serve.engine.items import ImageInput, Input
from colpali_serve.engine.settings import EncoderSettings
from colpali_serve.executors.addresses import (
    Address,
    Lookup,
    PublicResolver,
    RefusedError,
    is_public,
    literal,
    look_up,
)
from colpali_serve.schemas import InvalidPageError, OverloadedError

_PORTS: Final = {"http": 80, "https": 443}
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_MAX_REDIRECTS = 5
_AT_ONCE = 8
_CHUNK_BYTES = 64 * 1024


class Fetcher:
    """Fetches images for requests, a few at a time.

    A name is looked up once for each connection; every address that it has must be public, and
    the connection goes to one of those: a name service that answers otherwise a moment later
    changes nothing. Redirects are followed by hand, each as if it were an address of its own.

    Args:
        allow_hosts: ``example.com``, ``*.example.com``, ``example.com:8443`` or ``*``.
        max_bytes: Of one image.
        max_held_bytes: Of all images that are fetched and not in the encoder's queue yet.
        timeout_s: For one image.
        lookup: The name service.
        allowed_address: Which addresses may be connected to.
    """

    def __init__(
        self,
        allow_hosts: Sequence[str],
        max_bytes: int,
        max_held_bytes: int,
        timeout_s: float,
        lookup: Lookup = look_up,
        allowed_address: Callable[[Address], bool] = is_public,
    ) -> None:
        self._hosts = [host.lower() for host in allow_hosts]
        self._max_bytes = max_bytes
        self._max_held_bytes = max_held_bytes
        self._timeout_s = timeout_s
        self._resolver = PublicResolver(lookup, allowed_address)
        self._allowed_address = allowed_address
        self._places = asyncio.Semaphore(_AT_ONCE)
        self._held_bytes = 0

    @asynccontextmanager
    async def fetched(
        self, entries: Sequence[Input], *, all_or_none: bool
    ) -> AsyncIterator[list[Input | InvalidPageError]]:
        """Replace addresses by what is there, for as long as the block runs.

        Args:
            entries: Of a request.
            all_or_none: Whether the first address that cannot be fetched ends it.

        Yields:
            The entries, those with addresses replaced by the image or by the error.

        Raises:
            InvalidPageError: Where that was asked for.
            OverloadedError: Too many images are held already.
        """
        tasks = {
            index: asyncio.create_task(self.fetch(entry))
            for index, entry in enumerate(entries)
            if isinstance(entry, ImageInput) and _is_elsewhere(entry)
        }
        found: list[Input | InvalidPageError] = list(entries)
        try:
            for index, task in tasks.items():
                found[index] = result = await task
                if all_or_none and isinstance(result, InvalidPageError):
                    raise result
            yield found
        finally:
            for task in tasks.values():
                task.cancel()
            for done in await asyncio.gather(*tasks.values(), return_exceptions=True):
                if isinstance(done, ImageInput):
                    self._held_bytes -= len(done.data or b"")

    async def fetch(self, entry: ImageInput) -> ImageInput | InvalidPageError:
        """Fetch an image.

        Args:
            entry: With its address.

        Returns:
            The input with the image instead of the address, or why there is none.

        Raises:
            OverloadedError: Too many images are held already.
        """
        url = entry.url or ""
        try:
            async with self._places, asyncio.timeout(self._timeout_s):
                data = await self._follow(url)
        except TimeoutError:
            reason = f"takes longer than {self._timeout_s:g} s"
        except RefusedError as error:
            reason = str(error)
        except (aiohttp.ClientError, OSError, ValueError):
            # What they say names addresses that this machine sees and the caller may not.
            reason = "cannot be fetched"
        else:
            return ImageInput(entry.id, data, None, kind=entry.kind)
        message = f"{entry.owner}: url {_shown(url)} {reason}, expected an image on an allowed host"
        return InvalidPageError(message, entry.id)

    async def _follow(self, text: str) -> bytes:
        # One parser for the check and for the connection: two would differ somewhere.
        url = URL(text)
        for _ in range(_MAX_REDIRECTS + 1):
            self._check(url)
            found = await self._get(url)
            if isinstance(found, bytes):
                return found
            url = url.join(URL(found))
        raise RefusedError(f"is redirected more than {_MAX_REDIRECTS} times")

    def _check(self, url: URL) -> None:
        if url.scheme not in _PORTS:
            raise RefusedError("is not http or https")
        if url.user is not None or url.password is not None:
            raise RefusedError("holds a user name")
        host = (url.host or "").rstrip(".").lower()
        if not host or not self._is_allowed(host, url.port or 0, _PORTS[url.scheme]):
            raise RefusedError("is on a host that is not allowed")
        address = literal(host)
        if address is not None and not self._allowed_address(address):
            raise RefusedError("is not at a public address")

    def _is_allowed(self, host: str, port: int, usual: int) -> bool:
        for pattern in self._hosts:
            name, colon, wanted = pattern.rpartition(":")
            if not colon or not wanted.isdigit():
                name, wanted = pattern, str(usual)
            if str(port) != wanted:
                continue
            if name in ("*", host) or (name.startswith("*.") and host.endswith(name[1:])):
                return True
        return False

    async def _get(self, url: URL) -> bytes | str:
        """Return what is there, or where it says that it is."""
        connector = aiohttp.TCPConnector(
            resolver=self._resolver, use_dns_cache=False, force_close=True
        )
        async with (
            aiohttp.ClientSession(
                connector=connector,
                cookie_jar=aiohttp.DummyCookieJar(),
                # A compressed body may be a thousand times as large as what was counted.
                auto_decompress=False,
                headers={"accept": "image/*", "accept-encoding": "identity"},
                # A proxy of the environment would connect to where it likes.
                trust_env=False,
            ) as session,
            session.get(url, allow_redirects=False) as response,
        ):
            if response.status in _REDIRECTS:
                return response.headers.get("location", "")
            if response.status != 200:
                raise RefusedError(f"is answered with status {response.status}")
            if response.headers.get("content-encoding", "identity").lower() != "identity":
                raise RefusedError("is sent compressed")
            return await self._body(response)

    async def _body(self, response: aiohttp.ClientResponse) -> bytes:
        parts: list[bytes] = []
        size = 0
        complete = False
        try:
            async for part in response.content.iter_chunked(_CHUNK_BYTES):
                size += len(part)
                self._held_bytes += len(part)
                if size > self._max_bytes:
                    raise RefusedError(f"has more than {self._max_bytes} bytes")
                if self._held_bytes > self._max_held_bytes:
                    raise OverloadedError("too many images are being fetched; try again later")
                parts.append(part)
            complete = True
            return b"".join(parts)
        finally:
            if not complete:
                self._held_bytes -= size


def _is_elsewhere(entry: ImageInput) -> bool:
    url = entry.url or ""
    return entry.data is None and url[:8].lower().startswith(("http://", "https://"))


def fetcher_of(settings: EncoderSettings) -> Fetcher | None:
    """Return what fetches images; None where no host is allowed."""
    if not settings.allow_hosts:
        return None
    return Fetcher(
        settings.allow_hosts,
        settings.max_image_bytes,
        settings.max_queue_mb * 1024**2,
        settings.fetch_timeout_s,
    )


def _shown(url: str) -> Any:
    most = 100
    return repr(url if len(url) <= most else f"{url[:most]}...")
