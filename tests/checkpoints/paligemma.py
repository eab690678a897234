"""ColPali: SigLIP patches in front of Gemma."""

from colpali_engine.models import ColPali, ColPaliProcessor
from transformers import PaliGemmaConfig, SiglipImageProcessor

from tests.checkpoints.blank import HIDDEN, Blank, tower
from tests.checkpoints.tokenizers import train_tokenizer

# A quarter of the 448 that published checkpoints use: 256 patches a page, not 1024.
IMAGE_SIZE = 224
PATCH_SIZE = 14


def blank_colpali() -> Blank:
    """Return a ColPali of 256 patches a page."""
    tokenizer = train_tokenizer(
        ["<pad>", "<eos>", "<bos>", "<unk>", "<image>"],
        pad="<pad>",
        eos="<eos>",
        bos="<bos>",
        unk="<unk>",
        padding_side="right",
    )
    image_processor = SiglipImageProcessor(
        size={"height": IMAGE_SIZE, "width": IMAGE_SIZE},
        image_mean=[0.5] * 3,
        image_std=[0.5] * 3,
    )
    image_processor.image_seq_length = (IMAGE_SIZE // PATCH_SIZE) ** 2
    processor = ColPaliProcessor(image_processor=image_processor, tokenizer=tokenizer)
    vocab_size = len(processor.tokenizer)
    config = PaliGemmaConfig(
        vision_config=tower(
            image_size=IMAGE_SIZE,
            patch_size=PATCH_SIZE,
            vision_use_head=False,
            projection_dim=HIDDEN,
        ),
        text_config=tower(
            model_type="gemma",
            num_key_value_heads=1,
            head_dim=32,
            vocab_size=vocab_size,
            pad_token_id=tokenizer.pad_token_id,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
        ),
        projection_dim=HIDDEN,
        hidden_size=HIDDEN,
        vocab_size=vocab_size,
        image_token_id=processor.image_token_id,
        image_token_index=processor.image_token_id,
    )
    return Blank(ColPali, config, processor)
