"""Debian packages as a source of text, fonts and manuals: fetched and unpacked, never installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from colpali_serve.schemas import ConfigError

_TIMEOUT_S = 1800
_REQUIRED = ("name", "licence", "why", "files")
_HOW = "a Debian or Ubuntu machine, or a container of one (debian:bookworm)"


@dataclass(frozen=True, slots=True)
class Package:
    """A package and what is taken out of it.

    Attributes:
        name: As apt knows it.
        licence: Under which its files may be used and passed on.
        why: What it is good for here.
        files: Globs below the unpacked package, such as "usr/share/doc/x/*.pdf".
        version: The one to fetch; empty takes the one that apt would install.
    """

    name: str
    licence: str
    why: str
    files: tuple[str, ...]
    version: str = ""

    def paths(self, root: Path) -> Iterator[Path]:
        """Yield the files that the globs name, sorted, each once.

        Args:
            root: Where the package was unpacked.

        Raises:
            ConfigError: A glob names no file.
        """
        seen: set[Path] = set()
        for glob in self.files:
            found = sorted(path for path in root.glob(glob) if path.is_file())
            if not found:
                raise ConfigError(
                    f"package '{self.name}' has no file '{glob}', expected at least one: has its "
                    "layout changed?",
                    self.name,
                )
            yield from (path for path in found if path not in seen)
            seen.update(found)


def read_packages(sources: Path) -> list[Package]:
    """Read the `[[package]]` tables of a TOML file; keys that are not a Package's are ignored.

    Args:
        sources: The file.

    Raises:
        ConfigError: The file is missing, is no TOML, or a table lacks a key.
    """
    packages = []
    for table in read_toml(sources).get("package", []):
        for key in _REQUIRED:
            if not table.get(key):
                name = table.get("name", "?")
                raise ConfigError(f"package '{name}' in {sources.name} has no '{key}'", name)
        packages.append(
            Package(
                table["name"],
                table["licence"],
                table["why"],
                tuple(table["files"]),
                table.get("version", ""),
            )
        )
    return packages


def read_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file.

    Raises:
        ConfigError: It is missing or no TOML.
    """
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise ConfigError(f"{path.name} cannot be read ({error.strerror})") from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{path.name} is {error}, expected TOML") from error


def fetch(sources: Path, cache: Path) -> dict[str, Path]:
    """Fetch and unpack the packages that a TOML file names; what is there already is kept.

    No root is needed, and nothing is installed. An interrupted call leaves only whole packages.

    Args:
        sources: TOML file with `[[package]]` tables.
        cache: Folder; each package is unpacked into a folder of its name below it.

    Returns:
        Name -> folder, in the order of the file.

    Raises:
        ConfigError: The file is wrong, a tool is missing, or a package cannot be fetched.
    """
    packages = read_packages(sources)
    folders = {package.name: cache / package.name for package in packages}
    missing = [package for package in packages if not _is_there(package, folders[package.name])]
    if not missing:
        return folders
    for tool in ("apt-get", "dpkg-deb"):
        if shutil.which(tool) is None:
            raise ConfigError(f"'{tool}' is not installed, expected {_HOW}")
    cache.mkdir(parents=True, exist_ok=True)
    with progress_bar() as progress:
        task = progress.add_task("fetching packages", total=len(missing))
        for package in missing:
            progress.update(task, description=f"fetching {package.name}")
            with tempfile.TemporaryDirectory(dir=cache) as scratch:
                unpack(_download(package, Path(scratch)), folders[package.name], package.version)
            progress.advance(task)
    return folders


def progress_bar() -> Progress:
    """Make a bar for stderr that tells how many are done and how long the rest will take."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
    )


def unpack(archive: Path, folder: Path, version: str = "") -> None:
    """Unpack a .deb; the folder appears when all of it is there.

    Args:
        archive: The .deb.
        folder: Where to; replaced if it exists.
        version: Remembered in the folder, so that asking for another one fetches again.

    Raises:
        ConfigError: The archive is broken.
    """
    partial = folder.with_name(f".{folder.name}.{os.getpid()}")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        _run(["dpkg-deb", "-x", str(archive), str(partial)], archive.name, "a complete package")
        _version_file(partial).write_text(version)
        shutil.rmtree(folder, ignore_errors=True)
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _version_file(folder: Path) -> Path:
    return folder / ".version"


def _is_there(package: Package, folder: Path) -> bool:
    marker = _version_file(folder)
    return marker.is_file() and marker.read_text() == package.version


def _download(package: Package, folder: Path) -> Path:
    wanted = f"{package.name}={package.version}" if package.version else package.name
    command = ["apt-get", "download", "-qq", wanted]
    if os.geteuid() == 0:
        # As root, apt would hand the download to a user who may not write to our folder, and warn.
        command[1:1] = ["-o", "APT::Sandbox::User=root"]
    advice = "a package of the Debian release that apt knows; try 'apt-get update' first"
    _run(command, package.name, advice, folder)
    found = sorted(folder.glob("*.deb"))
    if len(found) != 1:
        raise ConfigError(
            f"package '{package.name}' gave {len(found)} files, expected one", package.name
        )
    return found[0]


def _run(command: list[str], item: str, expected: str, folder: Path | None = None) -> None:
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
            env={**os.environ, "LC_ALL": "C"},
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ConfigError(f"package '{item}': {error}, expected {expected}", item) from error
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"{command[0]} failed"]
        raise ConfigError(f"package '{item}': {lines[-1]}; expected {expected}", item)
