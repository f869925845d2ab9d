"""Values -> the text that Prometheus reads, whatever is in the labels."""

from collections.abc import Iterable, Iterator, Mapping
from math import inf

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from task_server.metrics.catalogue import METRICS
from task_server.metrics.catalogue import Metric as Row
from task_server.metrics.values import Value
from task_server.monitor.counts import Histogram

CONTENT_TYPE = CONTENT_TYPE_LATEST

#: Characters of a label's value: anyone can name a task or a queue.
LONG = 300


class _Values(Collector):
    """Gives prometheus-client the families of *values*, once."""

    def __init__(self, values: Iterable[Value]) -> None:
        self._values = values

    def describe(self) -> list[Metric]:
        """Return nothing, so that they are not collected when they are registered."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Return the families."""
        return families(self._values)


def text(values: Iterable[Value]) -> bytes:
    """Return *values* as the text of a scrape."""
    registry = CollectorRegistry()
    registry.register(_Values(values))
    return generate_latest(registry)


def families(values: Iterable[Value]) -> Iterator[Metric]:
    """Return a family for each metric that has a value; each set of labels once."""
    found: dict[str, dict[tuple[str, ...], float | Histogram]] = {}
    for name, labels, value in values:
        found.setdefault(name, {}).setdefault(tuple(map(written, labels)), value)
    for name, samples in found.items():
        yield _family(METRICS[name], samples)


def _family(row: Row, samples: Mapping[tuple[str, ...], float | Histogram]) -> Metric:
    if row.kind == "histogram":
        histogram = HistogramMetricFamily(row.name, row.doc, labels=row.labels)
        for labels, one in samples.items():
            if isinstance(one, Histogram):
                below = [(_bound(bound), count) for bound, count in one.cumulative()]
                histogram.add_metric(labels, below, one.sum)
        return histogram
    kind = CounterMetricFamily if row.kind == "counter" else GaugeMetricFamily
    family = kind(row.name, row.doc, labels=row.labels)
    for labels, one in samples.items():
        if not isinstance(one, Histogram):
            family.add_metric(labels, float(one))
    return family


def _bound(seconds: float) -> str:
    return "+Inf" if seconds == inf else repr(seconds)


def written(label: str) -> str:
    """Return *label* as it can be written: UTF-8 has no half of a surrogate pair; and short."""
    return label[:LONG].encode("utf-8", "replace").decode()
