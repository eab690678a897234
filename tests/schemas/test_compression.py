"""Forms of embeddings: there and back again within half a step."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from colpali_serve.schemas import (
    Compressed,
    EmbeddingShapeError,
    check_page_values,
    compress,
    expand,
)

ROWS = arrays(
    np.float32,
    st.tuples(st.integers(1, 5), st.sampled_from([8, 16, 24])),
    elements=st.floats(-1e6, 1e6, width=32),
)


@given(ROWS)
def test_int8_is_off_by_half_a_step_at_most(rows: np.ndarray) -> None:
    small = compress(rows, "int8")
    assert isinstance(small, Compressed)
    assert (small.values.dtype, small.dim, len(small)) == (np.int8, rows.shape[1], len(rows))
    assert small.nbytes == rows.size
    assert (np.abs(expand(small) - rows) <= 0.5001 * small.scale).all()
    checked = check_page_values(small.values, small.scale, "page 'a'", "a", rows.shape[1])
    np.testing.assert_array_equal(expand(checked), expand(small))


@given(ROWS)
def test_binary_keeps_signs_in_vectors_of_unit_length(rows: np.ndarray) -> None:
    signs = compress(rows, "binary")
    assert isinstance(signs, Compressed)
    assert (signs.values.dtype, signs.dim, signs.nbytes) == (np.uint8, rows.shape[1], rows.size / 8)
    found = expand(signs)
    np.testing.assert_array_equal(found > 0, rows > 0)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, rtol=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_floats(dtype: str) -> None:
    rows = np.array([[0.5, -0.25]], np.float64)
    found = compress(rows, dtype)
    assert isinstance(found, np.ndarray)
    assert found.dtype == dtype
    assert compress(found, dtype) is found
    back = compress(compress(rows, "int8"), dtype)
    assert isinstance(back, np.ndarray)
    np.testing.assert_allclose(back, rows, atol=0.004)


def test_what_has_a_form_keeps_it() -> None:
    rows = np.ones((1, 8), np.float32)
    for dtype in ("int8", "binary"):
        small = compress(rows, dtype)
        assert compress(small, dtype) is small
    assert compress(compress(rows, "int8"), "binary").is_binary
    np.testing.assert_array_equal(expand(compress(np.zeros((2, 8), np.float32), "int8")), 0)


def test_signs_need_whole_bytes() -> None:
    with pytest.raises(EmbeddingShapeError, match="page 'a': has 9 dimensions, expected a mult"):
        compress(np.ones((1, 9), np.float32), "binary", "page 'a'")


@pytest.mark.parametrize(
    ("value", "scale", "message"),
    [
        (None, 1.0, "page 'a': embedding is missing"),
        (np.ones((2, 8), np.int8), None, "has an embedding of int8 and no scale"),
        (np.ones((2, 8), np.int8), np.nan, "has an embedding of int8 and a scale of nan"),
        (np.ones((2, 8), np.int8), np.inf, "has an embedding of int8 and a scale of inf"),
        (np.ones((2, 1), np.uint8), 0, "has an embedding of uint8 and a scale of 0"),
        (np.ones((2, 8), np.int8), "1", "has an embedding of int8 and a scale of 1"),
        (np.ones((2, 8), np.float16), 1.0, "has a scale and an embedding of float16"),
        (np.ones((2, 8), np.int16), None, "embedding has dtype int16, expected float16"),
        (np.ones(8, np.int8), 1.0, r"embedding has shape \(8,\)"),
        (np.ones((0, 8), np.uint8), 1.0, r"embedding has shape \(0, 8\)"),
        (np.ones((2, 8), np.uint8), None, "embedding has 64 dimensions, expected 8 like"),
        (np.array(1, np.int8), 1.0, r"embedding has shape \(\)"),
    ],
)
def test_what_is_no_page_s_embedding(value: object, scale: object, message: str) -> None:
    with pytest.raises(EmbeddingShapeError, match=message):
        check_page_values(value, scale, "page 'a'", "a", 8)
