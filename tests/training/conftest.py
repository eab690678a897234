"""A font that is there wherever Pillow is, and no limits of time for generated inputs."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import settings
from PIL import ImageFont

# How long an example takes says nothing about the code while something else is being trained.
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")


@pytest.fixture(scope="session")
def face(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pillow carries one font within its code; FreeType reads it from a file as any other."""
    default = ImageFont.load_default(20)
    assert isinstance(default, ImageFont.FreeTypeFont), "Pillow was built without FreeType"
    path = tmp_path_factory.mktemp("fonts") / "face.ttf"
    path.write_bytes(default.font_bytes)
    return path
