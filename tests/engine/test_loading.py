"""Checkpoints that are whole load; anything else is refused, and the message says why."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from colpali_serve.engine.items import TextInput
from colpali_serve.engine.loading import load_model
from colpali_serve.engine.settings import EncoderSettings
from colpali_serve.schemas import ConfigError, Embedding, ModelLoadError
from tests.checkpoints import FAMILIES
from tests.engine.batches import in_one_batch
from tests.engine.reference import CLASSES

Checkpoint = Callable[[str], Path]
Adapter = Callable[..., Path]


def settings(folder: Path, **more: object) -> EncoderSettings:
    return EncoderSettings(model=str(folder), device="cpu", dtype="float32", **more)


def query(folder: Path) -> Embedding:
    return in_one_batch(load_model(settings(folder)), [TextInput("q", "total revenue")])[0]


def copy(folder: Path, to: Path) -> Path:
    return Path(shutil.copytree(folder, to / "copy"))


def change_weights(folder: Path, change: Callable[[dict[str, torch.Tensor]], None]) -> None:
    path = next(folder.glob("*model.safetensors"))
    tensors = load_file(path)
    change(tensors)
    save_file({key: value.contiguous() for key, value in tensors.items()}, path, {"format": "pt"})


@pytest.mark.parametrize("family", FAMILIES)
def test_an_adapter_changes_the_output(
    family: str, checkpoint: Checkpoint, adapter: Adapter
) -> None:
    loaded = load_model(settings(adapter(family)))
    assert loaded.checkpoint.is_adapter
    assert loaded.family.name == CLASSES[family][0]
    assert np.abs(query(adapter(family)) - query(checkpoint(family))).max() > 0.05


@pytest.mark.parametrize("family", ["colpali", "colqwen2", "colqwen2_5"])
def test_old_adapter_names_mean_the_same(family: str, adapter: Adapter) -> None:
    new, old = query(adapter(family)), query(adapter(family, "old"))
    np.testing.assert_array_equal(new, old)


def test_an_adapter_that_does_nothing_is_refused(adapter: Adapter) -> None:
    with pytest.raises(ModelLoadError, match="same with and without the adapter"):
        load_model(settings(adapter("colqwen2", zero=True)))


def test_an_adapter_with_wrong_names_is_refused(adapter: Adapter, tmp_path: Path) -> None:
    folder = copy(adapter("colqwen2"), tmp_path)

    def rename(tensors: dict[str, torch.Tensor]) -> None:
        for key in [key for key in tensors if "layers.0" in key]:
            tensors[key.replace("layers", "blocks")] = tensors.pop(key)

    change_weights(folder, rename)
    with pytest.raises(ModelLoadError, match=r"adapter do not fit .*missing .*unexpected.*blocks"):
        load_model(settings(folder))


def test_an_adapter_beside_its_base_can_be_moved(
    checkpoint: Checkpoint, adapter: Adapter, tmp_path: Path
) -> None:
    shutil.copytree(checkpoint("colqwen2"), tmp_path / "base")
    folder = Path(shutil.copytree(adapter("colqwen2"), tmp_path / "adapter"))
    config = json.loads((folder / "adapter_config.json").read_text())
    config["base_model_name_or_path"] = "../base"
    (folder / "adapter_config.json").write_text(json.dumps(config))
    np.testing.assert_array_equal(query(folder), query(adapter("colqwen2")))


@pytest.mark.parametrize(
    ("base", "expected"),
    [
        ("someone/not-there", r"base of the adapter: model 'someone/not-there'.*offline mode"),
        (None, "names no base"),
    ],
)
def test_an_adapter_without_its_base_is_refused(
    base: str | None, expected: str, adapter: Adapter, tmp_path: Path
) -> None:
    folder = copy(adapter("colqwen2"), tmp_path)
    config = json.loads((folder / "adapter_config.json").read_text())
    (folder / "adapter_config.json").write_text(
        json.dumps({**config, "base_model_name_or_path": base})
    )
    with pytest.raises(ModelLoadError, match=expected):
        load_model(settings(folder, offline=True))


@pytest.mark.parametrize("family", FAMILIES)
def test_a_base_without_its_projection_is_refused(
    family: str, checkpoint: Checkpoint, tmp_path: Path
) -> None:
    folder = copy(checkpoint(family), tmp_path)

    def drop(tensors: dict[str, torch.Tensor]) -> None:
        names = [key for key in tensors if "custom_text_proj" in key or key.startswith("linear.")]
        assert names
        for key in names:
            del tensors[key]

    change_weights(folder, drop)
    with pytest.raises(ModelLoadError, match=r"missing .*(custom_text_proj|linear)\."):
        load_model(settings(folder))


def test_unexpected_weights_are_refused(checkpoint: Checkpoint, tmp_path: Path) -> None:
    folder = copy(checkpoint("colqwen2"), tmp_path)
    change_weights(folder, lambda tensors: tensors.update({"extra.weight": torch.ones(2)}))
    with pytest.raises(ModelLoadError, match=r"unexpected .*extra\.weight"):
        load_model(settings(folder))


def test_a_vocabulary_head_that_is_not_used_is_no_reason_to_refuse(
    checkpoint: Checkpoint, tmp_path: Path
) -> None:
    folder = copy(checkpoint("colqwen2"), tmp_path)
    change_weights(folder, lambda tensors: tensors.update({"lm_head.weight": torch.ones(344, 64)}))
    np.testing.assert_array_equal(query(folder), query(checkpoint("colqwen2")))


def test_weights_of_another_shape_are_refused(checkpoint: Checkpoint, tmp_path: Path) -> None:
    folder = copy(checkpoint("colqwen2"), tmp_path)
    change_weights(
        folder, lambda tensors: tensors.update({"custom_text_proj.bias": torch.ones(64)})
    )
    with pytest.raises(ModelLoadError, match=r"cannot load|another shape"):
        load_model(settings(folder))


def test_weights_that_are_not_finite_are_refused(checkpoint: Checkpoint, tmp_path: Path) -> None:
    folder = copy(checkpoint("colqwen2"), tmp_path)
    change_weights(folder, lambda tensors: tensors["custom_text_proj.bias"].fill_(float("nan")))
    with pytest.raises(ModelLoadError, match="NaN or infinite"):
        load_model(settings(folder))


def test_a_broken_weights_file_is_refused(checkpoint: Checkpoint, tmp_path: Path) -> None:
    folder = copy(checkpoint("colqwen2"), tmp_path)
    (folder / "model.safetensors").write_bytes(b"not weights")
    with pytest.raises(ModelLoadError, match="ColQwen2 cannot load"):
        load_model(settings(folder))


def test_a_folder_without_tokenizer_is_refused(checkpoint: Checkpoint, tmp_path: Path) -> None:
    folder = copy(checkpoint("colqwen2"), tmp_path)
    for path in folder.glob("*token*"):
        path.unlink()
    with pytest.raises(ModelLoadError, match=r"cannot be built|probe page cannot be embedded"):
        load_model(settings(folder))


def test_gemma_bases_with_one_level_more_load(checkpoint: Checkpoint, tmp_path: Path) -> None:
    folder = copy(checkpoint("colgemma3"), tmp_path)

    def deepen(tensors: dict[str, torch.Tensor]) -> None:
        for key in [key for key in tensors if key.startswith("language_model.")]:
            inner = key.removeprefix("language_model.")
            tensors[f"language_model.model.{inner}"] = tensors.pop(key)

    change_weights(folder, deepen)
    np.testing.assert_array_equal(query(folder), query(checkpoint("colgemma3")))


def test_colpali_has_no_weight_left_without_values(checkpoint: Checkpoint) -> None:
    model = load_model(settings(checkpoint("colpali"))).model
    assert not [name for name, weight in model.named_parameters() if weight.is_meta]
    model.to(torch.bfloat16)  # fails with a weight on the meta device


@pytest.mark.skipif(torch.cuda.is_available(), reason="asks for a card that is not there")
def test_cuda_is_refused_where_there_is_none() -> None:
    with pytest.raises(ConfigError, match="no CUDA device is available here"):
        load_model(EncoderSettings(device="cuda"))


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_attention_implementations_agree(attention: str, checkpoint: Checkpoint) -> None:
    loaded = load_model(settings(checkpoint("colpali"), attention=attention))
    assert loaded.model.config._attn_implementation == attention
    (result,) = in_one_batch(loaded, [TextInput("q", "total revenue")])
    np.testing.assert_allclose(result, query(checkpoint("colpali")), atol=1e-5)


def test_fingerprint_follows_files_and_choices(checkpoint: Checkpoint, tmp_path: Path) -> None:
    folder = copy(checkpoint("colqwen2"), tmp_path)
    base = load_model(settings(checkpoint("colqwen2"))).fingerprint
    assert load_model(settings(folder)).fingerprint == base
    assert load_model(settings(folder, pool_factor=3)).fingerprint != base
    assert load_model(settings(folder, query_prefix="Query: ")).fingerprint != base
    change_weights(folder, lambda tensors: tensors["custom_text_proj.bias"].add_(1))
    assert load_model(settings(folder)).fingerprint != base


def test_a_checkpoint_says_what_it_was_trained_with(checkpoint: Checkpoint, tmp_path: Path) -> None:
    kept = load_model(settings(checkpoint("colpali")))
    assert not kept.cuts_margins
    cut = load_model(settings(checkpoint("colpali"), page_margins="cut"))
    assert cut.cuts_margins
    assert cut.fingerprint != kept.fingerprint
    folder = copy(checkpoint("colpali"), tmp_path)
    write_margins(folder, "cut")
    assert load_model(settings(folder)).cuts_margins
    assert not load_model(settings(folder, page_margins="keep")).cuts_margins
    write_margins(folder, "trim")
    with pytest.raises(ModelLoadError, match="page_margins is 'trim', expected 'cut' or 'keep'"):
        load_model(settings(folder))


def write_margins(folder: Path, margins: str) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"page_margins": margins}))
