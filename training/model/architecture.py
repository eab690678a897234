"""Shape of colpali-tiny, and a ColPali of that shape with its processor."""

from __future__ import annotations

import copy
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from colpali_engine.models import ColPali, ColPaliProcessor
from transformers import PaliGemmaConfig, PreTrainedTokenizerFast, SiglipImageProcessor

from colpali_serve.engine.machine import choose_dtype
from colpali_serve.engine.query_weights import QueryWeights
from colpali_serve.training.pages.seeing import SIDE

PATCH = 16
GRID = SIDE // PATCH
"""Patches across and down a page."""
HEAD = 64
"""Dimensions of an attention head, in both towers."""


@dataclass(frozen=True)
class Shape:
    """How large the model is.

    Attributes:
        hidden: width of both towers.
        vision_layers: layers that look at patches.
        text_layers: layers that patches and query tokens share.
        text_inner: width within a text layer's MLP.
    """

    hidden: int = 256
    vision_layers: int = 5
    text_layers: int = 2
    text_inner: int = 768


def build(shape: Shape, tokenizer: PreTrainedTokenizerFast) -> tuple[ColPali, ColPaliProcessor]:
    """A ColPali with transformers' own random weights, and its processor.

    Output embeddings are untied and zero: tied ones stay on the meta device when transformers
    loads such a model, and ColPali does not use them.
    """
    images = SiglipImageProcessor(
        size={"height": SIDE, "width": SIDE},
        image_mean=[0.5] * 3,
        image_std=[0.5] * 3,
        resample=3,
    )
    images.image_seq_length = GRID * GRID
    processor = ColPaliProcessor(image_processor=images, tokenizer=tokenizer)
    special = {
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
    }
    pieces, heads = len(processor.tokenizer), shape.hidden // HEAD
    config = PaliGemmaConfig(
        vision_config={
            "model_type": "siglip_vision_model",
            "hidden_size": shape.hidden,
            "intermediate_size": 4 * shape.hidden,
            "num_hidden_layers": shape.vision_layers,
            "num_attention_heads": heads,
            "patch_size": PATCH,
            "image_size": SIDE,
            "hidden_act": "relu",
            "vision_use_head": False,
            "projection_dim": shape.hidden,
        },
        text_config={
            "model_type": "gemma",
            "hidden_size": shape.hidden,
            "intermediate_size": shape.text_inner,
            "num_hidden_layers": shape.text_layers,
            "num_attention_heads": heads,
            "num_key_value_heads": heads,
            "head_dim": HEAD,
            "hidden_act": "relu",
            "hidden_activation": "relu",
            "tie_word_embeddings": False,
            "vocab_size": pieces,
            "max_position_embeddings": GRID * GRID + 1856,
            "use_bidirectional_attention": True,
            **special,
        },
        tie_word_embeddings=False,
        image_token_index=processor.image_token_id,
        vocab_size=pieces,
        projection_dim=shape.hidden,
        hidden_size=shape.hidden,
        # Not transformers' own: the service reads it.
        page_margins="cut",
        **special,
    )
    model = ColPali(config)
    with torch.no_grad():
        model.model.lm_head.weight.zero_()
    return model, processor


def save(model: ColPali, processor: ColPaliProcessor, folder: Path) -> None:
    """Write a checkpoint in bfloat16, as `ColPali.from_pretrained` reads it."""
    copy.deepcopy(model).to(torch.bfloat16).save_pretrained(folder)
    processor.save_pretrained(folder)


def save_weighed(checkpoint: Path, weights: QueryWeights, folder: Path) -> None:
    """Write a checkpoint once more, that says how much the tokens of queries count."""
    model, processor = load(checkpoint)
    # Not transformers' own, either.
    model.config.query_weights = asdict(weights)
    save(model, processor, folder)


def load(folder: Path) -> tuple[ColPali, ColPaliProcessor]:
    """A checkpoint in float32, for training."""
    model = ColPali.from_pretrained(folder, dtype=torch.float32)
    return model, ColPaliProcessor.from_pretrained(folder)


def learning_dtype(device: torch.device) -> torch.dtype:
    """What to learn in: bfloat16 where the device multiplies it, else float32.

    A CPU that emulates bfloat16 takes ten times as long for it. float16 would need its gradients
    scaled.
    """
    fast = choose_dtype("auto", device)
    return fast if fast == torch.bfloat16 else torch.float32


def computing(model: ColPali, dtype: torch.dtype) -> ColPali:
    """The model in a dtype, but for the rotary frequencies: rounded, those move every position."""
    rotary = model.model.model.language_model.rotary_emb
    frequencies = rotary.inv_freq.clone()
    model = model.to(dtype)
    rotary.inv_freq = frequencies
    return model


def prompt(processor: ColPaliProcessor) -> torch.Tensor:
    """Ids int64 (tokens,) of what the processor writes behind the patches of a page."""
    ids = processor.tokenizer("<bos><bos>Describe the image.\n", add_special_tokens=False)
    return torch.tensor(ids["input_ids"])
