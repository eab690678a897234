"""What counts as a public address, in whatever notation."""

from __future__ import annotations

import asyncio
import ipaddress

import pytest

from colpali_serve.executors.addresses import PublicResolver, RefusedError, is_public, literal


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "127.8.8.8",
        "0.0.0.0",
        "10.0.0.1",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "192.0.2.1",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "fe80::1",
        "fc00::1",
        "ff02::1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "64:ff9b::7f00:1",
        "2002:7f00:1::",
        "2001:0:4136:e378:8000:63bf:3fff:fdd2",
    ],
)
def test_addresses_that_are_not_public(address: str) -> None:
    assert not is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize("address", ["1.1.1.1", "2606:4700::1111", "::ffff:1.1.1.1"])
def test_public_addresses(address: str) -> None:
    assert is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize(
    "written",
    ["127.0.0.1", "2130706433", "0x7f000001", "0177.0.0.1", "0x7f.0.0.1", "127.1", "127.0.1"],
)
def test_every_notation_of_an_address_is_read(written: str) -> None:
    assert literal(written) == ipaddress.ip_address("127.0.0.1")


@pytest.mark.parametrize("name", ["example.com", "a.b", "localhost", "1.2.3.4.5", "ö.de"])
def test_names_are_no_addresses(name: str) -> None:
    assert literal(name) is None


def test_one_private_address_among_public_ones_spoils_a_name() -> None:
    async def mixed(host: str, port: int) -> list[str]:
        return ["1.1.1.1", "10.0.0.1"]

    with pytest.raises(RefusedError):
        asyncio.run(PublicResolver(mixed, is_public).resolve("mixed.test", 80))


def test_a_name_without_addresses_is_refused() -> None:
    async def nothing(host: str, port: int) -> list[str]:
        return []

    with pytest.raises(RefusedError):
        asyncio.run(PublicResolver(nothing, is_public).resolve("nothing.test", 80))


def test_the_addresses_that_were_checked_are_those_given_out() -> None:
    asked: list[str] = []

    async def rebinding(host: str, port: int) -> list[str]:
        asked.append(host)
        return ["1.1.1.1"] if len(asked) == 1 else ["127.0.0.1"]

    resolver = PublicResolver(rebinding, is_public)
    [entry] = asyncio.run(resolver.resolve("rebinding.test", 80))
    assert entry["host"] == "1.1.1.1"
    with pytest.raises(RefusedError):
        asyncio.run(resolver.resolve("rebinding.test", 80))
