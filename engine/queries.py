"""Checks that make any text a safe query."""

from __future__ import annotations

import re
from typing import Any

from colpali_serve.engine.settings import Limits
from colpali_serve.schemas import InvalidQueryError

_MAX_CHARACTERS_PER_TOKEN = 64


class QueryGuard:
    """Keeps users' text from being read as instructions to the processor, and bounds its length.

    Args:
        processor: The family's processor; its tokenizer says what is special.
        limits: `max_query_tokens` and `long_query`.
    """

    def __init__(self, processor: Any, limits: Limits) -> None:
        self._tokenizer = tokenizer = processor.tokenizer
        self._limits = limits
        added = tokenizer.added_tokens_decoder.values()
        special = {str(token.content) for token in added if token.special}
        special |= set(map(str, tokenizer.all_special_tokens))
        for name in ("image_token", "video_token", "boi_token", "eoi_token"):
            if isinstance(token := getattr(processor, name, None), str):
                special.add(token)
        longest_first = sorted((token for token in special if len(token) > 1), key=len)[::-1]
        self._special = re.compile("|".join(map(re.escape, longest_first)))
        # Words that a tokenizer does not know come out as its unknown token: that is no attack.
        ids = set(tokenizer.convert_tokens_to_ids(longest_first))
        self._special_ids = ids - {tokenizer.unk_token_id}

    def check(self, text: str, owner: str, item: str) -> str:
        """Return the text to embed.

        A special token that the user typed, `<image>` for example, stays text: a space behind its
        first character keeps the tokenizer from taking it for a placeholder.

        Args:
            text: What the user typed.
            owner: How errors call it, for example ``query 'a'``.
            item: The query's id.

        Raises:
            InvalidQueryError: The text is empty, or longer than allowed.
        """
        if not text.strip():
            raise InvalidQueryError(f"{owner}: text is empty, expected at least one word", item)
        limit = self._limits.max_query_tokens
        cut = self._limits.long_query == "cut"
        # Tokenising megabytes only to refuse them would be work for the sender's benefit.
        most = limit * _MAX_CHARACTERS_PER_TOKEN
        if len(text) > most:
            if not cut:
                raise InvalidQueryError(
                    f"{owner}: text has {len(text)} characters, expected at most {limit} tokens",
                    item,
                )
            text = text[:most]
        text = self._defuse(text)
        encoded = self._tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        ids: list[int] = encoded["input_ids"]
        if found := self._special_ids.intersection(ids):
            token = self._tokenizer.convert_ids_to_tokens(min(found))
            raise InvalidQueryError(
                f"{owner}: text reads as the special token {token!r}, expected plain text", item
            )
        if len(ids) > limit:
            if not cut:
                raise InvalidQueryError(
                    f"{owner}: text has {len(ids)} tokens, expected at most {limit}", item
                )
            text = text[: encoded["offset_mapping"][limit - 1][1]]
        return text

    def _defuse(self, text: str) -> str:
        while self._special.search(text):
            text = self._special.sub(lambda match: f"{match[0][0]} {match[0][1:]}", text)
        return text
