"""Ready means that the encoder works, not that the gateway is there."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import httpx2 as httpx

from tests.flows.processes import HOST, running
from tests.gateway.doors import GATEWAY, serving
from tests.gateway.http.sending import error
from tests.service import free_port

FLOW = f"""{GATEWAY}\
  uses_with: {{{{ready_within_s: 2}}}}
executors:
  - name: slow
    external: true
    host: {HOST}
    port: {{executor}}
"""


def status(http: httpx.Client) -> int:
    return http.get("/health/ready").status_code


def test_a_service_without_its_encoder_is_alive_but_not_ready(tmp_path: Path) -> None:
    port = free_port()
    command = [sys.executable, "-m", "jina", "executor", "--native", "--port", str(port)]
    command += ["--uses", "Slow", "--py-modules", "tests.gateway.slow"]
    text = FLOW.replace("{executor}", str(port))
    with running(command, port) as executor:
        executor.wait_until_ready()
        with serving(tmp_path, text) as doors, doors.http(timeout=20) as http:
            # For longer than an answer counts: it asks by itself.
            for _ in range(6):
                assert status(http) == 200
                time.sleep(0.5)
            executor.stop()
            end = time.monotonic() + 20
            while status(http) == 200:
                assert time.monotonic() < end
                time.sleep(0.1)
            message, _ = error(http.get("/health/ready"), 503)
            assert message.endswith("s ago, expected at most 2 s")
            assert http.get("/health/live").status_code == 200
            message, _ = error(http.post("/embed_queries", json={"items": ["a"]}), 503)
            assert message == "the service is not available now, try again later"
