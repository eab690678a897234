"""Settings out of environment variables, for every room that has some."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Final

from pydantic import BeforeValidator

ENVIRONMENT_PREFIX: Final = "COLPALI_"


def _split(value: object) -> object:
    """Split what the environment can only hold as one text."""
    return [w.strip() for w in value.split(",") if w.strip()] if isinstance(value, str) else value


Words = Annotated[tuple[str, ...], BeforeValidator(_split)]
"""A setting of several words, in the environment separated by commas."""


def combined(
    names: Iterable[str], given: Mapping[str, Any] | None, environ: Mapping[str, str]
) -> dict[str, Any]:
    """Combine explicit settings with environment variables; the explicit ones win.

    Args:
        names: Settings that may stand in the environment.
        given: Settings by name, known or not; None values count as not given.
        environ: Where to look up `COLPALI_<NAME>`; empty values count as not set.

    Returns:
        What is set, by name; not checked.

    >>> combined(["device", "threads"], {"threads": 2}, {"COLPALI_DEVICE": "cpu"})
    {'device': 'cpu', 'threads': 2}
    """
    found: dict[str, Any] = {
        name: text for name in names if (text := environ.get(ENVIRONMENT_PREFIX + name.upper()))
    }
    return found | {name: value for name, value in (given or {}).items() if value is not None}
