"""Pads learn to name words, and everything else that is asked stays as it was."""

from __future__ import annotations

import copy
import math
import random

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own abbreviation
from colpali_engine.models import ColPali, ColPaliProcessor

from colpali_serve.training.learning import naming as module
from colpali_serve.training.learning.asked import QUERY_PADS
from colpali_serve.training.learning.naming import NEAREST, Naming
from colpali_serve.training.learning.page_queries import PageQueries
from colpali_serve.training.learning.silence import Silence
from colpali_serve.training.model import architecture, forward, initial
from colpali_serve.training.semantics.asker import Asker
from tests.training import materials

WORDS = sorted({word for word in materials.WORDS if word.isalpha()})[:30]
TEXTS = [[section.text for section in one.sections] for one in materials.documents()]
QUESTIONS = [f"how do i {word}" for word in WORDS] + ["what is the purpose of all that"]
SILENT = F.normalize(torch.randn(128, generator=torch.Generator().manual_seed(7)), dim=0)
NAMING_PADS = module._NAMING_PADS


def model() -> tuple[ColPali, PageQueries, ColPaliProcessor]:
    made, processor = architecture.build(materials.SHAPE, materials.fresh_tokenizer())
    initial.initialise(made, 0)
    texts = [" ".join(text).split() for text in TEXTS]
    return made, PageQueries(processor, texts, Asker(materials.documents(), {})), processor


def near() -> tuple[np.ndarray, np.ndarray]:
    """The words nearest to a question are the ten behind its own, the nearest by far the first."""
    own = np.arange(len(QUESTIONS))[:, None] + np.arange(NEAREST)
    cosines = np.tile(0.9 * 0.7 ** np.arange(NEAREST, dtype=np.float32), (len(QUESTIONS), 1))
    return own % len(WORDS), cosines


def naming() -> tuple[Naming, ColPali, PageQueries]:
    base, queries, processor = model()
    silence = Silence(processor)
    return Naming(base, queries, QUESTIONS, WORDS, *near(), silence, SILENT), base, queries


def test_a_model_that_has_not_changed_has_moved_nothing() -> None:
    made, base, _ = naming()
    losses = made.losses(copy.deepcopy(base), random.Random(0))
    assert float(losses["named"]) > 0
    assert abs(float(losses["moved"])) < 1e-5
    assert float(losses["silent"]) > 0.5


def test_words_are_said_as_a_query_of_one_word_says_them() -> None:
    made, base, queries = naming()
    assert len(made._said) == len(WORDS)
    for word, said in list(zip(WORDS, made._said, strict=True))[:5]:
        ids, mask = queries.tokens([word])
        asked = forward.ask(base, ids, mask)[0]
        assert len(said) == ids.shape[1] - 1 - QUERY_PADS
        torch.testing.assert_close(said, asked[1 : 1 + len(said)], atol=1e-5, rtol=1e-4)


def test_what_is_missed_is_the_likelihood_of_a_mixture(monkeypatch: pytest.MonkeyPatch) -> None:
    made, _, _ = naming()
    monkeypatch.setattr(module, "_OTHERS", len(WORDS))
    generator = torch.Generator().manual_seed(0)
    says = F.normalize(torch.randn(2, NAMING_PADS, 128, generator=generator), dim=-1)
    found = float(made._missed(random.Random(0), says, [0, 3]))
    expected = 0.0
    for row, question in enumerate([0, 3]):
        likely = [0.0] * len(WORDS)
        for pad in says[row]:
            close = [[math.exp(15 * float(pad @ one)) for one in said] for said in made._said]
            total = sum(map(sum, close))
            for word, more in enumerate(close):
                likely[word] += sum(more) / total / NAMING_PADS
        numbers, shares = made._numbers[question], made._shares[question]
        assert float(shares.sum()) == pytest.approx(1, abs=1e-5)
        assert (shares[:-1] >= shares[1:]).all()
        expected -= sum(
            float(share) * math.log(likely[number] + 1e-7)
            for number, share in zip(numbers.tolist(), shares, strict=True)
        )
    assert found == pytest.approx(expected / 2, rel=1e-4)


def test_a_pad_that_says_a_word_misses_less() -> None:
    made, _, _ = naming()
    generator = torch.Generator().manual_seed(0)
    # Weights by chance say every word in nearly the same way.
    made._said = [F.normalize(torch.randn(2, 128, generator=generator), dim=-1) for _ in WORDS]
    says = F.normalize(torch.randn(1, NAMING_PADS, 128, generator=generator), dim=-1)
    before = float(made._missed(random.Random(0), says, [0]))
    says[0, 4] = made._said[int(made._numbers[0, 0])][0]
    named = float(made._missed(random.Random(0), says, [0]))
    assert named < before - 0.2
    says[0, 3] = made._said[(int(made._numbers[0, 0]) - 1) % len(WORDS)][0]  # not meant
    assert float(made._missed(random.Random(0), says, [0])) > named


def test_pads_learn_words_stay_and_the_rest_falls_silent() -> None:
    made, base, queries = naming()
    learning = copy.deepcopy(base)
    table = learning.model.model.language_model.embed_tokens.weight.requires_grad_(True)
    optimiser = torch.optim.AdamW([table], lr=1e-2, weight_decay=0.0)
    named, silent = [], []
    for step in range(25):
        losses = made.losses(learning, random.Random(step))
        (losses["named"] + 10 * losses["moved"] + losses["silent"]).backward()
        optimiser.step()
        optimiser.zero_grad()
        named.append(float(losses["named"].detach()))
        silent.append(float(losses["silent"].detach()))
    assert sum(named[-5:]) < 0.9 * sum(named[:5])
    assert sum(silent[-5:]) < 0.7 * sum(silent[:5])
    assert all(part.grad is None for part in base.parameters())
    stayed = alike(made, base, learning, queries.fragments(random.Random(9), 20), "words")
    words = alike(made, base, learning, QUESTIONS, "words")
    pads = alike(made, base, learning, QUESTIONS, "pads")
    quiet = alike(made, base, learning, QUESTIONS, "quiet")
    assert max(pads, quiet) < min(stayed, words) - 0.02


@torch.no_grad()
def alike(made: Naming, one: ColPali, other: ColPali, texts: list[str], which: str) -> float:
    """How close two models' vectors of some tokens of queries are, on average."""
    ids, mask = made._queries.tokens(texts)
    quiet = made._silence.tokens(texts, ids.shape[1])
    behind = torch.arange(ids.shape[1]) >= mask.sum(1, keepdim=True) - QUERY_PADS
    chosen = {"pads": behind, "quiet": quiet, "words": ~behind & ~quiet}[which] & mask
    close = (forward.ask(one, ids, mask) * forward.ask(other, ids, mask)).sum(2)
    return float(close[chosen].mean())
