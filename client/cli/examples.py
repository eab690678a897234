"""What the demo looks at."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from colpali_serve.schemas import ConfigError

_PAGES = Path("examples/pages")
_QUERIES = Path("examples/queries.json")


@dataclass(frozen=True, slots=True)
class Question:
    """A query, and the page that answers it if that is known."""

    query: str
    page: str | None = None


@dataclass(frozen=True, slots=True)
class Examples:
    """Pages and what to look for in them."""

    pages: list[str]
    questions: list[Question]


def choose(pages: list[str] | None, queries: list[str] | None) -> Examples:
    """Take what the caller gave, and the project's examples for the rest.

    Raises:
        ConfigError: The pages do not exist, or there is no query for them.
    """
    if pages and not queries:
        raise ConfigError("--pages without --query: what should be looked for in them?", "query")
    for page in pages or ():
        if not Path(page).exists():
            # Before a model is loaded for it.
            raise ConfigError(f"--pages is {page}, which does not exist", page)
    if queries:
        questions = [Question(query) for query in queries]
    else:
        questions = _read_questions(_here(_QUERIES))
    return Examples(pages or [str(_here(_PAGES))], questions)


def _here(path: Path) -> Path:
    if not path.exists():
        raise ConfigError(
            f"{path} does not exist in {Path.cwd()}: run the demo in the project's folder, or "
            "give --pages and --query",
            str(path),
        )
    return path


def _read_questions(path: Path) -> list[Question]:
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
        return [Question(str(entry["query"]), str(entry["page"])) for entry in entries]
    except (ValueError, KeyError, TypeError) as error:
        expected = 'expected a list of {"query": ..., "page": ...}'
        raise ConfigError(f"{path} is broken ({error!r}), {expected}", str(path)) from error
