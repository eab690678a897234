"""From a name to the files of a checkpoint: a folder, a bundled one, or a hub id."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

from colpali_serve.engine.settings import EncoderSettings
from colpali_serve.schemas import ModelLoadError

_WANTED = ("*.safetensors", "*.json", "*.jinja", "*.model", "*.txt")
_HASHED = (".safetensors", ".json", ".jinja", ".model", ".txt")


@dataclass(frozen=True)
class Checkpoint:
    """The files of a checkpoint on this machine.

    Attributes:
        name: As the deployer wrote it.
        folder: Where the files are.
        model_id: Hub id, or the bundled name; None for a folder of the deployer's own.
        base: For a LoRA adapter the checkpoint that it changes, else None.
    """

    name: str
    folder: Path
    model_id: str | None
    base: Checkpoint | None = None

    @property
    def public_name(self) -> str:
        """The name without a folder of this machine in it."""
        return self.model_id or self.folder.name

    @property
    def is_adapter(self) -> bool:
        """Whether this is a LoRA adapter over a base."""
        return self.base is not None

    def config(self) -> dict[str, Any]:
        """Content of config.json, of the base where this is an adapter.

        Raises:
            ModelLoadError: There is none, or it is not JSON.
        """
        return _read_json(self.base or self, "config.json")

    def fingerprint(self, *details: str) -> str:
        """Return a digest of everything that decides the embeddings.

        Args:
            details: Choices made beside the files: dtype, pooling, query form.

        Returns:
            32 hexadecimal digits: of each file's SHA-256 and name, the base's, and `details`.
        """
        digest = hashlib.sha256()
        for checkpoint in (self, self.base):
            for path in sorted(checkpoint.files()) if checkpoint else ():
                with path.open("rb") as stream:
                    inner = hashlib.file_digest(stream, "sha256").hexdigest()
                digest.update(f"{path.name} {inner}\n".encode())
        digest.update("\n".join(details).encode())
        return digest.hexdigest()[:32]

    def files(self) -> Iterator[Path]:
        """The files that the model and its processor are made from."""
        return (path for path in self.folder.iterdir() if path.suffix in _HASHED and path.is_file())


def find_checkpoint(settings: EncoderSettings) -> Checkpoint:
    """Find a checkpoint's files, downloading them if it is on the hub.

    Args:
        settings: `model`, `revision`, `token` and `offline`.

    Raises:
        ModelLoadError: There is no such folder, bundled name or hub id, or the hub refused.
    """
    return _find(settings.model, settings, settings.revision, relative_to=Path())


def _find(
    name: str, settings: EncoderSettings, revision: str | None, relative_to: Path
) -> Checkpoint:
    folder, model_id = _locate(name, settings, revision, relative_to)
    if not (folder / "adapter_config.json").is_file():
        checkpoint = Checkpoint(name, folder, model_id)
        checkpoint.config()  # a folder without one is no checkpoint: say so before loading
        return checkpoint
    adapter = _read_json(Checkpoint(name, folder, model_id), "adapter_config.json")
    base = adapter.get("base_model_name_or_path")
    if not base:
        raise ModelLoadError(f"model '{name}': adapter names no base model, expected one")
    try:
        found = _find(str(base), settings, adapter.get("revision"), relative_to=folder)
    except ModelLoadError as error:
        raise ModelLoadError(f"model '{name}': base of the adapter: {error.message}") from error
    if found.is_adapter:
        raise ModelLoadError(
            f"model '{name}': base '{base}' is an adapter itself, expected full weights"
        )
    return Checkpoint(name, folder, model_id, found)


def _locate(
    name: str, settings: EncoderSettings, revision: str | None, relative_to: Path
) -> tuple[Path, str | None]:
    # A path relative to an adapter's own folder keeps a copied pair of folders working.
    for folder in (relative_to / name, Path(name)):
        if folder.is_dir():
            return folder.resolve(), None
    bundled = Path(str(files("colpali_serve.checkpoints"))) / name
    if "/" not in name and bundled.is_dir():
        return bundled.resolve(), name
    if name.startswith((".", "/", "~")) or name.count("/") > 1:
        raise ModelLoadError(f"model '{name}': no such folder")
    return _download(name, settings, revision), name


def _download(name: str, settings: EncoderSettings, revision: str | None) -> Path:
    where = f"model '{name}': no folder and no bundled checkpoint has this name, and "
    try:
        return Path(
            snapshot_download(
                name,
                revision=revision,
                token=settings.token.get_secret_value() if settings.token else None,
                local_files_only=settings.offline,
                allow_patterns=list(_WANTED),
            )
        )
    except LocalEntryNotFoundError as error:
        reason = (
            "it has not been downloaded before (offline mode)"
            if settings.offline
            else "the hub cannot be reached"
        )
        raise ModelLoadError(where + reason) from error
    except (HfHubHTTPError, HFValidationError, OSError) as error:
        first_line = str(error).strip().splitlines()[0] if str(error) else type(error).__name__
        raise ModelLoadError(f"{where}the hub refused: {first_line}") from error


def _read_json(checkpoint: Checkpoint, file: str) -> dict[str, Any]:
    try:
        content = json.loads((checkpoint.folder / file).read_text("utf-8"))
    except FileNotFoundError:
        raise ModelLoadError(
            f"model '{checkpoint.name}': {checkpoint.folder} has no {file}, expected a checkpoint "
            "saved with save_pretrained"
        ) from None
    except (OSError, ValueError) as error:
        raise ModelLoadError(f"model '{checkpoint.name}': {file} is not readable JSON") from error
    if not isinstance(content, dict):
        raise ModelLoadError(f"model '{checkpoint.name}': {file} holds no object")
    return content
