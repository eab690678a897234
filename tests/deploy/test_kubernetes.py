"""What `jina export kubernetes` makes of flows/rank-k8s.yml, and that it runs."""

import contextlib
import json
from importlib.metadata import version
from urllib.request import urlopen

import grpc
import pytest
import torch
import yaml
from docarray import DocList
from grpc_health.v1 import health_pb2, health_pb2_grpc
from jina.excepts import BadServer

from colpali_serve.schemas import QueryDoc
from tests.conftest import ROOT
from tests.deploy.exported import command, container, environment, export, working_directory
from tests.flows.processes import HOST, running
from tests.service import free_port

PODS = ("encoder", "gateway", "ranker")


@pytest.fixture(scope="module")
def manifests(tmp_path_factory):
    return export(ROOT / "flows" / "rank-k8s.yml", tmp_path_factory.mktemp("export"))


def test_every_pod_runs_an_image_of_ours(manifests):
    images = {name: container(parts)["image"] for name, parts in manifests.items()}
    assert images == {name: f"colpali-serve/{name}:{version('colpali-serve')}" for name in PODS}


def test_only_the_encoder_asks_for_a_card(manifests):
    limits = {
        name: container(parts).get("resources", {}).get("limits")
        for name, parts in manifests.items()
    }
    assert limits == {"encoder": {"nvidia.com/gpu": "1"}, "gateway": None, "ranker": None}
    assert environment(manifests["encoder"])["COLPALI_DEVICE"] == "cuda"


def test_no_pod_hides_the_card_that_it_was_given(manifests):
    text = json.dumps(manifests)
    assert "CUDA_VISIBLE_DEVICES" not in text
    assert '"RR' not in text


def test_settings_travel_by_environment(manifests):
    assert environment(manifests["encoder"])["COLPALI_MODEL"] == "colpali-tiny"
    for parts in manifests.values():
        assert environment(parts)["JINA_OPTOUT_TELEMETRY"] == "1"


def test_a_pod_may_take_ten_minutes_to_start(manifests):
    for parts in manifests.values():
        probe = container(parts)["startupProbe"]
        assert probe["periodSeconds"] * probe["failureThreshold"] == 600


@pytest.mark.slow
def test_the_containers_answer_together(manifests):
    ports = {name: free_port() for name in (*PODS, "gateway-http")}
    with contextlib.ExitStack() as stack:
        pods = {}
        for name, parts in manifests.items():
            environ = environment(parts)
            if not torch.cuda.is_available():
                environ = {
                    key: "cpu" if value == "cuda" else value for key, value in environ.items()
                }
            start = command(parts, ports, name)
            pods[name] = stack.enter_context(
                running(start, ports[name], environ, working_directory(name))
            )
        for pod in pods.values():
            pod.wait_until_ready()
            with grpc.insecure_channel(f"{HOST}:{pod.port}") as channel:
                # As the probes of deploy/kustomization.yml ask: for the server as a whole.
                answer = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest())
                assert answer.status == health_pb2.HealthCheckResponse.SERVING
        client = pods["gateway"].client
        docs = client.post(
            "/embed_queries",
            DocList[QueryDoc]([QueryDoc(id="q", text="how are pages compressed?")]),
            return_type=DocList[QueryDoc],
        )
        assert docs[0].id == "q"
        assert docs[0].embedding.ndim == 2
        with pytest.raises(BadServer) as error:
            client.post("/nope", DocList[QueryDoc]([QueryDoc(text="a")]))
        assert error.value.args[0].status.exception.name == "InvalidInputError"
        with urlopen(f"http://{HOST}:{ports['gateway-http']}/version", timeout=10) as answer:
            assert json.load(answer)["model"]["model"] == "colpali-tiny"


def apply(document, operation):
    *folders, last = operation["path"].strip("/").split("/")
    for folder in folders:
        document = document[int(folder) if isinstance(document, list) else folder]
    assert (last in document) == (operation["op"] == "replace"), operation["path"]
    document[last] = operation["value"]


def test_kustomize_s_patch_fits_the_export(manifests):
    settings = yaml.safe_load((ROOT / "deploy" / "kustomization.yml").read_text())
    assert settings["resources"] == [f"manifests/{name}/{name}.yml" for name in PODS]
    [patch] = settings["patches"]
    assert patch["target"] == {"kind": "Deployment"}
    for parts in manifests.values():
        deployment = json.loads(json.dumps(parts["Deployment"]))
        exported = container(parts)["startupProbe"]
        for operation in yaml.safe_load(patch["patch"]):
            apply(deployment, operation)
        patched = container({"Deployment": deployment})
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            assert patched[probe]["grpc"] == {"port": 8080}
            assert "exec" not in patched[probe]
        for field in ("periodSeconds", "failureThreshold"):
            assert patched["startupProbe"][field] == exported[field]
        assert patched["ports"][0] == {"containerPort": 8080}


def test_both_doors_of_the_gateway_are_open(manifests):
    assert container(manifests["gateway"])["ports"] == [
        {"containerPort": 8080},
        {"containerPort": 8081},
    ]
