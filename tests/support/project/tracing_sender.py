"""Who calls the tasks of `tracing`, instrumented as OpenTelemetry's documentation says."""

import sys

import tracing
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.instrumentation.celery import CeleryInstrumentor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(OTLPSpanExporter()))
trace.set_tracer_provider(provider)
CeleryInstrumentor().instrument()
task = getattr(tracing, sys.argv[1])
for number in range(int(sys.argv[2])):
    task.delay(*([number] if sys.argv[1] != "failing" else []))
