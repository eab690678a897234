"""Jina Executors: thin adapters between documents and the engine.

In YAML name the modules one by one (`py_modules: [colpali_serve.executors.encoder]`, `.ranker`):
so a ranker's process does not load the model libraries. For the same reason the names here are
loaded when they are first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from colpali_serve.executors.encoder import ColPaliEncoder
    from colpali_serve.executors.ranker import MaxSimRanker

__all__ = ["ColPaliEncoder", "MaxSimRanker"]

_HOMES = {"ColPaliEncoder": "encoder", "MaxSimRanker": "ranker"}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
