"""The gateway's settings come from the Flow and the environment, and wrong ones are named."""

from __future__ import annotations

import pytest

from colpali_serve.gateway.settings import GatewaySettings
from colpali_serve.schemas import ConfigError


def test_defaults_are_closed() -> None:
    settings = GatewaySettings.from_environment({}, {})
    assert settings.cors_origins == ()
    assert settings.max_request_bytes == 256 * 1024**2


def test_the_flow_wins_over_the_environment() -> None:
    environ = {"COLPALI_MAX_REQUEST_MB": "5", "COLPALI_CORS_ORIGINS": "http://a, http://b,"}
    settings = GatewaySettings.from_environment({"max_request_mb": 7, "max_pages": None}, environ)
    assert settings.max_request_mb == 7
    assert settings.cors_origins == ("http://a", "http://b")


@pytest.mark.parametrize(
    ("given", "environ", "message"),
    [
        ({"max_pages": 0}, {}, "setting 'max_pages' is 0: input should be greater"),
        ({}, {"COLPALI_TIME_LIMIT_S": "soon"}, "setting 'time_limit_s' is 'soon'"),
        ({"api_keys": "a:0123456789abcdef"}, {}, "setting 'api_keys' stands in the Flow"),
    ],
)
def test_wrong_settings_are_named(given: dict, environ: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        GatewaySettings.from_environment(given, environ)
