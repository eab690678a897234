"""Serve a Flow until told to stop: ``python serve_flow.py FLOW PORT``.

A process of its own, because the way pods are started (fork or spawn) is chosen once a process.
"""

from __future__ import annotations

import sys
from pathlib import Path

from jina import Flow


def main(path: str, port: int) -> None:
    flow = Flow.load_config(str(Path(path).resolve()))
    flow.port = port
    with flow:
        flow.block()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
