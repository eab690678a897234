"""Where the Triton backend is tested: on a card, or in its interpreter in a process of its own.

Triton reads `TRITON_INTERPRET` when it is imported, so `test_triton.py` starts pytest once more.
"""

from __future__ import annotations

import os

import pytest

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
TRITON_DEVICE = "cpu" if INTERPRETED else "cuda"
TRITON = pytest.param("triton", marks=() if INTERPRETED else pytest.mark.gpu)
"""Parameter of tests that take any backend."""
