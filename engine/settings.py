"""Every choice a deployer has, in one place, from arguments or from the environment."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError

from colpali_serve.schemas import ConfigError, EmbeddingDtype
from colpali_serve.schemas.environment import Words, combined


class Limits(BaseModel):
    """What one request may cost, checked before any work is done.

    Attributes:
        max_image_bytes: Encoded size of one image, in bytes.
        max_pixels: Width times height of one image, read from its header before decoding.
        max_request_items: Pages or queries in one request.
        max_query_tokens: Tokens of one query's own text, without prefix and suffix.
        long_query: What happens to a longer query: "refuse" it, or "cut" it at the limit.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_image_bytes: int = Field(default=64 * 1024**2, ge=1)
    max_pixels: int = Field(default=50_000_000, ge=1)
    max_request_items: int = Field(default=1024, ge=1)
    max_query_tokens: int = Field(default=512, ge=1)
    long_query: Literal["refuse", "cut"] = "refuse"


class EncoderSettings(Limits):
    """How the encoder loads its model and works; `Limits` are part of it.

    Each setting has an environment variable of its name, `COLPALI_MODEL` for `model` and so on.

    Attributes:
        model: Folder, hub id, or the name of a bundled checkpoint.
        revision: Branch, tag or commit on the hub; None takes the default branch.
        token: Hub token for gated or private models; None takes the one the hub library knows.
        offline: Never ask the hub, use folders and what has been downloaded before.
        device: "auto" takes CUDA where there is one; else "cpu", "cuda" or "cuda:<index>".
        dtype: "auto" takes bfloat16 where the machine computes in it fast, else float32.
        attention: Attention implementation of transformers, or "blocks", ours for CPUs that have
            AVX512-BF16 and no AMX; "auto" takes ours there and else lets transformers choose.
        threads: CPU threads for one forward; None takes half of the cores, which survives
            neighbours on the same cores (two threads on busy cores are far slower than one).
        workers: Forwards at a time on a CPU, each with `threads`; None takes as many as fit the
            cores, for families whose forward may run twice at once. One on CUDA.
        host_threads: Images decoded and preprocessed at a time; None takes the cores.
        batch_patches: Patches of one forward, padding included; None measures at the start how
            many are worth it.
        batch_size: Items of one forward at most; None leaves it to the patches.
        max_queue_items: Pages and queries that may wait; a request beyond it is refused at once.
        max_queue_mb: MiB of images and texts that may wait, likewise.
        pool_factor: Pages keep about 1/pool_factor of their vectors; requests may ask otherwise.
        embedding_dtype: Form in which embeddings leave, "float32", "float16", and for pages "int8"
            or "binary"; requests may ask otherwise.
        resident_pages: Bind `/pages/put` and embed the pages that a ranker behind shall keep. Off
            unless asked for: Jina wants every Executor behind to bind it, too.
        page_margins: "cut" looks at the part of a page that something is printed on, so that print
            is seen larger, unless it is wider than high; "keep" looks at all of it. None takes
            what the checkpoint was trained with where it says so, else keeps them, as
            colpali-engine does.
        query_prefix: Text before each query. None takes what the checkpoint was trained with
            where that is known, else what colpali-engine does.
        query_suffix: Text after each query; None as above.
        query_newline: A line break after the suffix; None as above.
        query_around: How much a token counts that stands around a query's own text, pads for
            example: the length of its vector, where the text's are 1. None takes what the
            checkpoint was trained with where it says so, else 1, as colpali-engine does.
        query_pieces: A token that spells a word with others, n in all, counts n ** -query_pieces;
            None as above, else 0.
        allow_hosts: Hosts that images may be fetched from, ``example.com``, ``*.example.com`` or
            ``example.com:8443``; ``*`` is any. None of them may lead to an address that is not
            public. Without any, `url` takes data: URIs alone.
        fetch_timeout_s: Seconds that fetching one image may take, redirects included.
    """

    model: str = "colpali-tiny"
    revision: str | None = None
    token: SecretStr | None = None
    offline: bool = False
    device: str = Field(default="auto", pattern=r"^(auto|cpu|cuda(:\d+)?)$")
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    attention: Literal["auto", "blocks", "sdpa", "eager", "flash_attention_2"] = "auto"
    threads: int | None = Field(default=None, ge=1)
    workers: int | None = Field(default=None, ge=1)
    host_threads: int | None = Field(default=None, ge=1)
    batch_patches: int | None = Field(default=None, ge=1)
    batch_size: int | None = Field(default=None, ge=1)
    max_queue_items: int = Field(default=1024, ge=1)
    max_queue_mb: int = Field(default=1024, ge=1)
    pool_factor: int = Field(default=1, ge=1)
    embedding_dtype: EmbeddingDtype = "float16"
    resident_pages: bool = False
    page_margins: Literal["cut", "keep"] | None = None
    query_prefix: str | None = None
    query_suffix: str | None = None
    query_newline: bool | None = None
    query_around: float | None = Field(default=None, gt=0, le=1)
    query_pieces: float | None = Field(default=None, ge=0, le=1)
    allow_hosts: Words = ()
    fetch_timeout_s: float = Field(default=10.0, gt=0)

    @classmethod
    def from_environment(
        cls, given: Mapping[str, Any] | None = None, environ: Mapping[str, str] = os.environ
    ) -> Self:
        """Combine explicit settings with environment variables; the explicit ones win.

        Args:
            given: Settings by name; None values count as not given.
            environ: Where to look up `COLPALI_<NAME>`; empty values count as not set.

        Raises:
            ConfigError: A setting is unknown or has a value that is not allowed.

        >>> EncoderSettings.from_environment({"threads": 2}, {"COLPALI_DEVICE": "cpu"}).device
        'cpu'
        """
        try:
            return cls.model_validate(combined(cls.model_fields, given, environ))
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            name = str(first["loc"][0])
            if first["type"] == "extra_forbidden":
                known = ", ".join(sorted(cls.model_fields))
                raise ConfigError(f"setting '{name}' is unknown, expected one of {known}") from None
            shown = "***" if name == "token" else repr(first["input"])
            raise ConfigError(
                f"setting '{name}' is {shown}: {first['msg'].lower()}", name
            ) from None
