"""Serve one Executor until told to stop: ``serve_deployment.py USES PORT [PORT_MONITORING]``.

A process of its own, as `serve_flow.py` is for a Flow.
"""

from __future__ import annotations

import sys

from jina import Deployment


def main(uses: str, port: str, port_monitoring: str | None = None) -> None:
    more = {"monitoring": True, "port_monitoring": int(port_monitoring)} if port_monitoring else {}
    with Deployment(uses=uses, port=int(port), **more) as deployment:
        deployment.block()


if __name__ == "__main__":
    main(*sys.argv[1:])
