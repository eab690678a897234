"""Settings come from arguments and the environment, and wrong ones are named."""

from __future__ import annotations

import pytest

from colpali_serve.engine.settings import EncoderSettings
from colpali_serve.schemas import ConfigError


def test_defaults_need_nothing() -> None:
    settings = EncoderSettings.from_environment({}, {})
    assert settings.model == "colpali-tiny"
    assert settings.max_pixels == 50_000_000


def test_arguments_win_over_the_environment() -> None:
    environment = {"COLPALI_MODEL": "a", "COLPALI_THREADS": "3", "COLPALI_REVISION": ""}
    settings = EncoderSettings.from_environment({"model": "b", "device": None}, environment)
    assert (settings.model, settings.threads, settings.revision) == ("b", 3, None)
    assert settings.device == "auto"


def test_the_environment_is_read_at_call_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLPALI_QUERY_NEWLINE", "true")
    monkeypatch.setenv("COLPALI_LONG_QUERY", "cut")
    settings = EncoderSettings.from_environment()
    assert settings.query_newline is True
    assert settings.long_query == "cut"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"modle": "x"}, "setting 'modle' is unknown, expected one of allow_hosts, att"),
        ({"device": "tpu"}, "setting 'device' is 'tpu'"),
        ({"threads": 0}, "setting 'threads' is 0: input should be greater than or equal to 1"),
        ({"workers": 0}, "setting 'workers' is 0: input should be greater than or equal to 1"),
        ({"max_queue_items": 0}, "setting 'max_queue_items' is 0: input should be greater"),
        ({"batch_patches": "many"}, "setting 'batch_patches' is 'many': input should be a valid"),
        ({"dtype": "int8"}, "setting 'dtype' is 'int8': input should be 'auto', 'float32'"),
    ],
)
def test_wrong_settings_are_named(given: dict[str, object], expected: str) -> None:
    with pytest.raises(ConfigError, match=expected):
        EncoderSettings.from_environment(given, {})


def test_a_token_is_never_shown() -> None:
    settings = EncoderSettings.from_environment({"token": "hf_secret"}, {})
    assert "hf_secret" not in repr(settings)
    with pytest.raises(ConfigError) as caught:
        EncoderSettings.from_environment({"token": 123456}, {})
    assert "123456" not in str(caught.value)
