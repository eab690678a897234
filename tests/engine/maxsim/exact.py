"""What scores have to be, and inputs of every raggedness."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from colpali_serve.schemas import Compressed, expand

Arrays = list[NDArray[np.floating]]


def double_loop(queries: Arrays, pages: list[NDArray[np.floating] | Compressed]) -> np.ndarray:
    """MaxSim by its definition, in float64."""
    wide = [expand(page).astype(np.float64) for page in pages]
    return np.array(
        [
            [sum(max(float(np.dot(q, p)) for p in page) for q in query) for page in wide]
            for query in (query.astype(np.float64) for query in queries)
        ]
    )


def magnitudes(queries: Arrays, pages: list[NDArray[np.floating] | Compressed]) -> np.ndarray:
    """For each pair what the absolute values would sum up to: errors are small beside that.

    The unit of an error is a rounding of one product; sums of large products that nearly cancel
    keep it.
    """
    wide = [np.abs(expand(page).astype(np.float64)) for page in pages]
    return double_loop([np.abs(query) for query in queries], wide)


class Sides(NamedTuple):
    queries: Arrays
    pages: Arrays


DIMS = st.sampled_from([1, 2, 3, 7, 16, 31, 32, 33, 64, 100, 128, 320])


@st.composite
def ragged(draw: st.DrawFn, dims: st.SearchStrategy[int] | None = None) -> Sides:
    """Queries and pages of one dim: one vector or many, tiny or huge, mostly negative, or zeros."""
    dim = draw(DIMS if dims is None else dims)
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    scale = draw(st.sampled_from([1e-3, 1.0, 50.0]))
    shift = draw(st.sampled_from([0.0, -2.0]))
    longest = draw(st.sampled_from([1, 5, 40]))
    zeros = draw(st.booleans())

    def side(offset: float, dtypes: list[str], counts: int) -> Arrays:
        lengths = draw(st.lists(st.integers(1, longest), min_size=1, max_size=counts))
        dtype = draw(st.sampled_from(dtypes))
        found = [(rng.standard_normal((n, dim)) * scale + offset).astype(dtype) for n in lengths]
        if zeros:
            found[-1][:] = 0
        return found

    queries = side(0.0, ["float16", "float32", "float64"], 6)
    return Sides(queries, side(shift, ["float16", "float32", "float64"], 6))
