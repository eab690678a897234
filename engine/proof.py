"""Proof that what was loaded is the checkpoint, whole, and that it embeds as it should."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image

from colpali_serve.engine.forward import embed_batch, page_batch, query_batch
from colpali_serve.schemas import Embedding, ModelLoadError

if TYPE_CHECKING:
    from colpali_serve.engine.loading import LoadedModel

# A vocabulary head beside a model that has none, or that does not use it, changes nothing.
_HARMLESS = re.compile(r"(^|\.)lm_head\.")
_MAX_NAMED = 5
_PROBE_QUERIES = (
    "What is the total?",
    "A longer probe, so that the first is padded beside it.",
)
_NORM_TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 2e-2, torch.float16: 5e-3}
"""How far a row's norm may be from 1."""
_TURN_TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 1e-2, torch.float16: 1e-2}
"""How far a row of a query may turn between alone and in a batch, as 1 - cosine.

A wrong attention mask turns rows by 0.02 to 0.08; rounding through many layers by far less, though
single values may move more than rows do.
"""


def check_report(report: Mapping[str, Any], owner: str) -> None:
    """Refuse weights that are missing, unexpected or of another shape.

    Args:
        report: transformers' loading report (`output_loading_info`).
        owner: How the error calls what was loaded.

    Raises:
        ModelLoadError: Names the first keys of each kind.
    """
    problems = []
    for kind, why in (
        ("missing_keys", "missing (they would be random)"),
        ("unexpected_keys", "unexpected (they would be ignored)"),
        ("mismatched_keys", "of another shape"),
        ("conversion_errors", "not convertible"),
        ("error_msgs", "not loadable"),
    ):
        keys = sorted(_names(report.get(kind) or ()))
        if keys := [key for key in keys if not _HARMLESS.search(key)]:
            more = f" and {len(keys) - _MAX_NAMED} more" if len(keys) > _MAX_NAMED else ""
            problems.append(f"{why}: {', '.join(keys[:_MAX_NAMED])}{more}")
    if problems:
        raise ModelLoadError(f"{owner} do not fit the model class; {'; '.join(problems)}")


def _names(entries: Iterable[Any]) -> list[str]:
    return [str(entry[0]) if isinstance(entry, tuple) else str(entry) for entry in entries]


def drop_vocabulary_head(model: Any, name: str) -> None:
    """Take ColPali's vocabulary head away and refuse any other weight that has no storage.

    The head is never loaded, stays on the meta device and is not in the loading report; without
    it the output is bit-identical and saving, moving and compiling work.

    Raises:
        ModelLoadError: Another weight was left on the meta device.
    """
    inner: Any = getattr(model, "model", None)
    if getattr(inner, "lm_head", None) is not None:
        inner.lm_head = torch.nn.Identity()
    named = [*model.named_parameters(), *model.named_buffers()]
    if empty := [key for key, tensor in named if tensor.is_meta]:
        raise ModelLoadError(
            f"model '{name}': weights without values: {', '.join(empty[:_MAX_NAMED])}"
        )


def prove(loaded: LoadedModel) -> None:
    """Embed a probe page and probe queries and check what comes out.

    Raises:
        ModelLoadError: A value is not finite, a row is not of unit norm, a query comes out
            otherwise in a batch than alone, or an adapter changes nothing.
    """
    pages = _embed(loaded, "page")
    queries = _embed(loaded, "query")
    name = loaded.checkpoint.name
    tolerance = _NORM_TOLERANCE[loaded.dtype]
    for kind, embeddings in (("page", pages), ("query", queries)):
        for embedding in embeddings:
            bad = int((~np.isfinite(embedding)).sum())
            if bad:
                raise ModelLoadError(
                    f"model '{name}': the probe {kind} has {bad} values that are NaN or infinite, "
                    "expected none"
                )
            worst = float(np.abs(np.linalg.norm(embedding, axis=1) - 1).max())
            if worst > tolerance:
                raise ModelLoadError(
                    f"model '{name}': a vector of the probe {kind} is {worst:.2g} away from unit "
                    f"norm, expected at most {tolerance:g}"
                )
    alone = _embed(loaded, "lone query")[0]
    turn = float(1 - (queries[0] * alone).sum(axis=1).min())
    if turn > (limit := _TURN_TOLERANCE[loaded.dtype]):
        raise ModelLoadError(
            f"model '{name}': vectors of a query turn by {turn:.2g} (1 - cosine) between alone and "
            f"in a batch, expected at most {limit:g}; another attention implementation may help"
        )
    if loaded.checkpoint.is_adapter:
        _prove_adapter(loaded, pages[0], queries[0])


def _prove_adapter(loaded: LoadedModel, page: Embedding, query: Embedding) -> None:
    loaded.model.disable_adapters()
    try:
        bare_page, bare_query = _embed(loaded, "page")[0], _embed(loaded, "query")[0]
    finally:
        loaded.model.enable_adapters()
    if np.array_equal(page, bare_page) and np.array_equal(query, bare_query):
        raise ModelLoadError(
            f"model '{loaded.checkpoint.name}': embeddings are the same with and without the "
            "adapter, expected a difference: its weights are zero or were not applied"
        )


def _embed(loaded: LoadedModel, kind: str) -> list[Embedding]:
    try:
        if kind == "page":
            # A gradient, so that no two patches are alike.
            ramp = np.linspace(0, 255, 64 * 96 * 3).reshape(96, 64, 3).astype(np.uint8)
            return embed_batch(loaded, page_batch(loaded, [Image.fromarray(ramp)]))
        texts = _PROBE_QUERIES[:1] if kind == "lone query" else _PROBE_QUERIES
        return embed_batch(loaded, query_batch(loaded, texts))
    except Exception as error:
        raise ModelLoadError(
            f"model '{loaded.checkpoint.name}': a probe {kind} cannot be embedded: {error}"
        ) from error
