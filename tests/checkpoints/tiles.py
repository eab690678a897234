"""The two families that cut a page into tiles and add one global view."""

from colpali_engine.models import (
    ColIdefics3,
    ColIdefics3Processor,
    ColModernVBert,
    ColModernVBertProcessor,
)
from transformers import (
    Idefics3Config,
    Idefics3ImageProcessor,
    ModernVBertConfig,
    PreTrainedTokenizerFast,
)

from tests.checkpoints.blank import LAYERS, Blank, tower
from tests.checkpoints.tokenizers import train_tokenizer

# Published checkpoints enlarge a page to 2048, so up to 16 tiles where these have 4.
LONGEST_EDGE = 1024
TILE_SIZE = 512
PATCH_SIZE = 16
SHUFFLE_FACTOR = 4
TILE_TOKENS = (TILE_SIZE // PATCH_SIZE // SHUFFLE_FACTOR) ** 2

_TILE_TOKENS = (
    "<fake_token_around_image>",
    "<image>",
    "<end_of_utterance>",
    "<global-img>",
    *(f"<row_{row}_col_{column}>" for row in range(1, 7) for column in range(1, 7)),
)


def blank_colidefics3() -> Blank:
    """Return a ColIdefics3 (ColSmol) of at most four tiles a page."""
    tokenizer = train_tokenizer(
        ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<unk>", *_TILE_TOKENS],
        pad="<|im_end|>",
        eos="<|im_end|>",
        bos="<|im_start|>",
        unk="<unk>",
    )
    processor = ColIdefics3Processor(
        image_processor=_image_processor(), tokenizer=tokenizer, image_seq_len=TILE_TOKENS
    )
    config = Idefics3Config(
        image_token_id=processor.image_token_id,
        pad_token_id=tokenizer.pad_token_id,
        scale_factor=SHUFFLE_FACTOR,
        text_config=tower(
            model_type="llama",
            num_key_value_heads=1,
            vocab_size=len(processor.tokenizer),
            max_position_embeddings=8192,
            pad_token_id=tokenizer.pad_token_id,
        ),
        vision_config=tower(image_size=TILE_SIZE, patch_size=PATCH_SIZE),
    )
    return Blank(ColIdefics3, config, processor)


def blank_colmodernvbert() -> Blank:
    """Return a ColModernVBert of at most four tiles a page, its text read in both directions."""
    tokenizer = train_tokenizer(
        ["[PAD]", "[CLS]", "[SEP]", "[UNK]", "[MASK]", "<|begin_of_text|>", *_TILE_TOKENS],
        pad="[PAD]",
        eos="[SEP]",
        bos="[CLS]",
        unk="[UNK]",
    )
    processor = ColModernVBertProcessor(
        image_processor=_image_processor(), tokenizer=tokenizer, image_seq_len=TILE_TOKENS
    )
    config = ModernVBertConfig(
        image_token_id=processor.image_token_id,
        pad_token_id=tokenizer.pad_token_id,
        pixel_shuffle_factor=SHUFFLE_FACTOR,
        text_config=tower(
            model_type="modernbert",
            vocab_size=len(processor.tokenizer),
            max_position_embeddings=8192,
            global_attn_every_n_layers=LAYERS,
            local_attention=128,
            **_text_ids(tokenizer),
        ),
        vision_config=tower(
            model_type="siglip_vision_model",
            image_size=TILE_SIZE,
            patch_size=PATCH_SIZE,
            vision_use_head=False,
        ),
    )
    return Blank(ColModernVBert, config, processor)


def _image_processor() -> Idefics3ImageProcessor:
    return Idefics3ImageProcessor(
        size={"longest_edge": LONGEST_EDGE},
        max_image_size={"longest_edge": TILE_SIZE},
        image_mean=[0.5] * 3,
        image_std=[0.5] * 3,
    )


def _text_ids(tokenizer: PreTrainedTokenizerFast) -> dict[str, int]:
    return {
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "cls_token_id": tokenizer.bos_token_id,
        "sep_token_id": tokenizer.eos_token_id,
    }
