"""Queries over the real pages: three kinds, each in a JSON file of its own."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from colpali_serve.schemas import ConfigError
from colpali_serve.training.evaluation.manuals import Page
from colpali_serve.training.evaluation.wording import overlap
from colpali_serve.training.whole_files import whole

QUERIES = Path(__file__).resolve().parent / "queries"
KINDS = ("words", "phrases", "questions")

MOST_OVERLAP = 1 / 3
"""Of the content words of a question in synonyms, how many may stand on its pages."""


@dataclass(frozen=True, slots=True)
class Query:
    """A query and the pages that answer it.

    Attributes:
        text: What is asked.
        manual: Key of the manual that holds the answer.
        pages: Numbers of its pages that answer, counted from 1, at least one.
        synonyms: Whether hardly any of its content words stands on them.
    """

    text: str
    manual: str
    pages: tuple[int, ...]
    synonyms: bool = False

    @property
    def golds(self) -> tuple[str, ...]:
        """Names of the pages that answer it."""
        return tuple(f"{self.manual}#{number}" for number in self.pages)


def read_queries(kind: str, folder: Path = QUERIES) -> list[Query]:
    """Read the queries of a kind.

    Args:
        kind: One of `KINDS`.
        folder: Where `<kind>.json` is.

    Raises:
        ConfigError: The file is missing, no JSON, or an entry is wrong.
    """
    path = folder / f"{kind}.json"
    try:
        entries = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise ConfigError(f"{path.name} cannot be read ({error.strerror})", kind) from error
    except ValueError as error:
        raise ConfigError(f"{path.name} is {error}, expected JSON", kind) from error
    if not isinstance(entries, list):
        raise ConfigError(f"{path.name} is no list, expected a list of queries", kind)
    return [_query(entry, f"query {place} of {path.name}") for place, entry in enumerate(entries)]


def write_queries(kind: str, queries: Sequence[Query], folder: Path = QUERIES) -> Path:
    """Write the queries of a kind, one a line, and return the file.

    Args:
        kind: One of `KINDS`.
        queries: What to write.
        folder: Where `<kind>.json` goes.
    """
    lines = []
    for query in queries:
        entry: dict[str, Any] = {"text": query.text, "manual": query.manual}
        entry["pages"] = list(query.pages)
        if query.synonyms:
            entry["synonyms"] = True
        lines.append("  " + json.dumps(entry, ensure_ascii=False))
    path = folder / f"{kind}.json"
    with whole(path) as file:
        file.write_bytes(("[\n" + ",\n".join(lines) + "\n]\n").encode())
    return path


def check_queries(queries: Sequence[Query], pages: Sequence[Page]) -> None:
    """Check that queries fit the page set.

    Args:
        queries: Queries of any kind.
        pages: The whole page set.

    Raises:
        ConfigError: A page that should answer is not in the set, or a question in synonyms
            shares too many words with the pages that answer it.
    """
    texts = {page.id: page.text for page in pages}
    for query in queries:
        for gold in query.golds:
            if gold not in texts:
                raise ConfigError(
                    f"query '{query.text}' is answered by page '{gold}', which is not in the set",
                    query.text,
                )
        if query.synonyms:
            shared, all_words = overlap(query.text, "\n".join(texts[gold] for gold in query.golds))
            if len(shared) > MOST_OVERLAP * len(all_words):
                raise ConfigError(
                    f"query '{query.text}' shares {sorted(shared)} with its page, expected at "
                    f"most a third of its {len(all_words)} content words",
                    query.text,
                )


def _query(entry: Any, name: str) -> Query:
    try:
        text, manual, pages = entry["text"], entry["manual"], entry["pages"]
    except (TypeError, KeyError) as error:
        raise ConfigError(f"{name} has no {error}, expected text, manual and pages") from error
    whole = all(isinstance(number, int) and number > 0 for number in pages)
    if not (isinstance(text, str) and text and isinstance(manual, str) and pages and whole):
        raise ConfigError(
            f"{name} is {entry!r}, expected a text, a manual's key and numbers of pages from 1"
        )
    return Query(text, manual, tuple(pages), bool(entry.get("synonyms", False)))
