"""Keys from the environment and from files; nothing of one is ever shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from colpali_serve.gateway.keys import ANYBODY, Keys
from colpali_serve.gateway.settings import GatewaySettings
from colpali_serve.schemas import AuthenticationError, ConfigError

KEY, OTHER = "0123456789abcdef", "fedcba9876543210"


def load(text: str = "", file: Path | None = None) -> Keys:
    environ = {"COLPALI_API_KEYS": text} | ({"COLPALI_API_KEYS_FILE": str(file)} if file else {})
    return Keys.load(GatewaySettings.from_environment({}, environ))


def test_without_keys_everybody_may_call() -> None:
    keys = load()
    assert not keys.required
    assert keys.owner({}) == ANYBODY
    assert keys.owner({"x-api-key": "anything"}) == ANYBODY


def test_keys_of_the_environment_and_of_a_file_add_up(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text(f"# a comment\n\n web : {OTHER} \n")
    keys = load(f"ci:{KEY}", file)
    assert keys.required
    assert keys.owner({"authorization": f"Bearer {KEY}"}) == "ci"
    assert keys.owner({"x-api-key": OTHER}) == "web"


@pytest.mark.parametrize("given", ["", "x", KEY[:-1], KEY + "0", "ö" * 16, "\udcff"])
def test_wrong_keys(given: str) -> None:
    with pytest.raises(AuthenticationError) as caught:
        load(f"ci:{KEY}").owner({"x-api-key": given})
    assert KEY not in str(caught.value)
    assert not given or given not in str(caught.value) or given == "x"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (KEY, "COLPALI_API_KEYS: entry 1 is malformed, expected name:key"),
        (f"ci:{KEY},:{OTHER}", "entry 2 is malformed"),
        (f"a b:{KEY}", "entry 1 is malformed"),
        (f"ci:{KEY} {OTHER}", "entry 1 is malformed"),
        ("ci:short", "the key of 'ci' has 5 characters, expected at least 16"),
        (f"ci:{KEY},ci:{OTHER}", "two API keys have the same name"),
    ],
)
def test_malformed_entries_are_numbered_not_shown(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(text)
    assert message in str(caught.value)
    assert KEY not in str(caught.value) and OTHER not in str(caught.value)


def test_a_file_that_cannot_be_used_does_not_open_the_service(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"api_keys_file cannot be read \(FileNotFoundError\)"):
        load(file=tmp_path / "missing")
    (tmp_path / "empty").write_text("# nobody yet\n")
    with pytest.raises(ConfigError, match="api_keys_file holds no key"):
        load(file=tmp_path / "empty")
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="UnicodeDecodeError"):
        load(file=tmp_path / "binary")


def test_keys_are_in_no_representation() -> None:
    settings = GatewaySettings.from_environment({}, {"COLPALI_API_KEYS": f"ci:{KEY}"})
    keys = Keys.load(settings)
    assert KEY not in f"{settings!r}{settings}{keys!r}{vars(keys)}"
