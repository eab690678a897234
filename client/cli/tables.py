"""Rankings for people and for programs."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from colpali_serve.client.results import RankedPage


def ranking_table(query: str, ranking: Sequence[RankedPage]) -> Table:
    """Lay out one query's ranking."""
    table = Table(title=Text(query, style="bold"), title_justify="left", box=None, pad_edge=False)
    table.add_column("rank", justify="right")
    table.add_column("page")
    table.add_column("score", justify="right")
    for page in ranking:
        table.add_row(str(page.rank), Text(page.id), score_text(page))
    return table


def score_text(page: RankedPage) -> str:
    """Write a score for people."""
    return "failed" if math.isnan(page.score) else f"{page.score:.3f}"


def ranking_json(query: str, ranking: Sequence[RankedPage]) -> dict[str, object]:
    """Turn one query's ranking into plain values; JSON has no NaN, so failed pages have null."""
    return {
        "query": query,
        "ranking": [
            {
                "rank": page.rank,
                "page": page.id,
                "score": None if math.isnan(page.score) else page.score,
            }
            for page in ranking
        ],
    }
