"""The verify command, on checkpoints that are here."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from colpali_serve.engine.verify import EXAMPLES, PublishedExample, main
from tests.engine.reference import reference

IMAGES = (("white", 32), ("black", 16))
QUERIES = ("Is attention really all you need?", "total revenue")


@pytest.fixture
def published(checkpoint: Callable[[str], Path]) -> PublishedExample:
    """Scores that colpali-engine itself gives, as a model card would print them."""
    from PIL import Image

    direct = reference("colqwen2", checkpoint("colqwen2"), torch.float32)
    pages = [torch.tensor(direct.page(Image.new("RGB", (n, n), c))) for c, n in IMAGES]
    scores = [
        [float((torch.tensor(direct.query(text)) @ page.T).max(1).values.sum()) for page in pages]
        for text in QUERIES
    ]
    return PublishedExample(IMAGES, QUERIES, tuple(map(tuple, scores)), tolerance=1e-3)


def test_proves_and_prints(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["colpali-tiny", "--device", "cpu"]) == 0
    out = capsys.readouterr().out
    assert "2310 vectors of 128, 48x48 patches" in out
    assert "fingerprint" in out


def test_reproduces_published_scores(
    checkpoint: Callable[[str], Path],
    published: PublishedExample,
    capsys: pytest.CaptureFixture[str],
) -> None:
    model = str(checkpoint("colqwen2"))
    assert main([model, "--dtype", "float32"], {model: published}) == 0
    assert "are reproduced" in capsys.readouterr().out


def test_names_the_form_that_would_reproduce_them(
    checkpoint: Callable[[str], Path],
    published: PublishedExample,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("COLPALI_QUERY_PREFIX", "Question: ")
    model = str(checkpoint("colqwen2"))
    assert main([model, "--dtype", "float32"], {model: published}) == 1
    out = capsys.readouterr().out
    assert "are not reproduced" in out
    assert "QueryForm(prefix=''" in out


def test_what_cannot_be_proved_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["./nothing"]) == 1
    assert (
        "not proved  ModelLoadError: model './nothing': no such folder" in capsys.readouterr().err
    )


def test_the_published_example_is_known() -> None:
    assert EXAMPLES["vidore/colpali-v1.2"].scores == ((6.0625, 6.4375), (9.75, 9.5625))
