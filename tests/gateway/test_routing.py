import pytest

from colpali_serve.gateway.routing import RoutingTable, check_routes
from colpali_serve.schemas import ConfigError, InvalidInputError

BOUND = {
    "encoder": ["/embed", "/score", "_jina_dry_run_"],
    "encoder2": ["/embed", "_jina_dry_run_"],
    "ranker": ["/score", "_jina_dry_run_"],
}


def test_no_routes():
    assert check_routes(None, ["encoder"]) == {}


@pytest.mark.parametrize("routes", [["/embed"], "/embed", 3])
def test_routes_must_be_a_mapping(routes):
    with pytest.raises(ConfigError, match="expected a mapping from endpoint to executor"):
        check_routes(routes, ["encoder"])


def test_a_route_to_an_unknown_executor_names_it():
    with pytest.raises(ConfigError) as error:
        check_routes({"/embed": "encodr"}, ["ranker", "encoder"])
    assert error.value.message == (
        "routes: '/embed' goes to executor 'encodr', expected one of encoder, ranker"
    )
    assert error.value.item == "encodr"


def test_a_route_to_an_executor_that_does_not_bind_its_endpoint():
    with pytest.raises(ConfigError) as error:
        RoutingTable({"/embed": "ranker"}, BOUND)
    assert error.value.message == (
        "routes: executor 'ranker' does not bind '/embed', expected one of /score"
    )


def test_a_route_matches_one_name_only():
    # Jina matches patterns at the start of a name: "encoder" alone would take `encoder2` along.
    assert RoutingTable({"/embed": "encoder"}, BOUND).target("/embed", "") == "encoder$"


def test_the_caller_s_target_is_kept():
    assert RoutingTable({"/embed": "encoder"}, BOUND).target("/embed", "encoder2") == "encoder2"


@pytest.mark.parametrize("endpoint", ["", "/", "/Embed", "/default", "embed"])
def test_unknown_endpoints(endpoint):
    with pytest.raises(InvalidInputError, match=r"expected one of /embed, /score$") as error:
        RoutingTable({}, BOUND).target(endpoint, "")
    assert error.value.item == endpoint


def test_a_target_must_bind_the_endpoint():
    with pytest.raises(InvalidInputError, match=r"expected one of encoder, encoder2$"):
        RoutingTable({}, BOUND).target("/embed", "ranker")


def test_an_executor_with_a_default_endpoint_takes_everything():
    table = RoutingTable({"/any": "taker"}, {"taker": ["/default"], "ranker": ["/score"]})
    assert table.target("/any", "") == "taker$"
    assert table.target("/other", "") == ""
    assert table.endpoints == ("/score",)


def test_dry_runs_pass_whatever_the_flow_binds():
    table = RoutingTable({}, {})
    assert table.target("_jina_dry_run_", "") == ""
    with pytest.raises(InvalidInputError, match="this Flow has no endpoints"):
        table.target("/embed", "")


@pytest.mark.parametrize("pattern", ["(" * 9 + ".+" + ")+" * 9 + "!", "a*", "(|a)(|a)", "x" * 201])
def test_patterns_that_could_keep_the_gateway_busy(pattern):
    with pytest.raises(InvalidInputError, match=r"is not allowed, expected names joined by"):
        RoutingTable({}, BOUND).target("/embed", pattern)
