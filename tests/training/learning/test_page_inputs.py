"""What enters layers on pages: directions that other pages do not have either."""

from __future__ import annotations

from pathlib import Path

import torch

from colpali_serve.training.learning.page_inputs import spare_directions
from colpali_serve.training.learning.page_vectors import embedded
from colpali_serve.training.model import architecture, initial
from colpali_serve.training.model.spare_directions import inputs_of, linears
from colpali_serve.training.pages.fonts import Fonts
from colpali_serve.training.pages.generator import PageMaker
from tests.training import materials


def test_other_pages_have_little_along_them(face: Path, tmp_path: Path) -> None:
    model, processor = architecture.build(materials.SHAPE, materials.fresh_tokenizer())
    initial.initialise(model, 0)
    maker = PageMaker(materials.said(), Fonts((face,), ()), 0, scans=0.0)
    *pages, other = (maker.page("article", points=14).pixels for _ in range(4))
    prompt, done = architecture.prompt(processor), list[int]()
    found = spare_directions(model, prompt, pages, 0, tmp_path / "s.pt", lambda: done.append(1))
    assert len(done) == len(pages)
    assert set(found) == set(linears(model))
    with torch.no_grad(), inputs_of(model) as entered:
        list(embedded(model, prompt, [other]))
    for name, one in found.items():
        rows = entered[name][0]
        along = (rows @ one.directions).square().sum() / rows.square().sum()
        assert along < 0.03, name
        assert one.directions.shape[1] > 0 or name == "custom_text_proj"
        assert one.rows.shape[0] == len(pages) * (24 + len(prompt))
    again = spare_directions(model, prompt, [], 0, tmp_path / "s.pt", lambda: done.append(1))
    assert len(done) == len(pages)
    for name, one in found.items():
        assert torch.equal(again[name].directions, one.directions)
        assert torch.equal(again[name].rows, one.rows)
        assert again[name].made == one.made
