"""Batches: labels point at what is there, queries are about their crop, seeds decide."""

from __future__ import annotations

import random
from dataclasses import fields, replace

import numpy as np
import pytest
import torch

from colpali_serve.schemas.errors import ConfigError
from colpali_serve.training.learning import crops as module
from colpali_serve.training.learning.asked import NOT_FROM_PAGE, NOT_TEXT
from colpali_serve.training.learning.colours import coloured
from colpali_serve.training.learning.crops import Batch, CropMaker, Crops, Labelled
from colpali_serve.training.learning.labels import LETTERS, Labeller
from colpali_serve.training.model.architecture import GRID, PATCH
from colpali_serve.training.pages.canvas import Word
from colpali_serve.training.pages.seeing import SIDE
from colpali_serve.training.semantics.asker import Asker
from tests.training import materials
from tests.training.learning.sheets import blocks, grey_of
from tests.training.materials import WORDS, tokenizer

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


def asker() -> Asker:
    return Asker(materials.documents(), {"remove": {"delete": 0.9}})


def test_whole_pages_with_a_text_are_asked_questions() -> None:
    # Each page's text is of words of its own, so that a question tells which page it is about.
    texts = [tuple(WORDS[:16]) * 3, tuple(WORDS[16:]) * 3]
    pages = [replace(blocks(seed), text=text) for seed, text in enumerate(texts)]
    maker, crops = CropMaker(pages, tokenizer(), asker()), replace(WHOLE, batch=2, questions=6)
    seen = 0
    for seed in range(6):
        batch = maker.batch(crops, seed)
        asked = (batch.query_instance == NOT_FROM_PAGE).any(1)
        assert 0 < int(asked.sum()) <= crops.batch * crops.questions
        assert 0 < int((~asked).sum()) <= crops.batch * crops.queries
        for ids, instances, crop in zip(
            batch.query_ids[asked],
            batch.query_instance[asked],
            batch.query_crop[asked],
            strict=True,
        ):
            # bos and pads are no text, and nothing but them is not.
            tokens = int((instances == NOT_FROM_PAGE).sum())
            assert instances.tolist() == [NOT_TEXT, *[NOT_FROM_PAGE] * tokens] + [NOT_TEXT] * (
                len(instances) - tokens - 1
            )
            mine = batch.piece_instance[batch.piece_patch // batch.places.shape[1] == crop]
            shown = batch.pieces[mine.min() : mine.max() + 1].numpy()
            (page,) = (n for n, one in enumerate(pages) if np.array_equal(one.labels.pieces, shown))
            words = set(tokenizer().decode(ids[1 : tokens + 1]).split())
            assert not words & set(texts[1 - page])
            seen += bool(words & set(texts[page]))
    assert seen > 30


def test_questions_are_for_whole_pages_with_a_text_and_an_asker() -> None:
    asked = replace(blocks(), text=tuple(WORDS))
    for page, who, crops in (
        (asked, asker(), replace(SMALL, questions=5)),
        (blocks(), asker(), replace(WHOLE, questions=5)),
        (asked, None, replace(WHOLE, questions=5)),
    ):
        batch = CropMaker([page], tokenizer(), who).batch(crops, 0)
        assert not (batch.query_instance == NOT_FROM_PAGE).any()
        assert len(batch.query_ids)
    # They change nothing of what is asked besides.
    without = CropMaker([asked], tokenizer()).batch(replace(SMALL, questions=5), 0)
    assert same(without, CropMaker([asked], tokenizer(), asker()).batch(SMALL, 0))


def test_questions_of_a_batch_depend_on_its_seed_alone() -> None:
    pages = [replace(blocks(seed), text=tuple(WORDS)) for seed in range(3)]
    crops = replace(WHOLE, batch=2, questions=6)
    one, two = CropMaker(pages, tokenizer(), asker()), CropMaker(pages, tokenizer(), asker())
    first = one.batch(crops, 5)
    two.batch(crops, 6)
    assert same(first, two.batch(crops, 5))


@pytest.mark.parametrize(("crops", "expected"), [(replace(WHOLE, batch=2), 0.7), (SMALL, 0.0)])
def test_whole_pages_of_a_batch_often_lie_near_each_other(
    crops: Crops, expected: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "coloured", plain)
    words = [Word(60.0 * n, y, 50 + 60.0 * n, y + 10, "river") for n in range(9)
             for y in range(50, 750, 60)]  # fmt: skip
    labels = Labeller(tokenizer())(words)
    count = 120
    pages = [
        Labelled(np.broadcast_to(np.uint8(number), (SIDE, SIDE)), labels) for number in range(count)
    ]
    maker = CropMaker(pages, tokenizer())
    near = []
    for seed in range(120):
        numbers = maker.batch(crops, seed).pixels[:2, 0, 0, 0].int().tolist()
        near.append(0 < (numbers[1] - numbers[0]) % count <= module._NEAR)
    by_chance = (1 - expected) * module._NEAR / count
    assert np.mean(near) == pytest.approx(expected + by_chance, abs=0.09)


def test_a_neighbour_that_shows_too_little_is_passed_over() -> None:
    # Only one page in nine can be a whole page with large print; it has no neighbour like it.
    large = blocks(1)
    pages = [large, *[blocks(2, height=9, letter=4.0)] * 8]
    batch = CropMaker(pages, tokenizer()).batch(replace(WHOLE, batch=4), 0, large_print=1.0)
    assert len(batch.pieces) == 4 * len(large.labels.pieces)


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
