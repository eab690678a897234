"""Byte-level BPE tokenizers, trained in place in milliseconds."""

from collections.abc import Sequence
from typing import Any

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

# Enough repetition for merges; whatever else a test types falls back to single bytes.
_CORPUS = (
    "Describe the image.",
    "User: Assistant: Query: Question:",
    "What is the total revenue of the year 2023?",
    "The table shows the number of pages in the annual report.",
)
_N_MERGES = 80


def train_tokenizer(
    special_tokens: Sequence[str],
    *,
    pad: str,
    eos: str,
    bos: str | None = None,
    unk: str | None = None,
    padding_side: str = "left",
    **extra: Any,
) -> PreTrainedTokenizerFast:
    """Return a tokenizer that knows every byte, `special_tokens` first in its vocabulary.

    Args:
        special_tokens: Tokens that are never split; their ids are their positions here.
        pad: Padding token.
        eos: End token.
        bos: Start token, where the family has one.
        unk: Unknown token, where the family has one.
        padding_side: "left" or "right".
        **extra: Passed on to `PreTrainedTokenizerFast`.

    Returns:
        The tokenizer; it adds no special token by itself.
    """
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    core = Tokenizer(models.BPE(unk_token=unk))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=len(special_tokens) + len(alphabet) + _N_MERGES,
        special_tokens=list(special_tokens),
        initial_alphabet=alphabet,
        show_progress=False,
    )
    core.train_from_iterator(_CORPUS * 4, trainer)
    named = {"pad_token": pad, "eos_token": eos, "bos_token": bos, "unk_token": unk}
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        padding_side=padding_side,
        **{name: token for name, token in named.items() if token is not None},
        **extra,
    )
