"""A ColPali query is read in both directions, alone and in any batch.

PaliGemma's mask depends on whether a batch is padded. What it should be is computed here without
it: the language model alone, under a mask that is written out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch

from colpali_serve.engine.forward import query_batch
from colpali_serve.engine.loading import LoadedModel, load_model
from colpali_serve.engine.settings import EncoderSettings
from colpali_serve.schemas import Embedding
from tests.conftest import ROOT
from tests.engine.batches import in_one_batch
from tests.engine.inputs import text_inputs

QUERIES = (
    "x",
    "recover data",
    "which tables show the total revenue of the year 2023, and on how many pages are they?",
    "recover data from a damaged file",
)
BUNDLED = ROOT / "checkpoints" / "colpali-tiny"


@pytest.fixture(scope="module")
def bundled() -> LoadedModel:
    return load_model(EncoderSettings(model=str(BUNDLED), device="cpu", dtype="float32"))


@pytest.fixture(params=["random", "bundled"])
def loaded(
    request: pytest.FixtureRequest, load: Callable[..., LoadedModel], bundled: LoadedModel
) -> LoadedModel:
    return bundled if request.param == "bundled" else load("colpali")


def embed(loaded: LoadedModel, texts: Sequence[str]) -> list[Embedding]:
    return in_one_batch(loaded, text_inputs(texts))


def by_hand(loaded: LoadedModel, text: str, *, backwards: bool = False) -> Embedding:
    """One query under a mask of four dimensions, which transformers takes as it is."""
    model = loaded.model
    language = model.model.model.language_model
    ids = query_batch(loaded, [text])["input_ids"]
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
def test_a_query_alone_is_read_in_both_directions(loaded: LoadedModel, text: str) -> None:
    (found,) = embed(loaded, [text])
    np.testing.assert_allclose(found, by_hand(loaded, text), atol=1e-5, rtol=0)
    # It would matter: no vector but the last is the same when tokens see what is before them only.
    assert np.abs(found - by_hand(loaded, text, backwards=True)).max() > 0.01


@pytest.mark.parametrize(
    "order", [(0, 1, 2, 3), (3, 2, 1, 0), (2, 0), (1, 3), (0, 0, 0), (2, 2, 1)]
)
def test_a_query_in_any_batch_is_what_it_is_alone(
    loaded: LoadedModel, order: tuple[int, ...]
) -> None:
    texts = [QUERIES[number] for number in order]
    for text, found in zip(texts, embed(loaded, texts), strict=True):
        np.testing.assert_allclose(found, by_hand(loaded, text), atol=1e-5, rtol=0)


def test_the_last_word_reaches_the_first_vector(loaded: LoadedModel) -> None:
    one, other = embed(loaded, ["recover the data", "recover the file"])
    assert np.abs(one[0] - other[0]).max() > 1e-3


def test_the_bundled_checkpoint_gives_what_trainings_own_forward_pass_gives(
    bundled: LoadedModel,
) -> None:
    from colpali_serve.training.model import forward

    for text, found in zip(QUERIES, embed(bundled, QUERIES), strict=True):
        batch = query_batch(bundled, [text])
        with torch.inference_mode():
            mask = batch["attention_mask"].bool()
            expected = forward.ask(bundled.model, batch["input_ids"], mask)[0].numpy()
        np.testing.assert_allclose(found, expected, atol=1e-5, rtol=0)
