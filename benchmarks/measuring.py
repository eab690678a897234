"""What one run of one contender took, and medians over the repeats."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True)
class Taken:
    """One run.

    Attributes:
        pages: Embedded.
        seconds: On the clock.
        cpu_seconds: Of the processes that did the work; not of the callers.
        page_s: Latencies of posts with a page, in seconds.
        query_s: Latencies of posts with a query, in seconds.
    """

    pages: int
    seconds: float
    cpu_seconds: float
    page_s: tuple[float, ...] = ()
    query_s: tuple[float, ...] = ()


@dataclass
class Row:
    """One contender over all repeats."""

    name: str
    runs: list[Taken] = field(default_factory=list)

    @property
    def pages_s(self) -> float:
        """Median of pages a second."""
        return statistics.median(run.pages / run.seconds for run in self.runs)

    @property
    def cpu_ms(self) -> float:
        """Median of CPU milliseconds a page."""
        return statistics.median(1000 * run.cpu_seconds / run.pages for run in self.runs)

    def latency_ms(self, what: str, percent: float) -> float | None:
        """A percentile of latencies over all runs, in milliseconds; None where none was taken.

        Args:
            what: "page" or "query".
            percent: 0 to 100.
        """
        found = [value for run in self.runs for value in getattr(run, f"{what}_s")]
        return None if not found else 1000 * float(np.percentile(found, percent))

    def as_json(self) -> dict[str, float | str | None]:
        """All figures."""
        figures: dict[str, float | str | None] = {
            "name": self.name,
            "pages_s": self.pages_s,
            "cpu_ms_page": self.cpu_ms,
            "repeats": len(self.runs),
        }
        for what in ("page", "query"):
            for percent in (50, 99):
                figures[f"{what}_p{percent}_ms"] = self.latency_ms(what, percent)
        return figures


def table(title: str, rows: Sequence[Row], baseline: str) -> str:
    """A Markdown table of rows, ratios to one of them beside the figures."""
    base = next(row for row in rows if row.name == baseline)
    lines = [
        f"{title}",
        "",
        "| | pages/s | of bare | CPU ms/page | of bare | page p50/p99 ms | query p50/p99 ms |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for row in rows:
        cells = [
            row.name,
            f"{row.pages_s:.2f}",
            f"{row.pages_s / base.pages_s:.2f}",
            f"{row.cpu_ms:.1f}",
            f"{row.cpu_ms / base.cpu_ms:.2f}",
            _pair(row.latency_ms("page", p) for p in (50, 99)),
            _pair(row.latency_ms("query", p) for p in (50, 99)),
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _pair(values: Iterable[float | None]) -> str:
    return "/".join("-" if value is None else f"{value:.0f}" for value in values)
