"""What dot products are computed in."""

from __future__ import annotations

from collections.abc import Collection
from enum import IntEnum
from typing import Literal

from colpali_serve.engine.maxsim.forms import Form

Precision = Literal["auto", "float32", "bfloat16"]
"""How exact scores have to be.

"float32": whatever form the pages have, errors are those of float32 sums (1e-6 of a score).
"bfloat16": at most 0.005 on scores of 20, from rounding queries and pages to 8 bits.
"auto": as the pages' own form deserves: float32 pages in float32, float16 and bfloat16 pages in
bfloat16, int8 and binary pages with queries rounded to int8, vector by vector (at most 0.03 on
scores of 20, of which most is the pages' own rounding).
"""

_MAX_INT8_DIM = 1 << 16
"""255 * 127 * dim has to fit into the int32 of a sum."""


class Arithmetic(IntEnum):
    """`enum arithmetic` of kernel/kernel.h."""

    FLOAT32 = 0
    BFLOAT16 = 1
    INT8 = 2


def choose_arithmetic(
    form: Form, dim: int, precision: Precision, available: Collection[Arithmetic]
) -> Arithmetic:
    """Return the cheapest arithmetic that is exact enough for pages of a form.

    Args:
        form: Of the pages.
        dim: Width of the vectors.
        precision: What was asked for.
        available: What the backend has; float32 always is.

    >>> choose_arithmetic(Form.INT8, 128, "auto", set(Arithmetic)).name
    'INT8'
    >>> choose_arithmetic(Form.INT8, 128, "auto", {Arithmetic.FLOAT32}).name
    'FLOAT32'
    """
    if precision == "float32" or (precision == "auto" and form is Form.FLOAT32):
        return Arithmetic.FLOAT32
    whole = form in (Form.INT8, Form.UINT8, Form.BINARY) and dim <= _MAX_INT8_DIM
    if precision == "auto" and whole and Arithmetic.INT8 in available:
        return Arithmetic.INT8
    return Arithmetic.BFLOAT16 if Arithmetic.BFLOAT16 in available else Arithmetic.FLOAT32
