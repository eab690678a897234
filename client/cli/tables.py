"""Rankings for people and for programs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from colpali_serve.client.results import Heatmap, RankedPage


def ranking_table(query: str, ranking: Sequence[RankedPage], expected: str | None = None) -> Table:
    """Lay out one query's ranking.

    Args:
        query: The title.
        ranking: The lines.
        expected: Id of the page that ought to be first; its line is marked.
    """
    table = Table(title=Text(query, style="bold"), title_justify="left", box=None, pad_edge=False)
    table.add_column("rank", justify="right", min_width=4)
    table.add_column("page", overflow="fold", min_width=30)
    table.add_column("score", justify="right", min_width=7)
    table.add_column("")
    for page in ranking:
        mark = Text()
        if page.id == expected:
            mark = Text("right", "green") if page.rank == 1 else Text("the right one", "yellow")
        table.add_row(str(page.rank), Text(page.id), _score(page), mark)
    return table


def _score(page: RankedPage) -> str:
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


def token_table(heatmap: Heatmap) -> Table:
    """Lay out the tokens of a heatmap, each with its best similarity to any patch of the page."""
    title = Text(f"{heatmap.query} on {heatmap.id}", style="bold")
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    table.add_column("token", justify="right")
    table.add_column("text", min_width=12)
    table.add_column("best", justify="right")
    for number, (token, map_) in enumerate(zip(heatmap.tokens, heatmap.maps, strict=True), 1):
        table.add_row(str(number), Text(token), f"{map_.max():.3f}")
    return table


def profile_table(profiles: Sequence[Any], recommended: object) -> Table:
    """Lay out what forms of embeddings cost and lose.

    Args:
        profiles: `FormProfile` of the engine, which is not imported here.
        recommended: The one of them that is marked.
    """
    table = Table(box=None, pad_edge=False)
    table.add_column("embedding_dtype")
    for heading in ("pool_factor", "KB a page", "ms a query", "nDCG@5", "recall@5"):
        table.add_column(heading, justify="right")
    table.add_column("")
    for each in profiles:
        table.add_row(
            each.embedding_dtype,
            str(each.pool_factor),
            f"{each.page_bytes / 1000:.1f}",
            f"{each.query_ms:.2f}",
            f"{each.ndcg:.3f}",
            f"{each.recall:.3f}",
            Text("recommended", "green") if each is recommended else Text(),
        )
    return table
