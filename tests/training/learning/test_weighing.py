"""What should count how much is found by trying, with the vectors that the service gives."""

from __future__ import annotations

import random
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own abbreviation
from torch import Tensor

from colpali_serve.engine.encoder import Encoded, Encoder, TextInput
from colpali_serve.engine.loading import load_model
from colpali_serve.engine.maxsim import maxsim
from colpali_serve.engine.query_weights import QueryWeights
from colpali_serve.engine.settings import EncoderSettings
from colpali_serve.training.learning.page_queries import PageQueries
from colpali_serve.training.learning.weighing import KINDS, Weighing
from colpali_serve.training.model import architecture
from colpali_serve.training.semantics.asker import Asker, pairs_of, words_of
from tests.training import materials

BUNDLED = Path(__file__).resolve().parents[3] / "checkpoints" / "colpali-tiny"
PAGES = 12


def queries(words: Sequence[str]) -> list[tuple[str, set[str]]]:
    """One of each kind, and what a page has to say to answer it."""
    few, row = words[:3], words[3:8]
    return [
        (" ".join(few), set(few)),
        (" ".join(row), set(row) | pairs_of(row)),
        (f"how do i {words[8]} it", set()),
    ]


class Asking(PageQueries):
    """Asks in the same way about every page."""

    def about(self, rng: random.Random, text: Sequence[str]) -> list[tuple[str, set[str]]]:
        return queries(text)


@cache
def texts() -> list[list[str]]:
    """Words of pages; the last two say the same."""
    rng = random.Random(2)
    some = [rng.sample(materials.WORDS, 20) for _ in range(PAGES - 1)]
    return [*some, some[-1]]


def settings(weights: QueryWeights) -> EncoderSettings:
    return EncoderSettings(
        model=str(BUNDLED),
        device="cpu",
        dtype="float32",
        batch_patches=10_000,
        query_around=weights.around,
        query_pieces=weights.pieces,
    )


@cache
def vectors() -> Tensor:
    """Pages of noise: what tokens find there, and so who wins, depends on how much they count."""
    noise = torch.randn(PAGES, 40, 128, generator=torch.Generator().manual_seed(0))
    return F.normalize(noise, dim=2).to(torch.bfloat16)


@cache
def weighing() -> tuple[Weighing, list[int]]:
    _, processor = architecture.load(BUNDLED)
    asking = Asking(processor, texts(), Asker(materials.documents(), {}))
    looked: list[int] = []
    loaded = load_model(settings(QueryWeights()))
    return Weighing(loaded, asking, vectors(), 0, looked.append), looked


def expected(weights: QueryWeights) -> dict[str, float]:
    """The mean of 1 / rank, by the embeddings and scores that the service would give."""
    asked = [
        (page, kind, *query)
        for page, words in enumerate(texts())
        for kind, query in zip(KINDS, queries(words), strict=True)
    ]
    with Encoder.load(settings(weights)) as encoder:
        results = encoder.embed_texts([TextInput(str(page), text) for page, _, text, _ in asked])
    rows = [result.embedding for result in results if isinstance(result, Encoded)]
    scores = maxsim(rows, [page.float().numpy() for page in vectors()])
    shown = [words_of(words) | pairs_of(words) for words in texts()]
    ranks: dict[str, list[float]] = {kind: [] for kind in KINDS}
    for (page, kind, _, said), row in zip(asked, scores, strict=True):
        rivals = [one for one in range(PAGES) if kind == "questions" or not said <= shown[one]]
        ranks[kind].append(1 / (1 + sum(row[one] > row[page] for one in rivals)))
    return {kind: float(np.mean(found)) for kind, found in ranks.items()}


@pytest.mark.parametrize(
    "weights", [QueryWeights(), QueryWeights(0.25, 0.4), QueryWeights(0.1), QueryWeights(1, 1)]
)
def test_pages_are_ranked_as_the_service_would(weights: QueryWeights) -> None:
    found = weighing()[0].weigh(weights)
    assert found.found == pytest.approx(expected(weights))
    assert found.mean == pytest.approx(np.mean(list(found.found.values())))


def test_all_there_is_is_tried_and_the_first_is_that_all_count_alike() -> None:
    made, looked = weighing()
    assert sum(looked) == PAGES
    tried = made.tried()
    assert tried[0].weights == QueryWeights()
    assert len({one.weights for one in tried}) == len(tried)
    assert len({one.mean for one in tried}) > 5
    assert tried[5] == made.weigh(tried[5].weights)
