"""Typed client and command line.

    from colpali_serve.client import ColPaliClient

    client = ColPaliClient("localhost", 54321)
    for page in client.rank("total of the invoice", "scans/")[0][:3]:
        ...  # page.rank, page.id, page.score

Names are loaded when they are first used: docarray, under the documents, imports torch wherever
torch is installed, which a mere import of this package or a `--help` should not wait for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from colpali_serve.client.asynchronous import AsyncColPaliClient
    from colpali_serve.client.blocking import ColPaliClient
    from colpali_serve.client.results import (
        Heatmap,
        KeptPage,
        PageEmbedding,
        QueryEmbedding,
        RankedPage,
        ResidentPages,
        ResidentScores,
    )

__all__ = [
    "AsyncColPaliClient",
    "ColPaliClient",
    "Heatmap",
    "KeptPage",
    "PageEmbedding",
    "QueryEmbedding",
    "RankedPage",
    "ResidentPages",
    "ResidentScores",
]

_HOMES = {
    "AsyncColPaliClient": "asynchronous",
    "ColPaliClient": "blocking",
    "Heatmap": "results",
    "KeptPage": "results",
    "PageEmbedding": "results",
    "QueryEmbedding": "results",
    "RankedPage": "results",
    "ResidentPages": "results",
    "ResidentScores": "results",
}


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{home}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
