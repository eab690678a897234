"""A model that training saves is one that the service loads."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from colpali_engine.models import ColPali

from colpali_serve.engine.encoder import Encoded, Encoder, ImageInput, TextInput
from colpali_serve.engine.loading import load_model
from colpali_serve.engine.settings import EncoderSettings
from colpali_serve.training.model import architecture, forward
from colpali_serve.training.model.architecture import GRID
from tests.training import materials


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("saved")
    architecture.save(*materials.model(), folder)
    return folder


def test_the_bundled_shape_has_nine_million_weights() -> None:
    shape = architecture.Shape()
    with torch.device("meta"):
        model, _ = architecture.build(shape, materials.fresh_tokenizer())
    weights = sum(part.numel() for part in model.parameters())
    # The test's tokenizer has fewer pieces, each a row going in and one going out.
    weights += 2 * (4096 - materials.PIECES) * shape.hidden
    assert round(weights / 1e6) == 9


def test_nothing_is_missing_or_unexpected(saved: Path) -> None:
    _, report = ColPali.from_pretrained(saved, output_loading_info=True)
    assert not any(report.values()), report


def test_saving_rounds_to_bfloat16_and_leaves_the_model_alone(tmp_path: Path) -> None:
    model, processor = materials.model()
    before = {name: part.clone() for name, part in model.named_parameters()}
    architecture.save(model, processor, tmp_path)
    loaded, _ = architecture.load(tmp_path)
    for (name, part), (other, again) in zip(
        model.named_parameters(), loaded.named_parameters(), strict=True
    ):
        assert name == other
        assert part.dtype == again.dtype == torch.float32
        assert torch.equal(part, before[name]), name
        assert torch.equal(part.to(torch.bfloat16).float(), again), name


def test_the_service_cuts_margins_as_training_does(saved: Path, tmp_path: Path) -> None:
    """What training saves says so, and what goes on from there still does."""
    architecture.save(*architecture.load(saved), tmp_path)
    for folder in (saved, tmp_path):
        assert load_model(EncoderSettings(model=str(folder), device="cpu")).cuts_margins


@torch.no_grad()
def test_what_was_loaded_gives_the_vectors_of_what_was_saved(saved: Path) -> None:
    first, processor = materials.model()
    again, same = architecture.load(saved)
    texts = ["remove files", "the castle's garden, 2031-07-14: $12.50"]
    batch = processor.process_queries(queries=texts)
    assert torch.equal(batch["input_ids"], same.process_queries(queries=texts)["input_ids"])
    mask = batch["attention_mask"].bool()
    expected = forward.ask(first, batch["input_ids"], mask)[mask]
    found = forward.ask(again, batch["input_ids"], mask)[mask]
    torch.testing.assert_close(found, expected, atol=2e-2, rtol=0)
    # What was loaded is itself the same to training and to colpali-engine, rotary tables included.
    alone = same.process_queries(queries=texts[:1])
    torch.testing.assert_close(
        forward.ask(again, alone["input_ids"], alone["attention_mask"].bool()),
        again.eval()(**alone),
        atol=1e-4,
        rtol=0,
    )


def test_the_service_loads_it_and_gives_trainings_vectors(saved: Path) -> None:
    encoder = Encoder.load(EncoderSettings(model=str(saved), device="cpu", dtype="float32"))
    file = io.BytesIO()
    materials.noise().save(file, "PNG", compress_level=1)
    (page,) = encoder.embed_images([ImageInput("p", file.getvalue())])
    (query,) = encoder.embed_texts([TextInput("q", "remove files")])
    assert isinstance(page, Encoded)
    assert isinstance(query, Encoded)
    assert page.grid == (GRID, GRID)
    for found in (page.embedding, query.embedding):
        np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)
    model, processor = architecture.load(saved)
    asked = processor.process_queries(queries=["remove files"])
    shown = processor.process_images([materials.noise()])
    places = torch.arange(GRID * GRID)[None]
    with torch.no_grad():
        vectors = forward.ask(model, asked["input_ids"], asked["attention_mask"].bool())
        seen = forward.see(model, shown["pixel_values"], places)
        _, read = forward.read(model, seen, places, shown["input_ids"][0, GRID * GRID :])
    np.testing.assert_allclose(query.embedding, vectors[0], atol=1e-4)
    np.testing.assert_allclose(page.embedding, read[0], atol=1e-4)
