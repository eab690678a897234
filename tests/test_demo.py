"""The README's first command as a newcomer runs it: real pages, the bundled model."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from tests.conftest import ROOT

COMMAND = Path(sys.executable).parent / "colpali-serve"


def demo(*arguments: str) -> str:
    """Run the demo; gives what it printed, after all of its processes have ended."""
    process = subprocess.Popen(
        [str(COMMAND), "demo", *arguments],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        out, errors = process.communicate(timeout=400)
        assert process.returncode == 0, errors[-3000:]
        with pytest.raises(ProcessLookupError):  # its group has no process any more
            os.killpg(process.pid, 0)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    return out


@pytest.mark.slow
def test_most_queries_find_their_page_first() -> None:
    out = demo()
    first, queries = map(int, re.search(r"first for (\d+) of (\d+) queries", out).groups())
    assert queries == 10
    assert first >= 7
    assert "30 pages" in out


def test_a_file_of_the_users_own() -> None:
    pages = "examples/pages/simh-faq.pdf"
    out = demo("--pages", pages, "--query", "How do I transcribe a real CD on Windows?")
    first = next(line for line in out.splitlines() if "simh-faq.pdf#" in line)
    assert "simh-faq.pdf#2" in first
