"""The four Qwen families: pages of any shape, merged two by two into tokens."""

from typing import Any

from colpali_engine.models import (
    ColQwen2,
    ColQwen2_5,
    ColQwen2_5_Processor,
    ColQwen2Processor,
    ColQwen3,
    ColQwen3_5,
    ColQwen3_5Processor,
    ColQwen3Processor,
)
from transformers import (
    PreTrainedTokenizerFast,
    Qwen2_5_VLConfig,
    Qwen2VLConfig,
    Qwen2VLImageProcessor,
    Qwen2VLVideoProcessor,
    Qwen3_5Config,
    Qwen3VLConfig,
    Qwen3VLVideoProcessor,
)

from tests.checkpoints.blank import HEADS, HIDDEN, INTERMEDIATE, LAYERS, Blank, tower
from tests.checkpoints.tokenizers import train_tokenizer

# Published checkpoints allow 768 tokens a page.
MAX_PAGE_TOKENS = 160
MERGE_SIZE = 2

_SPECIAL_TOKENS = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|image_pad|>",
    "<|video_pad|>",
)


def blank_colqwen2() -> Blank:
    """Return a ColQwen2 of at most 160 tokens a page."""
    processor = ColQwen2Processor(
        image_processor=_image_processor(14),
        tokenizer=_tokenizer(),
        video_processor=Qwen2VLVideoProcessor(),
    )
    config = Qwen2VLConfig(
        text_config=_text(processor, _rope([4, 6, 6], theta=1e6)),
        vision_config=_vision(14, embed_dim=HIDDEN, mlp_ratio=2),
        **_token_ids(processor.tokenizer),
    )
    return Blank(ColQwen2, config, processor)


def blank_colqwen2_5() -> Blank:
    """Return a ColQwen2.5 of at most 160 tokens a page, one of its layers seeing windows only."""
    processor = ColQwen2_5_Processor(
        image_processor=_image_processor(14),
        tokenizer=_tokenizer(),
        video_processor=Qwen2VLVideoProcessor(),
    )
    config = Qwen2_5_VLConfig(
        text_config=_text(processor, _rope([4, 6, 6], theta=1e6)),
        vision_config=_vision(
            14,
            out_hidden_size=HIDDEN,
            intermediate_size=INTERMEDIATE,
            window_size=112,
            fullatt_block_indexes=[LAYERS - 1],
        ),
        **_token_ids(processor.tokenizer),
    )
    return Blank(ColQwen2_5, config, processor)


def blank_colqwen3() -> Blank:
    """Return a ColQwen3 of at most 160 tokens a page; its vectors have 320 dimensions."""
    processor = ColQwen3Processor(
        image_processor=_image_processor(16, mean=0.5, std=0.5),
        tokenizer=_tokenizer(),
        video_processor=Qwen3VLVideoProcessor(),
    )
    rope = _rope([6, 5, 5], theta=5e6, mrope_interleaved=True)
    config = Qwen3VLConfig(
        text_config=_text(processor, rope, head_dim=32),
        vision_config=_vision(
            16,
            out_hidden_size=HIDDEN,
            intermediate_size=INTERMEDIATE,
            num_position_embeddings=256,
            deepstack_visual_indexes=[0],
        ),
        **_token_ids(processor.tokenizer),
    )
    return Blank(ColQwen3, config, processor)


def blank_colqwen3_5() -> Blank:
    """Return a ColQwen3.5 of at most 160 tokens a page, half of its layers linear attention."""
    processor = ColQwen3_5Processor(
        image_processor=_image_processor(16, mean=0.5, std=0.5),
        tokenizer=_tokenizer(),
        video_processor=Qwen3VLVideoProcessor(),
    )
    rope = _rope([4, 2, 2], theta=1e7, partial_rotary_factor=0.5, mrope_interleaved=True)
    text = _text(
        processor,
        rope,
        head_dim=32,
        layer_types=["linear_attention", "full_attention"],
        linear_key_head_dim=16,
        linear_value_head_dim=16,
        linear_num_key_heads=2,
        linear_num_value_heads=4,
    )
    config = Qwen3_5Config(
        text_config=text,
        vision_config=_vision(
            16,
            out_hidden_size=HIDDEN,
            intermediate_size=INTERMEDIATE,
            num_position_embeddings=256,
        ),
        **_token_ids(processor.tokenizer),
    )
    return Blank(ColQwen3_5, config, processor)


def _tokenizer() -> PreTrainedTokenizerFast:
    return train_tokenizer(_SPECIAL_TOKENS, pad="<|endoftext|>", eos="<|im_end|>")


def _image_processor(
    patch_size: int, *, mean: float | None = None, std: float | None = None
) -> Qwen2VLImageProcessor:
    token_side = patch_size * MERGE_SIZE
    scaling = {} if mean is None else {"image_mean": [mean] * 3, "image_std": [std] * 3}
    return Qwen2VLImageProcessor(
        patch_size=patch_size,
        size={"shortest_edge": 4 * token_side**2, "longest_edge": MAX_PAGE_TOKENS * token_side**2},
        **scaling,
    )


def _rope(sections: list[int], *, theta: float, **extra: Any) -> dict[str, Any]:
    return {"rope_type": "default", "rope_theta": theta, "mrope_section": sections, **extra}


def _text(processor: Any, rope: dict[str, Any], **extra: Any) -> dict[str, Any]:
    tokenizer = processor.tokenizer
    return tower(
        num_key_value_heads=1,
        vocab_size=len(tokenizer),
        bos_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        rope_parameters=rope,
        **extra,
    )


def _vision(patch_size: int, **extra: Any) -> dict[str, Any]:
    return {
        "depth": LAYERS,
        "hidden_size": HIDDEN,
        "num_heads": HEADS,
        "patch_size": patch_size,
        "spatial_merge_size": MERGE_SIZE,
        "temporal_patch_size": 2,
        **extra,
    }


def _token_ids(tokenizer: PreTrainedTokenizerFast) -> dict[str, int]:
    tokens = {
        "image_token_id": "<|image_pad|>",
        "video_token_id": "<|video_pad|>",
        "vision_start_token_id": "<|vision_start|>",
        "vision_end_token_id": "<|vision_end|>",
    }
    return {name: tokenizer.convert_tokens_to_ids(token) for name, token in tokens.items()}
