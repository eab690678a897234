"""Options that several commands share."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

import typer

Host: TypeAlias = Annotated[str, typer.Option(help="Where the service is.")]
Port: TypeAlias = Annotated[int, typer.Option(help="Port of its gRPC gateway.", min=1, max=65535)]
Tls: TypeAlias = Annotated[bool, typer.Option("--tls", help="Encrypt the connection.")]
Dpi: TypeAlias = Annotated[
    int, typer.Option(help="Resolution at which PDF pages are rendered.", min=1)
]
BatchPages: TypeAlias = Annotated[int, typer.Option(help="Pages in one post.", min=1)]
TimeoutS: TypeAlias = Annotated[
    float, typer.Option("--timeout", help="Deadline of one post, in seconds.", min=0.001)
]
OnError: TypeAlias = Annotated[
    Literal["raise", "keep"],
    typer.Option(help="raise: stop at the first bad page. keep: go on and name the bad ones."),
]
Verbose: TypeAlias = Annotated[
    bool, typer.Option("--verbose", help="Show tracebacks and what Jina says.")
]
Model: TypeAlias = Annotated[
    str | None,
    typer.Option(
        help="Folder, hub id or name of a bundled checkpoint. [default: the bundled one]",
    ),
]
Device: TypeAlias = Annotated[
    str | None,
    typer.Option(help="auto, cpu, cuda or cuda:<index>. [default: auto, CUDA if there is one]"),
]
