"""What the service is made of, as far as callers may know."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

_PACKAGES = ("colpali-serve", "jina", "docarray", "fastapi", "grpcio", "protobuf", "pydantic")


def package_versions() -> dict[str, str]:
    """Return versions of Python and of packages, by name."""
    versions = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            # Run from a source tree; the other versions are still worth knowing.
            continue
    return versions
