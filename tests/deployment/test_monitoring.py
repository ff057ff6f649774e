"""Dashboards, rules and scrape configuration speak of metrics that exist: names are checked against the registry."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from optimizer.config import Settings
from optimizer.observability import make_metrics

ROOT = Path(__file__).parents[2] / "config"
DASHBOARDS = sorted((ROOT / "grafana").glob("*.json"))
# What PromQL itself brings, and `up`, which Prometheus adds for every target.
WORDS = {
    "sum", "rate", "increase", "by", "histogram_quantile", "label_values", "up", "and", "or", "unless", "max", "avg",
    "min", "count", "without", "on", "ignoring", "topk", "bool", "clamp_min", "le",
}  # fmt: skip


def names(expression: str) -> set[str]:
    """The metric names in a PromQL expression: identifiers outside label matchers, groupings and texts."""
    bare = re.sub(r'"[^"]*"', "", expression)
    bare = re.sub(r"\{[^}]*\}|\[[^\]]*\]", " ", bare)
    bare = re.sub(r"\b(by|without|on|ignoring)\s*\([^)]*\)", " ", bare)
    return set(re.findall(r"[a-zA-Z_:][a-zA-Z0-9_:]*", bare)) - WORDS


def labels(expression: str) -> set[str]:
    """The label names that an expression matches or groups by."""
    matched = re.findall(r"([a-z_]+)\s*(?:=~|!~|!=|=)\s*\"", expression)
    grouped = [name for group in re.findall(r"\bby\s*\(([^)]*)\)", expression) for name in group.split(",")]
    return {name.strip() for name in [*matched, *grouped]}


def known() -> tuple[set[str], set[str]]:
    """Every series name that the server can expose, and every label on them."""
    series: set[str] = set()
    seen: set[str] = {"instance", "job", "le"}
    for collector, exposed in make_metrics().registry._collector_to_names.items():
        series |= set(exposed)
        seen |= set(getattr(collector, "_labelnames", ()))
    return series, seen


def dashboard_expressions() -> Iterator[tuple[str, str]]:
    for path in DASHBOARDS:
        for panel in json.loads(path.read_text())["panels"]:
            for target in panel.get("targets", ()):
                yield f"{path.name}: {panel['title']}", target["expr"]


def rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load((ROOT / "prometheus/rules.yml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def rule_expressions() -> Iterator[tuple[str, str]]:
    for rule in rules():
        yield f"rule {rule.get('alert') or rule.get('record')}", rule["expr"]


@pytest.mark.parametrize(("where", "expression"), [*dashboard_expressions(), *rule_expressions()])
def test_every_name_exists(where: str, expression: str) -> None:
    series, label_names = known()
    recorded = {rule["record"] for rule in rules() if "record" in rule}
    assert names(expression) or expression.startswith("up{"), where
    assert names(expression) <= series | recorded, where
    assert labels(expression) <= label_names, where
    for opening, closing in ("()", "{}", "[]"):
        assert expression.count(opening) == expression.count(closing), where


def test_the_parser_of_this_test_sees_a_wrong_name() -> None:
    assert names('sum by (a, b) (rate(nothing_total{x=~"y"}[5m])) / 2') == {"nothing_total"}
    assert labels('sum by (a, b) (rate(nothing_total{x=~"y",z="1"}[5m]))') == {"a", "b", "x", "z"}


def test_every_metric_of_the_mechanism_is_on_the_dashboard() -> None:
    shown = {name for _, expression in dashboard_expressions() for name in names(expression)}
    for exposed in make_metrics().registry._collector_to_names.values():
        assert shown & set(exposed), f"{exposed[0]} needs a panel in config/grafana/overview.json"


def test_panels_are_whole() -> None:
    for path in DASHBOARDS:
        dashboard = json.loads(path.read_text())
        ids = [panel["id"] for panel in dashboard["panels"]]
        assert len(ids) == len(set(ids))
        variables = {each["name"] for each in dashboard["templating"]["list"]}
        assert set(re.findall(r"\$\{?([a-z]+)\}?", path.read_text())) <= variables


def test_alerts_say_how_bad_and_what() -> None:
    for rule in rules():
        if "alert" in rule:
            assert rule["labels"]["severity"] in {"critical", "warning", "info"}
            assert rule["annotations"]["summary"]


def test_the_scrape_target_is_the_metrics_port() -> None:
    (job,) = yaml.safe_load((ROOT / "prometheus/prometheus.yml").read_text())["scrape_configs"]
    assert job["static_configs"][0]["targets"] == [f"localhost:{Settings().observability.metrics_port}"]
    assert job["metrics_path"] == "/metrics"
