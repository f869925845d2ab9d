"""The alert rules and the dashboard, by promtool; and a Prometheus that scrapes."""

import json
import re
import shutil
import subprocess
import urllib.parse
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from task_server.metrics.catalogue import METRICS
from tests.support.metrics import OPENER, Metrics
from tests.support.ports import own_port
from tests.support.prometheus import program, promtool
from tests.support.redis import Redis
from tests.support.require import Require
from tests.support.wait import PATIENCE, until

__all__ = ["promtool"]

ROOT = Path(__file__).parents[3]
RULES = ROOT / "deploy" / "prometheus"
DASHBOARD = ROOT / "deploy" / "grafana" / "task-server.json"

Promtool = Callable[..., str]

#: Of an expression: what may be a metric.
NAME = re.compile(r"\b(?:celery|task_server)_\w+\b")

#: A histogram's series.
SERIES = re.compile(r"_(bucket|sum|count)$")


def metrics_in(expression: str) -> set[str]:
    """Return the metrics that *expression* asks for."""
    found = set()
    for name in NAME.findall(expression):
        family = SERIES.sub("", name)
        is_histogram = family in METRICS and METRICS[family].kind == "histogram"
        found.add(family if is_histogram else name)
    return found


def labels_in(expression: str) -> set[str]:
    """Return the labels that *expression* selects or groups by."""
    grouped = re.findall(r"\b(?:by|without|on|ignoring)\s*\(([^)]*)\)", expression)
    selected = re.findall(r"\{([^}]*)\}", expression)
    names = {name.strip() for one in grouped for name in one.split(",")}
    return {*names, *(name for one in selected for name in re.findall(r"(\w+)\s*[=!]", one))} - {""}


def labels_of(expression: str) -> set[str]:
    """Return the labels that *expression* may use: of its metrics, of each scrape, of alerts."""
    found = {label for name in metrics_in(expression) for label in METRICS[name].labels}
    return {*found, "le", "job", "instance", "alertname", "alertstate"}


def rules() -> list[dict[str, Any]]:
    """Return the alert rules."""
    (group,) = yaml.safe_load((RULES / "task-server.rules.yml").read_text())["groups"]
    found: list[dict[str, Any]] = group["rules"]
    return found


def expressions() -> Iterator[tuple[str, str]]:
    """Return the expressions of the dashboard's panels and variables, with their titles."""
    dashboard = json.loads(DASHBOARD.read_text())
    for panel in dashboard["panels"]:
        for target in panel.get("targets", ()):
            yield panel["title"], target["expr"]
    for variable in dashboard["templating"]["list"]:
        if variable["type"] == "query":
            query = variable["query"]
            text = query if isinstance(query, str) else query["query"]
            yield variable["name"], re.sub(r"^label_values\((.*), \w+\)$", r"\1", text)


def test_the_rules_fire_when_they_should_and_only_then(promtool: Promtool) -> None:
    """
    Each one that is tested beside them.
    """
    promtool(RULES, "check", "rules", "task-server.rules.yml")
    promtool(RULES, "test", "rules", "task-server.tests.yml")


def test_each_rule_is_tested() -> None:
    """
    One that fires, in the file beside the rules.
    """
    text = (RULES / "task-server.tests.yml").read_text()
    fire = set(re.findall(r"labels: .*alertname=\"(\w+)\", alertstate=\"firing\"", text))

    assert {rule["alert"] for rule in rules()} == fire


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule["alert"])
def test_each_rule_says_what_to_do_and_where_more_is_said(rule: dict[str, Any]) -> None:
    """
    Its metrics exist, and its page has its section.
    """
    page, _, anchor = rule["annotations"]["runbook_url"].rpartition("#")
    path = page.partition("/blob/main/")[2]
    titles = re.findall(r"^## (\w+)$", (ROOT / path).read_text(), re.MULTILINE)

    assert metrics_in(rule["expr"]) <= set(METRICS)
    assert metrics_in(rule["expr"])
    assert rule["alert"] in titles
    assert rule["alert"].lower() == anchor
    assert len(rule["annotations"]["description"]) > 60
    assert rule["labels"]["severity"] in ("warning", "critical")


def test_no_section_is_of_a_rule_that_is_gone() -> None:
    """
    The page has the sections of the rules, in their order.
    """
    text = (ROOT / "docs" / "how-to" / "alerts.md").read_text()

    assert [rule["alert"] for rule in rules()] == re.findall(r"^## (\w+)$", text, re.MULTILINE)


def test_the_dashboard_asks_for_what_there_is(promtool: Promtool, tmp_path: Path) -> None:
    """
    Each expression can be parsed, and each metric in it is one of ours, with those labels.
    """
    plain = [
        (title, re.sub(r"\[\$__\w+\]", "[5m]", expr).replace("$", ""))
        for title, expr in expressions()
    ]
    written = [{"record": f"panel:{one}", "expr": expr} for one, (_, expr) in enumerate(plain)]
    (tmp_path / "rules.yml").write_text(
        yaml.safe_dump({"groups": [{"name": "panels", "rules": written}]})
    )

    assert len(plain) > 10
    assert [] == [
        (title, unknown)
        for title, expr in plain
        if (unknown := metrics_in(expr) - set(METRICS) or labels_in(expr) - labels_of(expr))
    ]
    promtool(tmp_path, "check", "rules", "rules.yml")


def test_every_alert_is_seen_on_the_dashboard() -> None:
    """
    What an alert goes by can be looked at.
    """
    shown = {name for _, expr in expressions() for name in metrics_in(expr)}
    alerted = {name for rule in rules() for name in metrics_in(rule["expr"])}

    assert alerted <= shown


@pytest.fixture
def prometheus(
    require: Require, tmp_path: Path, serve: Callable[..., Metrics]
) -> Iterator[tuple[Metrics, Callable[[str], Any]]]:
    """Have a Prometheus that scrapes the metrics; return how its API is asked."""
    binary = program(require, "prometheus")
    metrics = serve()
    target = metrics.url.removeprefix("http://")
    shutil.copy(RULES / "task-server.rules.yml", tmp_path)
    config = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": ["task-server.rules.yml"],
        "scrape_configs": [{"job_name": "task-server", "static_configs": [{"targets": [target]}]}],
    }
    (tmp_path / "prometheus.yml").write_text(yaml.safe_dump(config))
    port = own_port()
    log = tmp_path / "prometheus.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [
                binary,
                f"--config.file={tmp_path / 'prometheus.yml'}",
                f"--storage.tsdb.path={tmp_path / 'data'}",
                f"--web.listen-address=127.0.0.1:{port}",
            ],
            stdout=output,
            stderr=output,
        )

    def ask(path: str) -> Any:
        if process.poll() is not None:
            pytest.fail(log.read_text())
        try:
            with OPENER.open(f"http://127.0.0.1:{port}{path}", timeout=PATIENCE) as answer:
                return json.loads(answer.read())["data"]
        except OSError:
            return None

    yield metrics, ask
    process.terminate()
    process.wait(PATIENCE)


def test_a_prometheus_scrapes_it_and_knows_the_rules(
    prometheus: tuple[Metrics, Callable[[str], Any]], broker: Redis
) -> None:
    """
    The target is up, the samples are those of the scrape, no rule fails.
    """
    metrics, ask = prometheus
    odd = 'q"\\ü\n1'
    broker.client.rpush("celery", "1", "2")
    broker.client.sadd("_kombu.binding.odd", f"\x06\x16\x06\x16{odd}")

    def value(query: str) -> list[tuple[dict[str, str], str]]:
        found = ask(f"/api/v1/query?query={urllib.parse.quote(query)}")
        return [(one["metric"], one["value"][1]) for one in found["result"]] if found else []

    until(
        lambda: any(number == "2" for _, number in value('celery_queue_length{job="task-server"}'))
    )
    names = {one["queue_name"] for one, _ in value("celery_queue_length")}
    until(lambda: odd in {one["queue_name"] for one, _ in value("celery_queue_length")})

    def evaluated() -> list[dict[str, Any]]:
        (group,) = ask("/api/v1/rules")["groups"]
        every: list[dict[str, Any]] = group["rules"]
        return every if all(one["health"] != "unknown" for one in every) else []

    known = until(evaluated)

    assert "celery" in names
    assert ["1"] == [number for _, number in value('up{job="task-server"}')]
    assert ["1"] == [number for _, number in value("task_server_up")]
    assert {"ok"} == {one["health"] for one in known}
    assert [rule["alert"] for rule in rules()] == [one["name"] for one in known]
    assert 200 == metrics.get("/healthz")[0]
