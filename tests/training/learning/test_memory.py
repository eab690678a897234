"""Remembered pages: the newest are kept, the highest similarity is found, only queries learn."""

from __future__ import annotations

import io

import pytest
import torch
from torch import Tensor

from colpali_serve.schemas.errors import ConfigError
from colpali_serve.training.learning import memory
from colpali_serve.training.learning.context import PAIRS
from colpali_serve.training.learning.memory import PageMemory, Rivals, best

CPU = torch.device("cpu")
VOCABULARY, VECTORS, DIM = 7, 5, 4


def pages(*names: int) -> tuple[Tensor, Tensor]:
    """Pages whose vectors all say a number, and which show that piece."""
    vectors = torch.tensor(names, dtype=torch.float32)[:, None, None].repeat(1, VECTORS, DIM)
    shows = torch.zeros(len(names), VOCABULARY + PAIRS, dtype=torch.bool)
    for place, name in enumerate(names):
        shows[place, name % VOCABULARY] = True
    return vectors, shows


def named(rivals: Rivals) -> set[int]:
    """The numbers of what is remembered; each is to be whole and to show what it showed."""
    names = rivals.vectors[:, 0, 0].int().tolist()
    for name, vectors, shows in zip(names, rivals.vectors, rivals.shows, strict=True):
        assert (vectors == name).all()
        assert shows.nonzero()[:, 0].tolist() == [name % VOCABULARY]
    assert len(set(names)) == len(names)
    return set(names)


def whole_numbers(generator: torch.Generator, *shape: int) -> Tensor:
    """So small that bfloat16 rounds neither them nor their products' sums."""
    return torch.randint(-4, 5, shape, generator=generator).float()


def test_best_is_the_plain_maximum() -> None:
    generator = torch.Generator().manual_seed(0)
    queries, vectors = whole_numbers(generator, 9, 8), whole_numbers(generator, 6, 30, 8)
    found = best(queries, Rivals(vectors.to(torch.bfloat16), torch.zeros(6, VOCABULARY)))
    expected = torch.einsum("td,pvd->tpv", queries, vectors).amax(2)
    assert found.dtype == torch.float32
    assert torch.equal(found, expected)


def test_best_of_any_vectors_is_close_to_the_maximum() -> None:
    generator = torch.Generator().manual_seed(1)
    queries = torch.nn.functional.normalize(torch.randn(20, 128, generator=generator), dim=-1)
    vectors = torch.nn.functional.normalize(torch.randn(4, 50, 128, generator=generator), dim=-1)
    found = best(queries, Rivals(vectors.to(torch.bfloat16), torch.zeros(4, VOCABULARY)))
    expected = torch.einsum("td,pvd->tpv", queries, vectors).amax(2)
    torch.testing.assert_close(found, expected, atol=5e-3, rtol=0)


def test_the_gradient_reaches_queries_alone_and_is_the_winning_vectors() -> None:
    generator = torch.Generator().manual_seed(2)
    made = whole_numbers(generator, 3, VECTORS, DIM).requires_grad_()
    kept = PageMemory(VOCABULARY, CPU, torch.bfloat16)
    kept.remember(made, pages(1, 2, 3)[1])
    rivals = kept.rivals()
    assert not rivals.vectors.requires_grad
    queries = whole_numbers(generator, 2, DIM).requires_grad_()
    found = best(queries, rivals)
    # What is remembered in the meantime changes nothing of a loss that was reckoned before.
    kept.remember(*pages(*range(memory._PAGES)))
    found.sum().backward()
    assert made.grad is None
    won = torch.einsum("td,pvd->tpv", queries, made).argmax(2)
    expected = torch.stack([made[torch.arange(3), row].sum(0) for row in won]).detach()
    assert queries.grad is not None
    assert torch.equal(queries.grad, expected)


def test_nothing_is_remembered_at_first() -> None:
    rivals = PageMemory(VOCABULARY, CPU, torch.bfloat16).rivals()
    assert len(rivals.vectors) == len(rivals.shows) == 0


def test_the_oldest_page_makes_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_PAGES", 5)
    kept = PageMemory(VOCABULARY, CPU, torch.bfloat16)
    for start in range(0, 24, 2):
        kept.remember(*pages(start, start + 1))
        assert named(kept.rivals()) == set(range(max(0, start - 3), start + 2))
    assert kept.rivals().vectors.dtype == torch.bfloat16


def test_pages_of_another_size_are_refused() -> None:
    kept = PageMemory(VOCABULARY, CPU, torch.bfloat16)
    kept.remember(*pages(1))
    shows = torch.zeros(1, VOCABULARY + PAIRS, dtype=torch.bool)
    with pytest.raises(ConfigError, match="a page of 3 vectors, expected 5 as before"):
        kept.remember(torch.zeros(1, 3, DIM), shows)


@pytest.mark.parametrize("before", [0, 2, 7])
def test_a_state_goes_on_where_it_was(before: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_PAGES", 5)
    kept = PageMemory(VOCABULARY, CPU, torch.bfloat16)
    if before:
        kept.remember(*pages(*range(before)))
    saved = io.BytesIO()
    torch.save(kept.state(), saved)
    saved.seek(0)
    again = PageMemory(VOCABULARY, CPU, torch.bfloat16)
    again.resume(torch.load(saved, weights_only=True))
    for each in (kept, again):
        each.remember(*pages(10, 11))
    assert named(again.rivals()) == named(kept.rivals())
    # In the same places too, so that later pages replace the same ones.
    assert torch.equal(again.rivals().vectors, kept.rivals().vectors)
    assert again.state()["next"] == kept.state()["next"]
