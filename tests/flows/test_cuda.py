"""flows/rank-cuda.yml: the encoder is pinned to a card, or does not start."""

import pytest
import torch
import yaml
from docarray import DocList

from colpali_serve.schemas import QueryDoc
from tests.conftest import ROOT
from tests.flows.processes import running_flow, starting_flow

FLOW = ROOT / "flows" / "rank-cuda.yml"
CUDA = torch.cuda.is_available()


def executors():
    return {entry["name"]: entry for entry in yaml.safe_load(FLOW.read_text())["executors"]}


def test_every_replica_gets_a_card_of_its_own():
    encoder = executors()["encoder"]
    assert encoder["env"]["CUDA_VISIBLE_DEVICES"] == "RR"
    assert encoder["uses_with"]["device"] == "cuda"
    assert encoder["replicas"] == 1


def test_the_rest_is_as_in_the_first_flow():
    first = yaml.safe_load((ROOT / "flows" / "rank.yml").read_text())
    pinned = yaml.safe_load(FLOW.read_text())
    assert pinned["gateway"] == first["gateway"]
    for entry in first["executors"]:
        settings, other = entry.pop("uses_with"), executors()[entry["name"]]
        assert entry.items() <= other.items()
        assert settings.items() <= other["uses_with"].items()


@pytest.mark.skipif(CUDA, reason="there is a CUDA device here")
def test_without_a_card_it_says_so_and_does_not_start():
    # Jina counts cards with nvidia-smi, and where that is missing believes this variable.
    with starting_flow(FLOW, {"CUDA_TOTAL_DEVICES": "1"}) as server:
        assert server.wait_until_ended() != 0
        log = server.log()
        # The first card is the one that "RR" gave to the first replica.
        assert (
            "ConfigError: setting 'device' is 'cuda': no CUDA device is available here "
            "(CUDA_VISIBLE_DEVICES=0), expected one, or 'cpu' or 'auto'"
        ) in log
        assert "Flow is ready" not in log


@pytest.mark.gpu
@pytest.mark.skipif(not CUDA, reason="needs a CUDA device")
def test_with_a_card_it_answers_from_there():
    with running_flow(FLOW) as server:
        docs = server.client.post(
            "/embed_queries",
            DocList[QueryDoc]([QueryDoc(text="a table")]),
            return_type=DocList[QueryDoc],
        )
        assert docs[0].embedding.ndim == 2
        assert " on cuda" in server.log()
