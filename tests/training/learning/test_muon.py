"""Steps are torch's in bfloat16, and what they should be in float32."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from colpali_serve.training.learning.muon import Muon, orthogonal

SHAPES = ((24, 24), (16, 40), (40, 16), (1, 9))


def drawn(seed: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator) for shape in SHAPES]


def test_in_bfloat16_steps_are_those_of_torch() -> None:
    ours, theirs = drawn(0), drawn(0)
    muon = Muon(ours, torch.bfloat16)
    reference = torch.optim.Muon(
        theirs, weight_decay=0.02, adjust_lr_fn="match_rms_adamw", ns_steps=4
    )
    for step, rate in enumerate((1e-2, 3e-3, 1e-3)):
        reference.param_groups[0]["lr"] = rate
        for matrices in (ours, theirs):
            for matrix, grad in zip(matrices, drawn(step + 1), strict=True):
                matrix.grad = grad
        muon.step(rate)
        reference.step()  # type: ignore[no-untyped-call]
        for one, two in zip(ours, theirs, strict=True):
            assert torch.equal(one, two)


@given(st.sampled_from(SHAPES), st.integers(0, 2**16), st.sampled_from((1e-6, 1.0, 1e6)))
def test_orthogonal_keeps_singular_vectors_and_evens_values(
    shape: tuple[int, int], seed: int, size: float
) -> None:
    generator = torch.Generator().manual_seed(seed)
    left = torch.linalg.qr(torch.randn(shape[0], min(shape), generator=generator)).Q
    right = torch.linalg.qr(torch.randn(shape[1], min(shape), generator=generator)).Q
    values = 0.5 + torch.rand(min(shape), generator=generator)
    given_matrix = (left * values) @ right.T * size
    before = given_matrix.clone()
    made = orthogonal(given_matrix, torch.float32)
    assert torch.equal(given_matrix, before)
    turned = left.T @ made @ right
    after = turned.diagonal()
    assert (after > 0.6).all() and (after < 1.3).all()
    torch.testing.assert_close(turned, torch.diag(after), atol=1e-3, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_nothing_and_no_gradient_take_no_step(dtype: torch.dtype) -> None:
    matrices = drawn(0)
    before = [matrix.clone() for matrix in matrices]
    matrices[0].grad = torch.zeros_like(matrices[0])
    Muon(matrices, dtype).step(1e-2)
    # Weights decay all the same where there was a gradient.
    torch.testing.assert_close(matrices[0], before[0] * (1 - 1e-2 * 0.02))
    assert all(torch.equal(one, two) for one, two in zip(matrices[1:], before[1:], strict=True))
