"""Where a piece stands: neighbours in the query, the same ones on the page."""

from __future__ import annotations

from dataclasses import replace

import torch

from colpali_serve.training.learning import context
from tests.training.learning.perfect import PIECES, batch, question


def test_neighbours_are_those_that_follow_each_other_on_the_page() -> None:
    before, after = context.neighbours(batch())
    assert before.tolist() == [[-1, -1, 5, -1]] * 3
    assert after.tolist() == [[-1, 6, -1, -1], [-1, 7, -1, -1], [-1, 6, -1, -1]]


def test_what_was_left_out_in_between_leaves_no_neighbours() -> None:
    made = batch(((0, (5, 6)),))
    instance = made.query_instance.clone()
    instance[0, 2] += 1  # the page has something between the two
    before, after = context.neighbours(replace(made, query_instance=instance))
    assert (before == -1).all()
    assert (after == -1).all()


def test_a_question_has_no_neighbours() -> None:
    before, after = context.neighbours(question(0, (5, 6)))
    assert (before == -1).all()
    assert (after == -1).all()


def same(token: int, before: int, after: int) -> list[int]:
    asked = (torch.tensor([value]) for value in (token, before, after))
    row, place = context.same(batch(), *asked)
    assert not row.any()
    return place.tolist()


def test_the_same_is_the_piece_between_the_same_neighbours() -> None:
    # Pieces of the batch in order: 5 6, 5 7, 5 6.
    assert same(5, -1, -1) == [0, 2, 4]
    assert same(5, -1, 6) == [0, 4]
    assert same(5, -1, 7) == [2]
    assert same(5, 7, -1) == [4]
    assert same(5, 7, 7) == []
    assert same(-1, -1, -1) == []
    assert same(6, 5, -1) == [1, 5]


def test_crops_show_pieces_and_which_is_behind_which() -> None:
    found = context.shown(batch(), 3, PIECES)
    assert found.shape == (3, PIECES + context.PAIRS)
    first, second = torch.tensor([5, 5]), torch.tensor([6, 7])
    pairs = context.pair(first, second, PIECES)
    assert found[:, pairs].tolist() == [[True, False], [False, True], [True, False]]
    assert (pairs >= PIECES).all()
    assert (pairs < PIECES + context.PAIRS).all()
