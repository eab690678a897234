"""Bisection finds the guilty item, whatever the batch."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from colpali_serve.engine.isolation import run_isolated
from colpali_serve.schemas import EncodingError


@given(st.lists(st.booleans(), max_size=40))
def test_only_the_guilty_fail(guilty: list[bool]) -> None:
    def run(items: Sequence[tuple[int, bool]]) -> list[int]:
        if any(bad for _, bad in items):
            raise ValueError("poison")
        return [index for index, _ in items]

    results = run_isolated(
        list(enumerate(guilty)), run, lambda item: (f"page '{item[0]}'", str(item[0]))
    )
    assert len(results) == len(guilty)
    for index, (result, bad) in enumerate(zip(results, guilty, strict=True)):
        if bad:
            assert isinstance(result, EncodingError)
            assert result.item == str(index)
            assert isinstance(result.__cause__, ValueError)
        else:
            assert result == index
