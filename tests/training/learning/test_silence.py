"""What of a question is silent, and what every page has."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own abbreviation

from colpali_serve.training.learning.asked import QUERY_PADS
from colpali_serve.training.learning.silence import Silence, silent_vector
from colpali_serve.training.model import architecture
from colpali_serve.training.model.architecture import GRID
from tests.training import materials


@pytest.fixture(scope="module")
def silence() -> Silence:
    _, processor = architecture.build(materials.SHAPE, materials.fresh_tokenizer())
    return Silence(processor)


def told(silence: Silence, text: str) -> str:
    """The letters of a text that are not silent."""
    encoded = materials.tokenizer().backend_tokenizer.encode(text, add_special_tokens=False)
    length = 1 + len(encoded.ids) + QUERY_PADS
    (silent,) = silence.tokens([text], length)
    assert not silent[-QUERY_PADS:].any()
    kept = [
        text[start:end]
        for (start, end), quiet in zip(encoded.offsets, silent[1:], strict=False)
        if not quiet
    ]
    return "".join(kept)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("How do I remove the file from a printer?", "removefileprinter"),
        ("tell me about winter gardens", "wintergardens"),
        ("the printer: how?", "printer"),
        ("is it the summer", "summer"),
        # No questions: what is looked for stands there as it is.
        ("remove the file", "removethefile"),
        ("issues of the file", "issuesofthefile"),
    ],
)
def test_words_that_only_ask(silence: Silence, text: str, expected: str) -> None:
    assert told(silence, text) == expected


def test_bos_is_silent_in_questions_only(silence: Silence) -> None:
    silent = silence.tokens(["how is the printer?", "the printer"], 40)
    assert silent[:, 0].tolist() == [True, False]
    assert not silent[1].any()


def test_long_questions_are_cut_as_queries_are(silence: Silence) -> None:
    silent = silence.tokens(["how " + "printer the " * 60], 41)
    assert silent.shape == (1, 41)


def test_what_every_page_has() -> None:
    generator = torch.Generator().manual_seed(0)
    pages = F.normalize(torch.randn(6, GRID * GRID + 3, 16, generator=generator), dim=2)
    same = F.normalize(torch.randn(16, generator=generator), dim=0)
    pages[:, GRID * GRID + 1] = F.normalize(same + 0.1 * pages[:, 0], dim=1)
    pages[:, 7] = same  # a patch is none of it
    found = silent_vector(pages.bfloat16())
    assert found.dtype == torch.float32
    assert float(found.norm()) == pytest.approx(1, abs=1e-5)
    assert float(found @ same) > 0.98
