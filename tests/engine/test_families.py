"""Every family, loaded as the service loads it, against colpali-engine called directly."""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from colpali_serve.engine.encoder import Encoded, Encoder, ImageInput, TextInput
from colpali_serve.engine.families import family_of
from colpali_serve.engine.forward import embed_batch, page_batch, query_batch
from colpali_serve.engine.settings import EncoderSettings
from colpali_serve.schemas import ModelLoadError
from tests.checkpoints import FAMILIES
from tests.engine.reference import CLASSES, reference

QUERIES = ["red", "what is the total revenue of the quick brown fox in 2023?", "describe it"]
DTYPES = {"float32": (torch.float32, 1e-5), "bfloat16": (torch.bfloat16, 2e-2)}

Checkpoint = Callable[[str], Path]


@cache
def encoder(folder: Path, dtype: str, batch_size: int = 4) -> Encoder:
    settings = EncoderSettings(model=str(folder), dtype=dtype, device="cpu", batch_size=batch_size)
    return Encoder.load(settings)


def png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def embed(encoder: Encoder, images: list[Image.Image]) -> list[Encoded]:
    inputs = [ImageInput(str(index), png(image)) for index, image in enumerate(images)]
    results = encoder.embed_images(inputs)
    assert all(isinstance(result, Encoded) for result in results), results
    return results


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("family", FAMILIES)
def test_pages_in_a_batch_equal_colpali_engine_alone(
    family: str, dtype: str, checkpoint: Checkpoint, images: list[Image.Image]
) -> None:
    torch_dtype, tolerance = DTYPES[dtype]
    direct = reference(family, checkpoint(family), torch_dtype)
    together = embed(encoder(checkpoint(family), dtype), images)
    for image, result in zip(images, together, strict=True):
        expected = direct.page(image)
        assert result.embedding.shape == expected.shape
        np.testing.assert_allclose(result.embedding, expected, atol=tolerance, rtol=0)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("family", FAMILIES)
def test_queries_in_a_batch_equal_colpali_engine_alone(
    family: str, dtype: str, checkpoint: Checkpoint
) -> None:
    torch_dtype, tolerance = DTYPES[dtype]
    direct = reference(family, checkpoint(family), torch_dtype)
    results = encoder(checkpoint(family), dtype).embed_texts(
        [TextInput(str(index), text) for index, text in enumerate(QUERIES)]
    )
    for text, result in zip(QUERIES, results, strict=True):
        assert isinstance(result, Encoded)
        np.testing.assert_allclose(result.embedding, direct.query(text), atol=tolerance, rtol=0)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("family", FAMILIES)
def test_an_embedding_does_not_depend_on_its_batch(
    family: str, dtype: str, checkpoint: Checkpoint, images: list[Image.Image]
) -> None:
    tolerance = DTYPES[dtype][1]
    one, many = encoder(checkpoint(family), dtype, 1), encoder(checkpoint(family), dtype)
    lone, batched = embed(one, images), embed(many, images)
    for left, right in zip(lone, batched, strict=True):
        np.testing.assert_allclose(left.embedding, right.embedding, atol=tolerance, rtol=0)


@pytest.mark.parametrize("family", FAMILIES)
def test_no_padding_row_leaves(
    family: str, checkpoint: Checkpoint, images: list[Image.Image]
) -> None:
    for result in embed(encoder(checkpoint(family), "float32"), images):
        norms = np.linalg.norm(result.embedding, axis=1)
        np.testing.assert_allclose(norms, 1, atol=1e-5)


def _square_at(column: float, row: float) -> Image.Image:
    """A white page of 320x448 with a red square centred at fractions of its sides."""
    page = Image.new("RGB", (320, 448), "white")
    left, top = int(column * 320) - 16, int(row * 448) - 16
    page.paste((255, 0, 0), (left, top, left + 32, top + 32))
    return page


@pytest.mark.parametrize("family", FAMILIES)
def test_grid_says_where_a_patch_is(family: str, checkpoint: Checkpoint) -> None:
    loaded = encoder(checkpoint(family), "float32").loaded
    blank = Image.new("RGB", (320, 448), "white")
    base = embed(encoder(checkpoint(family), "float32"), [blank])[0]
    columns, rows = base.grid
    ids = page_batch(loaded, [blank])["input_ids"][0]
    image_token = loaded.processor.tokenizer.convert_tokens_to_ids(
        {"ColGemma3": "<image_soft_token>"}.get(
            loaded.family.name, getattr(loaded.processor, "image_token", "<image>")
        )
    )
    places = (ids == image_token).nonzero()[:, 0].numpy()[: columns * rows]
    assert len(places) == columns * rows
    for column, row in ((0.25, 0.25), (0.75, 0.4), (0.4, 0.8)):
        moved = embed(encoder(checkpoint(family), "float32"), [_square_at(column, row)])[0]
        change = np.linalg.norm(moved.embedding - base.embedding, axis=1)[places]
        if loaded.family.name in ("ColIdefics3", "ColModernVBert"):  # tiles of 8x8, row by row
            tiles = change.reshape(rows // 8, columns // 8, 8, 8)
            change = tiles.transpose(0, 2, 1, 3).reshape(-1)
        best_row, best_column = divmod(int(change.argmax()), columns)
        assert abs((best_column + 0.5) / columns - column) < 0.2
        assert abs((best_row + 0.5) / rows - row) < 0.2


def test_colpali_queries_would_differ_without_zero_types(checkpoint: Checkpoint) -> None:
    """The trap is real: take its fix away and a padded query comes out causal."""
    loaded = encoder(checkpoint("colpali"), "float32").loaded
    fixed = embed_batch(loaded, query_batch(loaded, QUERIES))[0]
    batch = query_batch(loaded, QUERIES)
    del batch["token_type_ids"]
    causal = embed_batch(loaded, batch)[0]
    assert np.abs(fixed - causal).max() > 0.01


@pytest.mark.parametrize(
    ("family", "key"), [("colqwen2_5", "mm_token_type_ids"), ("colgemma3", "token_type_ids")]
)
def test_every_processor_key_matters(
    family: str, key: str, checkpoint: Checkpoint, images: list[Image.Image]
) -> None:
    loaded = encoder(checkpoint(family), "float32").loaded
    batch = page_batch(loaded, images[:1])
    whole = embed_batch(loaded, batch)[0]
    del batch[key]
    assert np.abs(embed_batch(loaded, batch)[0] - whole).max() > 1e-3


@pytest.mark.parametrize("family", FAMILIES)
def test_family_is_found_by_class_or_backbone(family: str, checkpoint: Checkpoint) -> None:
    loaded = encoder(checkpoint(family), "float32").loaded
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
