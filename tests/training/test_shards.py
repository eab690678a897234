"""Pages come back from disk as they were drawn."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from colpali_serve.training import shards
from colpali_serve.training.pages.fonts import Fonts
from colpali_serve.training.pages.generator import PageMaker
from colpali_serve.training.pages.seeing import Page
from tests.training.materials import said


def drawn(face: Path) -> Iterator[Page]:
    """Pages without an end."""
    return iter(PageMaker(said(), Fonts((face,), ()), 3).page, None)


def test_pages_come_back(face: Path, tmp_path: Path) -> None:
    path = tmp_path / "0.npy"
    assert shards.write(path, drawn(face), 3) == 3
    found = list(shards.read(path).pages())
    assert len(found) == 3
    for page, expected in zip(found, drawn(face), strict=False):
        np.testing.assert_array_equal(page.pixels, expected.pixels)
        assert (page.kind, page.document) == (expected.kind, expected.document)
        assert [word.text for word in page.words] == [word.text for word in expected.words]
        for word, other in zip(page.words, expected.words, strict=True):
            for edge in ("left", "top", "right", "bottom"):
                assert getattr(word, edge) == pytest.approx(getattr(other, edge), abs=0.051)


def test_no_page_is_taken_that_there_is_no_room_for(face: Path, tmp_path: Path) -> None:
    pages = drawn(face)
    shards.write(tmp_path / "0.npy", pages, 2)
    third = next(islice(drawn(face), 2, None))
    np.testing.assert_array_equal(next(pages).pixels, third.pixels)


def test_room_for_more_pages_than_there_were_is_none_to_read(face: Path, tmp_path: Path) -> None:
    path = tmp_path / "0.npy"
    assert shards.write(path, islice(drawn(face), 2), 5) == 2
    assert len(list(shards.read(path).pages())) == 2
    assert shards.write(path, [], 5) == 0
    assert list(shards.read(path).pages()) == []


def test_pixels_stay_on_disk(face: Path, tmp_path: Path) -> None:
    shards.write(tmp_path / "0.npy", drawn(face), 1)
    shard = shards.read(tmp_path / "0.npy")
    assert isinstance(shard.pixels, np.memmap)
    assert not shard.pixels.flags.writeable


def test_a_shard_that_was_interrupted_is_not_there(face: Path, tmp_path: Path) -> None:
    def interrupted() -> Iterator[Page]:
        yield next(drawn(face))
        raise KeyboardInterrupt

    path = tmp_path / "0.npy"
    with pytest.raises(KeyboardInterrupt):
        shards.write(path, interrupted(), 2)
    assert not path.exists()
    shards.write(path, drawn(face), 2)
    assert len(shards.read(path).words) == 2
    assert sorted(each.name for each in tmp_path.iterdir()) == ["0.json", "0.npy"]
