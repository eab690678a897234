"""Every choice a deployer has about the doors, from the Flow's YAML or the environment."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError

from colpali_serve.schemas import ConfigError
from colpali_serve.schemas.environment import Words, combined


class GatewaySettings(BaseModel):
    """How both doors guard the Flow.

    Each setting has an environment variable of its name, `COLPALI_MAX_REQUEST_MB` for
    `max_request_mb` and so on, and may stand in the gateway's `uses_with:`, which wins.

    Attributes:
        api_keys: ``name:key`` of each caller, separated by commas; only from the environment.
        api_keys_file: File with one ``name:key`` a line. With neither, everybody may call.
        max_request_mb: MiB of one request, on either door.
        max_held_mb: MiB of all requests under way; more are refused until some are answered.
        max_pages: Pages of one request; the Executors have limits of their own
            (`max_request_items`).
        max_concurrent: Requests that one key may have under way; without keys, all callers
            together.
        time_limit_s: Seconds that one request may take.
        ready_within_s: The service counts as ready for so long after the encoder has answered.
        cors_origins: Websites whose scripts may call the HTTP door, for example
            ``https://search.example.com``.
        max_pdf_pages: Pages of one uploaded PDF.
        max_pixels: Pixels that one page of a PDF is rendered to at most.
        pdf_time_limit_s: Seconds that one page of a PDF, or one thumbnail, may take.
        pdf_workers: PDFs that are rendered at a time, each in a process of its own.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    api_keys: SecretStr | None = None
    api_keys_file: Path | None = None
    max_request_mb: int = Field(default=256, ge=1, le=2047)
    max_held_mb: int = Field(default=1024, ge=1)
    max_pages: int = Field(default=4096, ge=1)
    max_concurrent: int = Field(default=256, ge=1)
    time_limit_s: float = Field(default=600.0, gt=0)
    ready_within_s: float = Field(default=60.0, gt=0)
    cors_origins: Words = ()
    max_pdf_pages: int = Field(default=1000, ge=1)
    max_pixels: int = Field(default=50_000_000, ge=1)
    pdf_time_limit_s: float = Field(default=20.0, gt=0)
    pdf_workers: int = Field(default=2, ge=1)

    @property
    def max_request_bytes(self) -> int:
        """Bytes of one request."""
        return self.max_request_mb * 1024**2

    @classmethod
    def from_environment(
        cls, given: Mapping[str, Any] | None = None, environ: Mapping[str, str] = os.environ
    ) -> Self:
        """Combine explicit settings with environment variables; the explicit ones win.

        Args:
            given: Settings by name; None values count as not given.
            environ: Where to look up `COLPALI_<NAME>`; empty values count as not set.

        Raises:
            ConfigError: A setting has a value that is not allowed.

        >>> GatewaySettings.from_environment({}, {"COLPALI_CORS_ORIGINS": "http://a, http://b"}
        ...     ).cors_origins
        ('http://a', 'http://b')
        """
        values = combined(cls.model_fields, given, environ)
        if (given or {}).get("api_keys") is not None:
            # A Flow's YAML travels, and Jina writes it into manifests and logs.
            raise ConfigError(
                "setting 'api_keys' stands in the Flow, expected COLPALI_API_KEYS in the "
                "environment, or api_keys_file",
                "api_keys",
            )
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            name = str(first["loc"][0])
            shown = "***" if name == "api_keys" else repr(first["input"])[:100]
            raise ConfigError(
                f"setting '{name}' is {shown}: {first['msg'].lower()}", name
            ) from None
