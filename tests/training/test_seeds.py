"""Seeds depend on what they are made of, in every process."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from colpali_serve.training.seeds import seeded


def test_seeds_are_frozen() -> None:
    # Another number would draw other pages under the same name.
    assert seeded("pages", "0-0000") == 379358488
    assert seeded(0, "letters", 1) == seeded("0", "letters", "1")


@given(st.lists(st.one_of(st.integers(), st.text()), max_size=4))
def test_a_seed_is_of_32_bits(parts: list[object]) -> None:
    assert 0 <= seeded(*parts) < 2**32


def test_steps_and_stages_have_their_own() -> None:
    stages = ("letters", "sizes", "pages", "questions")
    found = {seeded(0, stage, step) for stage in stages for step in range(3000)}
    assert len(found) > 4 * 3000 - 20
