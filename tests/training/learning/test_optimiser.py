"""Small steps count, a broken gradient does not, a state goes on bit by bit."""

from __future__ import annotations

import io

import torch
from colpali_engine.models import ColPali

from colpali_serve.training.learning.losses import Heads
from colpali_serve.training.learning.optimiser import Optimiser
from colpali_serve.training.model.architecture import Shape
from tests.training import materials

SHAPE = Shape(hidden=64, vision_layers=1, text_layers=1, text_inner=64)


def parts(seed: int = 0) -> tuple[ColPali, Heads, Optimiser]:
    model = materials.model(seed, SHAPE)[0].to(torch.bfloat16)
    torch.manual_seed(seed)
    heads = Heads(SHAPE.hidden, 30).to(torch.bfloat16)
    return model, heads, Optimiser(model, heads)


def give_gradients(model: ColPali, heads: Heads, seed: int, scale: float = 1.0) -> None:
    generator = torch.Generator().manual_seed(seed)
    for parameter in (*model.parameters(), *heads.parameters()):
        if parameter.requires_grad:
            drawn = torch.randn(parameter.shape, generator=generator) * scale
            parameter.grad = drawn.to(parameter.dtype)


def weights(model: ColPali, heads: Heads) -> dict[str, torch.Tensor]:
    both = {**model.state_dict(), **{f"heads.{n}": p for n, p in heads.state_dict().items()}}
    return {name: part.clone() for name, part in both.items()}


def test_masters_keep_steps_that_bfloat16_loses() -> None:
    model, heads, optimiser = parts()
    before = weights(model, heads)
    first = [master.clone() for master in optimiser.masters()]
    name = "custom_text_proj.weight"
    moved = list[float]()
    for _ in range(60):  # always the same way
        give_gradients(model, heads, 1)
        optimiser.step(2e-5, 2e-5)
        moved.append(float((weights(model, heads)[name] != before[name]).float().mean()))
        if len(moved) == 1:
            for master, old in zip(optimiser.masters(), first, strict=True):
                assert float((master != old).float().mean()) > 0.9
    # One step is lost on nearly all weights that compute; many such steps are not.
    assert moved[0] < 0.1
    assert moved[-1] > 0.7


def test_weights_are_their_masters_rounded() -> None:
    model, heads, optimiser = parts()
    give_gradients(model, heads, 1)
    optimiser.step(1e-2, 1e-2)
    for master, weight in zip(optimiser.masters(), optimiser._weights, strict=True):
        assert master.dtype == torch.float32
        assert torch.equal(weight, master.to(torch.bfloat16))


def test_matrices_of_layers_are_muons_and_the_rest_is_adams() -> None:
    model, heads, optimiser = parts()
    matrices = len(optimiser._matrices.matrices)
    named = [
        name for name, part in model.named_parameters() if part.dim() == 2 and ".layers." in name
    ]
    assert matrices == len(named) == 6 + 7
    others = sum(len(group["params"]) for group in optimiser._others.param_groups)
    learning = [part for part in model.parameters() if part.requires_grad]
    assert matrices + others == len(learning) + len(list(heads.parameters()))
    # Each rate moves its own kind only.
    before = weights(model, heads)
    give_gradients(model, heads, 1)
    optimiser.step(1e-2, 0.0)
    after = weights(model, heads)
    changed = {name for name, part in after.items() if not torch.equal(part, before[name])}
    assert changed == set(named)


def test_the_vocabulary_head_stays() -> None:
    model, heads, optimiser = parts()
    give_gradients(model, heads, 1)
    optimiser.step(1e-1, 1e-1)
    assert not model.model.lm_head.weight.any()


def test_the_norm_is_that_of_all_gradients_and_they_are_forgotten() -> None:
    model, heads, optimiser = parts()
    give_gradients(model, heads, 1, scale=3.0)
    grads = [part.grad.float() for part in optimiser._weights if part.grad is not None]
    expected = torch.stack([grad.norm() for grad in grads]).norm()
    norm = optimiser.step(1e-3, 1e-3)
    torch.testing.assert_close(torch.tensor(norm), expected, rtol=1e-4, atol=0)
    assert all(part.grad is None for part in optimiser._weights)


def test_a_gradient_that_is_not_finite_takes_no_step() -> None:
    model, heads, optimiser = parts()
    give_gradients(model, heads, 1)
    optimiser.step(1e-3, 1e-3)
    before = weights(model, heads)
    state = [{k: v.clone() for k, v in each.items()} for each in optimiser._others.state.values()]
    for bad in (float("nan"), float("inf")):
        give_gradients(model, heads, 2)
        assert heads.page_scale.grad is not None
        heads.page_scale.grad.fill_(bad)
        norm = optimiser.step(1e-3, 1e-3)
        assert not torch.isfinite(torch.tensor(norm))
    after = weights(model, heads)
    assert all(torch.equal(after[name], part) for name, part in before.items())
    for each, old in zip(optimiser._others.state.values(), state, strict=True):
        assert all(torch.equal(each[name], part) for name, part in old.items())
    assert all(part.grad is None for part in optimiser._weights)


def test_a_resumed_state_takes_the_same_next_step_bit_by_bit() -> None:
    model, heads, optimiser = parts()
    for seed in (1, 2, 3):
        give_gradients(model, heads, seed)
        optimiser.step(1e-3, 2e-3)
    file = io.BytesIO()
    torch.save(optimiser.state(), file)
    file.seek(0)
    # Other weights to begin with: all of them come from the state.
    again, others, resumed = parts(seed=9)
    resumed.resume(torch.load(file, weights_only=True))
    for seed in (4, 5):
        for each, part, taking in ((model, heads, optimiser), (again, others, resumed)):
            give_gradients(each, part, seed)
            taking.step(1e-3, 2e-3)
    for name, part in weights(model, heads).items():
        assert torch.equal(weights(again, others)[name], part), name
    for one, two in zip(optimiser.masters(), resumed.masters(), strict=True):
        assert torch.equal(one, two)


def test_a_state_does_not_move_with_the_optimiser_that_took_it_up() -> None:
    model, heads, optimiser = parts()
    give_gradients(model, heads, 1)
    optimiser.step(1e-3, 1e-3)
    file = io.BytesIO()
    torch.save(optimiser.state(), file)
    file.seek(0)
    state = torch.load(file, weights_only=True)
    kept = [part.clone() for part in state["masters"]]
    again, others, resumed = parts(seed=9)
    resumed.resume(state)
    give_gradients(again, others, 2)
    resumed.step(1e-2, 1e-2)
    assert all(torch.equal(part, old) for part, old in zip(state["masters"], kept, strict=True))
