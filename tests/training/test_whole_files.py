"""Files that are complete or not there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from colpali_serve.training.whole_files import whole


def test_a_file_has_its_name_when_it_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.json"
    with whole(path) as unfinished:
        unfinished.write_text("1")
        assert not path.exists()
    assert path.read_text() == "1"
    assert [*path.parent.iterdir()] == [path]


def test_an_interruption_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text("old")
    with pytest.raises(KeyboardInterrupt), whole(path) as unfinished:
        unfinished.write_text("half")
        raise KeyboardInterrupt
    assert path.read_text() == "old"
    assert [*tmp_path.iterdir()] == [path]
    with whole(path) as unfinished:
        unfinished.write_text("new")
    assert path.read_text() == "new"


def test_two_processes_may_write_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.json"
    with whole(path) as mine:
        mine.write_text("mine")
        with monkeypatch.context() as other:
            other.setattr(os, "getpid", lambda: -1)
            with whole(path) as theirs:
                theirs.write_text("theirs")
        assert path.read_text() == "theirs"
    assert path.read_text() == "mine"
    assert [*tmp_path.iterdir()] == [path]
