"""Request parameters as they arrive from protobuf."""

from __future__ import annotations

import pytest

from colpali_serve.schemas import (
    EncodeParameters,
    HeatmapParameters,
    InvalidInputError,
    ScoreParameters,
)


def test_numbers_arrive_as_floats() -> None:
    assert EncodeParameters.parse({"pool_factor": 3.0}).pool_factor == 3
    assert ScoreParameters.parse({"top_k": 10.0}).top_k == 10


def test_nothing_means_defaults_and_others_are_left_alone() -> None:
    assert EncodeParameters.parse(None) == EncodeParameters.parse({"their_own": 1})


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ({"pool_factor": 0}, "parameter 'pool_factor' is 0"),
        ({"pool_factor": 2.5}, "parameter 'pool_factor' is 2.5"),
        ({"pool_factor": "3"}, "parameter 'pool_factor' is '3'"),
        ({"embedding_dtype": "float8"}, "parameter 'embedding_dtype' is 'float8'"),
        ({"on_error": "ignore"}, "parameter 'on_error' is 'ignore': input should be 'raise' or"),
    ],
)
def test_wrong_values_are_named(parameters: dict[str, object], expected: str) -> None:
    with pytest.raises(InvalidInputError, match=expected):
        EncodeParameters.parse(parameters)


def test_a_yes_is_no_truth() -> None:
    assert HeatmapParameters.parse({"all_tokens": True}).all_tokens
    assert not HeatmapParameters.parse({}).all_tokens
    for wrong in ("yes", 1.0):
        with pytest.raises(InvalidInputError, match="parameter 'all_tokens' is"):
            HeatmapParameters.parse({"all_tokens": wrong})
