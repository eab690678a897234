"""Patches say what their words mean, and their vectors stay as they are."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own abbreviation

from colpali_serve.training.learning import glossing
from colpali_serve.training.learning.glossing import Glosser, gathering, told, unseen, write
from colpali_serve.training.model import forward
from colpali_serve.training.model.architecture import GRID, PATCH, Shape
from colpali_serve.training.model.deepening import deepened
from colpali_serve.training.pages.canvas import Word
from tests.training import materials

# Twice as many directions as a vector shows, as in the model that ships.
SHAPE = Shape(hidden=256, vision_layers=1, text_layers=1, text_inner=64)
DIM, KINDS, PROMPT = 8, 6, 6


def word(text: str, column: float, columns: float, row: int = 0) -> Word:
    left, top = column * PATCH, row * PATCH
    return Word(left, top, left + columns * PATCH, top + PATCH, text)


def meaning(text: str) -> np.ndarray | None:
    return None if text == "unknown" else np.full(3, len(text), np.float32)


def test_patches_of_a_word_say_together_what_it_means() -> None:
    says, clear = told([word("four", 0.5, 2), word("a", 10, 1, row=3)], meaning)
    assert says.shape == (GRID * GRID, 3)
    torch.testing.assert_close(says.sum(0), torch.full((3,), 5.0))
    assert clear.nonzero()[:, 0].tolist() == [0, 1, 2, 3 * GRID + 10]
    torch.testing.assert_close(says[[0, 1, 2], 0], torch.tensor([1.0, 2.0, 1.0]))


def test_patches_of_words_that_are_not_known_are_not_asked_for() -> None:
    _, clear = told([word("four", 0, 1), word("unknown", 1, 2)], meaning)
    assert clear.nonzero()[:, 0].tolist() == [0]


def test_directions_that_a_vector_does_not_show() -> None:
    model, _ = materials.model(shape=SHAPE)
    hidden = unseen(model)
    assert hidden.shape == (256, 128)
    state = torch.randn(5, 256, generator=torch.Generator().manual_seed(0)) * 10
    moved = state + 3 * hidden[:, 0]
    # All that is left of it is the norm, which makes the rest smaller beside the bias.
    with torch.no_grad():
        alike = (forward.vectors(model, state) * forward.vectors(model, moved)).sum(1)
    assert (alike > 0.999).all()


def test_meanings_are_written_read_and_gathered() -> None:
    torch.manual_seed(0)
    model = deepened(materials.model(shape=SHAPE)[0])
    kinds, meanings = torch.randn(KINDS, 256) * 5, F.normalize(torch.randn(KINDS, DIM), dim=1)
    which = torch.randint(KINDS, (4, GRID * GRID))
    states = torch.randn(4, GRID * GRID + PROMPT, 256) * 0.2
    states[:, : GRID * GRID] += kinds[which]
    states, says = states.half(), meanings[which].half()
    before = states.clone()
    glosser = Glosser(model, states, says, torch.ones(which.shape, dtype=torch.bool), 0)
    missed: list[float] = []
    with torch.no_grad():
        vectors = forward.vectors(model, before[0].float())
    glosser.run(60, lambda _, share: missed.append(share))
    assert missed[-1] < 0.3 < missed[0]
    write(model, states)
    assert not torch.equal(states, before)
    with torch.no_grad():
        alike = (forward.vectors(model, states[0].float()) * vectors).sum(1)
    assert alike.mean() > 0.98

    deeper = deepened(model, 1)
    gathering(deeper, glosser.readout.detach(), states)
    values = deeper.model.model.language_model.layers[-1].self_attn.v_proj
    with torch.no_grad():
        found = values(forward.rms(states.float(), torch.zeros(256))).mean(1)
    assert 0.5 < float(found[:, :DIM].norm(dim=1).mean()) / glossing._OUTWEIGHS < 2
    wanted = torch.stack([meanings[one].mean(0) for one in which])
    assert (F.cosine_similarity(found[:, :DIM], wanted, dim=1) > 0.5).all()
