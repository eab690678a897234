"""Losses: gradients reach what they should, perfect vectors cost nothing, twins are left out."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own abbreviation
from torch import Tensor

from colpali_serve.training.learning import losses
from colpali_serve.training.learning.asked import NOT_FROM_PAGE, NOT_TEXT
from colpali_serve.training.learning.crops import Batch
from colpali_serve.training.learning.labels import NO_LETTER
from colpali_serve.training.learning.losses import Heads
from colpali_serve.training.learning.memory import PageMemory, Rivals
from tests.training.learning.perfect import (
    DIM,
    HIDDEN,
    PATCHES,
    PIECES,
    QUERIES,
    batch,
    matched,
    perfect,
    question,
    random_vectors,
    remembered,
    value,
)


def test_match_says_which_vectors_show_a_token_where_it_stands() -> None:
    made = batch()
    found = matched(made, *perfect(made))
    assert found.token.tolist() == [-1, 5, 6, -1, 5, 7, -1, 5, 6]
    assert found.query_of.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert found.instance.tolist() == [-1, 0, 1, -1, 2, 3, -1, 4, 5]
    # Six vectors a crop: the two behind the patches are the prompt's.
    # "5" before "6" is on the first and the third crop, before "7" on the second.
    shown = [row.nonzero()[:, 0].tolist() for row in found.alike]
    assert shown == [[], [0, 12], [1, 13], [], [6], [7], [], [0, 12], [1, 13]]
    assert (found.pair >= PIECES).tolist() == [False, True, False] * 3
    assert found.shown[:, [5, 6, 7, 8]].int().tolist() == [
        [1, 1, 0, 0], [1, 0, 1, 0], [1, 1, 0, 0],
    ]  # fmt: skip
    pairs = found.shown[:, found.pair[[1, 4]]]
    assert pairs.tolist() == [[True, False], [False, True], [True, False]]


def test_matching_costs_nothing_when_vectors_are_perfect() -> None:
    made, heads = batch(), Heads(HIDDEN, PIECES)
    queries, vectors = perfect(made)
    # What stands beside it counts as well: the second crop's "5" is another one.
    queries[1, 1] = vectors[1, 0] = F.one_hot(torch.tensor(22), DIM).float()
    loss, figures = losses.matching(heads, made, matched(made, queries, vectors), vectors)
    assert 0 <= value(loss) < 1e-3
    assert figures["tokens found"] == 1
    # Pieces taken for each other cost more than chance.
    wrong = vectors.roll(1, 1)
    loss, figures = losses.matching(heads, made, matched(made, queries, wrong), wrong)
    assert value(loss) > 3
    assert figures["tokens found"] == 0


def test_the_same_piece_is_wrong_only_where_it_stands_beside_others() -> None:
    made, heads = batch(QUERIES[:1]), Heads(HIDDEN, PIECES)
    queries, vectors = perfect(made)

    def cost(changed: Tensor) -> float:
        return value(losses.matching(heads, made, matched(made, queries, changed), changed)[0])

    expected = cost(vectors)
    other = vectors.clone()
    other[2, 0] = -other[2, 0]  # "5" before "6" on the third crop
    assert cost(other) == pytest.approx(expected)
    apart = vectors.clone()
    apart[1, 0] = -apart[1, 0]  # "5" before "7" on the second crop
    assert cost(apart) < expected - 0.3
    other[1, 3] = vectors[0, 0]  # a blank patch that looks like "5" is wrong
    assert cost(other) > expected + 0.1


def test_a_token_alone_is_found_wherever_it_is() -> None:
    made, heads = batch(((0, (5,)),)), Heads(HIDDEN, PIECES)
    queries, vectors = perfect(made)
    loss, figures = losses.matching(heads, made, matched(made, queries, vectors), vectors)
    assert value(loss) < 1e-3
    assert figures["tokens found"] == 1


def test_ranking_leaves_out_crops_that_hold_all_pieces() -> None:
    made, heads = batch(QUERIES[:2]), Heads(HIDDEN, PIECES)
    queries, vectors = perfect(made)
    loss, figures = losses.ranking(heads, made, matched(made, queries, vectors), vectors)
    assert value(loss) < 0.1  # the third crop would tie with the first: at least log(2) / 2
    assert figures["ranked first"] == 1
    # Whatever the twin looks like, the first query does not mind; the second does.
    alone = batch(QUERIES[:1])
    for changed in (vectors, vectors.clone()):
        if changed is not vectors:
            changed[2, 3] = F.normalize(queries[0].sum(0), dim=0)
        found = losses.ranking(heads, alone, matched(alone, queries[:1], changed), changed)[0]
        torch.testing.assert_close(found, torch.tensor(0.0181), atol=2e-3, rtol=0)
    changed = vectors.clone()
    changed[1, 3] = vectors[0, 1]  # now the second crop seems to show "6" as well
    found = losses.ranking(heads, alone, matched(alone, queries[:1], changed), changed)[0]
    assert value(found) > 0.5


def test_a_crop_that_holds_some_of_the_pieces_is_a_rival() -> None:
    made, heads = batch(((0, (5, 6)),)), Heads(HIDDEN, PIECES)
    queries, vectors = perfect(made)
    vectors[0] = vectors[1]  # its own crop looks like the second one, which lacks "6"
    loss = losses.ranking(heads, made, matched(made, queries, vectors), vectors)[0]
    torch.testing.assert_close(loss, torch.tensor(2.0).log(), atol=1e-3, rtol=0)


def ranked(made: Batch, rivals: Rivals | None) -> float:
    queries, vectors = perfect(made)
    found = matched(made, queries, vectors)
    return value(losses.ranking(Heads(HIDDEN, PIECES), made, found, vectors, rivals)[0])


def test_a_strong_rival_costs_and_a_weak_one_hardly_does() -> None:
    alone = batch(QUERIES[:1])
    without = ranked(alone, None)
    assert ranked(alone, remembered((9, 10))) == pytest.approx(without, abs=0.02)
    # It seems to show both pieces and does not: as likely as the right crop.
    strong = ranked(alone, remembered((5,), says=(6,)))
    assert strong > without + 0.6
    assert ranked(alone, remembered((5,), (5,), says=(6,))) > strong + 0.3


def test_a_rival_that_shows_all_pieces_in_a_row_is_left_out() -> None:
    alone = batch(QUERIES[:1])
    without = ranked(alone, None)
    assert ranked(alone, remembered((5, 6))) == without
    assert ranked(alone, remembered((7, 5, 6), (5, 6))) == without
    # It has both, but not one behind the other.
    assert ranked(alone, remembered((6, 7, 5))) > without + 0.6
    # For the other query it is a rival.
    assert ranked(batch(QUERIES[1:2]), remembered((5, 6), says=(7,))) > without + 0.6


def test_no_rivals_are_as_none() -> None:
    made = batch()
    empty = PageMemory(PIECES, torch.device("cpu"), torch.float32).rivals()
    assert ranked(made, empty) == ranked(made, None)


def test_rivals_teach_the_queries() -> None:
    made, heads = batch(QUERIES[:1]), Heads(HIDDEN, PIECES)
    queries, vectors = random_vectors(made)
    rivals = remembered((5,), says=(6,))
    losses.ranking(heads, made, matched(made, queries, vectors), vectors, rivals)[0].backward()
    assert queries.grad is not None
    with_rivals, queries = queries.grad, queries.detach().requires_grad_()
    losses.ranking(heads, made, matched(made, queries, vectors), vectors)[0].backward()
    assert queries.grad is not None
    assert not torch.equal(queries.grad, with_rivals)
    assert not rivals.vectors.requires_grad


def test_questions_rank_pages_and_match_no_patch() -> None:
    made = question(0, (6, 9))
    queries, vectors = perfect(made)
    found = matched(made, queries, vectors)
    assert found.token.tolist() == [-1, 6, 9]
    assert found.instance.tolist() == [NOT_TEXT, NOT_FROM_PAGE, NOT_FROM_PAGE]
    assert value(losses.matching(Heads(HIDDEN, PIECES), made, found, vectors)[0]) == 0
    # The third crop shows as much of it as the first, but not all: the two are rivals.
    assert ranked(made, None) == pytest.approx(torch.tensor(2.0).log().item(), abs=0.05)
    # A page that has all that was asked for is none.
    assert ranked(made, remembered((6, 9))) == ranked(made, None)
    assert ranked(made, remembered((6,), says=(9,))) > ranked(made, None) + 0.6


def test_gradients_reach_both_sides_and_the_temperatures() -> None:
    made = batch()
    for ask, scale in ((losses.matching, "match_scale"), (losses.ranking, "page_scale")):
        heads = Heads(HIDDEN, PIECES)
        queries, vectors = random_vectors(made)
        loss, figures = ask(heads, made, matched(made, queries, vectors), vectors)
        loss.backward()
        for part in (queries.grad, vectors.grad, getattr(heads, scale).grad):
            assert part is not None
            assert part.isfinite().all()
            assert part.abs().max() > 0
        assert all(not figure.requires_grad for figure in figures.values())


def test_a_step_down_the_gradient_lowers_the_loss() -> None:
    made, heads = batch(), Heads(HIDDEN, PIECES)
    for ask in (losses.matching, losses.ranking):
        queries, vectors = random_vectors(made)
        before, _ = ask(heads, made, matched(made, queries, vectors), vectors)
        before.backward()
        assert queries.grad is not None
        assert vectors.grad is not None
        with torch.no_grad():
            queries, vectors = queries - 0.05 * queries.grad, vectors - 0.05 * vectors.grad
            after, _ = ask(heads, made, matched(made, queries, vectors), vectors)
        assert after < before


def test_reading_asks_the_language_model_for_pieces_and_the_eye_for_letters() -> None:
    torch.manual_seed(0)
    made, heads = batch(), Heads(HIDDEN, PIECES)
    seen = torch.randn(3, PATCHES, HIDDEN, requires_grad=True)
    output = torch.randn(3, PATCHES, HIDDEN, requires_grad=True)
    loss, figures = losses.reading(heads, seen, output, made)
    assert set(figures) == {"pieces loss", "pieces right", "letters loss", "letters right"}
    torch.testing.assert_close(loss.detach(), figures["pieces loss"] + figures["letters loss"])
    loss.backward()
    assert heads.piece.weight.grad is not None
    assert heads.letter.weight.grad is not None
    for part in (seen.grad, output.grad):
        assert part is not None
        # Every patch with text is asked for, whatever chance says of the blank ones.
        assert (part.flatten(0, 1)[made.piece_patch].abs().amax(1) > 0).all()


def test_reading_costs_nothing_when_the_heads_are_right() -> None:
    made, heads = batch(), Heads(HIDDEN, PIECES)
    for linear, classes in ((heads.piece, PIECES), (heads.letter, NO_LETTER)):
        with torch.no_grad():
            linear.weight.zero_()
            linear.bias.zero_()
            linear.bias[classes] = 20.0  # nothing there, unless the patch says otherwise
    seen, output = torch.zeros(3, PATCHES, HIDDEN), torch.zeros(3, PATCHES, HIDDEN)
    for patch, instance in zip(made.piece_patch.tolist(), made.piece_instance, strict=True):
        crop, place = divmod(patch, PATCHES)
        piece, letter = int(made.pieces[instance]), int(made.letter[instance])
        seen[crop, place, letter] = output[crop, place, piece] = 1.0
        with torch.no_grad():
            heads.piece.weight[piece, piece] = heads.letter.weight[letter, letter] = 60.0
    loss, figures = losses.reading(heads, seen, output, made)
    assert value(loss) < 1e-3
    assert figures["pieces right"] == figures["letters right"] == 1


def test_several_right_classes_share_the_weight() -> None:
    logits = torch.tensor([[0.0, 1.0, 2.0], [3.0, 0.0, 0.0]])
    row, column = torch.tensor([0, 0]), torch.tensor([0, 1])
    loss, right = losses._soft_cross_entropy(logits, row, column, torch.tensor([0.5, 1.5]))
    log = F.log_softmax(logits, -1)
    # The second row shows nothing, which is the last class.
    expected = -(0.25 * log[0, 0] + 0.75 * log[0, 1] + log[1, 2]) / 2
    torch.testing.assert_close(loss, expected)
    assert right == 0


@pytest.mark.parametrize("ask", [losses.matching, losses.ranking])
def test_a_batch_without_queries_costs_nothing(ask: object) -> None:
    made, heads = batch(()), Heads(HIDDEN, PIECES)
    queries, vectors = torch.zeros(0, 4, DIM), random_vectors(made)[1]
    loss, figures = ask(heads, made, matched(made, queries, vectors), vectors)  # type: ignore[operator]
    assert value(loss) == 0
    assert all(figure.isfinite() for figure in figures.values())
