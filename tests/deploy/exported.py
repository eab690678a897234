"""The Kubernetes export, and its containers run as processes of this machine."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import yaml

from tests.conftest import ROOT
from tests.flows.processes import HOST

JINA = Path(sys.executable).with_name("jina")
_NO_NETWORK = """
import socket

def refuse(self, address, *rest):
    raise OSError(f"this test has no network, and something asked for {address!r}")

socket.socket.connect = socket.socket.connect_ex = refuse
"""


def export(flow: Path, folder: Path) -> dict[str, dict[str, dict]]:
    """Export a Flow without a network.

    Returns:
        Manifests by name of the pod, then by kind.
    """
    blocked = folder / "no-network"
    blocked.mkdir()
    (blocked / "sitecustomize.py").write_text(_NO_NETWORK)
    proxies = dict.fromkeys(["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"], f"http://{HOST}:9")
    subprocess.run(
        [JINA, "export", "kubernetes", flow, folder / "out"],
        env=os.environ | proxies | {"PYTHONPATH": str(blocked)},
        cwd=folder,
        check=True,
    )
    return {
        path.stem: {part["kind"]: part for part in yaml.safe_load_all(path.read_text())}
        for path in sorted((folder / "out").rglob("*.yml"))
    }


def container(manifests: dict[str, dict]) -> dict:
    """The one container of a pod's Deployment."""
    [only] = manifests["Deployment"]["spec"]["template"]["spec"]["containers"]
    return only


def environment(manifests: dict[str, dict]) -> dict[str, str]:
    """What the container's environment holds beside the image's own."""
    data = dict(manifests["ConfigMap"]["data"])
    own = container(manifests)["env"]
    return data | {entry["name"]: entry.get("value", "a-field-of-the-pod") for entry in own}


def working_directory(image: str) -> Path:
    """Where the files lie that the Dockerfile puts into an image's working directory."""
    stages = re.split(r"^FROM ", (ROOT / "deploy" / "Dockerfile").read_text(), flags=re.MULTILINE)
    [stage] = [text for text in stages if re.match(rf"\w+ AS {image}\n", text)]
    [config] = re.findall(r"^COPY (\S*config\.yml) \./$", stage, flags=re.MULTILINE)
    return (ROOT / config).parent


def command(manifests: dict[str, dict], ports: dict[str, int], name: str) -> list[str | Path]:
    """The container's exact command, with its ports and its peers' addresses on this machine."""
    run = container(manifests)
    assert run["command"] == ["jina"]
    own = {"8080": str(ports[name]), "8081": str(ports.get(f"{name}-http"))}
    arguments = [own.get(arg, arg) for arg in run["args"]]
    for peer, port in ports.items():
        address = f"{peer}.default.svc:8080"
        arguments = [arg.replace(address, f"{HOST}:{port}") for arg in arguments]
    return [JINA, *arguments]
