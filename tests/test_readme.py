"""What the README tells people to type works, block by block."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import yaml
from docarray import DocList
from jina import Client, Flow

from colpali_serve.schemas import EMBED_QUERIES, QueryDoc
from tests.conftest import ROOT
from tests.service import free_port, running

README = (ROOT / "README.md").read_text()
SCRIPTS = Path(sys.executable).parent


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.M | re.S)


def commands() -> list[str]:
    return [line for block in blocks("bash") for line in block.splitlines() if line.strip()]


@pytest.fixture(scope="module")
def ports(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, int]]:
    """Of gRPC and HTTP."""
    log = tmp_path_factory.mktemp("readme") / "log"
    port, http_port = free_port(), free_port()
    command = [sys.executable, "-m", "colpali_serve.client.cli", "serve", "--port", str(port)]
    with running([*command, "--http-port", str(http_port)], port, log):
        yield port, http_port


@pytest.fixture(scope="module")
def port(ports: tuple[int, int]) -> int:
    return ports[0]


def run(command: list[str]) -> str:
    environment = {**os.environ, "PATH": f"{SCRIPTS}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.mark.parametrize("line", [line for line in commands() if line.startswith("make ")])
def test_make_targets_exist(line: str) -> None:
    run(["make", "--dry-run", *shlex.split(line)[1:]])


CLIENT_COMMANDS = [
    line for line in commands() if re.match(r"colpali-serve (rank|embed|heatmap|profile)", line)
]


@pytest.mark.parametrize("line", CLIENT_COMMANDS)
def test_client_commands_run(line: str, port: int) -> None:
    out = run([*shlex.split(line), "--port", str(port)])
    if " rank " in line:
        first = next(row for row in out.splitlines() if row.split()[:1] == ["1"])
        assert first.split()[1] == "simh-faq.pdf#2"
    if " profile " in line:
        assert "Recommended: embedding_dtype" in " ".join(out.split())


@pytest.mark.skipif(shutil.which("curl") is None, reason="no curl here")
@pytest.mark.parametrize("line", [line for line in commands() if line.startswith("curl ")])
def test_curl_commands_run(line: str, ports: tuple[int, int]) -> None:
    out = run(shlex.split(line.replace(":8080", f":{ports[1]}")))
    answers = [json.loads(row) for row in out.splitlines()]
    assert answers
    assert not any(isinstance(answer, dict) and "error" in answer for answer in answers)


def test_verify_runs() -> None:
    line = next(line for line in commands() if line.startswith("colpali-serve verify"))
    assert "fingerprint" in run(shlex.split(line))


def test_every_command_is_tested_somewhere() -> None:
    known = re.compile(r"(make|curl|colpali-serve (rank|embed|heatmap|profile|verify|serve))\b")
    assert all(known.match(line) for line in commands())


PYTHON = blocks("python")
DEPLOYMENT = next(block for block in PYTHON if "Deployment" in block)


@pytest.mark.parametrize("code", [code for code in PYTHON if code != DEPLOYMENT])
def test_python_blocks_run(code: str, ports: tuple[int, int], tmp_path: Path) -> None:
    assert "54321" in code or "8080" in code
    port, http_port = map(str, ports)
    script = tmp_path / "block.py"
    script.write_text(code.replace("54321", port).replace("8080", http_port))
    out = run([sys.executable, str(script)])
    if "rank(" in code or "rank_resident(" in code:
        assert out.splitlines()[0].startswith("1 bzip2-manual.pdf#2 ")


def test_the_deployment_block_serves_the_encoder_alone(tmp_path: Path) -> None:
    port = free_port()
    script = tmp_path / "serve.py"
    script.write_text(DEPLOYMENT.replace("54321", str(port)))
    with running([sys.executable, str(script)], port, tmp_path / "log"):
        found = Client(port=port).post(
            EMBED_QUERIES, DocList[QueryDoc]([QueryDoc(text="red")]), return_type=DocList[QueryDoc]
        )
        assert np.isfinite(found[0].embedding.astype(np.float32)).all()


def test_yaml_blocks_are_flows(tmp_path: Path) -> None:
    for index, block in enumerate(blocks("yaml")):
        path = tmp_path / f"{index}.yml"
        path.write_text(block)
        names = {name for name, _ in Flow.load_config(str(path))}
        assert {entry["name"] for entry in yaml.safe_load(block)["executors"]} <= names


def test_every_setting_is_in_the_table() -> None:
    from colpali_serve.engine.settings import EncoderSettings
    from colpali_serve.gateway.settings import GatewaySettings

    listed = set(re.findall(r"COLPALI_([A-Z_]+)", README))
    assert {name.upper() for name in EncoderSettings.model_fields} <= listed
    assert {name.upper() for name in GatewaySettings.model_fields} <= listed
    config = (ROOT / "config.yml").read_text()
    hidden = {"token"}  # a secret belongs in the environment
    assert {n for n in EncoderSettings.model_fields if f"{n}:" not in config} == hidden


def test_links_lead_somewhere() -> None:
    prose = re.sub(r"^```.*?^```$", "", README, flags=re.M | re.S)
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", prose):
        assert (ROOT / target).exists(), target
