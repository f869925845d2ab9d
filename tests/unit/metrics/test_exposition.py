"""What Prometheus reads, for a snapshot of whatever lies in Redis."""

from dataclasses import replace

from prometheus_client.parser import text_string_to_metric_families as parsed

from task_server.metrics import exposition
from task_server.metrics.catalogue import METRICS, NOT_SERVED
from task_server.metrics.values import MOST, SHOW_SILENT, Value, values
from task_server.monitor.counts import BUCKETS, Counts, Finished, Histogram, TaskStatistics
from task_server.monitor.model import Broker, Rate, Snapshot
from tests.support.snapshots import AT, message, queue, snapshot, worker

Found = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def scraped(found: Snapshot) -> Found:
    """Return the samples of *found* by name and labels, as prometheus-client's parser has them."""
    text = exposition.text(values(found)).decode()
    samples: Found = {}
    for family in parsed(text):
        for one in family.samples:
            key = (one.name, tuple(sorted(one.labels.items())))
            assert key not in samples, f"{key} is there twice"
            samples[key] = one.value
    return samples


def of(samples: Found, metric: str, /, **labels: str) -> float | None:
    return samples.get((metric, tuple(sorted(labels.items()))))


HOSTILE = (
    'a"b',
    "a\\b",
    "a\nb\n# TYPE celery_worker_up counter\nup 1",
    "brief-für-üb€r-🧾",
    "\x00\r\u2028",
    "} 5",
    "",
    "{a,b=",
)


def test_a_queues_name_may_be_anything() -> None:
    """
    Each comes out of the parser as it went in.
    """
    found = scraped(snapshot(*(queue(name) for name in HOSTILE)))

    assert set(HOSTILE) == {
        dict(labels)["queue_name"] for name, labels in found if name == "celery_queue_length"
    }


def test_what_cannot_be_written_is_replaced_and_what_is_long_is_cut() -> None:
    """
    Half of a surrogate pair is no UTF-8; JSON can hold one all the same.
    """
    found = scraped(snapshot(queue("\ud800"), workers=(worker("x" * 100_000 + "@h"),)))

    assert 2 == of(found, "celery_queue_length", queue_name="?")
    assert {exposition.LONG} == {
        len(dict(labels)["node"]) for name, labels in found if name == "celery_worker_up"
    }


def test_two_that_are_written_alike_are_one() -> None:
    """
    Prometheus refuses a scrape in which a sample is twice.
    """
    found = scraped(snapshot(queue("\ud800"), queue("\ud801"), queue("?")))

    assert 2 == of(found, "celery_queue_length", queue_name="?")


def test_a_queue_in_full() -> None:
    """
    Its load is what waits, what runs and what is due soon.
    """
    rate = Rate(per_minute=1.5, is_exact=True)
    one = queue(delayed=9, due_soon=3, in_flight=4, consumers=("prefork@a", "prefork@b"))
    one = replace(one, rate_in=rate, rate_out=rate, dead=5, unreadable=0)
    nodes = (worker("prefork@a"), worker("prefork@b", concurrency=2), worker("other@a"))
    found = scraped(snapshot(one, workers=nodes))

    assert {
        "celery_queue_length": 2,
        "celery_active_consumer_count": 2,
        "celery_active_worker_count": 2,
        "celery_active_process_count": 6,
        "task_server_queue_in_flight": 4,
        "task_server_queue_delayed": 9,
        "task_server_queue_due_soon": 3,
        "task_server_queue_load": 9,
        "task_server_queue_oldest_seconds": 61,
        "task_server_queue_oldest_is_exact": 1,
        "task_server_queue_unreadable": 0,
        "task_server_queue_dead_letters": 5,
        "task_server_queue_unreadable_messages": 0,
        "task_server_queue_paused": 0,
        "task_server_queue_in_per_minute": 1.5,
        "task_server_queue_out_per_minute": 1.5,
    } == {name: value for (name, labels), value in found.items() if dict(labels).keys() == {_QUEUE}}


_QUEUE = "queue_name"


def test_a_queue_that_cannot_be_read_has_no_length() -> None:
    """
    0 would be untrue.
    """
    found = scraped(snapshot(queue(trouble="is no list", waiting={}, oldest=None)))

    assert 1 == of(found, "task_server_queue_unreadable", queue_name="celery")
    assert of(found, "celery_queue_length", queue_name="celery") is None
    assert of(found, "task_server_queue_load", queue_name="celery") is None


def test_a_node_that_came_back_is_one_node() -> None:
    """
    What its former process left is counted as of a silent one; the node is up.
    """
    left = worker("prefork@a", run="old", state="silent", seen=AT - 20)
    former = replace(left, in_flight=(message("1"), message("2")))
    now = worker("prefork@a", run="new", in_flight=(message("3"),), started={"3": AT - 50})
    found = scraped(snapshot(workers=(former, now)))
    node = {"hostname": "a", "node": "prefork@a"}

    assert 1 == of(found, "celery_worker_up", **node)
    assert 3 == of(found, "task_server_worker_in_flight", **node)
    assert 2 == of(found, "task_server_worker_silent_in_flight", **node)
    assert 1 == of(found, "task_server_worker_state", **node, state="silent")
    assert 1 == of(found, "task_server_worker_state", **node, state="ready")
    assert 50 == of(found, "task_server_worker_oldest_task_seconds", **node)
    assert 1 == of(found, "task_server_workers", worker="prefork")


def test_a_silent_worker_is_shown_for_ten_minutes_or_while_it_has_messages() -> None:
    """
    As with celery-exporter; a killed one registers for a day.
    """
    long_ago = AT - SHOW_SILENT - 1
    workers = (
        worker("recent@a", state="silent", seen=AT - 60),
        worker("gone@a", state="silent", seen=long_ago),
        worker("holding@a", state="silent", seen=long_ago, in_flight=(message(),)),
        worker("stock@a", run="", state=None),
    )
    found = scraped(snapshot(workers=workers))
    up = {
        dict(labels)["node"]: value
        for (name, labels), value in found.items()
        if name == "celery_worker_up"
    }

    assert {"recent@a": 0, "holding@a": 0} == up


def test_what_workers_have_finished() -> None:
    """
    Counters and histograms by task and queue, as celery-exporter has them.
    """
    ran = Histogram(counts=(1, 2, *[0] * (BUCKETS - 3), 4), sum=70_000.5)
    total = Finished(succeeded=5, failed=2, retried=1, rejected=3, ran=ran)
    one = TaskStatistics(task='pro"j', queue="celery", total=total, recent=Counts(), seconds=300.0)
    found = scraped(snapshot(tasks=(one,), failed=9))
    label = {"name": 'pro"j', "hostname": "generic", "queue_name": "celery"}

    def times(**more: str) -> list[float | None]:
        name = "celery_task_runtime"
        return [of(found, f"{name}_bucket", **label, le=le) for le in more.values()]

    assert 11 == of(found, "celery_task_received_total", **label)
    assert 11 == of(found, "celery_task_started_total", **label)
    assert 5 == of(found, "celery_task_succeeded_total", **label)
    assert 2 == of(found, "celery_task_failed_total", **label, exception="")
    assert 1 == of(found, "celery_task_retried_total", **label)
    assert 3 == of(found, "celery_task_rejected_total", **label)
    assert 9 == of(found, "task_server_failed_tasks")
    assert [1, 3, 3, 7] == times(a="0.002", b="0.005", c="21600.0", d="+Inf")
    assert (7, 70_000.5) == (
        of(found, "celery_task_runtime_count", **label),
        of(found, "celery_task_runtime_sum", **label),
    )
    assert 0 == of(found, "celery_task_queue_wait_time_count", **label)


def test_what_the_server_does_not_say_is_not_shown() -> None:
    """
    A user without the right to INFO sees no memory of 0 bytes.
    """
    found = scraped(snapshot(broker=Broker(), troubles={"the server": "no permission"}))

    assert 1 == of(found, "task_server_unread", what="the server")
    assert not [name for name, _ in found if name.startswith("task_server_broker_memory")]


def test_more_queues_than_anybody_has_are_cut_and_it_is_said() -> None:
    """
    Whoever may write to Redis can invent names.
    """
    found = scraped(snapshot(*(queue(f"q{number}") for number in range(MOST + 5))))

    assert MOST == len([name for name, _ in found if name == "celery_queue_length"])
    assert 1 == of(found, "task_server_unread", what="more queues")


def test_every_metric_is_in_the_catalogue_with_its_labels() -> None:
    """
    A value of another metric, or with other labels, cannot be written.
    """
    names = {one.name for one in values(snapshot(queue(), workers=(worker(),)))}

    assert names <= set(METRICS)
    counter = Value("task_server_worker_starts_total", ("prefork",), 3)
    text = exposition.text([counter]).decode()
    assert "# TYPE task_server_worker_starts_total counter" in text
    assert 'task_server_worker_starts_total{worker="prefork"} 3.0' in text


_TASK = {"name", "hostname", "queue_name"}

#: What celery-exporter's README lists, with the labels of each.
EXPORTER = {
    **{
        f"celery_task_{end}_total": _TASK
        for end in ("sent", "received", "started", "succeeded", "rejected", "revoked", "retried")
    },
    "celery_task_failed_total": {*_TASK, "exception"},
    "celery_task_runtime": _TASK,
    "celery_worker_up": {"hostname"},
    "celery_worker_tasks_active": {"hostname"},
    "celery_queue_length": {_QUEUE},
    "celery_active_consumer_count": {_QUEUE},
    "celery_active_worker_count": {_QUEUE},
    "celery_active_process_count": {_QUEUE},
}


def test_celery_exporters_names_have_its_labels() -> None:
    """
    Each is there with them, or the page of the metrics says why not.
    """
    served = {name: set(METRICS[name].labels) - {"node"} for name in EXPORTER if name in METRICS}

    assert EXPORTER.items() >= served.items()
    assert set(EXPORTER) - set(served) == set(NOT_SERVED)
