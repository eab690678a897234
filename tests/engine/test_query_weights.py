"""What counts less in a query has a shorter vector, wherever and however it is scored."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from pydantic import ValidationError

from colpali_serve.engine.encoder import Encoded, Encoder, ImageInput, TextInput
from colpali_serve.engine.loading import load_model
from colpali_serve.engine.query_weights import QueryWeights, query_weights
from colpali_serve.engine.settings import EncoderSettings
from colpali_serve.schemas import Embedding, ModelLoadError
from tests.checkpoints import FAMILIES
from tests.engine.inputs import png

Start = Callable[..., Encoder]
Checkpoint = Callable[[str], Path]
TEXT = "reimbursement of the telescope 2023-07"


def embedded(encoder: Encoder, text: str = TEXT) -> Encoded:
    (result,) = encoder.embed_texts([TextInput("q", text)])
    assert isinstance(result, Encoded)
    return result


def lengths(embedding: Embedding) -> np.ndarray:
    return np.linalg.norm(embedding.astype(np.float64), axis=1)


@given(
    st.lists(st.integers(0, 40), min_size=1),
    st.floats(0.01, 1),
    st.floats(0, 1),
)
def test_no_token_counts_more_than_a_word_or_nothing(
    spelt: list[int], around: float, pieces: float
) -> None:
    weights = QueryWeights(around, pieces).of(spelt)
    assert weights.dtype == np.float32
    assert np.isfinite(weights).all()
    assert (weights > 0).all()
    assert (weights <= 1).all()
    for size, weight in zip(spelt, weights, strict=True):
        # All pieces of a word together count no less than a word, and no more than each alone.
        assert weight == pytest.approx(around) if size == 0 else size * weight * 1.001 >= 1


@pytest.mark.parametrize("family", FAMILIES)
def test_rows_are_as_long_as_their_tokens_count(
    family: str, start_from: Start, checkpoint: Checkpoint
) -> None:
    plain = embedded(start_from(checkpoint(family)))
    weighed = embedded(start_from(checkpoint(family), query_around=0.25, query_pieces=0.5))
    np.testing.assert_allclose(lengths(plain.embedding), 1, atol=1e-5)
    found = lengths(weighed.embedding)
    np.testing.assert_allclose(weighed.embedding / found[:, None], plain.embedding, atol=1e-5)
    # Something stands around every family's queries.
    assert found.min() == pytest.approx(0.25, abs=1e-5)
    assert {round(float(one), 3) for one in found} <= {
        0.25,
        *(round(float(n**-0.5), 3) for n in range(1, len(found))),
    }


def test_a_words_pieces_share(start_from: Start) -> None:
    weighed = start_from("colpali-tiny", query_around=0.25, query_pieces=1.0)
    found = lengths(embedded(weighed, "the reimbursement, 4711").embedding)
    # Bos, a word, five pieces of one, a comma, two of a number, and ten pads.
    tokens = weighed.loaded.processor.tokenizer
    sizes = [
        len(tokens(word, add_special_tokens=False)["input_ids"])
        for word in ("the", "reimbursement", ",", "4711")
    ]
    assert max(sizes) > 1
    expected = [0.25, *(1 / size for size in sizes for _ in range(size)), *[0.25] * 10]
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_a_query_is_weighed_alone_and_among_others(dtype: str, start_from: Start) -> None:
    encoder = start_from("colpali-tiny", query_around=0.5)
    texts = [TEXT, "x", "a much longer query, so that the others are padded"]
    entries = [TextInput(str(number), text) for number, text in enumerate(texts)]
    together = [future.result() for future in encoder.submit(entries, dtype=dtype)]
    for entry, result in zip(entries, together, strict=True):
        assert isinstance(result, Encoded)
        assert result.embedding.dtype == dtype
        alone = embedded(encoder, entry.text).embedding
        np.testing.assert_allclose(result.embedding, alone, atol=1e-3)


def test_pages_and_images_that_search_are_not_weighed(start_from: Start) -> None:
    encoder = start_from("colpali-tiny", query_around=0.25)
    image = png(Image.new("RGB", (300, 400), "white"))
    for result in encoder.embed_images(
        [ImageInput("page", image), ImageInput("query", image, kind="query")]
    ):
        assert isinstance(result, Encoded)
        np.testing.assert_allclose(lengths(result.embedding), 1, atol=1e-5)


def test_heatmaps_show_where_a_token_finds_its_like_however_much_it_counts(
    start_from: Start, checkpoint: Checkpoint
) -> None:
    page = ImageInput("page", png(Image.effect_noise((300, 400), 80)))
    plain, weighed = (
        start_from(checkpoint("colpali"), **more).heatmap(page, TextInput("q", TEXT))
        for more in ({}, {"query_around": 0.25, "query_pieces": 0.5})
    )
    assert plain.tokens == weighed.tokens
    np.testing.assert_allclose(weighed.maps, plain.maps, atol=1e-5)


def says(checkpoint: Path, folder: Path, weights: Any) -> Path:
    """A copy of a checkpoint whose config.json has these weights."""
    copy = folder / "copy"
    shutil.copytree(checkpoint, copy, dirs_exist_ok=True)
    path = copy / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"query_weights": weights}))
    return copy


def test_a_checkpoint_says_how_its_queries_are_weighed(
    checkpoint: Checkpoint, tmp_path: Path
) -> None:
    def load(folder: Path, **more: float) -> tuple[QueryWeights, str]:
        loaded = load_model(EncoderSettings(model=str(folder), device="cpu", **more))
        return loaded.weights, loaded.fingerprint

    alike, before = load(checkpoint("colpali"))
    assert not alike
    folder = says(checkpoint("colpali"), tmp_path, {"around": 0.25, "pieces": 0.4})
    assert load(folder)[0] == QueryWeights(0.25, 0.4)
    assert load(folder, query_around=1, query_pieces=0)[0] == alike
    assert load(folder, query_pieces=0.0)[0] == QueryWeights(0.25, 0.0)
    # Embeddings that are scored together are weighed alike.
    assert load(checkpoint("colpali"), query_around=0.25)[1] != before


@pytest.mark.parametrize(
    ("weights", "words"),
    [
        ({"around": 0}, "around of query_weights is 0, expected a number above 0, at most 1"),
        ({"pieces": 1.5}, "pieces of query_weights is 1.5, expected a number from 0 to 1"),
        ({"around": True}, "around of query_weights is True"),
        ({"around": "low"}, "around of query_weights is 'low'"),
        ({"pads": 0.5}, r"query_weights is \{'pads': 0.5\}, expected 'around' and 'pieces'"),
        (0.5, "query_weights is 0.5, expected 'around' and 'pieces'"),
    ],
)
def test_what_is_no_weight_is_refused(weights: Any, words: str) -> None:
    with pytest.raises(ModelLoadError, match=f"model 'odd': {words}"):
        query_weights(EncoderSettings(), {"query_weights": weights}, "odd")


@pytest.mark.parametrize("setting", [{"query_around": 0}, {"query_around": 2}, {"query_pieces": 2}])
def test_a_setting_that_is_no_weight_is_refused(setting: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        EncoderSettings(**setting)
