"""What counts as an embedding."""

from __future__ import annotations

import numpy as np
import pytest

from colpali_serve.schemas import EmbeddingShapeError, check_embedding

GOOD = np.ones((2, 3), np.float16)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_floats_are_taken_as_they_are(dtype: type[np.floating]) -> None:
    array = GOOD.astype(dtype)
    assert check_embedding(array, "page 'a'", "a") is array


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, "page 'a': embedding is missing"),
        (np.ones(3, np.float32), r"has shape \(3,\), expected \(n_vectors, dim\)"),
        (np.ones((0, 3), np.float32), r"has shape \(0, 3\), expected at least one vector"),
        (np.ones((3, 0), np.float32), r"has shape \(3, 0\)"),
        (np.ones((1, 2, 3), np.float32), r"has shape \(1, 2, 3\)"),
        (np.ones((2, 3), np.int64), "has dtype int64, expected float16"),
        (np.array([["a"]]), "has dtype <U1"),
        (np.array([[1, np.nan, 0], [np.inf, 0, 0]], np.float32), "has 2 values that are NaN"),
        (np.full((2, 3), 1e300), r"has a value of 1e\+300, expected at most 1e\+15"),
        (np.ones((2, 4), np.float32), "has 4 dimensions, expected 3"),
    ],
)
def test_anything_else_is_refused(value: object, expected: str) -> None:
    with pytest.raises(EmbeddingShapeError, match=expected) as caught:
        check_embedding(value, "page 'a'", "a", dim=3)
    assert caught.value.item == "a"
