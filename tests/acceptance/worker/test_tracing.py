"""Spans of OpenTelemetry, from the call over both queues, as a collector gets them."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from socket import gethostname

import pytest

from tests.support.otlp import Receiver, receiver
from tests.support.ports import own_port
from tests.support.redis import Redis
from tests.support.wait import until
from tests.support.worker import EITHER, POOLS, PROJECT, Worker


@pytest.fixture
def collector() -> Iterator[Receiver]:
    """Who receives the spans."""
    with receiver() as one:
        yield one


@pytest.fixture
def call(broker: Redis, collector: Receiver) -> Callable[..., None]:
    """Call a task of the project some times, in an instrumented process."""

    def call_task(task: str, count: int = 1) -> None:
        subprocess.run(
            [sys.executable, PROJECT / "tracing_sender.py", task, str(count)],
            env={
                **os.environ,
                "PYTHONPATH": str(PROJECT),
                "CELERY_BROKER_URL": broker.url,
                "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
            },
            check=True,
        )

    return call_task


def test_one_trace_goes_over_both_queues(
    collector: Receiver, start: Callable[..., Worker], call: Callable[..., None]
) -> None:
    """
    From `delay()` to the last task of a chain that another worker runs; each says who ran it.
    """
    variables = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "OTEL_BSP_SCHEDULE_DELAY": "100"}
    first = start("prefork", app="tracing", environ=variables).ready()
    second = start("gevent", name="g", app="tracing", queues=["io_bound"], environ=variables)
    second.ready()
    call("outer")

    last = until(lambda: collector.named("run/tracing.last"))[0]
    until(lambda: collector.named("run/tracing.outer") and collector.named("run/tracing.inner"))

    spans = {span.name: span for span in collector.spans}
    assert {last.trace} == {span.trace for span in collector.spans}
    assert spans["run/tracing.outer"].parent == spans["apply_async/tracing.outer"].span
    assert spans["run/tracing.inner"].parent == spans["apply_async/tracing.inner"].span
    assert f"w@{gethostname()}" == spans["run/tracing.outer"].resource["service.instance.id"]
    assert f"g@{gethostname()}" == last.resource["service.instance.id"]
    assert first.alive()


@pytest.mark.parametrize("pool", POOLS)
def test_no_span_is_lost_with_a_child_or_a_stop(
    pool: str, collector: Receiver, start: Callable[..., Worker], call: Callable[..., None]
) -> None:
    """
    A child is replaced after each task, and the worker stops, long before a batch would be sent.
    """
    variables = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "OTEL_BSP_SCHEDULE_DELAY": "600000"}
    extra = ["--max-tasks-per-child=1"] if pool == "prefork" else []
    worker = start(
        pool, app="tracing", queues=["io_bound"], environ=variables, extra_args=extra
    ).ready()
    call("inner", 10)
    until(lambda: worker.output().count("succeeded in") == 10)

    code = worker.stop()

    assert 0 == code
    assert 10 == len(collector.named("run/tracing.inner"))


def test_a_failure_is_an_error_span(
    collector: Receiver, start: Callable[..., Worker], call: Callable[..., None]
) -> None:
    """
    OTEL_SERVICE_NAME names the service, as everywhere.
    """
    variables = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
        "OTEL_BSP_SCHEDULE_DELAY": "100",
        "OTEL_SERVICE_NAME": "courts",
    }
    start("gevent", app="tracing", environ=variables).ready()
    call("failing")

    (span,) = until(lambda: collector.named("run/tracing.failing"))

    assert span.is_error
    assert "courts" == span.resource["service.name"]


@pytest.mark.parametrize("pool", EITHER)
def test_a_collector_that_is_away_stops_no_task_and_no_stop(
    pool: str, start: Callable[..., Worker], send: Callable[..., None]
) -> None:
    """
    Tasks run, and the worker ends with 0 within its time.
    """
    variables = {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{own_port()}"}
    worker = start(pool, environ=variables).ready()
    for number in range(5):
        send("work", number)
    until(lambda: len(worker.ends()) == 5)

    assert 0 == worker.stop()


def test_variables_without_the_extra_are_reported(
    folder: Path, start: Callable[..., Worker], send: Callable[..., None]
) -> None:
    """
    One line says what to install; tasks run.
    """
    blocked = folder / "opentelemetry"
    blocked.mkdir()
    (blocked / "__init__.py").write_text("")
    variables = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9",
        "PYTHONPATH": str(folder),
    }
    worker = start("prefork", environ=variables).ready()
    send("work", 1)
    until(lambda: worker.ends() == {1: 1})

    assert 1 == worker.output().count("install task-server[otel]")
