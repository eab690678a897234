"""Pages on a card: ragged, one after the other, in the form in which they came."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from colpali_serve.engine.maxsim.arithmetic import Arithmetic
from colpali_serve.engine.maxsim.forms import Form, Rows

_TYPES = {
    Form.FLOAT32: torch.float32,
    Form.FLOAT16: torch.float16,
    Form.BFLOAT16: torch.bfloat16,
    Form.INT8: torch.int8,
    Form.BINARY: torch.uint8,
}


@dataclass(frozen=True, eq=False)
class Ragged:
    """Pages of one form on the card, one after the other.

    Attributes:
        indices: int64, where their scores belong.
        rows: (n_vectors of all, dim), or eight signs in a uint8 (n_vectors, dim / 8).
        offsets: int64 (n_pages + 1,), where each page's rows begin and end.
        scales: float32 (n_pages,).
        form: Of all of them.
        dim: Width of the vectors.
    """

    indices: NDArray[np.int64]
    rows: torch.Tensor
    offsets: torch.Tensor
    scales: torch.Tensor
    form: Form
    dim: int


def stored_form(form: Form, arithmetic: Arithmetic) -> Form:
    """Return the form in which pages lie on a card: their own, where it is not too exact."""
    if form is Form.UINT8:
        return Form.INT8
    return Form.BFLOAT16 if (form, arithmetic) == (Form.FLOAT32, Arithmetic.BFLOAT16) else form


def packed(rows: Rows, arithmetic: Arithmetic, device: torch.device) -> Rows:
    """Return a page's rows as a tensor on a device, in no more bytes; never the caller's memory."""
    form = stored_form(rows.form, arithmetic)
    if isinstance(rows.values, torch.Tensor) and rows.form is form:
        return rows
    tensor = _tensor(rows).to(device, _TYPES[form], copy=True)
    return Rows(tensor, form, rows.n_vectors, rows.dim, rows.scale)


def ragged(pages: Sequence[Rows], arithmetic: Arithmetic, device: torch.device) -> list[Ragged]:
    """Return pages by their forms, each form's in tensors of their own on a device.

    Args:
        pages: At least one, of the same dim; tensors may lie on another device.
        arithmetic: In which they will be multiplied.
        device: Where.
    """
    groups: dict[Form, list[int]] = {}
    for index, rows in enumerate(pages):
        groups.setdefault(stored_form(rows.form, arithmetic), []).append(index)
    found = []
    for form, indices in groups.items():
        some = [pages[index] for index in indices]
        lengths = [rows.n_vectors for rows in some]
        scales = torch.tensor([rows.scale for rows in some], dtype=torch.float32, device=device)
        offsets = torch.from_numpy(np.cumsum([0, *lengths], dtype=np.int64)).to(device)
        values = _stacked(some, device, _TYPES[form])
        where = np.array(indices, np.int64)
        found.append(Ragged(where, values, offsets, scales, form, some[0].dim))
    return found


def widened(pages: Ragged) -> Ragged:
    """Return pages with the float32 values that theirs are before they are scaled."""
    rows = pages.rows
    if pages.form is Form.BINARY:
        shifts = torch.arange(7, -1, -1, dtype=torch.uint8, device=rows.device)
        signs = (rows[:, :, None] >> shifts) & 1
        rows = 2 * signs.reshape(len(rows), pages.dim).to(torch.int8) - 1
    return replace(pages, rows=rows.float(), form=Form.FLOAT32)


def _stacked(pages: Sequence[Rows], device: torch.device, dtype: torch.dtype) -> torch.Tensor:
    form, values = pages[0].form, [rows.values for rows in pages]
    if all(isinstance(rows.values, np.ndarray) and rows.form is form for rows in pages):
        # One way to the card for all of them.
        one = Rows(np.concatenate(values), form, sum(map(len, values)), pages[0].dim)
        return _tensor(one).to(device, dtype)
    return torch.cat([_tensor(rows).to(device, dtype) for rows in pages])


def _tensor(rows: Rows) -> torch.Tensor:
    """A page's values as a tensor that shares them where that can be."""
    if isinstance(rows.values, torch.Tensor):
        return rows.values
    if rows.form is Form.UINT8:
        return torch.from_numpy((rows.values ^ 0x80).view(np.int8))
    # Arrays out of messages cannot be written to, which torch warns about.
    tensor = torch.from_numpy(np.require(rows.values, requirements="W"))
    return tensor.view(torch.bfloat16) if rows.form is Form.BFLOAT16 else tensor
