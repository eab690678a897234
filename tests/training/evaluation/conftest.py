"""A tiny page set: three pages of the examples, in a cache where nothing is missing."""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from colpali_serve.training.evaluation.query_sets import Query, write_queries
from tests.conftest import ROOT

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
        digest = hashlib.sha256((unpacked / name).read_bytes()).hexdigest()
        lines.append(
            f'[[package]]\nname = "{key}"\nlicence = "see there"\nwhy = "a test"\n'
            f'files = ["{name}"]\n[[manual]]\nkey = "{key}"\npackage = "{key}"\nfile = "{name}"\n'
            f'sha256 = "{digest}"\nmade_with = "?"\nfirst = {first}\npages = {pages}\n'
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
