"""An encoder whose model cannot bear one kind of page, and that tells of its requests."""

import asyncio
from collections.abc import Callable
from typing import Any

import torch

from colpali_serve.executors.encoder import ColPaliEncoder


class FragileEncoder(ColPaliEncoder):
    """Its forward fails on a page that is all black, for the whole batch, as a kernel would.

    Only for families that give an image as one row of patches: the Qwens.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        model = self._encoder.loaded.model
        forward = model.forward

        def fragile(**batch: torch.Tensor) -> torch.Tensor:
            # Normalised black is below zero everywhere, padding is zero.
            if "pixel_values" in batch and (batch["pixel_values"].amax(dim=(1, 2)) <= 0).any():
                raise RuntimeError("CUBLAS_STATUS_EXECUTION_FAILED")
            return forward(**batch)

        model.forward = fragile
        self._embedder.results = _told(self._embedder.results)


def _told(results: Callable[..., Any]) -> Callable[..., Any]:
    async def telling(*arguments: Any) -> list[Any]:
        print("a request is in the queue", flush=True)
        try:
            found = await results(*arguments)
        except asyncio.CancelledError:
            print("its caller has gone", flush=True)
            raise
        print("a request is answered", flush=True)
        return found

    return telling
