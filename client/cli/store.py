"""Files of embeddings."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Protocol

import numpy as np

from colpali_serve.client.results import PageEmbedding
from colpali_serve.schemas import ConfigError, Embedding, InvalidPageError


class Writer(Protocol):
    """Takes embedded pages one by one."""

    def add(self, page: PageEmbedding) -> None:
        """Take one page that has an embedding."""

    def finish(self) -> None:
        """Write what is left; there are no more pages."""

    def abandon(self) -> None:
        """Let go of the file, which will not be kept."""


class _Npz:
    """One array a page, written as it comes."""

    def __init__(self, file: BinaryIO) -> None:
        # Vectors are noise to a compressor.
        self._archive = zipfile.ZipFile(file, "w", zipfile.ZIP_STORED)

    def add(self, page: PageEmbedding) -> None:
        with self._archive.open(f"{page.id}.npy", "w", force_zip64=True) as entry:
            np.lib.format.write_array(entry, np.asarray(page.embedding), allow_pickle=False)
        if page.scale is not None:
            with self._archive.open(f"{page.id}.scale.npy", "w") as entry:
                scale = np.asarray(page.scale, np.float32)
                np.lib.format.write_array(entry, scale, allow_pickle=False)

    def finish(self) -> None:
        self._archive.close()

    abandon = finish


class _Safetensors:
    """One tensor a page; ids in order, grids, boxes, scales as JSON in the metadata; in memory."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._tensors: dict[str, Embedding] = {}
        self._grids: dict[str, tuple[int, int]] = {}
        self._boxes: dict[str, tuple[float, float, float, float]] = {}
        self._scales: dict[str, float] = {}

    def add(self, page: PageEmbedding) -> None:
        self._tensors[page.id] = np.asarray(page.embedding)
        if page.grid is not None:
            self._grids[page.id] = page.grid
        if page.box is not None:
            self._boxes[page.id] = page.box
        if page.scale is not None:
            self._scales[page.id] = page.scale

    def finish(self) -> None:
        from safetensors.numpy import save

        metadata = {"ids": json.dumps(list(self._tensors)), "grids": json.dumps(self._grids)}
        if self._boxes:
            metadata["boxes"] = json.dumps(self._boxes)
        if self._scales:
            metadata["scales"] = json.dumps(self._scales)
        self._file.write(save(self._tensors, metadata))

    def abandon(self) -> None:
        self._tensors.clear()


_KINDS: dict[str, Callable[[BinaryIO], Writer]] = {".npz": _Npz, ".safetensors": _Safetensors}


def check_path(path: Path) -> None:
    """Refuse a file that could not be written in the end.

    Raises:
        ConfigError: Its suffix is not .npz or .safetensors, or its folder does not exist.
    """
    if path.suffix not in _KINDS:
        raise ConfigError(f"--out is {path}, expected a name ending in {' or '.join(_KINDS)}")
    if not path.parent.is_dir():
        raise ConfigError(f"--out is {path}, but there is no folder {path.parent}")


class _Checked:
    """Refuses two pages of one name, of which the second would hide the first."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._ids: set[str] = set()

    def add(self, page: PageEmbedding) -> None:
        if page.id in self._ids:
            raise InvalidPageError(
                f"page '{page.id}': two pages have this name, expected one; put their files into "
                "one folder and name that",
                page.id,
            )
        self._ids.add(page.id)
        self._writer.add(page)

    def finish(self) -> None:
        self._writer.finish()

    def abandon(self) -> None:
        self._writer.abandon()


@contextmanager
def writing(path: Path) -> Iterator[Writer]:
    """Open a file of embeddings that appears, complete, when all went well, and not otherwise.

    Args:
        path: Ends in .npz or .safetensors; an existing file is replaced.

    Raises:
        ConfigError: It cannot be written.
        InvalidPageError: Two pages have the same name.
    """
    check_path(path)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        try:
            with part.open("xb") as file:
                writer = _Checked(_KINDS[path.suffix](file))
                try:
                    yield writer
                    writer.finish()
                except BaseException:
                    writer.abandon()
                    raise
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        raise ConfigError(f"--out is {path}, which cannot be written ({error.strerror})") from error
