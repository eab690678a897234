"""Figures of real pages, as a Markdown table and as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from colpali_serve.schemas import ConfigError
from colpali_serve.training.evaluation.metrics import METRICS, Estimate, estimate, measure
from colpali_serve.training.evaluation.real import PageSet, System
from colpali_serve.training.whole_files import whole

BLOCK = "real pages"
_TITLES = {
    "words": "three distinctive words",
    "phrases": "five-word phrase",
    "questions": "natural question",
}


@dataclass(frozen=True, slots=True)
class Row:
    """A group of queries and how the systems do on it.

    Attributes:
        queries: What the group is.
        n: How many queries.
        systems: System -> metric -> estimate.
        differences: Metric -> first checkpoint minus the second, resampled in pairs; empty
            unless there are two.
    """

    queries: str
    n: int
    systems: dict[str, dict[str, Estimate]]
    differences: dict[str, Estimate]


def rows(page_set: PageSet, systems: Sequence[System]) -> list[Row]:
    """Measure every group of queries that has any.

    Args:
        page_set: Pages and queries.
        systems: BM25, the checkpoint, and perhaps one to compare it with.
    """
    golds = page_set.golds
    measured = {
        kind: [measure(system.scores[kind], golds[kind]) for system in systems] for kind in golds
    }
    result = []
    for title, kind, mask in _groups(page_set):
        if not mask.any():
            continue
        values = [of_system[mask] for of_system in measured[kind]]
        result.append(
            Row(
                title,
                int(mask.sum()),
                {
                    system.name: _estimates(of_system)
                    for system, of_system in zip(systems, values, strict=True)
                },
                _estimates(values[1] - values[2]) if len(systems) > 2 else {},
            )
        )
    return result


def markdown(page_set: PageSet, systems: Sequence[System], table: Sequence[Row]) -> str:
    """Write the table with a line on what was measured.

    Args:
        page_set: Pages and queries.
        systems: As for `rows`.
        table: What `rows` returned.
    """
    manuals = {page.manual.key: page.manual for page in page_set.pages}
    scanned = sum(page.manual.scanned for page in page_set.pages)
    loaded = [f"{system.name} ({system.dtype})" for system in systems[1:]]
    words, checkpoint = systems[0].name, systems[1].name
    head = ["queries", "n", f"{words} nDCG@5", f"{checkpoint} nDCG@5", "recall@1", "recall@5"]
    if len(systems) > 2:
        head += [f"{systems[2].name} nDCG@5", "difference"]
    lines = [
        f"{len(page_set.pages)} pages of {len(manuals)} manuals, {scanned} of them made to look "
        f"scanned; {', '.join(loaded)}; 95% bootstrap intervals in brackets. {words} reads the "
        "exact text, of scanned pages as well.",
        "",
        f"| {' | '.join(head)} |",
        f"|---|{'---:|' * (len(head) - 1)}",
    ]
    for row in table:
        mine = row.systems[checkpoint]
        cells = [row.queries, str(row.n), f"{row.systems[words]['ndcg@5'].mean:.3f}"]
        cells += [shown(mine["ndcg@5"])]
        cells += [f"{mine['recall@1'].mean:.3f}", f"{mine['recall@5'].mean:.3f}"]
        if len(systems) > 2:
            cells += [shown(row.systems[systems[2].name]["ndcg@5"])]
            cells += [shown(row.differences["ndcg@5"], "+.3f")]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def figures(page_set: PageSet, systems: Sequence[System], table: Sequence[Row]) -> dict[str, Any]:
    """Collect all figures for JSON.

    Args:
        page_set: Pages and queries.
        systems: As for `rows`.
        table: What `rows` returned.
    """
    return {
        "pages": len(page_set.pages),
        "manuals": sorted({page.manual.key for page in page_set.pages}),
        **measured_figures(systems, table),
    }


def measured_figures(systems: Sequence[System], table: Sequence[Row]) -> dict[str, Any]:
    """What is said in JSON of the systems and their rows, whatever they were asked.

    Args:
        systems: In the order of the table.
        table: The rows.
    """
    return {
        "metrics": list(METRICS),
        "systems": [
            {"name": system.name, "fingerprint": system.fingerprint, "dtype": system.dtype}
            for system in systems
        ],
        "rows": [asdict(row) for row in table],
    }


def write_block(path: Path, block: str, name: str = BLOCK) -> None:
    """Put a block between its markers in a Markdown file; the file is made if there is none.

    Args:
        path: The file. Where it has no such markers, they are put at its end.
        block: What stands between the markers from now on.
        name: What the markers say: `<!-- name -->` and `<!-- /name -->`.

    Raises:
        ConfigError: The file has one marker without the other.
    """
    first, last = f"<!-- {name} -->", f"<!-- /{name} -->"
    text = path.read_text("utf-8") if path.is_file() else "# Results\n"
    if first not in text and last not in text:
        text = f"{text.rstrip()}\n\n{first}\n{last}\n"
    start, stop = text.find(first), text.find(last)
    if start < 0 or stop < start:
        raise ConfigError(f"{path.name} has not both of {first} and {last}, expected them in order")
    text = f"{text[: start + len(first)]}\n{block}\n{text[stop:]}"
    with whole(path) as file:
        file.write_bytes(text.encode())


def write_figures(path: Path, content: dict[str, Any]) -> None:
    """Write figures as JSON, making the folder if need be."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole(path) as file:
        file.write_bytes((json.dumps(content, indent=1) + "\n").encode())


def _groups(page_set: PageSet) -> Iterator[tuple[str, str, NDArray[np.bool_]]]:
    manuals = {page.manual.key: page.manual for page in page_set.pages}
    for kind, title in _TITLES.items():
        queries = page_set.queries[kind]
        yield title, kind, np.ones(len(queries), bool)
        if kind == "questions":
            mask = np.array([query.synonyms for query in queries], bool)
            yield "of them in synonyms", kind, mask
            yield "of them sharing words with the page", kind, ~mask
    words = page_set.queries["words"]
    scanned = np.array([manuals[query.manual].scanned for query in words], bool)
    yield "words, clean pages", "words", ~scanned
    yield "words, scanned pages", "words", scanned
    for key, manual in manuals.items():
        mask = np.array([query.manual == key for query in words], bool)
        title = f"words, {key} ({manual.made_with}{', scanned' if manual.scanned else ''})"
        yield title, "words", mask


def _estimates(values: NDArray[np.float64]) -> dict[str, Estimate]:
    return {metric: estimate(values[:, place]) for place, metric in enumerate(METRICS)}


def shown(value: Estimate, form: str = ".3f") -> str:
    """A mean with its interval in brackets."""
    return f"{value.mean:{form}} [{value.low:{form}}, {value.high:{form}}]"
