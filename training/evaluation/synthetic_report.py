"""Figures of drawn pages, as a Markdown table and as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from colpali_serve.training.evaluation.asking import SIZES, DrawnSet
from colpali_serve.training.evaluation.drawing import KINDS, SMALLEST_EM
from colpali_serve.training.evaluation.metrics import METRICS, Estimate, measure
from colpali_serve.training.evaluation.real import System
from colpali_serve.training.evaluation.report import Row, measured_figures, shown

BLOCK = "synthetic pages"
SMALL_PRINT = (9, 13)
BAR = 0.75
"""Recall@1 of single words in small print that a checkpoint must reach."""
_RESAMPLES = 5000
_SEED = 20


def rows(drawn: DrawnSet, systems: Sequence[System]) -> list[Row]:
    """Measure every group of queries that has any.

    Args:
        drawn: Pages and queries.
        systems: BM25 and the checkpoint, with scores of the kind "all" for all pages.

    Returns:
        Groups as they stand in the table. A turned page stands in for its upright one, among
        all others; `differences` are turned less upright, of the checkpoint, query by query.
    """
    places = np.array([asked.page for asked in drawn.asked])
    golds = [{asked.page} for asked in drawn.asked]

    def values(system: System, degrees: float) -> NDArray[np.float64]:
        return measure(system.scores["all"][:, drawn.candidates(degrees)], golds)

    upright = [values(system, 0.0) for system in systems]
    result = []
    for title, mask, degrees in _groups(drawn):
        if not mask.any():
            continue
        measured = [values(system, degrees) for system in systems] if degrees else upright
        estimates = {
            system.name: _estimates(of_system[mask], places[mask])
            for system, of_system in zip(systems, measured, strict=True)
        }
        lost = _estimates((measured[-1] - upright[-1])[mask], places[mask]) if degrees else {}
        result.append(Row(title, int(mask.sum()), estimates, lost))
    return result


def markdown(drawn: DrawnSet, systems: Sequence[System], table: Sequence[Row]) -> str:
    """Write the table with some lines on what was measured.

    Args:
        drawn: Pages and queries.
        systems: As for `rows`.
        table: What `rows` returned.
    """
    words, checkpoint = systems[0].name, systems[1].name
    head = ["queries", "n", f"{words} recall@1", f"{checkpoint} recall@1", "nDCG@5"]
    head.append("turned less straight, recall@1")
    lines = [
        f"{drawn.upright} drawn pages, and {len(drawn.pages) - drawn.upright} turned copies, each "
        f"of which stands in for its page; {checkpoint} ({systems[1].dtype}); 95% bootstrap "
        "intervals over pages in brackets. Fonts are ones that training never uses; asked words "
        "are dictionary words that it never draws and that its text does not have, each on one "
        "page only (their letters helped to make the tokenizer's pieces). No blur, no noise. px: "
        "height of an em where all of the page is 768 pixels high; a model that looks at it "
        f"without its margins sees more. Words below {SMALLEST_EM} are not asked for, nor words "
        "that others were drawn over. "
        f"{words} reads the exact words.",
        "",
        f"| {' | '.join(head)} |",
        f"|---|{'---:|' * (len(head) - 1)}",
    ]
    for row in table:
        mine = row.systems[checkpoint]
        cells = [row.queries, str(row.n), f"{row.systems[words]['recall@1'].mean:.3f}"]
        cells += [shown(mine["recall@1"]), shown(mine["ndcg@5"])]
        cells += [shown(row.differences["recall@1"], "+.3f") if row.differences else ""]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def figures(drawn: DrawnSet, systems: Sequence[System], table: Sequence[Row]) -> dict[str, Any]:
    """Collect all figures for JSON.

    Args:
        drawn: Pages and queries.
        systems: As for `rows`.
        table: What `rows` returned.
    """
    return {
        "pages": len(drawn.pages),
        "upright": drawn.upright,
        **measured_figures(systems, table),
    }


def small_print_title() -> str:
    """How the row of single words in small print is called."""
    least, below = SMALL_PRINT
    return f"**one unseen word, {least} to {below} px (at least {BAR:.2f})**"


def _groups(drawn: DrawnSet) -> Iterator[tuple[str, NDArray[np.bool_], float]]:
    groups = np.array([asked.group for asked in drawn.asked])
    kinds = np.array([drawn.pages[asked.page].kind for asked in drawn.asked])
    ems = np.array([asked.em for asked in drawn.asked])
    words = groups == "words"
    yield "two to four unseen words", words, 0.0
    for kind in KINDS:
        yield f"of them on pages of the kind {kind}", words & (kinds == kind), 0.0
    least, below = SMALL_PRINT
    small = (groups == "size") & (least <= ems) & (ems < below)
    yield small_print_title(), small, 0.0
    for least, below in SIZES:
        size = f"{least} to {below} px" if below < SIZES[-1][1] else f"{least} px and more"
        mask = (groups == "size") & (least <= ems) & (ems < below)
        yield f"one unseen word, {size}", mask, 0.0
    codes = groups == "code"
    letters = np.array([any(map(str.isalpha, asked.text)) for asked in drawn.asked])
    yield "one number or code, tables and forms", codes, 0.0
    yield "of them with letters", codes & letters, 0.0
    yield "of them numbers, amounts, dates", codes & ~letters, 0.0
    yield "two or three unseen words, slides with a picture", groups == "photograph", 0.0
    turned = groups == "turned"
    yield "two to four unseen words, straight", turned, 0.0
    for degrees in drawn.turned:
        yield f"the same, pages turned by {degrees:+g} degrees", turned, degrees


def _estimates(values: NDArray[np.float64], pages: NDArray[np.intp]) -> dict[str, Estimate]:
    return {metric: by_page(values[:, place], pages) for place, metric in enumerate(METRICS)}


def by_page(values: NDArray[np.float64], pages: NDArray[np.intp]) -> Estimate:
    """Mean over queries, and the percentile bootstrap interval over pages.

    Queries of one page share its font, size and ink: to resample them one by one would make the
    interval too narrow.

    Args:
        values: float64 (n_queries,), at least one.
        pages: The page of each query.
    """
    _, inverse = np.unique(pages, return_inverse=True)
    counts = np.bincount(inverse)
    sums = np.bincount(inverse, values)
    drawn = np.random.default_rng(_SEED).integers(0, len(counts), (_RESAMPLES, len(counts)))
    means = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    low, high = np.percentile(means, [2.5, 97.5])
    return Estimate(float(values.mean()), float(low), float(high))
