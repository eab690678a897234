"""Queries: runs of a crop's own words, and questions about whole pages."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch

from colpali_serve.training.learning.asked import (
    LONGEST_QUESTION,
    NOT_FROM_PAGE,
    NOT_TEXT,
    QUERY_PADS,
    Query,
    QueryMaker,
    padded,
)
from colpali_serve.training.learning.crops import CropMaker, Crops, Labelled
from colpali_serve.training.learning.labels import Labeller
from colpali_serve.training.model import architecture
from colpali_serve.training.model.architecture import GRID
from colpali_serve.training.pages.canvas import Word
from colpali_serve.training.semantics.asker import FUNCTION_WORDS, Asker
from tests.training import materials
from tests.training.learning.sheets import blocks
from tests.training.materials import WORDS, tokenizer

TEXT = ("The", *WORDS[:20], "castle.", "Remove", "the", "river", "from", "this", "garden", "now.")
# What the forms of questions say besides, and what stands for a word of the page.
FRAMING = FUNCTION_WORDS | {
    "tell", "explain", "happens", "mean", "find", "purpose", "way", "possible", "page", "know",
    "handled", "controls",
}  # fmt: skip
OTHERS = {"village", "bridge"}
TABLE = {"remove": {"village": 0.9}, "castle": {"bridge": 0.8}}


@pytest.fixture(scope="module")
def maker() -> QueryMaker:
    return QueryMaker(tokenizer(), Asker(materials.documents(), TABLE))


def asked(maker: QueryMaker, count: int, text: tuple[str, ...] = TEXT) -> list[str]:
    return [tokenizer().decode(q.ids) for q in maker.questions(random.Random(0), count, 3, text)]


def test_questions_are_about_their_page(maker: QueryMaker) -> None:
    on_page = {word.strip(".").lower() for word in TEXT}
    assert not on_page & OTHERS
    in_other_words = 0
    for question in asked(maker, 200):
        content = set(question.lower().replace("?", " ").replace(".", " ").split()) - FRAMING
        assert content <= on_page | OTHERS
        in_other_words += bool(content & OTHERS)
    assert in_other_words > 5


def test_a_question_says_not_which_pieces_it_means(maker: QueryMaker) -> None:
    found = maker.questions(random.Random(1), 50, 3, TEXT)
    assert 45 <= len(found) <= 50
    for query in found:
        assert query.crop == 3
        assert query.ids
        assert query.instances == [NOT_FROM_PAGE] * len(query.ids)


def test_questions_are_cut_to_what_fits(maker: QueryMaker) -> None:
    long = tuple(f"{a}{b}{a}{b}" for a in WORDS[:6] for b in WORDS[6:12])
    lengths = {len(q.ids) for q in maker.questions(random.Random(0), 60, 0, long)}
    assert max(lengths) == LONGEST_QUESTION


def test_pages_that_say_nothing_are_asked_nothing(maker: QueryMaker) -> None:
    assert maker.questions(random.Random(0), 30, 0, ("",)) == []
    assert QueryMaker(tokenizer()).questions(random.Random(0), 30, 0, TEXT) == []


def test_runs_are_of_words_within_the_crop_that_follow_each_other(maker: QueryMaker) -> None:
    page = blocks().labels
    inside = np.zeros(len(page.words), bool)
    inside[[3, 4, 5, 9, 10, 20]] = True
    words = set()
    for query in maker.runs(random.Random(0), 300, 1, page, inside, 1000):
        pieces = [instance - 1000 for instance in query.instances]
        assert page.pieces[pieces].tolist() == query.ids
        numbers = page.piece_words[pieces]
        assert inside[numbers].all()
        assert set(np.diff(numbers)) <= {0, 1}
        words.add(tuple(dict.fromkeys(numbers.tolist())))
    assert words == {(3,), (4,), (5,), (9,), (10,), (20,), (3, 4), (4, 5), (9, 10), (3, 4, 5)}


def test_the_seed_decides(maker: QueryMaker) -> None:
    def found(seed: int) -> list[Query]:
        return maker.questions(random.Random(seed), 9, 0, TEXT)

    first = found(4)
    assert found(5) != first == found(4)


def test_punctuation_is_rarely_asked_for() -> None:
    words = [Word(10.0 + 70 * n, 10, 70.0 + 70 * n, 30, text) for n, text in
             enumerate(["river,", "castle.", "garden;", "--"])]  # fmt: skip
    page = Labelled(blocks().pixels, Labeller(tokenizer())(words))
    marks = set(tokenizer().convert_tokens_to_ids([",", ".", ";", "-"]))
    maker = CropMaker([page], tokenizer())
    asked = [
        bool(marks & set(ids.tolist()))
        for seed in range(30)
        for ids in maker.batch(Crops(GRID, GRID, 1, 10), seed).query_ids
    ]
    assert 0 < sum(asked) / len(asked) < 0.25


def test_marks_within_a_word_are_asked_for_with_it() -> None:
    words = [Word(10.0 + 90 * n, 10, 90.0 + 90 * n, 30, text) for n, text in
             enumerate(["river-castle,", "(garden)"])]  # fmt: skip
    page = Labeller(tokenizer())(words)
    maker, inside = QueryMaker(tokenizer()), np.array([True, True])
    rng = random.Random(0)
    asked = [
        tokenizer().convert_ids_to_tokens(query.ids)
        for _ in range(60)
        for query in maker.runs(rng, 1, 0, page, inside, 0)
    ]
    said = {" ".join(tokens) for tokens in asked}
    assert "river - castle" in said
    assert "river - castle garden" in said
    assert not any("castle , garden" in text for text in said)
    # Marks around words come along here and there.
    assert any("( garden )" in text for text in said)


def test_tensors_keep_order_and_say_where_tokens_are_from(maker: QueryMaker) -> None:
    queries = [Query(1, [7, 8], [20, 21]), Query(0, [9], [NOT_FROM_PAGE])]
    made = maker.tensors(queries)
    bos, pad = tokenizer().bos_token_id, tokenizer().pad_token_id
    assert made["query_ids"][:, :4].tolist() == [[bos, 7, 8, pad], [bos, 9, pad, pad]]
    assert made["query_instance"][:, :4].tolist() == [
        [NOT_TEXT, 20, 21, NOT_TEXT],
        [NOT_TEXT, NOT_FROM_PAGE, NOT_TEXT, NOT_TEXT],
    ]
    assert made["query_mask"].sum(1).tolist() == [3 + QUERY_PADS, 2 + QUERY_PADS]
    assert made["query_crop"].tolist() == [1, 0]
    assert made["query_instance"].dtype == made["query_crop"].dtype == torch.int64


def test_no_queries_are_a_batch_of_none(maker: QueryMaker) -> None:
    made = maker.tensors([])
    assert made["query_ids"].shape == made["query_mask"].shape == (0, 2 + QUERY_PADS)
    assert made["query_crop"].shape == (0,)


def test_a_query_has_the_form_that_the_service_asks_in() -> None:
    _, processor = architecture.build(materials.SHAPE, materials.fresh_tokenizer())
    batch = CropMaker([blocks()], tokenizer()).batch(Crops(16, 8, 6, 4), 3)
    for ids, mask, instances in zip(
        batch.query_ids, batch.query_mask, batch.query_instance, strict=True
    ):
        text = tokenizer().decode(ids[instances >= 0])
        expected = processor.process_queries(queries=[text])
        assert torch.equal(ids[mask], expected["input_ids"][0])
        assert expected["attention_mask"].all()


def test_padded_is_what_the_service_asks_in() -> None:
    _, processor = architecture.build(materials.SHAPE, materials.fresh_tokenizer())
    texts = ["remove the river", "castle"]
    tokens = [tokenizer()(text, add_special_tokens=False)["input_ids"] for text in texts]
    bos, pad = int(tokenizer().bos_token_id), int(tokenizer().pad_token_id)
    ids, mask = padded(tokens, bos, pad)
    for row, real, text in zip(ids, mask, texts, strict=True):
        assert torch.equal(row[real], processor.process_queries(queries=[text])["input_ids"][0])
        assert (row[~real] == pad).all()
