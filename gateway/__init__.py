"""The Flow's door: refuses endpoints that nobody serves, routes, and keeps the server's secrets.

Flows name it by ``uses: ColPaliGateway`` and ``py_modules: [colpali_serve.gateway]``.
"""

from __future__ import annotations

import os

# Jina reports every start to its makers unless this is set. A Flow's YAML imports this package in
# the process that starts the Flow, before that first report; its pods inherit the variable.
os.environ.setdefault("JINA_OPTOUT_TELEMETRY", "1")

from colpali_serve.gateway.gateway import ColPaliGateway

__all__ = ["ColPaliGateway"]
