"""A tiny page set: three pages of the examples, in a cache where nothing is missing."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import pytest
from PIL import ImageFont

from colpali_serve.training.evaluation.query_sets import Query, write_queries
from colpali_serve.training.text import documents
from tests.conftest import ROOT
from tests.training.evaluation.editions import digest
from tests.training.evaluation.invented import DOCUMENTS, INVENTED

MANUALS = {"bzip2": ("bzip2-manual.pdf", 2, 2, False), "simh": ("simh-faq.pdf", 2, 1, True)}
"""Key -> file of the examples, first page, pages, scanned."""


@dataclass(frozen=True)
class Tiny:
    """Where everything of the page set is."""

    sources: Path
    queries: Path
    work: Path


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    folder = tmp_path_factory.mktemp("page-set")
    lines = []
    for key, (name, first, pages, scanned) in MANUALS.items():
        unpacked = folder / "work/packages" / key
        unpacked.mkdir(parents=True)
        (unpacked / ".version").touch()
        shutil.copy(ROOT / "examples/pages" / name, unpacked)
        found = digest((unpacked / name).read_bytes(), first, pages, min_words=20)
        lines.append(
            f'[[package]]\nname = "{key}"\nlicence = "see there"\nwhy = "a test"\n'
            f'files = ["{name}"]\n[[manual]]\nkey = "{key}"\npackage = "{key}"\nfile = "{name}"\n'
            f'text_sha256 = "{found}"\nmade_with = "?"\nfirst = {first}\npages = {pages}\n'
            f"min_words = 20\nscanned = {str(scanned).lower()}\n"
        )
    (folder / "sources.toml").write_text("\n".join(lines))
    queries = folder / "queries"
    queries.mkdir()
    write_queries("words", [Query("recover damaged files", "bzip2", (2,))], queries)
    write_queries("phrases", [Query("transcribe a real CD", "simh", (2,))], queries)
    write_queries(
        "questions",
        [
            Query("How do I recover data from damaged files?", "bzip2", (2,)),
            Query("Music album onto Redmond's platform?", "simh", (2,), synonyms=True),
        ],
        queries,
    )
    return Tiny(folder / "sources.toml", queries, folder / "work")


@pytest.fixture(scope="session")
def font(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The font that Pillow brings along, as a file."""
    bundled = ImageFont.load_default(20)
    assert isinstance(bundled, ImageFont.FreeTypeFont)
    assert isinstance(bundled.path, BytesIO)
    path = tmp_path_factory.mktemp("fonts") / "bundled.ttf"
    path.write_bytes(bundled.path.getvalue())
    return path


@pytest.fixture(scope="session")
def places(font: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Lists of packages, and a work folder in which nothing is missing."""
    folder = tmp_path_factory.mktemp("workplace")
    sources, work = folder / "sources", folder / "work"
    sources.mkdir()
    table = '[[package]]\nname = "{}"\nlicence = "see there"\nwhy = "a test"\nfiles = ["*"]\n{}\n'
    (sources / "text.toml").write_text(table.format("wamerican", ""))
    (sources / "fonts.toml").write_text(table.format("held", 'role = "held-out"'))
    for name in ("wamerican", "held"):
        (work / "packages" / name).mkdir(parents=True)
        (work / "packages" / name / ".version").touch()
    (work / "packages/held/bundled.ttf").write_bytes(font.read_bytes())
    dictionary = work / "packages/wamerican/usr/share/dict/american-english"
    dictionary.parent.mkdir(parents=True)
    dictionary.write_text("\n".join(INVENTED))
    documents.write(DOCUMENTS, work / "corpus.jsonl")
    (work / "prints").mkdir()
    (work / "prints/shards.json").write_text("[]")
    return sources, work
