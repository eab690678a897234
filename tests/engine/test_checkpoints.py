"""From a name to files, or to words that say why not."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from colpali_serve.engine.checkpoints import find_checkpoint
from colpali_serve.engine.loading import load_model
from colpali_serve.engine.query_forms import KNOWN_FORMS
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


@pytest.fixture
def hub(checkpoint: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Hub id of a checkpoint that was downloaded before: main and a second revision."""
    repository = tmp_path / "models--vidore--colpali-v1.3"
    for reference, commit, note in (("main", "a" * 40, 1), ("next", "b" * 40, 2)):
        snapshot = Path(shutil.copytree(checkpoint("colpali"), repository / "snapshots" / commit))
        (snapshot / "note.json").write_text(str(note))
        (repository / "refs").mkdir(exist_ok=True)
        (repository / "refs" / reference).write_text(commit)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    return "vidore/colpali-v1.3"


def test_a_hub_id_at_a_revision(hub: str) -> None:
    main = find_checkpoint(EncoderSettings(model=hub, offline=True))
    assert main.model_id == hub
    assert (main.folder / "note.json").read_text() == "1"
    other = find_checkpoint(EncoderSettings(model=hub, offline=True, revision="next"))
    assert (other.folder / "note.json").read_text() == "2"
    with pytest.raises(ModelLoadError, match="has not been downloaded before"):
        find_checkpoint(EncoderSettings(model=hub, offline=True, revision="c" * 40))


def test_a_known_hub_id_brings_its_query_form(hub: str) -> None:
    loaded = load_model(EncoderSettings(model=hub, offline=True, device="cpu"))
    assert loaded.form == KNOWN_FORMS[hub]
