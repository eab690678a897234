"""Images by address, from a real server of this test's own."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest
from aiohttp import web

from colpali_serve.engine.items import ImageInput, TextInput
from colpali_serve.engine.settings import EncoderSettings
from colpali_serve.executors.fetching import Fetcher, fetcher_of
from colpali_serve.schemas import InvalidPageError, OverloadedError

IMAGE = b"an image, as far as fetching is concerned" * 100
HOME = ipaddress.ip_address("127.0.0.1")


async def to_this_machine(host: str, port: int) -> list[str]:
    return ["127.0.0.1"]


def home(address: Any) -> bool:
    """Let the test's own server pass for a public one, and no other address."""
    return bool(address == HOME)


class Server:
    """Answers by path, and notes what it was asked."""

    def __init__(self) -> None:
        self.asked: list[web.Request] = []
        self.port = 0

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request)
        where = request.path
        if where == "/image":
            return web.Response(body=IMAGE)
        if where.startswith("/to/"):
            return web.Response(status=302, headers={"location": where.removeprefix("/to/")})
        if where == "/again":
            return web.Response(status=302, headers={"location": "/again"})
        if where == "/nowhere":
            return web.Response(status=302)
        if where == "/slow":
            await asyncio.sleep(2)
        if where == "/compressed":
            return web.Response(body=b"x", headers={"content-encoding": "gzip"})
        if where == "/endless":
            response = web.StreamResponse()
            await response.prepare(request)
            while True:
                await response.write(bytes(100_000))
        return web.Response(status=404)


def fetching(
    work: Callable[[Server, Callable[..., Fetcher]], Awaitable[Any]],
) -> Any:
    """Run `work` beside a server; its second argument makes a fetcher for it."""

    async def main() -> Any:
        server = Server()
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", server.handle)
        runner = web.AppRunner(app, shutdown_timeout=0)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        server.port = runner.addresses[0][1]

        def make(hosts: Sequence[str] = (), **more: Any) -> Fetcher:
            settings = {
                "max_bytes": 10**6,
                "max_held_bytes": 10**7,
                "timeout_s": 5.0,
                "lookup": to_this_machine,
                "allowed_address": home,
            }
            allowed = [*hosts, f"pages.test:{server.port}"]
            return Fetcher(allowed, **{**settings, **more})

        try:
            return await work(server, make)
        finally:
            await runner.cleanup()

    return asyncio.run(main())


def fetch(path: str, **more: Any) -> tuple[Any, Server]:
    async def work(server: Server, make: Callable[..., Fetcher]) -> Any:
        url = path.replace("{port}", str(server.port))
        url = f"http://pages.test:{server.port}{url}" if url.startswith("/") else url
        return await make(**more).fetch(ImageInput("a", None, url)), server

    return fetching(work)  # type: ignore[no-any-return]


def reason(path: str, **more: Any) -> str:
    found, _ = fetch(path, **more)
    assert isinstance(found, InvalidPageError)
    assert found.item == "a"
    assert found.message.startswith("page 'a': url '")
    assert "127.0.0.1" not in found.message.partition(" is ")[2]
    return found.message


def test_an_image_is_fetched_by_name_without_cookies_or_proxies(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    found, server = fetch("/image")
    assert found == ImageInput("a", IMAGE)
    [asked] = server.asked
    assert asked.headers["host"] == f"pages.test:{server.port}"
    assert asked.headers["accept-encoding"] == "identity"
    assert "cookie" not in asked.headers


def test_redirects_on_the_host_are_followed() -> None:
    found, server = fetch("/to//image")
    assert found == ImageInput("a", IMAGE)
    assert [request.path for request in server.asked] == ["/to//image", "/image"]


@pytest.mark.parametrize(
    "target",
    [
        "http://127.0.0.1:{port}/image",
        "http://2130706433:{port}/image",
        "http://[::1]:{port}/image",
        "http://169.254.169.254/latest",
        "http://elsewhere.test:{port}/image",
        "file:///etc/passwd",
        "gopher://pages.test:{port}/image",
        "data:image/png;base64,aGk=",
    ],
)
def test_each_redirect_is_checked_again(target: str) -> None:
    found, server = fetch(f"/to/{target}")
    assert isinstance(found, InvalidPageError)
    assert "not allowed" in found.message or "not http" in found.message
    assert len(server.asked) == 1


def test_redirects_end() -> None:
    assert "is redirected more than 5 times" in reason("/again")
    assert "is redirected more than 5 times" in reason("/nowhere")


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:{port}/image",
        "http://2130706433:{port}/image",
        "http://0x7f000001:{port}/image",
        "http://0177.0.0.1:{port}/image",
        "http://127.1:{port}/image",
        "http://0:{port}/image",
        "http://[::1]:{port}/image",
        "http://[::ffff:127.0.0.1]:{port}/image",
        "http://169.254.169.254/latest/meta-data",
        "http://[fd00:ec2::254]/latest",
        "http://localhost:{port}/image",
    ],
)
def test_no_private_address_even_where_every_host_is_allowed(url: str) -> None:
    async def work(server: Server, make: Callable[..., Fetcher]) -> None:
        from colpali_serve.executors.addresses import is_public, look_up

        fetcher = make(
            ["*", f"*:{server.port}"], allowed_address=is_public, lookup=look_up, timeout_s=3.0
        )
        where = url.replace("{port}", str(server.port))
        found = await fetcher.fetch(ImageInput("a", None, where))
        assert isinstance(found, InvalidPageError)
        assert "public address" in found.message or "cannot be fetched" in found.message
        assert server.asked == []

    fetching(work)


def test_a_name_that_leads_home_is_refused_though_it_was_public_before() -> None:
    answers = iter([["1.1.1.1"], ["127.0.0.1"], ["1.1.1.1"]])

    async def rebinding(host: str, port: int) -> list[str]:
        return next(answers)

    async def work(server: Server, make: Callable[..., Fetcher]) -> None:
        from colpali_serve.executors.addresses import is_public

        fetcher = make(allowed_address=is_public, lookup=rebinding)
        await rebinding("", 0)  # what somebody else saw
        url = f"http://pages.test:{server.port}/image"
        found = await fetcher.fetch(ImageInput("a", None, url))
        assert isinstance(found, InvalidPageError)
        assert "is not at a public address" in found.message
        assert server.asked == []

    fetching(work)


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("http://other.test/image", "is on a host that is not allowed"),
        ("http://pages.test/image", "is on a host that is not allowed"),
        ("http://pages.test.evil.test:{port}/image", "is on a host that is not allowed"),
        ("http://evil.test#@pages.test:{port}/image", "is on a host that is not allowed"),
        ("http://pages.test@evil.test:{port}/image", "holds a user name"),
        ("http://user:word@pages.test:{port}/image", "holds a user name"),
        ("http://:{port}/image", ""),
        ("http://pages.test:99999/image", ""),
        ("http://[::1/image", ""),
        ("http://\\evil.test/image", ""),
    ],
)
def test_addresses_that_are_not_allowed(url: str, why: str) -> None:
    found, server = fetch(url)
    assert isinstance(found, InvalidPageError)
    assert why in found.message
    assert server.asked == []


def test_subdomains_are_allowed_by_a_star() -> None:
    async def work(server: Server, make: Callable[..., Fetcher]) -> None:
        fetcher = make([f"*.docs.test:{server.port}"])
        for host, fine in (("a.docs.test", True), ("docs.test", False), ("xdocs.test", False)):
            entry = ImageInput("a", None, f"http://{host}:{server.port}/image")
            assert isinstance(await fetcher.fetch(entry), ImageInput) == fine

    fetching(work)


def test_answers_that_are_no_image() -> None:
    assert "is answered with status 404" in reason("/missing")
    assert "is sent compressed" in reason("/compressed")


def test_bytes_and_time_are_capped() -> None:
    assert "has more than 1000000 bytes" in reason("/endless")
    assert "takes longer than 0.3 s" in reason("/slow", timeout_s=0.3)


def test_a_server_that_is_not_there() -> None:
    async def work(server: Server, make: Callable[..., Fetcher]) -> Any:
        fetcher = make(["pages.test:1"])
        return await fetcher.fetch(ImageInput("a", None, "http://pages.test:1/image"))

    found = fetching(work)
    assert "url 'http://pages.test:1/image' cannot be fetched" in found.message
    assert "127.0.0.1" not in found.message


def test_the_entries_of_a_request_keep_their_places() -> None:
    async def work(server: Server, make: Callable[..., Fetcher]) -> None:
        fetcher = make()
        base = f"http://pages.test:{server.port}"
        entries = [
            TextInput("q", "text"),
            ImageInput("a", None, f"{base}/image"),
            ImageInput("b", b"bytes"),
            ImageInput("c", None, f"{base}/missing"),
            ImageInput("d", None, "data:image/png;base64,aGk="),
        ]
        async with fetcher.fetched(entries, all_or_none=False) as found:
            assert [found[0], found[2], found[4]] == [entries[0], entries[2], entries[4]]
            assert found[1] == ImageInput("a", IMAGE)
            assert isinstance(found[3], InvalidPageError)
        with pytest.raises(InvalidPageError, match="page 'c'"):
            async with fetcher.fetched(entries, all_or_none=True):
                pytest.fail("the block must not run")
        # Nothing is held any more.
        assert fetcher._held_bytes == 0

    fetching(work)


def test_images_that_are_held_are_bounded() -> None:
    async def work(server: Server, make: Callable[..., Fetcher]) -> None:
        fetcher = make(max_held_bytes=len(IMAGE) + 10)
        entry = ImageInput("a", None, f"http://pages.test:{server.port}/image")
        async with fetcher.fetched([entry], all_or_none=True):
            with pytest.raises(OverloadedError):
                async with fetcher.fetched([entry], all_or_none=True):
                    pytest.fail("the block must not run")
        async with fetcher.fetched([entry], all_or_none=True) as found:
            assert found == [ImageInput("a", IMAGE)]

    fetching(work)


def test_without_allowed_hosts_there_is_no_fetcher() -> None:
    assert fetcher_of(EncoderSettings()) is None
    assert fetcher_of(
        EncoderSettings.from_environment({}, {"COLPALI_ALLOW_HOSTS": "a.org, *.b.org"})
    )
