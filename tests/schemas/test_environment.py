"""Settings out of the environment."""

from __future__ import annotations

import pytest
from pydantic import BaseModel

from colpali_serve.schemas.environment import Words, combined


class Some(BaseModel):
    hosts: Words = ()


@pytest.mark.parametrize(
    ("value", "expected"),
    [("a", ("a",)), (" a, b ,", ("a", "b")), ("", ()), (["a", "b"], ("a", "b"))],
)
def test_words_are_separated_by_commas(value: object, expected: tuple[str, ...]) -> None:
    assert Some.model_validate({"hosts": value}).hosts == expected


def test_what_is_given_wins_and_what_is_empty_counts_as_not_set() -> None:
    environ = {"COLPALI_A": "1", "COLPALI_B": "2", "COLPALI_C": "", "COLPALI_OTHER": "3", "A": "4"}
    found = combined(["a", "b", "c"], {"b": 5, "a": None, "unknown": 6}, environ)
    assert found == {"a": "1", "b": 5, "unknown": 6}
    assert combined(["a"], None, {}) == {}
