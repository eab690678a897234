"""The tokenizer: words that stay whole, every printable character known, text that comes back."""

from __future__ import annotations

import string
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from colpali_serve.training import vocabulary
from tests.training.materials import PIECES, WORDS, documents, tokenizer

PRINTABLE = "".join(chr(code) for code in range(33, 127))


def test_frequent_words_stay_whole() -> None:
    words = tokenizer()
    for word in ("printer", "castle", "mountain"):
        assert words.tokenize(word) == [word]
        assert words.tokenize(word.upper()) == [word]


def test_only_as_many_words_as_asked_are_kept_for_being_used() -> None:
    texts = ["castle garden"] * 5 + ["castle river"] * 2 + ["castle printer"]
    few = vocabulary.train(texts, [], 2, 200)
    kept = set(few.get_vocab())
    assert {"castle", "garden"} <= kept


def test_the_special_tokens_are_those_of_paligemma_and_come_first() -> None:
    words = tokenizer()
    tokens = ["<pad>", "<eos>", "<bos>", "<unk>", "<image>"]
    assert words.convert_tokens_to_ids(tokens) == [0, 1, 2, 3, 4]
    assert (
        words.convert_ids_to_tokens(
            [words.pad_token_id, words.eos_token_id, words.bos_token_id, words.unk_token_id]
        )
        == tokens[:4]
    )
    assert (
        words("castle", add_special_tokens=True)["input_ids"]
        == words("castle", add_special_tokens=False)["input_ids"]
    )
    assert words.padding_side == "right"


def test_the_vocabulary_has_the_size_that_was_asked_for() -> None:
    assert len(tokenizer()) == PIECES
    assert sorted(tokenizer().get_vocab().values()) == list(range(PIECES))


@given(st.text(alphabet=PRINTABLE + " ", max_size=40))
def test_every_printable_character_is_known_anywhere(text: str) -> None:
    words = tokenizer()
    ids = words.backend_tokenizer.encode(text.replace("<", "["), add_special_tokens=False).ids
    assert words.unk_token_id not in ids
    joined = "".join(piece.removeprefix("##") for piece in words.convert_ids_to_tokens(ids))
    assert joined == text.replace("<", "[").lower().replace(" ", "")


def test_letters_that_no_word_had_inside_are_known_there() -> None:
    few = vocabulary.train(["aa bb"], [], 2, 200)
    for letter in string.ascii_lowercase:
        assert few.tokenize(f"a{letter}") != ["<unk>"]


@given(st.lists(st.sampled_from([*WORDS, "2031", "unheardof", "i", "a1b2"]), max_size=12))
def test_words_come_back(words: list[str]) -> None:
    text = " ".join(words)
    ids = tokenizer()(text, add_special_tokens=False)["input_ids"]
    assert tokenizer().decode(ids) == text


def test_accents_and_case_fall_away_and_marks_stand_alone() -> None:
    found = tokenizer().tokenize("Cast\u00e9le's $12.50")
    assert [piece for piece in found if not piece[-1].isalnum()] == ["'", "$", "."]
    assert tokenizer().tokenize("CASTL\u00c9") == tokenizer().tokenize("castle")


def test_the_same_text_gives_the_same_tokenizer() -> None:
    texts = [" ".join(part.text for part in document.sections) for document in documents()]
    one, two = (vocabulary.train(texts, WORDS, 20, 250) for _ in range(2))
    assert one.get_vocab() == two.get_vocab()


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    tokenizer().save_pretrained(tmp_path)
    again = vocabulary.load(tmp_path)
    text = "Remove the castle's files: $12.50, unheardof?!"
    assert again(text)["input_ids"] == tokenizer()(text)["input_ids"]
    assert again.get_vocab() == tokenizer().get_vocab()
    assert again.all_special_tokens == tokenizer().all_special_tokens
    assert again.padding_side == "right"
