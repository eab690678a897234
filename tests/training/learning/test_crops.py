"""Batches: labels point at what is there, queries are about their crop, seeds decide."""

from __future__ import annotations

import random
from dataclasses import fields

import numpy as np
import pytest
import torch

from colpali_serve.schemas.errors import ConfigError
from colpali_serve.training.learning import crops as module
from colpali_serve.training.learning.colours import coloured
from colpali_serve.training.learning.crops import Batch, CropMaker, Crops, Labelled
from colpali_serve.training.learning.labels import LETTERS, Labeller
from colpali_serve.training.model import architecture
from colpali_serve.training.model.architecture import GRID, PATCH
from colpali_serve.training.pages.canvas import Word
from tests.training import materials
from tests.training.learning.sheets import blocks, grey_of
from tests.training.materials import tokenizer

SMALL, WHOLE = Crops(16, 8, 6, 4), Crops(GRID, GRID, 1, 10)


def plain(rng: random.Random, noise: np.random.Generator, grey: np.ndarray) -> np.ndarray:
    """Grey values as they are, so that words can be told by theirs."""
    return np.repeat(grey.astype(np.float32)[None], 3, 0)


def same(one: Batch, other: Batch) -> bool:
    return all(torch.equal(getattr(one, f.name), getattr(other, f.name)) for f in fields(Batch))


@pytest.mark.parametrize("crops", [SMALL, WHOLE, Crops(24, 24, 2, 8)])
@pytest.mark.parametrize("seed", [0, 1])
def test_labels_point_at_patches_that_show_the_piece(
    crops: Crops, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "coloured", plain)
    page = blocks()
    batch = CropMaker([page], tokenizer()).batch(crops, seed)
    count, pieces = crops.columns * crops.rows, len(page.labels.pieces)
    assert batch.pixels.shape == (crops.batch, 3, crops.rows * PATCH, crops.columns * PATCH)
    assert batch.places.shape == (crops.batch, count)
    patches = (
        batch.pixels[:, 0]
        .view(crops.batch, crops.rows, PATCH, crops.columns, PATCH)
        .permute(0, 1, 3, 2, 4)
        .reshape(-1, PATCH, PATCH)
        .numpy()
    )
    raster = page.pixels.reshape(GRID, PATCH, GRID, PATCH).swapaxes(1, 2).reshape(-1, PATCH, PATCH)
    np.testing.assert_array_equal(patches, raster[batch.places.flatten().numpy()])
    assert len(batch.piece_patch) > 20
    np.testing.assert_array_equal(batch.pieces.numpy(), np.tile(page.labels.pieces, crops.batch))
    for patch, instance, share in zip(
        batch.piece_patch.tolist(),
        batch.piece_instance.tolist(),
        batch.piece_share.tolist(),
        strict=True,
    ):
        assert instance // pieces == patch // count  # of the same crop
        grey = grey_of(int(page.labels.piece_words[instance % pieces]))
        seen = float((patches[patch] == grey).mean())
        assert seen > 0.02
        assert 0.1 < share <= 1
    for patch, letter in zip(batch.letter_patch.tolist(), batch.letter.tolist(), strict=True):
        words = {grey_of(number) for number in range(len(page.labels.words))}
        assert words & set(np.unique(patches[patch]).astype(int).tolist())
        assert letter < len(LETTERS)


def test_every_piece_that_lies_within_a_crop_is_labelled() -> None:
    page = blocks()
    batch = CropMaker([page], tokenizer()).batch(WHOLE, 0)
    assert set(batch.piece_instance.tolist()) == set(range(len(page.labels.pieces)))


@pytest.mark.parametrize("crops", [SMALL, WHOLE])
def test_queries_name_pieces_of_their_crop(crops: Crops) -> None:
    pages = [blocks(seed) for seed in range(3)]
    maker = CropMaker(pages, tokenizer())
    lengths = set()
    for seed in range(5):
        batch = maker.batch(crops, seed)
        assert 0 < len(batch.query_ids) <= crops.batch * crops.queries
        crop_of = dict(zip(batch.piece_instance.tolist(), batch.piece_patch.tolist(), strict=True))
        for ids, mask, instances, crop in zip(
            batch.query_ids, batch.query_mask, batch.query_instance, batch.query_crop, strict=True
        ):
            asked = instances >= 0
            tokens = int(asked.sum())
            lengths.add(tokens)
            assert tokens >= 1
            assert not asked[0]
            assert asked[1 : tokens + 1].all()
            assert torch.equal(batch.pieces[instances[asked]], ids[asked])
            # Words follow each other on the page, and each is within the crop, so it is labelled.
            assert (instances[asked].diff() == 1).all()
            for instance in instances[asked].tolist():
                assert crop_of[instance] // batch.places.shape[1] == int(crop)
            assert mask.tolist() == [True] * (tokens + 11) + [False] * (len(mask) - tokens - 11)
    assert len(lengths) > 2


def test_a_query_has_the_form_that_the_service_asks_in() -> None:
    _, processor = architecture.build(materials.SHAPE, materials.fresh_tokenizer())
    batch = CropMaker([blocks()], tokenizer()).batch(SMALL, 3)
    for ids, mask, instances in zip(
        batch.query_ids, batch.query_mask, batch.query_instance, strict=True
    ):
        text = tokenizer().decode(ids[instances >= 0])
        expected = processor.process_queries(queries=[text])
        assert torch.equal(ids[mask], expected["input_ids"][0])
        assert expected["attention_mask"].all()


def test_punctuation_is_rarely_asked_for() -> None:
    words = [Word(10.0 + 70 * n, 10, 70.0 + 70 * n, 30, text) for n, text in
             enumerate(["river,", "castle.", "garden;", "--"])]  # fmt: skip
    page = Labelled(blocks().pixels, Labeller(tokenizer())(words))
    marks = set(tokenizer().convert_tokens_to_ids([",", ".", ";", "-"]))
    maker = CropMaker([page], tokenizer())
    asked = [
        bool(marks & set(ids.tolist()))
        for seed in range(30)
        for ids in maker.batch(Crops(GRID, GRID, 1, 10), seed).query_ids
    ]
    assert 0 < sum(asked) / len(asked) < 0.25


def test_the_seed_decides_alone() -> None:
    pages = [blocks(seed) for seed in range(3)]
    one, two = CropMaker(pages, tokenizer()), CropMaker(pages, tokenizer())
    first = one.batch(SMALL, 5)
    one.batch(WHOLE, 6)
    random.seed(1)
    torch.manual_seed(1)
    assert same(first, one.batch(SMALL, 5))
    assert same(first, two.batch(SMALL, 5))
    assert not torch.equal(first.places, one.batch(SMALL, 6).places)


def test_large_print_is_all_that_is_shown_where_it_is_wanted() -> None:
    large, small = blocks(1), blocks(2, height=9, letter=4.0)
    maker = CropMaker([large, small], tokenizer())
    sizes = {len(large.labels.pieces), len(small.labels.pieces)}
    assert len(sizes) == 2
    for seed in range(4):
        batch = maker.batch(SMALL, seed, large_print=1.0)
        assert len(batch.pieces) == SMALL.batch * len(large.labels.pieces)


@pytest.mark.parametrize("large", [0.0, 1.0])
def test_pages_without_a_window_are_no_endless_search(
    large: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_WINDOW_TRIES", 30)
    words = [Word(0, 0, 30, 12, "river"), Word(700, 700, 760, 712, "castle")]
    page = Labelled(blocks().pixels, Labeller(tokenizer())(words))
    maker = CropMaker([blocks(2, height=9, letter=4.0)] if large else [page], tokenizer())
    with pytest.raises(ConfigError, match=r"1 pages: no window of 16 x 8 patches with"):
        maker.batch(SMALL, 0, large)


def test_pages_without_words_are_refused() -> None:
    page = Labelled(blocks().pixels, Labeller(tokenizer())([Word(0, 0, 9, 9, "one")]))
    with pytest.raises(ConfigError, match="1 pages: none has two words"):
        CropMaker([page], tokenizer())


def test_colours_keep_light_and_dark_apart() -> None:
    grey = np.array([[0, 128, 255]], np.uint8)
    some_grey = some_colour = 0
    for seed in range(60):
        found = coloured(random.Random(seed), np.random.default_rng(seed), grey)
        assert found.shape == (3, 1, 3)
        assert found.dtype == np.float32
        assert found.min() >= -1
        assert found.max() <= 1
        assert (found[:, 0, 2] - found[:, 0, 0] > 0.3).all()
        exact = np.allclose(found[:, 0], [-1, 128 / 127.5 - 1, 1], atol=1e-6)
        some_grey += exact
        some_colour += not exact
    assert some_grey > 10
    assert some_colour > 10
