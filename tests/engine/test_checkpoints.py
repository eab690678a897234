"""From a name to files, or to words that say why not."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from colpali_serve.engine.checkpoints import find_checkpoint
from colpali_serve.engine.settings import EncoderSettings
from colpali_serve.schemas import ModelLoadError


def find(model: str) -> object:
    return find_checkpoint(EncoderSettings(model=model, offline=True))


def test_bundled_by_name_from_any_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    found = find_checkpoint(EncoderSettings())
    assert found.model_id == "colpali-tiny"
    assert found.config()["model_type"] == "paligemma"


def test_a_folder(checkpoint: Callable[[str], Path]) -> None:
    found = find_checkpoint(EncoderSettings(model=str(checkpoint("colpali"))))
    assert found.folder == checkpoint("colpali")
    assert found.model_id is None
    assert not found.is_adapter


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("./nothing", "no such folder"),
        ("/nothing/here", "no such folder"),
        ("nothing", "no folder and no bundled checkpoint .*offline mode"),
        ("vidore/colpali-v1.3", "has not been downloaded before"),
        ("not a name!", "the hub refused|has not been downloaded"),
    ],
)
def test_names_that_lead_nowhere(model: str, expected: str) -> None:
    with pytest.raises(ModelLoadError, match=expected):
        find(model)


def test_a_folder_that_is_no_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(ModelLoadError, match=r"has no config\.json"):
        find(str(tmp_path))
    (tmp_path / "config.json").write_text("[1")
    with pytest.raises(ModelLoadError, match="not readable JSON"):
        find(str(tmp_path))
    (tmp_path / "config.json").write_text("[1]")
    with pytest.raises(ModelLoadError, match="holds no object"):
        find(str(tmp_path))


def test_fingerprint_ignores_where_and_notes(
    checkpoint: Callable[[str], Path], tmp_path: Path
) -> None:
    copy = Path(shutil.copytree(checkpoint("colpali"), tmp_path / "copy"))
    (copy / "README.md").write_text("a card")
    one, two = (
        find_checkpoint(EncoderSettings(model=str(folder)))
        for folder in (checkpoint("colpali"), copy)
    )
    assert one.fingerprint("x") == two.fingerprint("x") != one.fingerprint("y")
    assert len(one.fingerprint()) == 32
