"""Items prepared one by one are what the family's processor makes of them together."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from PIL import Image

from colpali_serve.engine.forward import grids, page_batch, query_batch
from colpali_serve.engine.items import ImageInput, Input, TextInput
from colpali_serve.engine.loading import LoadedModel
from colpali_serve.engine.margins import WHOLE, inside_margins
from colpali_serve.engine.preparing import Preparer, joined
from colpali_serve.schemas import ColPaliError, EncodingError, InvalidPageError, InvalidQueryError
from tests.checkpoints import FAMILIES
from tests.engine.batches import SETTINGS, prepared
from tests.engine.inputs import page_inputs, png, text_inputs
from tests.engine.noting import Noted

Load = Callable[..., LoadedModel]
TEXTS = ["red", "what is the total revenue of the quick brown fox in 2023?", "describe it", "x"]
WHITE = png(Image.new("RGB", (40, 40), "white"))


def join(loaded: LoadedModel, entries: list[Input]) -> dict[str, object]:
    tokenizer = loaded.processor.tokenizer
    return joined(prepared(loaded, entries), tokenizer.padding_side, tokenizer.pad_token_id)


def assert_same(found: dict[str, object], expected: dict[str, object]) -> None:
    assert set(found) == set(expected)
    for key, value in expected.items():
        if isinstance(value, torch.Tensor):
            torch.testing.assert_close(found[key], value, rtol=0, atol=0, msg=key)
        else:
            assert found[key] == value, key


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 1), (2, 0), (1,)])
@pytest.mark.parametrize("family", FAMILIES)
def test_pages_of_any_sizes(
    family: str, order: tuple[int, ...], load: Load, images: list[Image.Image]
) -> None:
    loaded, chosen = load(family), [images[place] for place in order]
    expected = page_batch(loaded, chosen)
    items = prepared(loaded, page_inputs(chosen))
    assert_same(join(loaded, page_inputs(chosen)), expected)
    assert [item.length for item in items] == expected["attention_mask"].sum(1).tolist()
    assert [item.grid for item in items] == grids(loaded, expected, chosen)
    assert all(item.has_image for item in items)


SHEET = Image.new("RGB", (400, 600), "white")
SHEET.paste("black", (100, 60, 320, 540))


@pytest.mark.parametrize("family", FAMILIES)
def test_margins_are_cut_where_the_model_wants_it(family: str, load: Load) -> None:
    loaded = load(family)
    (kept,) = prepared(loaded, page_inputs([SHEET]))
    assert kept.box == WHOLE
    assert_same(kept.tensors, page_batch(loaded, [SHEET]))
    box = inside_margins(SHEET)
    inner = SHEET.crop((int(400 * box.left), int(600 * box.top), 325, 548))
    (found,) = prepared(replace(loaded, cuts_margins=True), page_inputs([SHEET]))
    assert found.box == box
    assert_same(found.tensors, page_batch(loaded, [inner]))
    (query,) = prepared(
        replace(loaded, cuts_margins=True), [ImageInput("q", png(SHEET), kind="query")]
    )
    assert_same(query.tensors, found.tensors)


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (3, 2, 1, 0), (1, 3), (2, 2), (0,)])
@pytest.mark.parametrize("family", FAMILIES)
def test_queries_of_any_lengths(family: str, order: tuple[int, ...], load: Load) -> None:
    loaded, texts = load(family), [TEXTS[place] for place in order]
    expected = query_batch(loaded, texts)
    items = prepared(loaded, text_inputs(texts))
    assert_same(join(loaded, text_inputs(texts)), expected)
    assert [item.length for item in items] == expected["attention_mask"].sum(1).tolist()
    assert not any(item.has_image or item.grid for item in items)


@pytest.mark.parametrize("family", FAMILIES)
def test_many_threads_prepare_what_one_does(
    family: str, load: Load, images: list[Image.Image]
) -> None:
    loaded = load(family)
    entries = [*page_inputs(images), *text_inputs([text * 9 for text in TEXTS] + TEXTS)] * 4
    with ThreadPoolExecutor(8) as threads:
        found = threads.map(lambda entry: prepared(loaded, [entry])[0], entries)
        for item, entry in zip(found, entries, strict=True):
            assert_same(item.tensors, prepared(loaded, [entry])[0].tensors)


@pytest.mark.parametrize(
    ("entry", "error", "message"),
    [
        (ImageInput("a", b"x"), InvalidPageError, "page 'a': image is of no known format"),
        (ImageInput("a", WHITE[:-30]), InvalidPageError, "page 'a': image is truncated or broken"),
        (ImageInput("a"), InvalidPageError, "page 'a': has no image, expected image bytes or a"),
        (ImageInput("a", WHITE, "data:,"), InvalidPageError, "page 'a': has an image and a url"),
        (ImageInput("a", None, "ftp://b"), InvalidPageError, "page 'a': url is 'ftp://b'"),
        (ImageInput("a", b"x", kind="query"), InvalidQueryError, "query 'a': image is of no known"),
        (ImageInput("a", kind="query"), InvalidQueryError, "query 'a': has no image, expected"),
        (TextInput("a", " "), InvalidQueryError, "query 'a': text is empty, expected at least"),
        (TextInput("a", "word " * 5000), InvalidQueryError, "query 'a': text has 20000 tokens"),
    ],
)
def test_bad_items_are_refused_in_words(
    entry: Input, error: type[ColPaliError], message: str, load: Load
) -> None:
    with pytest.raises(error) as caught:
        prepared(load("colqwen2"), [entry])
    assert caught.value.message.startswith(message)
    assert caught.value.item == "a"


@pytest.mark.parametrize("kind", ["page", "query"])
def test_an_image_too_thin_for_its_family_is_refused(kind: str, load: Load) -> None:
    thin = ImageInput("a", png(Image.new("RGB", (20, 4020))), kind=kind)
    wanted = InvalidPageError if kind == "page" else InvalidQueryError
    with pytest.raises(wanted, match=f"{kind} 'a': image is 20x4020, a ratio of 201:1, expected"):
        prepared(load("colqwen2"), [thin])
    (item,) = prepared(load("colpali"), [thin])
    assert item.length > 256


def test_margins_stay_where_a_page_would_be_too_thin_without(load: Load) -> None:
    strip = Image.new("RGB", (30, 5000), "white")
    strip.paste("black", (14, 0, 17, 5000))
    loaded = replace(load("colqwen2"), cuts_margins=True)
    (found,) = prepared(loaded, page_inputs([strip]))
    assert found.box == WHOLE
    (wider,) = prepared(loaded, page_inputs([strip.resize((60, 5000))]))
    assert wider.box != WHOLE


@pytest.mark.parametrize("entry", [ImageInput("a", WHITE), TextInput("a", "red")])
def test_a_processor_that_fails_is_an_encoding_error_with_its_cause(
    entry: Input, load: Load
) -> None:
    def broken(_: object) -> None:
        raise ZeroDivisionError

    loaded = load("colqwen2")
    processor = SimpleNamespace(
        tokenizer=loaded.processor.tokenizer,
        query_augmentation_token="",
        process_images=broken,
        process_texts=broken,
    )
    with pytest.raises(EncodingError) as caught:
        prepared(replace(loaded, processor=processor), [entry])
    assert caught.value.args == (
        f"{entry.owner}: the model's processor failed, expected an embedding",
        "a",
    )
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


def test_what_takes_time_is_told(load: Load) -> None:
    noted = Noted()
    prepare = Preparer(load("colpali"), SETTINGS, noted)
    prepare(ImageInput("a", WHITE))
    prepare(TextInput("b", "red"))
    with pytest.raises(InvalidPageError):
        prepare(ImageInput("c", b"x"))
    assert noted.stages == {"decode": 2, "preprocess": 2}
