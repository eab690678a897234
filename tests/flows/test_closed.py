"""The Executors of the Flows that ship are reached through the gateway alone."""

import pytest
import yaml

from tests.conftest import ROOT


@pytest.mark.parametrize("name", ["rank.yml", "rank-cuda.yml"])
def test_executors_listen_on_this_machine_only(name):
    flow = yaml.safe_load((ROOT / "flows" / name).read_text())
    assert [executor["host"] for executor in flow["executors"]] == ["127.0.0.1"] * 2
