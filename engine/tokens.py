"""What each vector of a query stands for, in words that people can read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from colpali_serve.engine.loading import LoadedModel
from colpali_serve.engine.query_forms import augmentation_token

Kind = Literal["text", "prompt", "special"]
"""A piece of the user's words; spaces, or words that the checkpoint wants around; no words."""


@dataclass(frozen=True)
class Token:
    """One vector of a query, as people see it.

    Attributes:
        text: The piece of the query that it stands for, as typed; else the vocabulary's name.
        kind: What it is.
        spelt: With how many tokens its word is spelt; 0 for one around the user's text.
    """

    text: str
    kind: Kind
    spelt: int = 0


def query_tokens(loaded: LoadedModel, text: str, token_ids: NDArray[np.int64]) -> list[Token]:
    """Name the vectors of a query.

    Args:
        loaded: The model.
        text: The query, after `queries.QueryGuard.check`.
        token_ids: (n_vectors,), what was embedded.

    Returns:
        One token a vector, in order.
    """
    tokenizer = loaded.processor.tokenizer
    ids: list[int] = token_ids.tolist()
    names = [str(name) for name in tokenizer.convert_ids_to_tokens(ids)]
    special = _special_ids(tokenizer)
    whole, start = _as_tokenised(loaded, text)
    start, end = start + len(text) - len(text.lstrip()), start + len(text.rstrip())
    encoded = tokenizer(whole, return_offsets_mapping=True)
    if encoded["input_ids"] != ids:
        # A processor that does more to a text than we know of: still pieces, but not whose.
        pieces = [tokenizer.decode([token]).strip() for token in ids]
        return [
            Token(name, "special") if token in special else Token(piece or name, "text", 1)
            for token, name, piece in zip(ids, names, pieces, strict=True)
        ]
    spans: list[tuple[int, int]] = encoded["offset_mapping"]
    inside = [(max(left, start), min(right, end)) for left, right in spans]
    own = [whole[left:right].strip() for left, right in inside]
    spelt = _spelt(whole, inside)
    tokens = []
    for token, name, (left, right), piece, size in zip(ids, names, spans, own, spelt, strict=True):
        # A word that the vocabulary does not know is the user's, though its token is special.
        if piece:
            tokens.append(Token(piece, "text", size))
        elif token in special:
            tokens.append(Token(name, "special"))
        else:
            tokens.append(Token(whole[left:right].strip() or name, "prompt"))
    return tokens


def _as_tokenised(loaded: LoadedModel, text: str) -> tuple[str, int]:
    """The string that the family's tokenizer sees for a query, and where in it the query starts."""
    tokenizer, form = loaded.processor.tokenizer, loaded.form
    inner = form.apply(text, augmentation_token(loaded.family, loaded.processor))
    before = ""
    if loaded.family.name == "ColPali":
        before = str(tokenizer.bos_token)
    elif loaded.family.name == "ColGemma3":
        before = "Query: "
        parts = [{"type": "text", "text": before + inner}]
        whole = str(
            tokenizer.apply_chat_template([{"role": "user", "content": parts}], tokenize=False)
        )
        # The template may trim.
        return whole, whole.index(before + inner.rstrip()) + len(before + form.prefix)
    return before + inner, len(before + form.prefix)


def _spelt(whole: str, spans: Sequence[tuple[int, int]]) -> list[int]:
    """With how many tokens the word of each span is spelt; 0 for one that shows nothing.

    A word goes on where there are letters or digits on both sides of where a token begins.
    """
    words: list[int] = []
    word = 0
    for number, (left, right) in enumerate(spans, 1):
        if not whole[left:right].strip():
            word = 0
        elif not (word and left and whole[left - 1 : left + 1].isalnum()):
            word = number
        words.append(word)
    sizes = Counter(words)
    return [sizes[word] if word else 0 for word in words]


# PaliGemma adds a thousand tokens, and a query that is weighed is named each time.
@lru_cache(maxsize=8)
def _special_ids(tokenizer: Any) -> frozenset[int]:
    added = tokenizer.added_tokens_decoder.items()
    special = (token for token, content in added if content.special)
    return frozenset((*tokenizer.all_special_ids, *special))
