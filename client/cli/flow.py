"""A Flow in the foreground."""

from __future__ import annotations

import errno
import multiprocessing
import os
import signal
import socket
import sys
import threading
from importlib.resources import files
from pathlib import Path
from typing import Any

import typer
from yaml import YAMLError

from colpali_serve.client.cli.pods import end_pods, ended_pod, pods_on_stderr
from colpali_serve.client.cli.stopping import Stopper
from colpali_serve.client.jina_import import import_jina
from colpali_serve.schemas import ConfigError, ServiceUnavailableError

_POLL_S = 1.0
_GRACE_S = 10.0


def find_flow(name: str) -> Path:
    """Return the file that `name` stands for.

    Args:
        name: Path of a YAML file. If there is none, the packaged Flow of the same file name.

    Raises:
        ConfigError: There is neither.
    """
    path = Path(name)
    if path.is_file():
        return path
    folder = files("colpali_serve.flows")
    packaged = Path(str(folder.joinpath(path.name)))
    if packaged.is_file():
        return packaged
    known = ", ".join(sorted(f.name for f in folder.iterdir() if f.name.endswith(".yml")))
    raise ConfigError(f"Flow {name} does not exist, expected a file or one of {known}", name)


def check_port_free(port: int, option: str = "--port") -> None:
    """Find out before a model is loaded for minutes.

    Args:
        port: To be opened.
        option: What chooses it.

    Raises:
        ConfigError: The port is in use or not allowed.
    """
    with socket.socket() as probe:
        # A connection that has just been closed does not keep a server from starting.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("0.0.0.0", port))
        except OSError as error:
            in_use = error.errno == errno.EADDRINUSE
            found = "is in use" if in_use else f"cannot be opened ({error.strerror})"
            raise ConfigError(
                f"port {port} {found}, expected a free one: choose another with {option}", str(port)
            ) from error


def serve_flow(
    path: Path,
    port: int | None,
    http_port: int | None,
    stopper: Stopper,
    *,
    until_eof: bool,
    verbose: bool,
) -> None:
    """Start a Flow, say where it is, and stop it when `stopper` says so.

    Args:
        path: Its YAML.
        port: Of the gateway's gRPC server; None leaves it to the YAML.
        http_port: Of its HTTP server, likewise; 0 takes that one away.
        stopper: Handles Ctrl-C and SIGTERM.
        until_eof: Also stop when stdin ends, that is when the process that started this one ends.
        verbose: Let everything through that Jina says.

    Raises:
        ConfigError: A port is in use, or the Flow has no HTTP server.
        ServiceUnavailableError: The Flow did not start, or one of its processes ended.
        Stopped: A signal came during the start, or a second one came.
    """
    if verbose:
        os.environ["JINA_LOG_LEVEL"] = "INFO"
    else:
        os.environ.setdefault("JINA_LOG_LEVEL", "ERROR")
        # gRPC tells of each idle connection that it closes and opens again.
        os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    os.environ.setdefault("JINA_LOG_CONFIG", "plain")
    if port is not None:
        check_port_free(port)
    jina = import_jina()
    with pods_on_stderr(quiet=not verbose):
        flow = _load(jina, path)
        ports = choose_doors(flow, port, http_port)
        for protocol, each in ports.items():
            check_port_free(each, "--http-port" if protocol == "http" else "--port")
        if until_eof:
            threading.Thread(target=_stop_at_eof, daemon=True).start()
        grace_s = 0.0
        try:
            _start(flow, path)
            stopper.starting = False
            model = os.environ.get("COLPALI_MODEL")
            served = f"model {model}" if model else "the Flow's own model"
            text = f"ready on {addresses(flow, ports)}, {served}, Ctrl-C stops"
            typer.echo(text, file=sys.__stdout__)
            _watch(stopper)
            flow.close()
            grace_s = _GRACE_S
        finally:
            # Without grace after a signal during the start, or a second one.
            end_pods(grace_s)


def _load(jina: Any, path: Path) -> Any:
    from jina.jaml import JAML

    try:
        with path.open(encoding="utf-8") as file:
            config = JAML.load_no_tags(file)
    except (OSError, ValueError, YAMLError) as error:
        raise ConfigError(f"Flow {path} cannot be read ({error})", str(path)) from error
    if not isinstance(config, dict):
        raise ConfigError(f"Flow {path} is no mapping, expected the YAML of a Flow", str(path))
    # A mapping, because Jina does not take a path with a blank in it for one.
    return jina.Flow.load_config(config, extra_search_paths=[str(path.resolve().parent)])


def _start(flow: Any, path: Path) -> None:
    from jina.excepts import RuntimeFailToStart

    try:
        flow.start()
    except RuntimeFailToStart as error:
        raise ServiceUnavailableError(
            f"the Flow {path} did not start; what its processes logged above says why, and "
            "--verbose shows more"
        ) from error


def _watch(stopper: Stopper) -> None:
    """Wait for the signal to stop, and see to it that there is still something to stop."""
    pods = multiprocessing.active_children()
    while not stopper.wait(_POLL_S):
        # Ctrl-C reaches the pods as well, and one of them may be quicker than this process.
        if (ended := ended_pod(pods)) is not None and not stopper.wait(_POLL_S):
            raise ServiceUnavailableError(f"{ended}; its log says why")


def choose_doors(flow: Any, port: int | None, http_port: int | None) -> dict[str, int]:
    """Set a Flow's protocols and ports.

    Args:
        flow: Changed, where something else is wanted than it says.
        port: Of gRPC, or None.
        http_port: Of HTTP, 0 for no HTTP, or None.

    Returns:
        Ports by protocol, in the Flow's order.

    Raises:
        ConfigError: A port is asked for that the Flow has no server for.
    """
    protocols = flow.protocol if isinstance(flow.protocol, list) else [flow.protocol]
    names = [protocol.to_string().lower() for protocol in protocols]
    ports = flow.port if isinstance(flow.port, list) else [flow.port]
    doors = dict(zip(names, ports, strict=True))
    if port is not None:
        # A Flow that speaks several protocols has gRPC first.
        doors[names[0]] = port
    if http_port and "http" not in doors:
        raise ConfigError(
            f"--http-port is {http_port}, but the Flow serves {', '.join(names)} alone, expected "
            "'protocol: [grpc, http]' in its YAML"
        )
    if http_port:
        doors["http"] = http_port
    elif http_port == 0 and len(doors) > 1:
        doors.pop("http", None)
    if doors != dict(zip(names, ports, strict=True)):
        flow.protocol = list(doors)
        flow.port = list(doors.values())
    return doors


def addresses(flow: Any, doors: dict[str, int]) -> str:
    """Say where a Flow's doors are, and whether they are encrypted."""
    encrypted = "s" if flow.gateway_args.ssl_certfile else ""
    return ", ".join(f"{name}{encrypted}://0.0.0.0:{port}" for name, port in doors.items())


def _stop_at_eof() -> None:
    # Not sys.stdin, whose lock a pod would inherit, held.
    while os.read(0, 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
