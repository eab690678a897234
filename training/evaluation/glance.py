"""A quick look at a checkpoint between two stages: few drawn pages, three figures."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from colpali_serve.training.evaluation import synthetic, synthetic_report
from colpali_serve.training.evaluation.asking import DrawnSet

WORDS, SMALL, CODES = "words", "small print", "codes"
_TITLES = {
    WORDS: "two to four unseen words",
    SMALL: synthetic_report.small_print_title(),
    CODES: "one number or code, tables and forms",
}


def glance(checkpoint: Path, work: Path, sources: Path, pages: int) -> dict[str, float]:
    """Judge a checkpoint on a small part of the drawn evaluation.

    The same pages each time, so that the figures of one stage can be held against another's; for
    figures to publish there is `evaluation synthetic`.

    Args:
        checkpoint: Its folder.
        work: Folder for what is fetched and made.
        sources: Folder of the lists of packages.
        pages: How many to draw, about.

    Returns:
        Recall@1, 0 to 1, by name; what no page asks for is left out.

    Raises:
        ConfigError: A package cannot be fetched.
        ModelLoadError: The checkpoint cannot be loaded or proved.
    """
    drawn = synthetic.load_set(work, sources, synthetic.PLAN.shrunk(pages))
    return dict(_figures(drawn, checkpoint, work))


def _figures(drawn: DrawnSet, checkpoint: Path, work: Path) -> Iterator[tuple[str, float]]:
    system = synthetic.by_checkpoint(drawn, checkpoint, work)
    rows = {row.queries: row for row in synthetic_report.rows(drawn, [system])}
    for name, title in _TITLES.items():
        if row := rows.get(title):
            yield f"{name} recall@1", row.systems[system.name]["recall@1"].mean
