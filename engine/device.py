"""The device: batches in, embeddings out, and how large a batch may be."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from colpali_serve.engine.budget import measured_budget
from colpali_serve.engine.forward import rows_of
from colpali_serve.engine.loading import LoadedModel
from colpali_serve.engine.observing import Observer
from colpali_serve.engine.preparing import Prepared, joined
from colpali_serve.engine.settings import EncoderSettings
from colpali_serve.schemas import Embedding


@dataclass(frozen=True)
class Staged:
    """A batch on the device, or on its way there.

    Attributes:
        batch: What the model takes.
        mask: bool (items, length) on the host, true for real rows.
        arrived: The event that says that it is there; None on a CPU.
    """

    batch: dict[str, Any]
    mask: torch.Tensor
    arrived: Any


class Device:
    """Runs batches of one model on one device.

    Args:
        loaded: The model.
        settings: Says how many patches go into one forward, or that it is to be measured.
        workers: Forwards at a time. More than one only on a CPU.
        threads: CPU threads of one forward.
        observer: Is told about each batch.
    """

    def __init__(
        self,
        loaded: LoadedModel,
        settings: EncoderSettings,
        workers: int,
        threads: int,
        observer: Observer,
    ) -> None:
        self._loaded, self._threads, self.workers = loaded, threads, workers
        self._observer = Observer()  # what is measured now is no work
        tokenizer = loaded.processor.tokenizer
        self._side, self._pad = str(tokenizer.padding_side), int(tokenizer.pad_token_id or 0)
        cuda = loaded.device.type == "cuda"
        # Copies to the card go beside what it computes.
        self._copying: Any = torch.cuda.Stream(loaded.device) if cuda else None  # type: ignore[no-untyped-call]
        self._lock = threading.Lock()
        self.budget = settings.batch_patches or measured_budget(self.run, loaded)
        self._observer = observer

    def enter_thread(self) -> None:
        """Prepare the calling thread for forwards: how many threads they use is kept for each."""
        if self._loaded.device.type == "cpu":
            torch.set_num_threads(self._threads)

    @property
    def query_lane(self) -> bool:
        """Whether queries may run beside the pages: on a CPU, where forwards share the cores."""
        return self._copying is None and not self._loaded.family.stateful_forward

    @property
    def stages(self) -> bool:
        """Whether a batch can be brought to the device while it works on another."""
        return self._copying is not None

    def stage(self, items: Sequence[Prepared]) -> Staged:
        """Join a batch and send it to the device.

        Args:
            items: All images or all texts.
        """
        batch = joined(list(items), self._side, self._pad)
        mask = batch["attention_mask"].bool()
        if self._copying is None:
            return Staged(batch, mask, None)
        moved: dict[str, Any] = {}
        with torch.cuda.stream(self._copying):
            for key, value in batch.items():
                if isinstance(value, torch.Tensor):
                    value = value.pin_memory().to(self._loaded.device, non_blocking=True)
                moved[key] = value
            arrived = self._copying.record_event()
        return Staged(moved, mask, arrived)

    def run(
        self, items: Sequence[Prepared], dtypes: Sequence[str], staged: Staged | None = None
    ) -> list[Embedding]:
        """Embed one batch.

        Args:
            items: All images or all texts.
            dtypes: "float16" or "float32" for each.
            staged: The same items, if they were sent before.

        Returns:
            One (n_vectors, dim) an item, in order, of its dtype; rows of unit norm, none of them
            padding.
        """
        began = time.perf_counter()
        staged = staged or self.stage(items)
        mask = staged.mask
        rows = rows_of(self._loaded, self._arrived(staged))
        # Half as many bytes come back where nobody wants more.
        narrow = torch.float16 if set(dtypes) == {"float16"} else torch.float32
        found = self._fetched(rows.to(narrow))
        result = [
            item[real].numpy().astype(np.dtype(dtype), copy=False)
            for item, real, dtype in zip(found, mask, dtypes, strict=True)
        ]
        kind = "page" if items[0].has_image else "query"
        real, seconds = sum(item.length for item in items), time.perf_counter() - began
        self._observer.batch(kind, len(items), real, mask.numel(), seconds)
        return result

    def ran_out_of_memory(self, patches: int) -> None:
        """Lower the budget below a batch that did not fit."""
        with self._lock:
            self.budget = max(1, min(self.budget, patches // 2))

    def _arrived(self, staged: Staged) -> dict[str, Any]:
        if staged.arrived is None:
            return staged.batch
        current = torch.cuda.current_stream(self._loaded.device)
        current.wait_event(staged.arrived)
        for value in staged.batch.values():
            if isinstance(value, torch.Tensor):
                value.record_stream(current)  # its memory is not given away before it was read
        return staged.batch

    def _fetched(self, rows: torch.Tensor) -> torch.Tensor:
        if self._copying is None:
            return rows
        host = torch.empty(rows.shape, dtype=rows.dtype, pin_memory=True)
        host.copy_(rows, non_blocking=True)
        torch.cuda.current_stream(self._loaded.device).synchronize()
        return host
