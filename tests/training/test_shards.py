"""Pages come back from disk as they were drawn."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from colpali_serve.training import shards
from colpali_serve.training.pages.fonts import Fonts
from colpali_serve.training.pages.generator import PageMaker
from tests.training.materials import said


def maker(face: Path) -> PageMaker:
    return PageMaker(said(), Fonts((face,), ()), 3)


def test_pages_come_back(face: Path, tmp_path: Path) -> None:
    path = tmp_path / "0.npy"
    done: list[None] = []
    shards.write(path, maker(face), 3, lambda: done.append(None))
    assert len(done) == 3
    expected = maker(face)
    found = list(shards.read(path).pages())
    assert len(found) == 3
    for page in found:
        drawn = expected.page()
        np.testing.assert_array_equal(page.pixels, drawn.pixels)
        assert (page.kind, page.document) == (drawn.kind, drawn.document)
        assert [word.text for word in page.words] == [word.text for word in drawn.words]
        for word, other in zip(page.words, drawn.words, strict=True):
            for edge in ("left", "top", "right", "bottom"):
                assert getattr(word, edge) == pytest.approx(getattr(other, edge), abs=0.051)


def test_pixels_stay_on_disk(face: Path, tmp_path: Path) -> None:
    shards.write(tmp_path / "0.npy", maker(face), 1, lambda: None)
    shard = shards.read(tmp_path / "0.npy")
    assert isinstance(shard.pixels, np.memmap)
    assert not shard.pixels.flags.writeable


def test_a_shard_that_was_interrupted_is_not_there(face: Path, tmp_path: Path) -> None:
    def stop() -> None:
        raise KeyboardInterrupt

    path = tmp_path / "0.npy"
    with pytest.raises(KeyboardInterrupt):
        shards.write(path, maker(face), 2, stop)
    assert not path.exists()
    shards.write(path, maker(face), 2, lambda: None)
    assert len(shards.read(path).words) == 2
    assert sorted(each.name for each in tmp_path.iterdir()) == ["0.json", "0.npy"]
