"""`colpali-serve verify`."""

from __future__ import annotations

from importlib import import_module

import typer


def verify(context: typer.Context) -> None:
    """Prove a checkpoint: load it, check its weights and compare its embeddings."""
    # The engine is imported only here: it brings torch and transformers.
    raise typer.Exit(import_module("colpali_serve.engine.verify").main(context.args))
