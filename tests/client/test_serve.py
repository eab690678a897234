"""`serve` and `demo`: they start, say where, end, and leave no process behind."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from jina import Flow

from colpali_serve.client.cli.examples import choose
from colpali_serve.client.cli.flow import addresses, check_port_free, find_flow
from colpali_serve.schemas import ConfigError
from tests.client.conftest import CLI, FAKE_FLOW, members, wait_for
from tests.conftest import ROOT
from tests.service import free_port

FAKE_SERVICE = FAKE_FLOW.with_name("fake_service.py")


def ended(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, errors = process.communicate(timeout=120)
    assert members(process.pid) == []
    return process.returncode, out, errors


def start(*arguments: object, cwd: Path = ROOT) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*CLI, *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        cwd=cwd,
    )


def test_ctrl_c_at_a_terminal_ends_everything(tmp_path: Path) -> None:
    folder = tmp_path / "a folder"
    folder.mkdir()
    flow = folder / "my flow.yml"
    flow.write_text(FAKE_FLOW.read_text().replace("fake_service.py", str(FAKE_SERVICE)))
    port = free_port()
    process = start("serve", flow, "--port", port, "--model", "some-model")
    assert process.stdout is not None
    expected = f"ready on grpc://0.0.0.0:{port}, model some-model, Ctrl-C stops\n"
    assert process.stdout.readline() == expected
    assert len(members(process.pid)) == 3
    # A terminal sends it to the whole group, pods included.
    os.killpg(process.pid, signal.SIGINT)
    assert ended(process) == (0, "", "")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_before_it_is_ready(number: int, tmp_path: Path) -> None:
    (tmp_path / "slow_start.py").write_text(
        "import time\n"
        "from pathlib import Path\n"
        "from jina import Executor\n"
        "class SlowStart(Executor):\n"
        "    def __init__(self, **kwargs):\n"
        "        super().__init__(**kwargs)\n"
        f"        Path({str(tmp_path / 'loading')!r}).touch()\n"
        "        time.sleep(600)\n"
    )
    flow = tmp_path / "flow.yml"
    flow.write_text(
        "jtype: Flow\nexecutors:\n  - name: slow\n    uses: SlowStart\n"
        "    py_modules: slow_start.py\n"
    )
    process = start("serve", flow, "--port", free_port())
    wait_for((tmp_path / "loading").exists)
    process.send_signal(number)
    code, out, _ = ended(process)
    assert (code, out) == (0, "stopped\n")


def test_executor_that_cannot_start(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text(
        "from jina import Executor\n"
        "class Broken(Executor):\n"
        "    def __init__(self, **kwargs):\n"
        "        raise ValueError('the weights are gone')\n"
    )
    flow = tmp_path / "flow.yml"
    flow.write_text(
        "jtype: Flow\nexecutors:\n  - name: broken\n    uses: Broken\n    py_modules: broken.py\n"
    )
    code, out, errors = ended(start("serve", flow, "--port", free_port()))
    assert (code, out) == (1, "")
    assert "the weights are gone" in errors
    assert "Traceback" not in errors
    assert errors.splitlines()[-1].startswith(f"error: the Flow {flow} did not start")


def test_port_in_use_is_said_before_anything_starts() -> None:
    with socket.socket() as other:
        other.bind(("0.0.0.0", 0))
        other.listen()
        port = other.getsockname()[1]
        code, out, errors = ended(start("serve", FAKE_FLOW, "--port", port))
        assert (code, out) == (1, "")
        assert errors == (
            f"error: port {port} is in use, expected a free one: choose another with --port\n"
        )
    check_port_free(port)


def test_flow_is_found_in_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    packaged = find_flow("flows/rank.yml")
    assert packaged.is_file() and packaged.name == "rank.yml"
    with pytest.raises(ConfigError, match=r"Flow nowhere\.yml does not exist, .*rank\.yml"):
        find_flow("nowhere.yml")
    (tmp_path / "flows").mkdir()
    (tmp_path / "flows" / "rank.yml").touch()
    assert find_flow("flows/rank.yml") == Path("flows/rank.yml")


def test_demo(make_pdf: Callable[..., Path], tmp_path: Path) -> None:
    examples = tmp_path / "examples"
    pdf = make_pdf("examples/pages/book.pdf", 40, 240)
    questions = [{"query": "rr", "page": f"{pdf.name}#2"}, {"query": "r", "page": "elsewhere"}]
    (examples / "queries.json").write_text(json.dumps(questions))
    code, out, errors = ended(start("demo", "--flow", FAKE_FLOW, cwd=tmp_path))
    assert (code, errors) == (0, "")
    assert [line.split()[0] for line in out.splitlines()[:4]] == ["start", "embed", "rank", "stop"]
    assert "2 pages," in out and "elsewhere is not among the pages" in out
    assert out.splitlines()[-1] == "right page first for 1 of 2 queries"


def test_demo_of_a_flow_that_does_not_start(tmp_path: Path, make_pdf: Callable[..., Path]) -> None:
    flow = tmp_path / "flow.yml"
    flow.write_text("[]")
    pages = make_pdf("a.pdf", 1)
    code, out, errors = ended(
        start("demo", "--flow", flow, "--pages", pages, "--query", "r", cwd=tmp_path)
    )
    assert (code, out) == (1, "")
    assert (
        errors.splitlines()[0] == f"error: Flow {flow} is no mapping, expected the YAML of a Flow"
    )


def test_demo_needs_something_to_look_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=r"examples/queries\.json does not exist in .*: run the"):
        choose(None, None)
    with pytest.raises(ConfigError, match="--pages without --query"):
        choose(["."], None)
    with pytest.raises(ConfigError, match=r"--pages is nowhere\.pdf, which does not exist"):
        choose(["nowhere.pdf"], ["r"])
    assert choose(["."], ["r"]).questions[0].page is None
    (tmp_path / "examples").mkdir()
    (tmp_path / "examples" / "queries.json").write_text('[{"q": 1}]')
    with pytest.raises(ConfigError, match=r"examples/queries\.json is broken \(KeyError"):
        choose(None, None)


@pytest.mark.parametrize(("gateway", "letter"), [({}, ""), ({"ssl_certfile": "a.pem"}, "s")])
def test_addresses_say_whether_they_are_encrypted(gateway: dict[str, str], letter: str) -> None:
    flow = Flow.load_config({"jtype": "Flow", "gateway": {"protocol": "grpc", **gateway}})
    found = addresses(flow, {"grpc": 1, "http": 2})
    assert found == f"grpc{letter}://0.0.0.0:1, http{letter}://0.0.0.0:2"
