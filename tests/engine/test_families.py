"""Every family, loaded as the service loads it, against colpali-engine called directly."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from colpali_serve.engine.encoder import Encoded, Encoder
from colpali_serve.engine.families import family_of
from colpali_serve.engine.forward import embed_batch, page_batch, query_batch
from colpali_serve.engine.loading import LoadedModel
from colpali_serve.schemas import ModelLoadError
from tests.checkpoints import FAMILIES
from tests.engine.batches import in_one_batch
from tests.engine.inputs import page_inputs, text_inputs
from tests.engine.reference import CLASSES, reference

QUERIES = ["red", "what is the total revenue of the quick brown fox in 2023?", "describe it"]
DTYPES = {"float32": (torch.float32, 1e-5), "bfloat16": (torch.bfloat16, 2e-2)}

Checkpoint = Callable[[str], Path]
Load = Callable[..., LoadedModel]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("family", FAMILIES)
def test_pages_in_a_batch_equal_colpali_engine_alone(
    family: str, dtype: str, checkpoint: Checkpoint, load: Load, images: list[Image.Image]
) -> None:
    torch_dtype, tolerance = DTYPES[dtype]
    direct = reference(family, checkpoint(family), torch_dtype)
    together = in_one_batch(load(family, dtype), page_inputs(images))
    for image, result in zip(images, together, strict=True):
        expected = direct.page(image)
        assert result.shape == expected.shape
        np.testing.assert_allclose(result, expected, atol=tolerance, rtol=0)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("family", FAMILIES)
def test_queries_in_a_batch_equal_colpali_engine_alone(
    family: str, dtype: str, checkpoint: Checkpoint, load: Load
) -> None:
    torch_dtype, tolerance = DTYPES[dtype]
    direct = reference(family, checkpoint(family), torch_dtype)
    together = in_one_batch(load(family, dtype), text_inputs(QUERIES))
    for text, result in zip(QUERIES, together, strict=True):
        np.testing.assert_allclose(result, direct.query(text), atol=tolerance, rtol=0)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("family", FAMILIES)
def test_an_embedding_does_not_depend_on_its_batch(
    family: str, dtype: str, load: Load, images: list[Image.Image]
) -> None:
    loaded, inputs = load(family, dtype), page_inputs(images)
    for entry, batched in zip(inputs, in_one_batch(loaded, inputs), strict=True):
        (lone,) = in_one_batch(loaded, [entry])
        np.testing.assert_allclose(lone, batched, atol=DTYPES[dtype][1], rtol=0)


@pytest.mark.parametrize("family", FAMILIES)
def test_no_padding_row_leaves(family: str, load: Load, images: list[Image.Image]) -> None:
    for inputs in (page_inputs(images), text_inputs(QUERIES)):
        for embedding in in_one_batch(load(family), inputs):
            np.testing.assert_allclose(np.linalg.norm(embedding, axis=1), 1, atol=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_an_encoder_gives_the_same(
    family: str, start: Callable[..., Encoder], load: Load, images: list[Image.Image]
) -> None:
    running = start(family)
    pages, texts = page_inputs(images), text_inputs(QUERIES)
    found = [*running.embed_images(pages), *running.embed_texts(texts)]
    expected = in_one_batch(load(family), pages) + in_one_batch(load(family), texts)
    for result, embedding in zip(found, expected, strict=True):
        assert isinstance(result, Encoded), result
        np.testing.assert_allclose(result.embedding, embedding, atol=1e-5, rtol=0)


def _square_at(column: float, row: float) -> Image.Image:
    """A white page of 320x448 with a red square centred at fractions of its sides."""
    page = Image.new("RGB", (320, 448), "white")
    left, top = int(column * 320) - 16, int(row * 448) - 16
    page.paste((255, 0, 0), (left, top, left + 32, top + 32))
    return page


@pytest.mark.parametrize("family", FAMILIES)
def test_grid_says_where_a_patch_is(family: str, start: Callable[..., Encoder]) -> None:
    running = start(family)
    loaded = running.loaded
    blank = Image.new("RGB", (320, 448), "white")
    squares = ((0.25, 0.25), (0.75, 0.4), (0.4, 0.8))
    base, *moved = running.embed_images(
        page_inputs([blank, *(_square_at(column, row) for column, row in squares)])
    )
    assert isinstance(base, Encoded)
    columns, rows = base.grid
    ids = page_batch(loaded, [blank])["input_ids"][0]
    image_token = loaded.processor.tokenizer.convert_tokens_to_ids(
        {"ColGemma3": "<image_soft_token>"}.get(
            loaded.family.name, getattr(loaded.processor, "image_token", "<image>")
        )
    )
    places = (ids == image_token).nonzero()[:, 0].numpy()[: columns * rows]
    assert len(places) == columns * rows
    for (column, row), page in zip(squares, moved, strict=True):
        change = np.linalg.norm(page.embedding - base.embedding, axis=1)[places]
        if loaded.family.name in ("ColIdefics3", "ColModernVBert"):  # tiles of 8x8, row by row
            tiles = change.reshape(rows // 8, columns // 8, 8, 8)
            change = tiles.transpose(0, 2, 1, 3).reshape(-1)
        best_row, best_column = divmod(int(change.argmax()), columns)
        assert abs((best_column + 0.5) / columns - column) < 0.2
        assert abs((best_row + 0.5) / rows - row) < 0.2


def test_colpali_queries_would_differ_without_zero_types(load: Load) -> None:
    """The trap is real: take its fix away and a padded query comes out causal."""
    loaded = load("colpali")
    fixed = embed_batch(loaded, query_batch(loaded, QUERIES))[0]
    batch = query_batch(loaded, QUERIES)
    del batch["token_type_ids"]
    causal = embed_batch(loaded, batch)[0]
    assert np.abs(fixed - causal).max() > 0.01


@pytest.mark.parametrize(
    ("family", "key"), [("colqwen2_5", "mm_token_type_ids"), ("colgemma3", "token_type_ids")]
)
def test_every_processor_key_matters(
    family: str, key: str, load: Load, images: list[Image.Image]
) -> None:
    loaded = load(family)
    batch = page_batch(loaded, images[:1])
    whole = embed_batch(loaded, batch)[0]
    del batch[key]
    assert np.abs(embed_batch(loaded, batch)[0] - whole).max() > 1e-3


@pytest.mark.parametrize("family", FAMILIES)
def test_family_is_found_by_class_or_backbone(family: str, load: Load) -> None:
    loaded = load(family)
    assert loaded.family.name == CLASSES[family][0]
    config = loaded.checkpoint.config()
    assert config["architectures"] == [loaded.family.name]
    config["architectures"] = ["SomethingForConditionalGeneration"]
    assert family_of(config, "x") == loaded.family


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"model_type": "bert", "architectures": ["BertModel"]}, "model_type is 'bert'"),
        ({"model_type": "qwen2_vl", "architectures": ["BiQwen2"]}, "one vector a page"),
        ({"model_type": "colpali", "architectures": ["ColPaliForRetrieval"]}, "without '-hf'"),
        ({}, "model_type is 'None'"),
    ],
)
def test_other_models_are_refused(config: dict[str, object], expected: str) -> None:
    with pytest.raises(ModelLoadError, match=expected):
        family_of(config, "x")
