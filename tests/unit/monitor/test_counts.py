"""Histograms and counts."""

from math import inf

import pytest

from task_server.monitor import BOUNDS, Counts, Finished, Histogram, TaskStatistics
from task_server.transport.store.statistics import bucket


def of(*seconds: float) -> Histogram:
    """Return the histogram of *seconds*."""
    counts = [0] * (len(BOUNDS) + 1)
    for one in seconds:
        counts[bucket(one)] += 1
    return Histogram(counts=tuple(counts), sum=sum(seconds))


@pytest.mark.parametrize(
    ("seconds", "number"), [(0, 0), (0.002, 0), (0.0021, 1), (1.0, 8), (21600, 21), (1e9, 22)]
)
def test_a_bucket_has_what_took_no_longer_than_its_bound(seconds: float, number: int) -> None:
    """
    As `le` of Prometheus; the last has all that took longer.
    """
    assert number == bucket(seconds)


def test_quantiles() -> None:
    """
    Between the bounds of the bucket; None of nothing, and the last bound of what is beyond it.
    """
    many = of(*(99 * [0.7]), 50.0)

    assert None is Histogram().quantile(0.95)
    assert 0.5 < many.quantile(0.5) <= 1.0
    assert 0.5 < many.quantile(0.95) <= 1.0
    assert 30 < many.quantile(0.995) <= 60
    assert BOUNDS[-1] == of(1e6).quantile(0.5)


def test_the_cumulative_counts_end_with_all() -> None:
    """
    As Prometheus has a histogram.
    """
    found = list(of(0.001, 0.3, 1e6).cumulative())

    assert (0.002, 1) == found[0]
    assert (BOUNDS[-1], 2) == found[-2]
    assert (inf, 3) == found[-1]


def test_sums() -> None:
    """
    Of counts, and of those with their times.
    """
    one = Finished(succeeded=1, ran=of(1.0))
    both = one + Finished(failed=2, ran=of(2.0, 3.0), waited=of(0.1))

    assert (1, 2, 3) == (both.succeeded, both.failed, both.ended)
    assert (3, 6.0, 1) == (both.ran.count, both.ran.sum, both.waited.count)
    assert Counts(retried=3) == sum([Counts(retried=1), Counts(retried=2)], Counts())


def test_rates_of_a_task() -> None:
    """
    Over the seconds of its recent counts.
    """
    one = TaskStatistics(
        task="t", queue="q", total=Finished(), recent=Counts(succeeded=9, failed=3), seconds=360
    )

    assert (2.0, 0.5) == (one.per_minute(), one.per_minute("failed"))
