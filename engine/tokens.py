"""What each vector of a query stands for, in words that people can read."""

from __future__ import annotations

from dataclasses import dataclass
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
    """

    text: str
    kind: Kind


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
            Token(name, "special") if token in special else Token(piece or name, "text")
            for token, name, piece in zip(ids, names, pieces, strict=True)
        ]
    tokens = []
    for token, name, (left, right) in zip(ids, names, encoded["offset_mapping"], strict=True):
        # A word that the vocabulary does not know is the user's, though its token is special.
        own = whole[max(left, start) : min(right, end)].strip()
        if own:
            tokens.append(Token(own, "text"))
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


def _special_ids(tokenizer: Any) -> set[int]:
    added = tokenizer.added_tokens_decoder.items()
    return {*tokenizer.all_special_ids, *(token for token, content in added if content.special)}
