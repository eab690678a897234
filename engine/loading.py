"""Load a checkpoint with the colpali-engine classes made for it."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import colpali_engine.models as engine_models
import torch
from safetensors import SafetensorError
from transformers.conversion_mapping import get_model_conversion_mapping
from transformers.utils import logging as transformers_logging

from colpali_serve.engine.attention import BLOCKS
from colpali_serve.engine.checkpoints import Checkpoint, find_checkpoint
from colpali_serve.engine.families import Family, family_of
from colpali_serve.engine.machine import blocks_pay, choose_device, choose_dtype, choose_threads
from colpali_serve.engine.margins import RULE
from colpali_serve.engine.pixels import read_in_place
from colpali_serve.engine.proof import check_report, drop_vocabulary_head, prove
from colpali_serve.engine.query_forms import QueryForm, query_form
from colpali_serve.engine.query_weights import QueryWeights, query_weights
from colpali_serve.engine.settings import EncoderSettings
from colpali_serve.schemas import ModelLoadError

_LOADING_ERRORS = (OSError, ValueError, TypeError, KeyError, RuntimeError, SafetensorError)


@dataclass(frozen=True)
class LoadedModel:
    """A proved model with all that decides its embeddings.

    Attributes:
        model: Instance of the family's colpali-engine class, in eval mode on `device`.
        processor: Its processor.
        family: The family.
        checkpoint: Where its files are.
        device: Where it runs.
        dtype: What it computes in.
        form: The text around each query.
        weights: How much each of a query's tokens counts.
        cuts_margins: Whether pages are looked at without their margins.
        fingerprint: Digest of the files, dtype, pooling, query form, weights and margins.
        seconds: How long finding and loading it took.
    """

    model: Any
    processor: Any
    family: Family
    checkpoint: Checkpoint
    device: torch.device
    dtype: torch.dtype
    form: QueryForm
    weights: QueryWeights
    cuts_margins: bool
    fingerprint: str
    seconds: float


def load_model(settings: EncoderSettings) -> LoadedModel:
    """Find, load and prove a checkpoint.

    Args:
        settings: What to load, from where, onto which device and in which dtype.

    Raises:
        ConfigError: The device is not there.
        ModelLoadError: The checkpoint was not found, is of no known family, does not fit its
            class, or failed the proof; the message names the keys or values at fault.
    """
    start = time.perf_counter()
    if not sys.stderr.isatty():
        transformers_logging.disable_progress_bar()  # hundreds of lines in a log file
    device = choose_device(settings.device)
    dtype = choose_dtype(settings.dtype, device)
    checkpoint = find_checkpoint(settings)
    config = checkpoint.config()
    family = family_of(config, checkpoint.name)
    if device.type == "cpu":
        torch.set_num_threads(choose_threads(settings.threads))

    model = _load_weights(checkpoint, family, dtype, settings.attention)
    processor = _load_processor(checkpoint, family)
    read_in_place(processor)
    drop_vocabulary_head(model, checkpoint.name)
    # Nothing is generated: a key-value cache would only cost memory.
    model.config.use_cache = False
    if (text_config := getattr(model.config, "text_config", None)) is not None:
        text_config.use_cache = False
    model = model.to(device).eval()
    own = settings.attention == "auto" and model.config._attn_implementation == "sdpa"
    if own and blocks_pay(device, dtype):
        model.set_attn_implementation(BLOCKS)

    form = query_form(settings, checkpoint.model_id)
    weights = query_weights(settings, config, checkpoint.name)
    margins = settings.page_margins or _trained_margins(config, checkpoint.name)
    cuts_margins = margins == "cut"
    # Details that leave a checkpoint as colpali-engine uses it do not change its fingerprint.
    details = [f"margins cut by rule {RULE}"] if cuts_margins else []
    details += [repr(weights)] if weights else []
    loaded = LoadedModel(
        model=model,
        processor=processor,
        family=family,
        checkpoint=checkpoint,
        device=device,
        dtype=dtype,
        form=form,
        weights=weights,
        cuts_margins=cuts_margins,
        fingerprint=checkpoint.fingerprint(
            str(dtype), str(settings.pool_factor), repr(form), *details
        ),
        seconds=time.perf_counter() - start,
    )
    prove(loaded)
    return loaded


def _load_weights(
    checkpoint: Checkpoint, family: Family, dtype: torch.dtype, attention: str
) -> Any:
    model_class = getattr(engine_models, family.name)
    weights = checkpoint.base or checkpoint
    mapping = _key_mapping(model_class, family)
    options: dict[str, Any] = {} if attention == "auto" else {"attn_implementation": attention}
    try:
        model, report = model_class.from_pretrained(
            str(weights.folder),
            dtype=dtype,
            key_mapping=mapping,
            output_loading_info=True,
            local_files_only=True,
            use_safetensors=True,
            **options,
        )
    except (*_LOADING_ERRORS, ImportError) as error:
        raise ModelLoadError(
            f"model '{checkpoint.name}': {family.name} cannot load '{weights.name}': "
            f"{_first_line(error)}"
        ) from error
    check_report(report, f"model '{checkpoint.name}': weights of '{weights.name}'")
    if checkpoint.is_adapter:
        try:
            adapter_report = model.load_adapter(
                str(checkpoint.folder),
                # The renames that the base needs also bring old adapters' names up to date.
                weight_mapping=get_model_conversion_mapping(model, mapping),
            )
        except _LOADING_ERRORS as error:
            raise ModelLoadError(
                f"model '{checkpoint.name}': adapter does not fit '{weights.name}': "
                f"{_first_line(error)}"
            ) from error
        check_report(adapter_report.to_dict(), f"model '{checkpoint.name}': adapter")
    return model


def _key_mapping(model_class: type, family: Family) -> dict[str, str]:
    """Renames of checkpoint keys: the backbone's, then the class's, then the family's."""
    mapping: dict[str, str] = {}
    for parent in reversed(model_class.__mro__):
        own: Mapping[str, str] | None = vars(parent).get("_checkpoint_conversion_mapping")
        mapping.update(own or {})
    return {**mapping, **family.key_mapping}


def _trained_margins(config: Mapping[str, Any], name: str) -> str:
    """What a checkpoint's config.json says of the pages it was trained with; few say anything."""
    margins = config.get("page_margins", "keep")
    if margins not in ("cut", "keep"):
        raise ModelLoadError(
            f"model '{name}': page_margins is {margins!r}, expected 'cut' or 'keep'"
        )
    return str(margins)


def _load_processor(checkpoint: Checkpoint, family: Family) -> Any:
    processor_class = getattr(engine_models, family.processor)
    has_own = (checkpoint.folder / "tokenizer_config.json").is_file()
    source = checkpoint if has_own or checkpoint.base is None else checkpoint.base
    try:
        return processor_class.from_pretrained(str(source.folder), local_files_only=True)
    except _LOADING_ERRORS as error:
        raise ModelLoadError(
            f"model '{checkpoint.name}': {family.processor} cannot be built from the files of "
            f"'{source.name}': {_first_line(error)}"
        ) from error


def _first_line(error: Exception) -> str:
    text = re.sub(r"\s+", " ", str(error)).strip()
    return text[:300] or type(error).__name__
