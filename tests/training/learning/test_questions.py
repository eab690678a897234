"""Questions on pages of remembered vectors."""

from __future__ import annotations

import io
import random
from functools import cache

import pytest
import torch

from colpali_serve.training.learning import questions
from colpali_serve.training.learning.asked import QUERY_PADS
from colpali_serve.training.learning.crops import Batch, CropMaker, Crops
from colpali_serve.training.learning.losses import Heads
from colpali_serve.training.learning.questions import Examples, PatchBank, Questions, asking
from colpali_serve.training.semantics.asker import Asker
from tests.training import materials
from tests.training.learning.sheets import blocks
from tests.training.materials import PIECES, tokenizer

CPU = torch.device("cpu")
DIM = 128


@cache
def examples() -> Examples:
    return Examples(Asker(materials.documents(), {"remove": {"delete": 0.9}}), tokenizer())


@cache
def crops() -> Batch:
    return CropMaker([blocks()], tokenizer()).batch(Crops(16, 8, 4, 2), 1)


def telling(batch: Batch, age: int = 0) -> torch.Tensor:
    """Vectors that say which piece their patch shows best, and how old they are."""
    vectors = torch.zeros(batch.places.numel(), DIM)
    best = torch.zeros(len(vectors))
    for patch, instance, share in zip(
        batch.piece_patch, batch.piece_instance, batch.piece_share, strict=True
    ):
        # A patch may show two pieces: then it says both.
        vectors[patch, int(batch.pieces[instance]) % 120] = 1
        best[patch] = max(best[patch], share)
    vectors[:, 120] = age
    return vectors.view(*batch.places.shape, DIM)


def remembered(batch: Batch) -> set[int]:
    clear = batch.piece_share >= 0.5
    return set(batch.pieces[batch.piece_instance[clear]].tolist())


def test_a_page_is_made_of_vectors_that_show_its_pieces() -> None:
    bank, batch = PatchBank(PIECES, CPU, torch.bfloat16), crops()
    bank.remember(telling(batch), batch)
    known = remembered(batch)
    every = torch.arange(PIECES)[None]
    vectors, real = bank.pages(every)
    assert vectors.dtype == torch.bfloat16
    for piece in range(PIECES):
        assert bool(real[0, piece]) == (piece in known)
        if piece in known:
            assert vectors[0, piece, piece % 120] == 1
    # Blanks are always real, and no patch with text is among them.
    assert real[0, PIECES:].all()
    assert not vectors[0, PIECES:, :120].any()


def test_places_without_a_piece_are_not_real() -> None:
    bank, batch = PatchBank(PIECES, CPU, torch.bfloat16), crops()
    bank.remember(telling(batch), batch)
    # Not even if the piece whose number stands in for "none" inside were known.
    bank._count[0] = 1
    piece = min(remembered(batch))
    _, real = bank.pages(torch.tensor([[piece, -1, -1], [-1, -1, piece]]))
    assert real[:, :3].tolist() == [[True, False, False], [False, False, True]]


def test_nothing_is_known_at_first() -> None:
    _, real = PatchBank(PIECES, CPU, torch.bfloat16).pages(torch.arange(PIECES)[None])
    assert not real[0, :PIECES].any()


def test_new_vectors_take_the_place_of_old_ones() -> None:
    bank, batch = PatchBank(PIECES, CPU, torch.bfloat16), crops()
    pieces = torch.tensor(sorted(remembered(batch)))
    for age in range(1, 41):
        bank.remember(telling(batch, age), batch)
        assert int(bank._count.max()) == min(age, questions._KEPT)
        ages = bank._vectors[pieces][..., 120].float()
        assert (ages.amax(1) == age).all()
    asked = pieces.repeat(200, 1)
    ages = bank.pages(asked)[0][:, : len(pieces), 120].float()
    assert ages.min() >= 1
    assert len(ages.unique()) > 10
    assert ages.mean() > 20


def test_patches_that_hardly_show_a_piece_do_not_stand_for_it() -> None:
    bank, batch = PatchBank(PIECES, CPU, torch.bfloat16), crops()
    faint = Batch(**{**vars(batch), "piece_share": torch.full_like(batch.piece_share, 0.4)})
    bank.remember(telling(faint), faint)
    _, real = bank.pages(torch.arange(PIECES)[None])
    assert not real[0, :PIECES].any()


def test_a_state_goes_on_where_it_was() -> None:
    bank, batch = PatchBank(PIECES, CPU, torch.bfloat16), crops()
    bank.remember(telling(batch, 3), batch)
    file = io.BytesIO()
    torch.save(bank.state(), file)
    file.seek(0)
    again = PatchBank(PIECES, CPU, torch.bfloat16)
    again.resume(torch.load(file, weights_only=True))
    asked = torch.arange(PIECES).repeat(3, 1)
    found = []
    for each in (bank, again):
        torch.manual_seed(4)
        each.remember(telling(batch, 5), batch)
        found.append(each.pages(asked))
    assert torch.equal(found[0][0], found[1][0])
    assert torch.equal(found[0][1], found[1][1])


def test_examples_depend_on_their_seed_alone() -> None:
    one, again, other = examples().batch(1), examples().batch(1), examples().batch(2)
    for part in ("ids", "mask", "pages", "answer"):
        assert torch.equal(getattr(one, part), getattr(again, part))
    assert not torch.equal(one.pages, other.pages)


def test_examples_have_the_form_of_queries() -> None:
    made = examples().batch(3)
    assert len(made.pages) == 32
    assert int(made.answer.max()) < 32
    bos, pad = tokenizer().bos_token_id, tokenizer().pad_token_id
    for ids, mask in zip(made.ids, made.mask, strict=True):
        length = int(mask.sum())
        assert mask[:length].all()
        assert ids[0] == bos
        assert (ids[length - QUERY_PADS :] == pad).all()
        assert (ids[1 : length - QUERY_PADS] != pad).all()
        assert 0 < length - QUERY_PADS - 1 <= 30


def test_a_page_names_each_of_its_pieces_once_before_any_twice() -> None:
    made = examples().batch(3)
    texts, _ = examples()._asker.batch(random.Random(3), 32, 4)
    for row, text in zip(made.pages, texts, strict=True):
        pieces = tokenizer()(text, add_special_tokens=False)["input_ids"]
        found = row[row >= 0].tolist()
        distinct = list(dict.fromkeys(pieces))
        assert found[: len(distinct)] == distinct[: len(found)]
        assert set(found) <= set(pieces)
        assert (row[len(found) :] == -1).all()


@pytest.fixture
def asked() -> tuple[PatchBank, Questions]:
    torch.manual_seed(0)
    bank, batch = PatchBank(PIECES, CPU, torch.bfloat16), crops()
    vectors = torch.nn.functional.normalize(torch.randn(*batch.places.shape, DIM), dim=-1)
    for _ in range(3):
        bank.remember(vectors, batch)
    return bank, examples().batch(0)


def test_questions_teach_the_query_side(asked: tuple[PatchBank, Questions]) -> None:
    model, _ = materials.model()
    heads = Heads(materials.SHAPE.hidden, PIECES)
    loss, figures = asking(model, heads, *asked)
    assert set(figures) == {"question loss", "questions answered"}
    assert 0 <= figures["questions answered"] <= 1
    assert loss > 0
    loss.backward()
    inner = model.model.model
    for part in (inner.language_model.embed_tokens.weight, heads.page_scale):
        assert part.grad is not None
        assert part.grad.abs().max() > 0
    # No page was read: the eye learns nothing.
    assert inner.vision_tower.embeddings.patch_embedding.weight.grad is None


@torch.no_grad()
def test_padding_of_questions_counts_for_nothing(asked: tuple[PatchBank, Questions]) -> None:
    model, _ = materials.model()
    heads = Heads(materials.SHAPE.hidden, PIECES)
    bank, batch = asked
    wider = Questions(
        torch.nn.functional.pad(batch.ids, (0, 5), value=50),
        torch.nn.functional.pad(batch.mask, (0, 5), value=False),
        batch.pages,
        batch.answer,
    )
    losses = []
    for each in (batch, wider):
        torch.manual_seed(1)
        losses.append(asking(model, heads, bank, each)[0])
    torch.testing.assert_close(losses[0], losses[1], atol=1e-2, rtol=0)


@torch.no_grad()
def test_what_is_not_real_never_matches(asked: tuple[PatchBank, Questions]) -> None:
    model, _ = materials.model()
    heads = Heads(materials.SHAPE.hidden, PIECES)
    bank, batch = asked
    losses = []
    for value in (0.0, 50.0):
        bank._vectors[bank._count == 0] = value
        torch.manual_seed(1)
        losses.append(asking(model, heads, bank, batch)[0])
    assert torch.equal(losses[0], losses[1])


def test_of_several_vectors_for_one_place_the_last_is_kept() -> None:
    assert questions._last(torch.tensor([3, 1, 3, 3, 0])).tolist() == [4, 1, 3]
    assert questions._last(torch.zeros(0, dtype=torch.int64)).tolist() == []
