"""Packages are read, unpacked and found again, and errors say what to do."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from colpali_serve.schemas import ConfigError
from colpali_serve.training import packages
from colpali_serve.training.packages import Package, fetch, read_packages, unpack

HAS_DPKG = shutil.which("dpkg-deb") is not None
needs_dpkg = pytest.mark.skipif(not HAS_DPKG, reason="dpkg-deb is not installed")

ONE = '[[package]]\nname = "tiny"\nlicence = "MIT"\nwhy = "a test"\nfiles = ["usr/**/*.txt"]\n'


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    path = tmp_path / "sources.toml"
    path.write_text(ONE)
    return path


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    tree = tmp_path / "tree"
    (tree / "usr/share/doc/tiny").mkdir(parents=True)
    (tree / "usr/share/doc/tiny/b.txt").write_text("second")
    (tree / "usr/share/doc/tiny/a.txt").write_text("first")
    (tree / "DEBIAN").mkdir()
    (tree / "DEBIAN/control").write_text(
        "Package: tiny\nVersion: 1\nArchitecture: all\nMaintainer: A <a@example.org>\n"
        "Description: tiny\n"
    )
    built = tmp_path / "tiny_1_all.deb"
    subprocess.run(
        ["dpkg-deb", "--root-owner-group", "-b", tree, built], check=True, capture_output=True
    )
    return built


def test_reading_ignores_keys_of_others(sources: Path) -> None:
    sources.write_text(ONE + 'reader = "markup"\n\n[[manual]]\nkey = "m"\n')
    assert read_packages(sources) == [Package("tiny", "MIT", "a test", ("usr/**/*.txt",))]


@pytest.mark.parametrize("key", ["name", "licence", "why", "files"])
def test_a_missing_key_is_named(sources: Path, key: str) -> None:
    lines = [line for line in ONE.splitlines() if not line.startswith(f"{key} =")]
    sources.write_text("\n".join(lines))
    with pytest.raises(ConfigError, match=f"has no '{key}'"):
        read_packages(sources)


def test_a_missing_or_broken_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no\.toml cannot be read \(No such file"):
        read_packages(tmp_path / "no.toml")
    (tmp_path / "bad.toml").write_text("[[package")
    with pytest.raises(ConfigError, match=r"bad\.toml is .*expected TOML"):
        read_packages(tmp_path / "bad.toml")


@needs_dpkg
def test_unpacked_packages_are_not_fetched_again(
    sources: Path, archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "cache"
    cache.mkdir()
    unpack(archive, cache / "tiny")
    # Neither tool can be found from here on: nothing may be asked of them.
    monkeypatch.setenv("PATH", "")
    folders = fetch(sources, cache)
    assert folders == {"tiny": cache / "tiny"}
    names = [path.name for path in read_packages(sources)[0].paths(folders["tiny"])]
    assert names == ["a.txt", "b.txt"]


@needs_dpkg
def test_another_version_is_fetched_again(
    sources: Path, archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cache").mkdir()
    unpack(archive, tmp_path / "cache/tiny")
    sources.write_text(ONE + 'version = "2"\n')
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ConfigError, match="'apt-get' is not installed, expected a Debian"):
        fetch(sources, tmp_path / "cache")


@needs_dpkg
def test_a_broken_archive_leaves_what_was_there(archive: Path, tmp_path: Path) -> None:
    unpack(archive, tmp_path / "tiny")
    broken = tmp_path / "broken.deb"
    broken.write_bytes(archive.read_bytes()[:100])
    with pytest.raises(ConfigError, match=r"package 'broken\.deb': .*expected a complete package"):
        unpack(broken, tmp_path / "tiny")
    assert (tmp_path / "tiny/usr/share/doc/tiny/a.txt").read_text() == "first"
    assert [path.name for path in tmp_path.glob(".tiny*")] == []


def test_a_glob_without_files_is_named(tmp_path: Path) -> None:
    package = Package("tiny", "MIT", "a test", ("usr/*.pdf",))
    with pytest.raises(ConfigError, match=r"package 'tiny' has no file 'usr/\*\.pdf'"):
        list(package.paths(tmp_path))


@pytest.mark.skipif(shutil.which("apt-get") is None, reason="apt-get is not installed")
@needs_dpkg
def test_a_package_that_apt_does_not_know_is_named(sources: Path, tmp_path: Path) -> None:
    sources.write_text(ONE.replace('"tiny"', '"no-such-package-of-ours"'))
    with pytest.raises(ConfigError, match=r"'no-such-package-of-ours': E: .*try 'apt-get update'"):
        fetch(sources, tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_every_source_of_ours_has_a_licence() -> None:
    folder = Path(packages.__file__).resolve().parent / "sources"
    for path in sorted(folder.glob("*.toml")):
        assert read_packages(path), path.name
