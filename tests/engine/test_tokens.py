"""A query's vectors get the names that its own words have."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from colpali_serve.engine.forward import query_batch
from colpali_serve.engine.loading import LoadedModel, load_model
from colpali_serve.engine.query_forms import QueryForm
from colpali_serve.engine.settings import EncoderSettings
from colpali_serve.engine.tokens import Token, query_tokens
from tests.checkpoints import FAMILIES

Load = Callable[..., LoadedModel]


def named(loaded: LoadedModel, text: str) -> list[Token]:
    ids = query_batch(loaded, [text])["input_ids"][0].numpy()
    tokens = query_tokens(loaded, text, ids)
    assert len(tokens) == len(ids)
    return tokens


def own(tokens: list[Token]) -> str:
    return "".join(token.text for token in tokens if token.kind == "text")


@pytest.mark.parametrize("text", ["total revenue", "Query: user", "  Total,  (2023)? ", "x"])
@pytest.mark.parametrize("prefix", ["", "Query: "])
@pytest.mark.parametrize("family", FAMILIES)
def test_own_tokens_are_the_query(family: str, prefix: str, text: str, load: Load) -> None:
    loaded = replace(load(family), form=QueryForm(prefix, newline=bool(prefix)))
    tokens = named(loaded, text)
    assert own(tokens) == text.replace(" ", "")


@pytest.mark.parametrize("family", FAMILIES)
def test_what_stands_around_is_marked(family: str, load: Load) -> None:
    loaded = replace(load(family), form=QueryForm("Query: "))
    tokens = named(loaded, "total")
    assert "Query:" in "".join(token.text for token in tokens if token.kind == "prompt")
    special = [token.text for token in tokens if token.kind == "special"]
    assert len(special) >= (10 if loaded.family.augments_queries else 2)
    assert all(name.startswith(("<", "[")) for name in special)


def test_characters_of_several_tokens_are_shown_whole(load: Load) -> None:
    pieces = [token.text for token in named(load("colpali"), "ß你") if token.kind == "text"]
    assert set(pieces) == {"ß", "你"}


@pytest.mark.parametrize("family", FAMILIES)
def test_tokens_know_with_how_many_others_they_spell_a_word(family: str, load: Load) -> None:
    tokens = named(load(family), "Total revenue, 2023-24: netto/brutto")
    words: dict[str, int] = {}
    spelt = iter(token for token in tokens if token.kind == "text")
    for token in spelt:
        # The others of its word follow right behind it.
        rest = [next(spelt) for _ in range(token.spelt - 1)]
        assert {one.spelt for one in rest} <= {token.spelt}
        words["".join(one.text for one in (token, *rest))] = token.spelt
    assert [word for word in words if word.isalnum()] == [
        "Total", "revenue", "2023", "24", "netto", "brutto",
    ]  # fmt: skip
    assert all(token.spelt == 0 for token in tokens if token.kind != "text")


def test_words_that_the_vocabulary_lacks_are_still_the_users() -> None:
    loaded = load_model(EncoderSettings(device="cpu", dtype="float32"))
    tokens = named(loaded, "recover 你 Transcribing")
    assert [token.text for token in tokens if token.kind == "text"][:2] == ["rec", "over"]
    assert own(tokens) == "recover你Transcribing"


def test_a_text_that_was_tokenised_in_another_way_still_has_pieces(load: Load) -> None:
    loaded = load("colpali")
    ids = np.array(loaded.processor.tokenizer("<bos>total page")["input_ids"])
    tokens = query_tokens(loaded, "something else", ids)
    assert own(tokens) == "totalpage"
    assert tokens[0] == Token("<bos>", "special")
