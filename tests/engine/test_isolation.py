"""Bisection finds the guilty item, whatever the batch."""

from __future__ import annotations

from collections.abc import Sequence

import torch
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

    told: list[int] = []

    def failed(items: Sequence[tuple[int, bool]], out_of_memory: bool) -> None:
        assert any(bad for _, bad in items)
        assert not out_of_memory
        told.append(len(items))

    results = run_isolated(
        list(enumerate(guilty)), run, lambda item: (f"page '{item[0]}'", str(item[0])), failed
    )
    assert 1 not in told
    assert len(told) <= sum(guilty) * len(guilty).bit_length()
    assert len(results) == len(guilty)
    for index, (result, bad) in enumerate(zip(results, guilty, strict=True)):
        if bad:
            assert isinstance(result, EncodingError)
            assert result.item == str(index)
            assert isinstance(result.__cause__, ValueError)
        else:
            assert result == index


def test_memory_that_runs_out_is_said() -> None:
    told: list[tuple[int, bool]] = []

    def run(items: Sequence[int]) -> Sequence[int]:
        if len(items) > 1 or items == [3]:
            raise torch.OutOfMemoryError
        return items

    results = run_isolated(
        [1, 2, 3],
        run,
        lambda item: (f"page '{item}'", str(item)),
        lambda items, out_of_memory: told.append((len(items), out_of_memory)),
    )
    assert results[:2] == [1, 2]
    message = "page '3': the device has too little memory for it, expected an embedding"
    assert (str(results[2]), results[2].item) == (message, "3")
    assert told == [(3, True), (2, True)]
