"""ColGemma3: pooled SigLIP patches in front of Gemma 3, spoken to through a chat template."""

from colpali_engine.models import ColGemma3, ColGemmaProcessor3
from transformers import Gemma3Config, Gemma3ImageProcessor

from tests.checkpoints.blank import Blank, tower
from tests.checkpoints.tokenizers import train_tokenizer

# Half of the 896 that published checkpoints use: 64 vectors a page, not 256.
IMAGE_SIZE = 448
PATCH_SIZE = 14
PAGE_TOKENS = 64

_TURN_TOKENS = ("<start_of_turn>", "<end_of_turn>")
_BOI, _EOI, _IMAGE = "<start_of_image>", "<end_of_image>", "<image_soft_token>"

_CHAT_TEMPLATE = (
    "{{ bos_token }}"
    "{% for message in messages %}"
    "<start_of_turn>{{ message['role'] }}\n"
    "{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<start_of_image>"
    "{% else %}{{ part['text'] | trim }}{% endif %}"
    "{% endfor %}"
    "<end_of_turn>\n"
    "{% endfor %}"
)


def blank_colgemma3() -> Blank:
    """Return a ColGemma3 of 64 image vectors a page, one of its layers seeing 64 tokens only."""
    tokenizer = train_tokenizer(
        ["<pad>", "<eos>", "<bos>", "<unk>", *_TURN_TOKENS, _BOI, _EOI, _IMAGE],
        pad="<pad>",
        eos="<eos>",
        bos="<bos>",
        unk="<unk>",
        extra_special_tokens={"boi_token": _BOI, "eoi_token": _EOI, "image_token": _IMAGE},
    )
    tokenizer.chat_template = _CHAT_TEMPLATE
    image_processor = Gemma3ImageProcessor(
        size={"height": IMAGE_SIZE, "width": IMAGE_SIZE},
        image_mean=[0.5] * 3,
        image_std=[0.5] * 3,
        do_pan_and_scan=False,
    )
    processor = ColGemmaProcessor3(
        image_processor=image_processor, tokenizer=tokenizer, image_seq_length=PAGE_TOKENS
    )
    config = Gemma3Config(
        text_config=tower(
            num_key_value_heads=1,
            head_dim=32,
            query_pre_attn_scalar=32,
            vocab_size=len(processor.tokenizer),
            sliding_window=64,
            layer_types=["sliding_attention", "full_attention"],
            pad_token_id=tokenizer.pad_token_id,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
        ),
        vision_config=tower(image_size=IMAGE_SIZE, patch_size=PATCH_SIZE, vision_use_head=False),
        mm_tokens_per_image=PAGE_TOKENS,
        boi_token_index=tokenizer.convert_tokens_to_ids(_BOI),
        eoi_token_index=tokenizer.convert_tokens_to_ids(_EOI),
        image_token_index=tokenizer.convert_tokens_to_ids(_IMAGE),
    )
    return Blank(ColGemma3, config, processor)
