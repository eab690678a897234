"""Directions that pages hardly have: found, and harmless to pages."""

from __future__ import annotations

import pytest
import torch
from colpali_engine.models import ColPali

from colpali_serve.training.model import architecture, forward, initial
from colpali_serve.training.model.spare_directions import inputs_of, linears, spare
from tests.training import materials

IDS = torch.tensor([[2, 40, 41, 42, 0], [2, 50, 51, 0, 0]])
MASK = torch.tensor([[True] * 5, [True] * 4 + [False]])


@pytest.fixture
def model() -> ColPali:
    made, _ = architecture.build(materials.SHAPE, materials.fresh_tokenizer())
    initial.initialise(made, 0)
    return made


def pages(seed: int, count: int = 4000) -> torch.Tensor:
    """Rows whose last 12 of 32 features are small, turned so that no single feature is."""
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randn(count, 32, generator=generator)
    rows[:, 20:] *= 0.01
    turn = torch.linalg.qr(torch.randn(32, 32, generator=torch.Generator().manual_seed(99)))[0]
    return rows @ turn


def test_what_pages_hardly_have_is_spare() -> None:
    rows, weight = pages(0), torch.randn(7, 32, generator=torch.Generator().manual_seed(1))
    found = spare(rows.T @ rows / len(rows), rows[:500], weight, 0.001)
    assert found.directions.shape == (32, 12)
    torch.testing.assert_close(found.directions.T @ found.directions, torch.eye(12))
    change = torch.randn(7, 12, generator=torch.Generator().manual_seed(2))
    wider = weight + change @ found.directions.T
    # Pages that were not looked at, and rows of another kind.
    other = pages(5)
    moved = (other @ (wider - weight).T).square().sum(1).mean()
    assert moved < 1e-3 * (other @ weight.T).square().sum(1).mean()
    queries = torch.randn(100, 32, generator=torch.Generator().manual_seed(3))
    assert (queries @ (wider - weight).T).square().mean() > 0.1


def test_how_much_a_change_moves_pages_is_told() -> None:
    rows, weight = pages(0, 300), torch.randn(7, 32, generator=torch.Generator().manual_seed(1))
    found = spare(rows.T @ rows / 300, rows, weight, 0.3)
    change = torch.randn(7, found.directions.shape[1], generator=torch.Generator().manual_seed(2))
    moved = (rows @ (change @ found.directions.T).T).square().sum(1).mean()
    expected = moved / (rows @ weight.T).square().sum(1).mean()
    assert float(found.moved(change)) == pytest.approx(float(expected), rel=1e-4)
    assert float(found.moved(torch.zeros_like(change))) == 0


def test_the_layers_of_queries_and_what_enters_them(model: ColPali) -> None:
    names = {name.rsplit(".", 1)[-1] for name in linears(model)}
    kinds = ["q", "k", "v", "o", "gate", "up", "down"]
    assert names == {"custom_text_proj", *(f"{kind}_proj" for kind in kinds)}
    made: dict[str, torch.Tensor] = {}
    for name, part in linears(model).items():
        part.register_forward_hook(lambda _, given, out, name=name: made.__setitem__(name, out))
    with torch.no_grad(), inputs_of(model) as found:
        forward.ask(model, IDS, MASK)
    assert set(found) == set(made)
    for name, part in linears(model).items():
        torch.testing.assert_close(part(found[name]), made[name])
    before = dict(found)
    with torch.no_grad():
        forward.ask(model, IDS[:1], MASK[:1])
    assert found == before  # no longer listened to
