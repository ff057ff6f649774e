"""The order of layers: topological, declared order as tie-break, errors that name what is wrong."""

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from optimizer.model import ConfigurationError
from optimizer.nurseries import ServiceSpec
from optimizer.nurseries.layers import order


async def run(*, task_status: trio.TaskStatus[None]) -> None:
    """Nothing."""
    task_status.started()


def spec(name: str, *needs: str) -> ServiceSpec:
    return ServiceSpec(name=name, run=run, needs=needs)


def names(*specs: ServiceSpec) -> list[str]:
    return [each.name for each in order(specs)]


def test_declared_order_is_kept_where_needs_allow_it() -> None:
    assert names(spec("c"), spec("a"), spec("b")) == ["c", "a", "b"]
    assert names(spec("c", "b"), spec("a"), spec("b")) == ["a", "b", "c"]


def test_the_contract_order() -> None:
    table = [
        spec("storage"),
        spec("collector"),
        spec("integrations"),
        spec("processor", "collector", "storage"),
        spec("rest_api", "processor", "storage"),
        spec("grpc_api", "processor", "storage"),
    ]
    assert names(*table) == ["storage", "collector", "integrations", "processor", "rest_api", "grpc_api"]


@pytest.mark.parametrize(
    ("specs", "words"),
    [
        ([spec("a", "a")], ["a -> a"]),
        ([spec("x"), spec("a", "b"), spec("b", "c"), spec("c", "a")], ["a -> b -> c -> a"]),
        ([spec("d", "a"), spec("a", "b"), spec("b", "a")], ["a -> b -> a"]),
        ([spec("a", "nobody")], ["'a'", "'nobody'"]),
        ([spec("a"), spec("a")], ["'a'", "more than once"]),
    ],
)
def test_errors_name_what_is_wrong(specs: list[ServiceSpec], words: list[str]) -> None:
    with pytest.raises(ConfigurationError) as caught:
        order(specs)
    assert all(word in str(caught.value) for word in words)


@given(st.data())
def test_every_graph_without_a_circle_gets_a_valid_order(data: st.DataObject) -> None:
    size = data.draw(st.integers(1, 8))
    edges = {i: data.draw(st.sets(st.integers(0, i - 1))) if i else set() for i in range(size)}
    declared = data.draw(st.permutations(range(size)))
    placed = names(*(spec(str(i), *(str(j) for j in sorted(edges[i]))) for i in declared))
    assert sorted(placed) == sorted(str(i) for i in range(size))
    assert all(placed.index(str(j)) < placed.index(str(i)) for i in edges for j in edges[i])
