"""From pixels or text to embeddings: one batch, no policy."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import torch
from PIL import Image

from colpali_serve.engine.query_forms import augmentation_token
from colpali_serve.schemas import Embedding

if TYPE_CHECKING:
    from colpali_serve.engine.loading import LoadedModel

Grid = tuple[int, int]
"""Patch columns and rows."""


def page_batch(loaded: LoadedModel, images: Sequence[Image.Image]) -> dict[str, Any]:
    """Preprocess RGB images with the family's own processor.

    Returns:
        Every tensor that the model takes; all but `labels`, which would only make it compute a
        loss over its vocabulary. (Qwen 2.5 and Gemma 3 are silently wrong without all the rest.)
    """
    if loaded.family.one_page_prompt:
        pixels = loaded.processor.image_processor(images=list(images), return_tensors="pt")
        text = _page_text(loaded.processor)
        return {**{key: rows.repeat(len(images), 1) for key, rows in text.items()}, **pixels}
    batch = dict(loaded.processor.process_images(list(images)))
    batch.pop("labels", None)
    return batch


@lru_cache(maxsize=8)
def _page_text(processor: Any) -> dict[str, torch.Tensor]:
    """What a family's processor gives for any page, without its pixels."""
    batch = dict(processor.process_images([Image.new("RGB", (32, 32), "white")]))
    return {key: rows for key, rows in batch.items() if key not in ("labels", "pixel_values")}


def query_batch(loaded: LoadedModel, texts: Sequence[str]) -> dict[str, Any]:
    """Tokenise queries, in the form that the checkpoint was trained with.

    Args:
        loaded: The model.
        texts: Queries that have passed `queries.check_text`.
    """
    augmentation = augmentation_token(loaded.family, loaded.processor)
    whole = [loaded.form.apply(text, augmentation) for text in texts]
    batch = dict(loaded.processor.process_texts(whole))
    if loaded.family.zero_query_types:
        batch["token_type_ids"] = torch.zeros_like(batch["input_ids"])
    return batch


def rows_of(loaded: LoadedModel, batch: dict[str, Any]) -> torch.Tensor:
    """Run the model on a batch that is on its device.

    Args:
        loaded: The model.
        batch: What it takes.

    Returns:
        (items, length, dim) on the device, rows of unit norm, padding rows zero.
    """
    if "pixel_values" in batch:
        batch = {**batch, "pixel_values": batch["pixel_values"].to(loaded.dtype)}
    with torch.inference_mode():
        if loaded.family.name == "ColPali" and not loaded.model.mask_non_image_embeddings:
            return _colpali_rows(loaded.model, batch)
        rows: torch.Tensor = loaded.model(**batch)
        return rows


def _colpali_rows(model: Any, batch: dict[str, Any]) -> torch.Tensor:
    """What ColPali's forward gives, to the bit, without what else it does.

    It keeps the hidden states of all layers and runs the vocabulary head, which costs a large
    model gigabytes a page.
    """
    inner = model.model.model
    config = inner.language_model.config
    # PaliGemma 2 has sliding windows beside, and is left to its own masks.
    plain = config.model_type == "gemma" and config.use_bidirectional_attention
    if plain and "pixel_values" in batch:
        hidden = _unmasked_pages(inner, batch)
    else:
        hidden = inner(**batch, use_cache=False).last_hidden_state
    rows: torch.Tensor = model.custom_text_proj(hidden)
    real: torch.Tensor = batch["attention_mask"].unsqueeze(-1)
    unit: torch.Tensor = rows / rows.norm(dim=-1, keepdim=True)
    return unit * real


def _unmasked_pages(paligemma: Any, batch: dict[str, Any]) -> torch.Tensor:
    """PaliGemma's forward for pages, which are all of one length and read in both directions.

    It would build a mask that hides nothing, (items, 1, length, length), and attention with a mask
    takes a slower way than without one.
    """
    ids = batch["input_ids"]
    features = paligemma.get_image_features(batch["pixel_values"]).pooler_output
    is_image = ids == paligemma.config.image_token_id
    # The image's own id can lie behind the last row of the vocabulary.
    texts = paligemma.get_input_embeddings()(ids.masked_fill(is_image, 0))
    joined = texts.masked_scatter(is_image.unsqueeze(-1), features.to(texts.dtype))
    hidden: torch.Tensor = paligemma.language_model(
        inputs_embeds=joined,
        position_ids=torch.arange(1, ids.shape[1] + 1, device=ids.device).unsqueeze(0),
        use_cache=False,
    ).last_hidden_state
    return hidden


def embed_batch(loaded: LoadedModel, batch: dict[str, Any]) -> list[Embedding]:
    """Run the model.

    Args:
        loaded: The model.
        batch: From `page_batch` or `query_batch`.

    Returns:
        One float32 (n_vectors, dim) an item, in order, rows of unit norm; padding rows, left or
        right, are taken away by the attention mask.
    """
    on_device = {
        key: value.to(loaded.device) if isinstance(value, torch.Tensor) else value
        for key, value in batch.items()
    }
    rows = rows_of(loaded, on_device).float().cpu()
    real = batch["attention_mask"].bool().cpu()
    return [item[mask].numpy() for item, mask in zip(rows, real, strict=True)]


def grids(loaded: LoadedModel, batch: dict[str, Any], images: Sequence[Image.Image]) -> list[Grid]:
    """Patch columns and rows of each page, as its image vectors stand for them.

    Args:
        loaded: The model.
        batch: What `page_batch` made of `images`.
        images: The pages.

    Returns:
        One (columns, rows) a page. For tile families the grid of the local tiles, without the
        vectors of the shrunken whole page.

    Source:
        Each mapping was checked by moving a red square over a page.
    """
    name = loaded.family.name
    if "image_grid_thw" in batch:  # the Qwen families
        merge = int(loaded.model.spatial_merge_size)
        return [(int(w) // merge, int(h) // merge) for _, h, w in batch["image_grid_thw"].tolist()]
    if name in ("ColIdefics3", "ColModernVBert"):
        # ColIdefics3Processor's own answer is wrong; both cut a page into tiles in the same way.
        from colpali_engine.models import ColModernVBertProcessor

        patches = ColModernVBertProcessor.get_n_patches
        return [patches(loaded.processor, (image.height, image.width)) for image in images]
    config = loaded.model.config
    if name == "ColGemma3":
        side = math.isqrt(int(config.mm_tokens_per_image))
        return [(side, side)] * len(images)
    vision = config.vision_config
    side = int(vision.image_size) // int(vision.patch_size)
    return [(side, side)] * len(images)
