"""What celery-exporter's dashboards and rules ask for, of a Prometheus beside a worker."""

import json
import urllib.parse
from collections.abc import Callable
from typing import Any

from tests.acceptance.metrics.test_prometheus import prometheus
from tests.support.metrics import Metrics
from tests.support.redis import Redis
from tests.support.wait import until
from tests.support.worker import Worker

__all__ = ["prometheus"]

#: What the pickers of queue and task list: label -> series.
PICKERS = {
    "job": "celery_worker_up",
    "queue_name": 'celery_task_received_total{job="task-server", name!~"None"}',
    "name": 'celery_task_received_total{job="task-server", queue_name=~"celery", name!~"None"}',
}

#: What each panel selects, once queue and task are chosen.
CHOSEN = 'job="task-server", queue_name=~"celery", name=~"proj.work"'


def counted(end: str) -> str:
    """Return the expression by which panels count tasks."""
    return f"sum(round(increase(celery_task_{end}_total{{{CHOSEN}}}[1w])))"


#: Panels, by what they show: each has a value here that is not 0.
PANELS = {
    "workers": 'count(celery_worker_up{job="task-server"} == 1)',
    "queue length": 'sum(celery_queue_length{job="task-server"}) by (job, queue_name)',
    "received": counted("received"),
    "started": counted("started"),
    "succeeded": counted("succeeded"),
    "failed": counted("failed"),
    "success rate": f"{counted('succeeded')} / ({counted('succeeded')} + {counted('failed')})",
    "failed, by task": f"sum(increase(celery_task_failed_total{{{CHOSEN}}}[1w]) > 0) by (name)",
    "failed, by exception": (
        f"sum(increase(celery_task_failed_total{{{CHOSEN}}}[1w])) by (job, exception) > 0"
    ),
    "average runtime": (
        f"sum(rate(celery_task_runtime_sum{{{CHOSEN}}}[1w])) by (name)"
        f" / sum(rate(celery_task_runtime_count{{{CHOSEN}}}[1w])) by (name) > 0"
    ),
    "95 % within": (
        "histogram_quantile(0.95, sum(rate("
        f"celery_task_runtime_bucket{{{CHOSEN}}}[1h]) > 0) by (name, job, le))"
    ),
}

#: Those that are 0 here.
ZERO = {
    "active": 'sum(celery_worker_tasks_active{job="task-server"})',
    "retried": counted("retried"),
    "rejected": counted("rejected"),
}


def test_each_picker_and_each_panel_has_its_data(
    prometheus: tuple[Metrics, Callable[[str], Any]],
    start: Callable[..., Worker],
    send: Callable[..., None],
    broker: Redis,
) -> None:
    """
    Queues and tasks can be chosen, and what was chosen is counted.
    """
    _, ask = prometheus
    start("prefork", timing={"registration": 0.2}).ready()
    broker.client.rpush("elsewhere", "1")
    broker.client.sadd("_kombu.binding.elsewhere", "elsewhere\x06\x16\x06\x16elsewhere")

    def answers(query: str) -> list[float]:
        found = ask(f"/api/v1/query?query={urllib.parse.quote(query)}")
        return [float(one["value"][1]) for one in found["result"]] if found else []

    def listed(label: str) -> set[str]:
        match = urllib.parse.quote(PICKERS[label])
        return {one.get(label, "") for one in ask(f"/api/v1/series?match[]={match}") or ()}

    def all_have_data() -> bool:
        # A counter that does not grow between two scrapes has no increase; this fails for want
        # of an argument.
        send("work", 1)
        send("work")
        return all(any(one > 0 for one in answers(query)) for query in PANELS.values())

    until(all_have_data, json.dumps({what: answers(query) for what, query in PANELS.items()}))

    assert {"job": {"task-server"}, "queue_name": {"celery"}, "name": {"proj.work"}} == {
        label: listed(label) for label in PICKERS
    }
    assert all(answers(query) for query in ZERO.values())
