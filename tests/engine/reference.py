"""colpali-engine called directly, one item at a time: what the service must agree with."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import colpali_engine.models as models
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

CLASSES = {
    "colpali": ("ColPali", "ColPaliProcessor"),
    "colqwen2": ("ColQwen2", "ColQwen2Processor"),
    "colqwen2_5": ("ColQwen2_5", "ColQwen2_5_Processor"),
    "colqwen3": ("ColQwen3", "ColQwen3Processor"),
    "colqwen3_5": ("ColQwen3_5", "ColQwen3_5Processor"),
    "colidefics3": ("ColIdefics3", "ColIdefics3Processor"),
    "colmodernvbert": ("ColModernVBert", "ColModernVBertProcessor"),
    "colgemma3": ("ColGemma3", "ColGemmaProcessor3"),
}


class Reference:
    """A model and processor as colpali-engine's README loads them."""

    def __init__(self, family: str, folder: Path, dtype: torch.dtype) -> None:
        model, processor = CLASSES[family]
        self.model = getattr(models, model).from_pretrained(str(folder), dtype=dtype).eval()
        self.processor = getattr(models, processor).from_pretrained(str(folder))

    def page(self, image: Image.Image) -> NDArray[np.float32]:
        batch = self.processor.process_images([image])
        batch.pop("labels", None)
        return self._run(batch)

    def query(self, text: str) -> NDArray[np.float32]:
        return self._run(self.processor.process_queries(queries=[text]))

    def _run(self, batch: dict[str, torch.Tensor]) -> NDArray[np.float32]:
        with torch.no_grad():
            return self.model(**batch)[0].float().numpy()


@cache
def reference(family: str, folder: Path, dtype: torch.dtype) -> Reference:
    return Reference(family, folder, dtype)
