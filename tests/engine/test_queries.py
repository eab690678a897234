"""Users' text stays text, and has a bounded length."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from colpali_serve.engine.encoder import Encoded, Encoder, TextInput
from colpali_serve.engine.queries import QueryGuard
from colpali_serve.schemas import InvalidQueryError
from tests.checkpoints import FAMILIES

PLACEHOLDERS = (
    "<image>",
    "<image_soft_token>",
    "<|image_pad|>",
    "<start_of_image>",
    "<|vision_start|><|image_pad|><|vision_end|>",
    "<global-img>",
    "<pad><eos><bos><unk>",
    "<|endoftext|>",
    "<<image>image>",
)


Start = Callable[..., Encoder]


@pytest.mark.parametrize("family", FAMILIES)
def test_placeholders_typed_by_a_user_are_text(family: str, start: Start) -> None:
    running = start(family)
    guard = QueryGuard(running.loaded.processor, running.settings)
    results = running.embed_texts(
        [TextInput(str(i), f"where is {text} here") for i, text in enumerate(PLACEHOLDERS)]
    )
    tokenizer = running.loaded.processor.tokenizer
    special = set(tokenizer.all_special_ids) - {tokenizer.unk_token_id}
    for text, result in zip(PLACEHOLDERS, results, strict=True):
        assert isinstance(result, Encoded), result
        assert len(result.embedding) < 150
        checked = guard.check(f"where is {text} here", "query 'q'", "q")
        assert not special & set(tokenizer(checked, add_special_tokens=False)["input_ids"])


@pytest.mark.parametrize("text", ["", "   ", "\n\t"])
def test_an_empty_query_is_refused(text: str, start: Start) -> None:
    result = start("colpali").embed_texts([TextInput("q", text)])[0]
    assert isinstance(result, InvalidQueryError)
    assert result.message == "query 'q': text is empty, expected at least one word"


@pytest.mark.parametrize("family", FAMILIES)
def test_a_long_query_is_refused_or_cut(family: str, start: Start) -> None:
    words = TextInput("q", "revenue " * 5000)
    refused = start(family, max_query_tokens=64).embed_texts([words])[0]
    assert isinstance(refused, InvalidQueryError)
    assert "expected at most 64" in refused.message
    cutting = start(family, max_query_tokens=64, long_query="cut")
    cut, short = cutting.embed_texts([words, TextInput("s", "revenue")])
    assert isinstance(cut, Encoded)
    assert isinstance(short, Encoded)
    assert 40 < len(cut.embedding) - len(short.embedding) < 64


def test_a_refused_query_names_its_length(start: Start) -> None:
    running = start("colpali", max_query_tokens=8)
    tokens, characters = running.embed_texts(
        [TextInput("a", "one two three four five six seven"), TextInput("b", "x" * 1000)]
    )
    assert "tokens, expected at most 8" in str(tokens)
    assert str(characters) == "query 'b': text has 1000 characters, expected at most 8 tokens"
