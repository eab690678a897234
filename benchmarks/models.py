"""Checkpoints to measure with: random weights of a known size, and the bundled one."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from colpali_engine.models import ColPali, ColPaliProcessor, ColQwen2, ColQwen2Processor
from transformers import (
    PaliGemmaConfig,
    Qwen2VLConfig,
    Qwen2VLImageProcessor,
    Qwen2VLVideoProcessor,
    SiglipImageProcessor,
)

from tests.checkpoints.tokenizers import train_tokenizer

BUNDLED = "colpali-tiny"
SERVICE_COST = "colpali-0.35m"
CUDA_ONLY = ("colpali-3b", "colqwen2-2b")


@contextmanager
def folder_of(name: str) -> Iterator[str]:
    """What to load: the name of the bundled checkpoint, or a folder that is removed afterwards.

    Args:
        name: "colpali-tiny", "colpali-0.35m", "colpali-3b" or "colqwen2-2b". The latter two have
            the sizes of the published configurations and random weights.
    """
    if name == BUNDLED:
        yield name
        return
    with tempfile.TemporaryDirectory() as folder:
        _build(name, Path(folder))
        yield folder


def _build(name: str, folder: Path) -> None:
    if name == "colqwen2-2b":
        model_class, config, processor = _colqwen2()
    else:
        model_class, config, processor = _colpali(small=name == SERVICE_COST)
    torch.manual_seed(0)
    dtype = torch.float32 if name == SERVICE_COST else torch.bfloat16
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with torch.device("cuda" if torch.cuda.is_available() else "cpu"):
            model = model_class(config).eval()
    finally:
        torch.set_default_dtype(before)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    del model
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _colpali(small: bool) -> tuple[Any, Any, Any]:
    tokenizer = train_tokenizer(
        ["<pad>", "<eos>", "<bos>", "<unk>", "<image>"],
        pad="<pad>", eos="<eos>", bos="<bos>", unk="<unk>", padding_side="right",
    )  # fmt: skip
    image = SiglipImageProcessor(
        size={"height": 448, "width": 448}, image_mean=[0.5] * 3, image_std=[0.5] * 3
    )
    image.image_seq_length = 1024
    processor = ColPaliProcessor(image_processor=image, tokenizer=tokenizer)
    vision: dict[str, Any] = {"image_size": 448, "patch_size": 14, "vision_use_head": False}
    if small:
        vocabulary, width = len(processor.tokenizer), 64
        sizes = {"hidden_size": width, "intermediate_size": 128, "num_attention_heads": 2}
        vision |= {**sizes, "num_hidden_layers": 2, "projection_dim": width}
        text = {**sizes, "num_hidden_layers": 2, "num_key_value_heads": 1, "head_dim": 32}
    else:
        vocabulary, width = 257_216, 2048
        vision |= {
            "hidden_size": 1152, "intermediate_size": 4304, "num_attention_heads": 16,
            "num_hidden_layers": 27, "projection_dim": width,
        }  # fmt: skip
        text = {
            "hidden_size": width, "intermediate_size": 16_384, "num_attention_heads": 8,
            "num_hidden_layers": 18, "num_key_value_heads": 1, "head_dim": 256,
        }  # fmt: skip
    ids = {name: getattr(tokenizer, name) for name in ("pad_token_id", "bos_token_id")}
    config = PaliGemmaConfig(
        vision_config=vision,
        text_config={"model_type": "gemma", "vocab_size": vocabulary, **text, **ids,
                     "eos_token_id": tokenizer.eos_token_id},
        projection_dim=width,
        hidden_size=width,
        vocab_size=vocabulary,
        image_token_id=processor.image_token_id,
        image_token_index=processor.image_token_id,
    )  # fmt: skip
    return ColPali, config, processor


def _colqwen2() -> tuple[Any, Any, Any]:
    names = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>",
             "<|image_pad|>", "<|video_pad|>"]  # fmt: skip
    tokenizer = train_tokenizer(names, pad="<|endoftext|>", eos="<|im_end|>")
    size = {"shortest_edge": 4 * 28 * 28, "longest_edge": 768 * 28 * 28}
    processor = ColQwen2Processor(
        image_processor=Qwen2VLImageProcessor(size=size),
        tokenizer=tokenizer,
        video_processor=Qwen2VLVideoProcessor(size=size),
    )
    ids = dict(zip(names, tokenizer.convert_tokens_to_ids(names), strict=True))
    config = Qwen2VLConfig(
        text_config={
            "hidden_size": 1536, "intermediate_size": 8960, "num_hidden_layers": 28,
            "num_attention_heads": 12, "num_key_value_heads": 2, "vocab_size": 151_936,
            "rope_scaling": {"type": "mrope", "mrope_section": [16, 24, 24]},
        },
        vision_config={"depth": 32, "embed_dim": 1280, "num_heads": 16, "hidden_size": 1536,
                       "patch_size": 14},
        image_token_id=ids["<|image_pad|>"],
        video_token_id=ids["<|video_pad|>"],
        vision_start_token_id=ids["<|vision_start|>"],
        vision_end_token_id=ids["<|vision_end|>"],
    )  # fmt: skip
    return ColQwen2, config, processor
