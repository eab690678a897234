"""A ColPali query is read in both directions, alone and in any batch.

PaliGemma's mask depends on whether a batch is padded. What it should be is computed here without
it: the language model alone, under a mask that is written out.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from colpali_serve.engine.encoder import Encoded, Encoder, TextInput
from colpali_serve.engine.forward import query_batch
from colpali_serve.engine.settings import EncoderSettings
from tests.conftest import ROOT

QUERIES = (
    "x",
    "recover data",
    "which tables show the total revenue of the year 2023, and on how many pages are they?",
    "recover data from a damaged file",
)
BUNDLED = ROOT / "checkpoints" / "colpali-tiny"
Checkpoint = Callable[[str], Path]


@pytest.fixture(params=["random", "bundled"])
def running(request: pytest.FixtureRequest, checkpoint: Checkpoint) -> Encoder:
    return load(BUNDLED if request.param == "bundled" else checkpoint("colpali"))


@cache
def load(folder: Path) -> Encoder:
    return Encoder.load(EncoderSettings(model=str(folder), device="cpu", dtype="float32"))


def embed(running: Encoder, texts: list[str]) -> list[NDArray[np.float32]]:
    results = running.embed_texts([TextInput(str(n), text) for n, text in enumerate(texts)])
    assert all(isinstance(result, Encoded) for result in results), results
    return [result.embedding for result in results if isinstance(result, Encoded)]


def by_hand(running: Encoder, text: str, *, backwards: bool = False) -> NDArray[np.float32]:
    """One query under a mask of four dimensions, which transformers takes as it is."""
    model = running.loaded.model
    language = model.model.model.language_model
    ids = query_batch(running.loaded, [text])["input_ids"]
    length = ids.shape[1]
    hidden = torch.full((length, length), torch.finfo(torch.float32).min).triu(1)
    mask = (hidden if backwards else torch.zeros(length, length))[None, None]
    with torch.inference_mode():
        output = language(
            inputs_embeds=language.embed_tokens(ids),
            attention_mask=mask,
            position_ids=torch.arange(1, length + 1)[None],
        ).last_hidden_state
        vectors = torch.nn.functional.normalize(model.custom_text_proj(output), dim=-1)
    return vectors[0].numpy()


@pytest.mark.parametrize("text", QUERIES)
def test_a_query_alone_is_read_in_both_directions(running: Encoder, text: str) -> None:
    (found,) = embed(running, [text])
    np.testing.assert_allclose(found, by_hand(running, text), atol=1e-5, rtol=0)
    # It would matter: no vector but the last is the same when tokens see what is before them only.
    assert np.abs(found - by_hand(running, text, backwards=True)).max() > 0.01


@pytest.mark.parametrize(
    "order", [(0, 1, 2, 3), (3, 2, 1, 0), (2, 0), (1, 3), (0, 0, 0), (2, 2, 1)]
)
def test_a_query_in_any_batch_is_what_it_is_alone(running: Encoder, order: tuple[int, ...]) -> None:
    texts = [QUERIES[number] for number in order]
    for text, found in zip(texts, embed(running, texts), strict=True):
        np.testing.assert_allclose(found, by_hand(running, text), atol=1e-5, rtol=0)


def test_the_last_word_reaches_the_first_vector(running: Encoder) -> None:
    one, other = embed(running, ["recover the data", "recover the file"])
    assert np.abs(one[0] - other[0]).max() > 1e-3


def test_the_bundled_checkpoint_gives_what_trainings_own_forward_pass_gives() -> None:
    from colpali_serve.training.model import forward

    running = load(BUNDLED)
    for text, found in zip(QUERIES, embed(running, list(QUERIES)), strict=True):
        batch = query_batch(running.loaded, [text])
        with torch.inference_mode():
            mask = batch["attention_mask"].bool()
            expected = forward.ask(running.loaded.model, batch["input_ids"], mask)[0].numpy()
        np.testing.assert_allclose(found, expected, atol=1e-5, rtol=0)
