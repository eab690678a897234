"""The bundled checkpoint has sense in it: it reads real pages."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator

import numpy as np
import pypdfium2
import pytest
import torch
from PIL import Image

from colpali_serve.engine.encoder import Encoded, Encoder, ImageInput, TextInput
from colpali_serve.engine.maxsim import maxsim
from colpali_serve.engine.settings import EncoderSettings
from tests.conftest import ROOT
from tests.engine.batches import in_one_batch
from tests.engine.inputs import text_inputs
from tests.engine.reference import reference

PAGES = ("bzip2-manual.pdf#2", "simh-faq.pdf#2", "tlsh-slides.pdf#2", "yosys-slides.pdf#3")


@pytest.fixture(scope="module")
def encoder() -> Iterator[Encoder]:
    with Encoder.load(EncoderSettings(device="cpu", dtype="float32")) as running:
        yield running


def render(page: str) -> Image.Image:
    name, number = page.split("#")
    document = pypdfium2.PdfDocument(ROOT / "examples" / "pages" / name)
    try:
        return document[int(number) - 1].render(scale=150 / 72).to_pil().convert("RGB")
    finally:
        document.close()


def png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


@pytest.mark.slow
def test_each_query_finds_its_real_page(encoder: Encoder) -> None:
    queries = {
        entry["page"]: entry["query"]
        for entry in json.loads((ROOT / "examples" / "queries.json").read_text())
    }
    pages = encoder.embed_images([ImageInput(page, png(render(page))) for page in PAGES])
    texts = encoder.embed_texts([TextInput(page, queries[page]) for page in PAGES])
    assert all(isinstance(result, Encoded) and result.grid == (48, 48) for result in pages)
    scores = maxsim([text.embedding for text in texts], [page.embedding for page in pages])
    assert scores.argmax(axis=1).tolist() == [0, 1, 2, 3]


def test_queries_are_colpali_engines_alone_and_in_any_batch(encoder: Encoder) -> None:
    texts = ["recover data", "a much longer query, so that the others are padded", "x"]
    direct = reference("colpali", ROOT / "checkpoints" / "colpali-tiny", torch.float32)
    together = in_one_batch(encoder.loaded, text_inputs(texts))
    for text, result in zip(texts, together, strict=True):
        np.testing.assert_allclose(result, direct.query(text), atol=1e-5)


BUNDLED = sorted(path.parent.name for path in (ROOT / "checkpoints").glob("*/config.json"))


@pytest.mark.parametrize("name", BUNDLED)
def test_every_bundled_checkpoint_loads_by_its_name_and_has_a_card(
    name: str, start_from: Callable[..., Encoder]
) -> None:
    # Loading proves it: weights, unit rows, queries that do not depend on their batch.
    (query,) = start_from(name).embed_texts([TextInput("q", "recover data")])
    assert isinstance(query, Encoded)
    folder = ROOT / "checkpoints" / name
    assert (folder / "README.md").read_text().startswith(f"# {name}\n")
    assert (folder / "model.safetensors").stat().st_size < 40e6
