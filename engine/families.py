"""The model families that colpali-engine knows, and how to tell a checkpoint's from its config."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from colpali_serve.schemas import ModelLoadError


@dataclass(frozen=True)
class Family:
    """One of colpali-engine's multi-vector model families.

    Attributes:
        name: Name of the model class, as people call the family.
        processor: Name of the processor class.
        model_type: `model_type` of its backbone in a checkpoint's config.json.
        zero_query_types: Whether queries need `token_type_ids` of zeros. PaliGemma reads a query
            in both directions when it is alone and only backwards when it is padded; with zeros
            it is both directions always, which is what the published checkpoints learned.
        augments_queries: Whether colpali-engine appends ten augmentation tokens to a query.
        one_page_prompt: Whether every page has the same text around it, and as many patches: then
            that text is tokenised once, not with every page.
        stateful_forward: Whether its forward leaves something on the model that a second one at the
            same time could read: Qwen's keep their rotary offsets there.
        max_aspect: Largest ratio of an image's sides that the processor takes, if it has one.
        key_mapping: Renames of checkpoint keys beyond those that the model class knows.
    """

    name: str
    processor: str
    model_type: str
    zero_query_types: bool = False
    augments_queries: bool = True
    one_page_prompt: bool = False
    stateful_forward: bool = False
    max_aspect: float | None = None
    key_mapping: Mapping[str, str] = field(default_factory=dict)


def _qwen(name: str, processor: str, model_type: str) -> Family:
    # transformers' smart_resize refuses larger ratios of an image's sides.
    return Family(name, processor, model_type, stateful_forward=True, max_aspect=200.0)


FAMILIES: tuple[Family, ...] = (
    Family("ColPali", "ColPaliProcessor", "paligemma", zero_query_types=True, one_page_prompt=True),
    _qwen("ColQwen2", "ColQwen2Processor", "qwen2_vl"),
    _qwen("ColQwen2_5", "ColQwen2_5_Processor", "qwen2_5_vl"),
    _qwen("ColQwen3", "ColQwen3Processor", "qwen3_vl"),
    _qwen("ColQwen3_5", "ColQwen3_5Processor", "qwen3_5"),
    Family("ColIdefics3", "ColIdefics3Processor", "idefics3"),
    Family("ColModernVBert", "ColModernVBertProcessor", "modernvbert"),
    Family(
        "ColGemma3",
        "ColGemmaProcessor3",
        "gemma3",
        # Its chat template says "Query: " and adds nothing behind.
        augments_queries=False,
        # Bases saved by another class carry one level more; without this 30 keys go missing and
        # every embedding is NaN.
        key_mapping={r"^language_model\.model\.": "language_model."},
    ),
)


def family_of(config: Mapping[str, Any], name: str) -> Family:
    """Return the family that a checkpoint belongs to.

    Args:
        config: Content of its config.json.
        name: How errors call the checkpoint.

    Raises:
        ModelLoadError: The architecture is none of colpali-engine's multi-vector models.
    """
    model_type = str(config.get("model_type"))
    architectures = [str(entry) for entry in config.get("architectures") or []]
    known = ", ".join(family.name for family in FAMILIES)
    # Single-vector siblings share the backbone's model_type and would load with a new projection.
    if single := [entry for entry in architectures if entry.startswith("Bi")]:
        raise ModelLoadError(
            f"model '{name}': architecture {single[0]} gives one vector a page, expected one of "
            f"{known}"
        )
    for family in FAMILIES:
        if family.name in architectures:
            return family
    for family in FAMILIES:
        if family.model_type == model_type:
            return family
    hint = ""
    if any(entry.endswith("ForRetrieval") for entry in architectures):
        hint = "; this is transformers' own format, look for the checkpoint without '-hf'"
    raise ModelLoadError(
        f"model '{name}': model_type is '{model_type}' with architectures {architectures}, "
        f"expected a checkpoint of {known}{hint}"
    )
