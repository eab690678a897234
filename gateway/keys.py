"""API keys: who calls, on either door."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterable, Mapping
from typing import Final

from colpali_serve.gateway.settings import GatewaySettings
from colpali_serve.schemas import AuthenticationError, ConfigError

ANYBODY: Final = "anybody"
"""Name of every caller where there are no keys."""

_MIN_LENGTH = 16
_NAME = re.compile(r"[\w.-]{1,64}", re.ASCII)
_KEY = re.compile(r"[!-~]+")  # what a header can carry


class Keys:
    """The keys that open the service.

    Only digests are kept: a key can get into no log and no error from here.

    Args:
        named: Keys by the names of their owners.
    """

    def __init__(self, named: Mapping[str, str]) -> None:
        self._digests = {name: _digest(key) for name, key in named.items()}

    @property
    def required(self) -> bool:
        """Whether callers need one."""
        return bool(self._digests)

    def owner(self, headers: Mapping[str, str]) -> str:
        """Return the name of the key that a caller sent.

        Args:
            headers: HTTP headers or gRPC metadata, with names in lower case: the key stands in
                ``authorization: Bearer <key>`` or ``x-api-key: <key>``.

        Raises:
            AuthenticationError: There is none, or it is wrong.

        >>> Keys({"ci": "0123456789abcdef"}).owner({"x-api-key": "0123456789abcdef"})
        'ci'
        """
        if not self._digests:
            return ANYBODY
        scheme, _, token = headers.get("authorization", "").strip().partition(" ")
        given = token.strip() if scheme.lower() == "bearer" else headers.get("x-api-key", "")
        if not given:
            raise AuthenticationError(
                "no API key, expected 'Authorization: Bearer <key>' or 'x-api-key: <key>'"
            )
        digest = _digest(given)
        # All are compared, each in constant time: how long it takes tells nothing about them.
        found = [name for name, own in self._digests.items() if hmac.compare_digest(own, digest)]
        if not found:
            raise AuthenticationError("the API key is wrong, expected one that this service knows")
        return found[0]

    @classmethod
    def load(cls, settings: GatewaySettings) -> Keys:
        """Read the keys that the settings name.

        Raises:
            ConfigError: The file cannot be read, or an entry is malformed, double or too short.
        """
        entries: list[tuple[str, str]] = []
        if settings.api_keys is not None:
            text = settings.api_keys.get_secret_value()
            entries += _entries(re.split(r"[,\n]", text), "COLPALI_API_KEYS")
        if settings.api_keys_file is not None:
            try:
                lines = settings.api_keys_file.read_text(encoding="utf-8").splitlines()
            except (OSError, UnicodeDecodeError) as error:
                raise ConfigError(
                    f"api_keys_file cannot be read ({type(error).__name__})", "api_keys_file"
                ) from error
            entries += _entries(lines, "api_keys_file")
            if not entries:
                # An empty file must not open the service to everybody.
                raise ConfigError("api_keys_file holds no key, expected lines of name:key")
        named = dict(entries)
        if len(named) < len(entries):
            raise ConfigError("two API keys have the same name, expected a name for each")
        return cls(named)


def _entries(lines: Iterable[str], source: str) -> list[tuple[str, str]]:
    """Read ``name:key`` lines; errors name the line's number, never what stands there."""
    found = []
    for number, line in enumerate(lines, 1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        name, colon, key = (part.strip() for part in text.partition(":"))
        if not colon or not _NAME.fullmatch(name) or not _KEY.fullmatch(key):
            raise ConfigError(f"{source}: entry {number} is malformed, expected name:key", source)
        if len(key) < _MIN_LENGTH:
            raise ConfigError(
                f"{source}: the key of {name!r} has {len(key)} characters, expected at least "
                f"{_MIN_LENGTH}",
                source,
            )
        found.append((name, key))
    return found


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()
