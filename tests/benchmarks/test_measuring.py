"""Medians over runs, and the table that people read."""

from __future__ import annotations

import pytest

from benchmarks.measuring import Row, Taken, table


def test_medians_are_over_runs_not_over_pages() -> None:
    row = Row("x", [Taken(10, 1.0, 0.5), Taken(10, 2.0, 1.0), Taken(10, 100.0, 0.1)])
    assert row.pages_s == 5.0
    assert row.cpu_ms == 50.0


def test_percentiles_take_all_latencies() -> None:
    row = Row("x", [Taken(2, 1.0, 1.0, (0.1, 0.2)), Taken(1, 1.0, 1.0, (0.3,), (0.01,))])
    assert row.latency_ms("page", 50) == pytest.approx(200)
    assert row.latency_ms("query", 99) == pytest.approx(10)
    assert Row("y", [Taken(1, 1.0, 1.0)]).latency_ms("page", 50) is None


def test_ratios_are_to_the_named_row() -> None:
    rows = [Row("bare", [Taken(10, 2.0, 1.0)]), Row("ours", [Taken(10, 1.0, 0.5, (0.1,))])]
    text = table("title", rows, "bare")
    assert "| bare | 5.00 | 1.00 | 100.0 | 1.00 | -/- | -/- |" in text
    assert "| ours | 10.00 | 2.00 | 50.0 | 0.50 | 100/100 | -/- |" in text
