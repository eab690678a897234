"""Commands say what is wrong in one line; a traceback is for what we did not think of."""

from __future__ import annotations

import pytest
import typer

from colpali_serve.schemas import ConfigError
from colpali_serve.training.console import reporting


def test_an_error_of_ours_is_one_line_and_status_1(capfd: pytest.CaptureFixture[str]) -> None:
    # Longer than a terminal is wide, and with what rich would take for markup.
    message = f"{'words ' * 40}[red] of a.toml, expected some"
    with pytest.raises(typer.Exit) as caught, reporting():
        raise ConfigError(message)
    assert caught.value.exit_code == 1
    told = capfd.readouterr()
    assert told.err.splitlines() == [message]
    assert told.out == ""


def test_an_interruption_says_how_to_go_on(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit) as caught, reporting():
        raise KeyboardInterrupt
    assert caught.value.exit_code == 130
    assert "goes on from here" in capfd.readouterr().err


def test_other_errors_go_on(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ZeroDivisionError), reporting():
        _ = 1 / 0
    assert capfd.readouterr().err == ""


def test_what_is_written_goes_to_stderr(capfd: pytest.CaptureFixture[str]) -> None:
    with reporting() as console:
        console.print("half done")
    told = capfd.readouterr()
    assert (told.out, told.err) == ("", "half done\n")
