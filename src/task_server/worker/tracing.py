"""
Spans of tasks, sent by OpenTelemetry's SDK, in each process that runs tasks.

The SDK's exporter has a thread, which no child of a pool inherits, and Celery's signal at
the start of a child never comes under gevent. So the SDK is started here, where tasks run:
in each prefork child after its fork, in a gevent worker after the patching. What waits to
be sent is sent before the process ends, also when a child is replaced after some tasks.

Where to comes from OpenTelemetry's own variables (OTEL_EXPORTER_OTLP_ENDPOINT and so on).
A project that has set up a tracer provider itself keeps it, and its spans are flushed too.
"""

import logging
import os
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any, Final

from celery import signals

logger: Final = logging.getLogger(__name__)

#: Any of these says where spans go, or that they go.
VARIABLES: Final = (
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "OTEL_TRACES_EXPORTER",
)

#: What the extra `otel` brings.
PACKAGES: Final = (
    "opentelemetry.sdk",
    "opentelemetry.exporter.otlp.proto.http",
    "opentelemetry.instrumentation.celery",
)

#: Milliseconds that the end of a process waits for a collector that does not answer.
FLUSH_MILLISECONDS: Final = 3000


def is_wanted(environ: Mapping[str, str]) -> bool:
    """Whether the variables of OpenTelemetry say that spans are sent."""
    if environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return False
    if environ.get("OTEL_TRACES_EXPORTER", "otlp").lower() == "none":
        return False
    return any(environ.get(name) for name in VARIABLES)


def install(worker: str, *, green: bool) -> None:
    """
    Send the spans of the tasks that the worker runs, if that is wanted.

    Args:
        worker: The node's name, the attribute `service.instance.id` of its spans.

        green: Whether tasks run in this process, not in its children.
    """
    if not is_wanted(os.environ):
        return
    missing = [name for name in PACKAGES if not _is_there(name)]
    if missing:
        logger.warning(
            "OpenTelemetry's variables are set, and no span is sent: %s cannot be imported; "
            "install task-server[otel], or set OTEL_SDK_DISABLED=true",
            missing[0],
        )
        return
    tracing = Tracing(worker)
    if green:
        signals.worker_init.connect(tracing.start, weak=False)
        signals.worker_shutdown.connect(tracing.stop, weak=False)
    else:
        signals.worker_process_init.connect(tracing.start, weak=False)
        signals.worker_process_shutdown.connect(tracing.stop, weak=False)


class Tracing:
    """The SDK of one process."""

    def __init__(self, worker: str) -> None:
        self._worker = worker
        self._provider: Any = None

    def start(self, **_: Any) -> None:
        """Start it, unless the project has, and have Celery's tasks make spans."""
        # OpenTelemetry is imported by those alone who send spans.
        from opentelemetry import trace  # noqa: PLC0415
        from opentelemetry.instrumentation.celery import CeleryInstrumentor  # noqa: PLC0415

        if isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider):
            trace.set_tracer_provider(self._made())
        self._provider = trace.get_tracer_provider()
        instrumentor: Any = CeleryInstrumentor()  # type: ignore[no-untyped-call]
        if not instrumentor.is_instrumented_by_opentelemetry:
            instrumentor.instrument()

    def stop(self, **_: Any) -> None:
        """Send what waits; a collector that is away delays the end by some seconds at most."""
        flush = getattr(self._provider, "force_flush", None)
        if flush is None:
            return
        try:
            flush(FLUSH_MILLISECONDS)
        except Exception:  # an exporter of the project's may raise anything
            logger.warning("the last spans were not sent", exc_info=True)

    def _made(self) -> Any:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import (  # noqa: PLC0415
            OTLPSpanExporter,
        )
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415

        name = os.environ.get("OTEL_SERVICE_NAME", "task-server")
        given = {"service.name": name, "service.instance.id": self._worker}
        # It is ended below, by `stop`: at exit a child of the pool runs no Python any more.
        provider = TracerProvider(resource=Resource.create(given), shutdown_on_exit=False)
        # A request that hangs must not outlast the flush.
        exporter = OTLPSpanExporter(timeout=FLUSH_MILLISECONDS / 1000)
        provider.add_span_processor(BatchSpanProcessor(exporter))
        return provider


def _is_there(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ImportError:
        return False
