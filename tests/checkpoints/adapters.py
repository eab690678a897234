"""LoRA adapters over the tiny checkpoints, named as published ones are."""

import json
import shutil
from pathlib import Path
from typing import Literal

import colpali_engine.models
import torch
from peft import LoraConfig, get_peft_model_state_dict, inject_adapter_in_model
from safetensors.torch import save_file

# Published adapters have rank 32, and like these an alpha equal to their rank.
RANK = 4
# The standard deviation of `lora_B`; peft draws `lora_A` with 1 / RANK.
STD = 0.1

# A regular expression over module names, as the published `adapter_config.json` files have it.
_PROJECTIONS = "down_proj|gate_proj|up_proj|k_proj|q_proj|v_proj|o_proj"
_LINEAR_ATTENTION = "in_proj_qkv|in_proj_z|in_proj_b|in_proj_a|out_proj"
_TARGETS = {
    "colpali": rf"(.*(language_model).*({_PROJECTIONS}).*$|.*(custom_text_proj).*$)",
    "colqwen2": rf"(.*(model).*({_PROJECTIONS}).*$|.*(custom_text_proj).*$)",
    "colqwen2_5": rf"(.*(model).*({_PROJECTIONS}).*$|.*(custom_text_proj).*$)",
    "colqwen3": rf"(.*(model).*({_PROJECTIONS}).*$|.*(custom_text_proj).*$)",
    "colqwen3_5": (
        rf"(.*(model)(?!.*visual).*({_PROJECTIONS}|{_LINEAR_ATTENTION}).*$|.*(custom_text_proj).*$)"
    ),
    # The projection of this family is called `linear`, and its published adapters leave it alone.
    "colidefics3": rf"(.*(model.text_model).*({_PROJECTIONS}).*$|.*(custom_text_proj).*$)",
    "colmodernvbert": r"(.*(text_model).*(Wqkv|Wo|Wi).*$|.*(custom_text_proj).*$)",
    "colgemma3": rf"(.*(language_model).*({_PROJECTIONS}).*$|.*(custom_text_proj).*$)",
}

# How transformers before 4.52 called the modules: what vidore/colpali-v1.3, colqwen2-v1.0 and
# colqwen2.5-v0.2 carry. `custom_text_proj` had its name already.
_OLD_NAMES = {
    "colpali": ("model.model.language_model.layers", "model.language_model.model.layers"),
    "colqwen2": ("language_model.layers", "model.layers"),
    "colqwen2_5": ("language_model.layers", "model.layers"),
}


def build_adapter(
    base: Path,
    family: str,
    folder: Path,
    *,
    seed: int = 1,
    key_style: Literal["new", "old"] = "new",
    zero: bool = False,
) -> Path:
    """Save a random LoRA adapter for a tiny checkpoint, and return its folder.

    It reaches the language model and, where published ones do, the projection. The files of the
    base's processor lie beside it.

    Args:
        base: What `build_checkpoint` returned; the adapter names it as its base.
        family: The base's family.
        folder: Where to save; created if it is not there.
        seed: What the weights are drawn from.
        key_style: "new" names tensors as today's modules are called, "old" as they were called
            before transformers 4.52 (colpali, colqwen2 and colqwen2_5 only).
        zero: Leave every `lora_B` zero: an adapter that changes nothing.

    Returns:
        `folder`, as `Family.from_pretrained` takes it.

    Raises:
        KeyError: If the family is not known.
        ValueError: If no adapter of the family was published with old names.
    """
    if key_style == "old" and family not in _OLD_NAMES:
        raise ValueError(f"key_style 'old': {family!r} has none, expected one of {[*_OLD_NAMES]}")
    config = LoraConfig(
        r=RANK,
        lora_alpha=RANK,
        init_lora_weights="gaussian",
        inference_mode=True,
        task_type="FEATURE_EXTRACTION",
        target_modules=_TARGETS[family],
        base_model_name_or_path=str(base),
    )
    tensors = _draw_tensors(base, config, seed=seed, zero=zero)
    if key_style == "old":
        new, old = _OLD_NAMES[family]
        tensors = {name.replace(new, old, 1): tensor for name, tensor in tensors.items()}
    folder.mkdir(parents=True, exist_ok=True)
    config.save_pretrained(folder)
    save_file(
        {f"base_model.model.{name}": tensor for name, tensor in tensors.items()},
        folder / "adapter_model.safetensors",
        metadata={"format": "pt"},
    )
    # A config.json beside the adapter would make the folder a full checkpoint.
    for file in base.iterdir():
        if file.name != "config.json" and not file.name.startswith("model"):
            shutil.copyfile(file, folder / file.name)
    return folder


def _draw_tensors(
    base: Path, config: LoraConfig, *, seed: int, zero: bool
) -> dict[str, torch.Tensor]:
    """Return an adapter's tensors, float32, by the names of the modules that they adapt."""
    architecture = json.loads((base / "config.json").read_text())["architectures"][0]
    model = getattr(colpali_engine.models, architecture).from_pretrained(base, dtype=torch.float32)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        # PeftModel would save the same names, with a warning of its own and a model card.
        inject_adapter_in_model(config, model)
        tensors: dict[str, torch.Tensor] = get_peft_model_state_dict(model)
        if not zero:
            for name, tensor in tensors.items():
                if ".lora_B." in name:
                    tensor.normal_(std=STD)
    return tensors
