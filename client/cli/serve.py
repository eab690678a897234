"""`colpali-serve serve`."""

from __future__ import annotations

import os
from typing import Annotated, Literal

import typer

from colpali_serve.client.cli import options
from colpali_serve.client.cli.report import reporting
from colpali_serve.client.cli.stopping import stopping


def serve(
    flow: Annotated[
        str, typer.Argument(help="YAML of a Flow; if there is no such file, the packaged one.")
    ] = "flows/rank.yml",
    model: options.Model = None,
    revision: Annotated[
        str | None, typer.Option(help="Branch, tag or commit of a model on the hub.")
    ] = None,
    device: options.Device = None,
    dtype: Annotated[
        Literal["auto", "float32", "bfloat16", "float16"] | None,
        typer.Option(help="What the model computes in. [default: auto]"),
    ] = None,
    threads: Annotated[
        int | None, typer.Option(help="CPU threads of a forward pass.", min=1)
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(
            help="Port of the gRPC gateway. [default: the Flow's own, 54321]", min=1, max=65535
        ),
    ] = None,
    http_port: Annotated[
        int | None,
        typer.Option(
            help="Port of the HTTP gateway and the playground; 0 serves gRPC alone. "
            "[default: the Flow's own, 8080]",
            min=0,
            max=65535,
        ),
    ] = None,
    until_eof: Annotated[bool, typer.Option("--until-eof", hidden=True)] = False,
    verbose: options.Verbose = False,
) -> None:
    """Serve a model in the foreground, until Ctrl-C or SIGTERM.

    The options become the environment variables COLPALI_MODEL, COLPALI_REVISION, COLPALI_DEVICE,
    COLPALI_DTYPE and COLPALI_THREADS, which the Executors read; what the Flow's YAML sets itself
    wins over them.

    **Examples**

    `colpali-serve serve`

    `colpali-serve serve flows/rank.yml --model vidore/colqwen2-v1.0 --device cuda --port 50051`

    `colpali-serve serve --http-port 8000`
    """
    chosen = {
        "MODEL": model,
        "REVISION": revision,
        "DEVICE": device,
        "DTYPE": dtype,
        "THREADS": threads,
    }
    os.environ |= {f"COLPALI_{key}": str(value) for key, value in chosen.items() if value}
    with reporting(verbose), stopping() as stopper:
        from colpali_serve.client.cli.flow import find_flow, serve_flow

        path = find_flow(flow)
        serve_flow(path, port, http_port, stopper, until_eof=until_eof, verbose=verbose)
