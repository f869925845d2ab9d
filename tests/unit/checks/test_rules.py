"""The other offline rules: delivery, queues, broker and what goes through it."""

from dataclasses import replace

import pytest

from task_server.checks import Context, TaskFacts, offline
from task_server.checks.rules import broker, delivery, routing, timeouts
from task_server.project.queues import Seen
from tests.unit.checks.cases import (
    GEVENT,
    PREFORK,
    SLOW,
    SOFT,
    Row,
    Rule,
    context,
    own,
    says_one_line,
)

MANY = {f"q{number}": ["task_queues"] for number in range(40)}

#: Names that the source has, as in a project with a queue for each kind of work.
SEEN = (
    Seen("batch1", "cl/views.py:31", certain=True),
    Seen("batch2", "cl/tasks.py:7", certain=True),
    Seen("etl", "the setting ETL_QUEUE", certain=False),
    Seen("celery", "cl/tasks.py:8", certain=True),
)

TABLE: list[Row] = [
    (
        "prefetch 1 with late acknowledgement on gevent",
        delivery.stalls,
        context(workers={"gevent": {"prefetch_multiplier": 1, "transport": "kombu"}}),
        "warning",
        "workers.gevent.prefetch_multiplier",
        "set it to 2 or more",
    ),
    (
        "late acknowledgement by the project counts for that, too",
        delivery.stalls,
        context(
            own(task_acks_late=True),
            workers={
                "gevent": {
                    "prefetch_multiplier": 1,
                    "delivery": "at-most-once",
                    "transport": "kombu",
                }
            },
        ),
        "warning",
        "workers.gevent.prefetch_multiplier",
        "two-second poll",
    ),
    (
        "what Kombu's own transport loses",
        delivery.transports,
        context(workers={"prefork": {"transport": "kombu"}}),
        "info",
        "workers.prefork.transport",
        "between fetching a message and registering it",
    ),
    (
        "a Kombu that the atomic transport does not know",
        delivery.transports,
        context(workers=PREFORK, unknown_kombu="kombu 5.9 is outside 5.6.2 <= version < 5.8"),
        "warning",
        "workers.prefork.transport",
        "atomic has no effect, since kombu 5.9 is outside",
    ),
    (
        "events of a worker",
        delivery.events,
        context(workers={"gevent": {"events": True}}),
        "warning",
        "workers.gevent.events",
        "Flower enables it while it runs",
    ),
    (
        "events of the project",
        delivery.events,
        context(own(worker_send_task_events=True)),
        "warning",
        "worker_send_task_events",
        "CELERY_WORKER_SEND_TASK_EVENTS of cl/settings/10-public.py is on",
    ),
    (
        "events of each call",
        delivery.events,
        context(own(task_send_sent_event=True)),
        "info",
        "task_send_sent_event",
        "each call of a task sends another message",
    ),
    (
        "at-least-once is explained",
        delivery.delivery,
        context(workers=PREFORK),
        "ok",
        "workers.prefork.delivery",
        "tasks must tolerate a second run",
    ),
    (
        "at-most-once is explained by what is lost",
        delivery.delivery,
        context(workers={"prefork": {"delivery": "at-most-once"}}),
        "info",
        "workers.prefork.delivery",
        "tasks running when a worker is killed",
    ),
    (
        "the project acknowledges early",
        delivery.delivery,
        context(own(task_acks_late=False), workers=PREFORK),
        "warning",
        "workers.prefork.delivery",
        "at-most-once, since CELERY_TASK_ACKS_LATE of cl/settings/10-public.py is False",
    ),
    (
        "the project acknowledges early, and the operator says so",
        delivery.delivery,
        context(
            own(task_acks_late=False),
            workers={"prefork": {"delivery": "at-most-once"}},
            said=["workers.prefork.delivery"],
        ),
        "info",
        "workers.prefork.delivery",
        "are lost",
    ),
    (
        "the project acknowledges early, and the operator says otherwise",
        delivery.delivery,
        context(own(task_acks_late=False), workers=PREFORK, said=["workers.prefork.delivery"]),
        "info",
        "workers.prefork.delivery",
        "at-least-once, set by task-server.toml, instead of CELERY_TASK_ACKS_LATE of cl",
    ),
    (
        "the operator overrides late acknowledgement",
        delivery.delivery,
        context(
            own(task_acks_late=True),
            workers={"prefork": {"delivery": "at-most-once"}},
            said=["workers.prefork.delivery"],
        ),
        "info",
        "workers.prefork.delivery",
        "at-most-once, set by task-server.toml, instead of",
    ),
    (
        "our default replaces the early acknowledgement of a project that says nothing",
        delivery.delivery,
        context(own(), workers=PREFORK),
        "info",
        "workers.prefork.delivery",
        "our default: the project does not set task_acks_late",
    ),
    (
        "the project acknowledges late itself",
        delivery.delivery,
        context(own(task_acks_late=True), workers=PREFORK),
        "ok",
        "workers.prefork.delivery",
        "set by CELERY_TASK_ACKS_LATE of cl/settings/10-public.py",
    ),
    (
        "a queue of a task without a worker",
        routing.queues,
        context(own((TaskFacts(name="feeds.poll", queue="feeds"),))),
        "error",
        "queue feeds",
        "its tasks never run; it is named by the task feeds.poll",
    ),
    (
        "forty queues are one line with one cure",
        routing.queues,
        context(replace(own(), named=MANY), workers=PREFORK),
        "error",
        "queues",
        'set workers.prefork.queues = "all"',
    ),
    (
        "and those of another worker are left out",
        routing.queues,
        context(replace(own(), named={**MANY, "io_bound": ["task_queues"]})),
        "error",
        "queues",
        '"all" and workers.prefork.extra_args = ["--exclude-queues=io_bound"]',
    ),
    (
        "of a few a list takes none of another worker",
        routing.queues,
        context(replace(own(), named={one: ["task_queues"] for one in ("a", "b", "io_bound")})),
        "error",
        "queues",
        'set workers.prefork.queues = ["celery", "a", "b"]',
    ),
    (
        "what the operator named, and only others send to, stays",
        routing.queues,
        context(
            replace(own(), named=MANY),
            workers={"prefork": {"queues": ("theirs",)}},
            said=["workers.prefork.queues"],
        ),
        "error",
        "queues",
        'set workers.prefork.queues = ["all", "theirs"]',
    ),
    (
        "one worker for all",
        routing.queues,
        context(replace(own(), named=MANY), workers={"prefork": {"queues": ("all",)}}),
        "ok",
        "queues",
        "every queue that Celery knows has a worker: q0",
    ),
    (
        "a default queue without a worker",
        routing.queues,
        context(own(task_default_queue="web")),
        "error",
        "queue web",
        "named by task_default_queue",
    ),
    (
        "every queue has a worker",
        routing.queues,
        context(own((SOFT,))),
        "ok",
        "queues",
        "every queue that Celery knows has a worker: celery, io_bound",
    ),
    (
        "pickle as root",
        broker.pickle,
        context(own(accept_content=["json", "pickle"]), root=True),
        "error",
        "accept_content",
        "Celery refuses to start",
    ),
    (
        "pickle as root by force",
        broker.pickle,
        context(own(accept_content=["json", "pickle"]), root=True, force_root=True),
        "warning",
        "accept_content",
        "anyone who can write to Redis can run code",
    ),
    (
        "pickle by its media type, which Celery does not refuse to root",
        broker.pickle,
        context(
            own(accept_content=["application/x-python-serialize"], task_serializer="pickle"),
            root=True,
        ),
        "warning",
        "accept_content",
        "if no task is called with pickle, remove it",
    ),
    (
        "a serializer that is not accepted",
        broker.pickle,
        context(own(accept_content=["json"], task_serializer="yaml")),
        "error",
        "task_serializer",
        "'yaml' is not in accept_content (json)",
    ),
    (
        "results as messages",
        broker.results,
        context(own(result_backend="rpc://")),
        "warning",
        "result_backend",
        "use a redis:// URL",
    ),
    (
        "results for ever",
        broker.results,
        context(own(result_backend="redis://db", result_expires=None)),
        "warning",
        "result_expires",
        "CELERY_RESULT_EXPIRES of cl/settings/10-public.py is None",
    ),
    (
        "another broker, without its password",
        broker.broker,
        context(own(broker_url="amqp://guest:hunter2@db//")),
        "error",
        "broker_url",
        "the broker is amqp://, but what",
    ),
    (
        "a broker that is no URL, without its password",
        broker.broker,
        context(own(broker_url="guest:hunter2@db")),
        "error",
        "broker_url",
        "has no scheme",
    ),
    (
        "tasks that run where they are called",
        broker.eager,
        context(own(task_always_eager=True)),
        "error",
        "task_always_eager",
        "CELERY_TASK_ALWAYS_EAGER of cl/settings/10-public.py is on: tasks run in the process",
    ),
    ("no broker", broker.broker, context(own()), "error", "broker_url", "TASK_SERVER_BROKER_URL"),
    (
        "a bound on connections that makes greenlets wait",
        broker.connections,
        context(own(broker_transport_options__max_connections=4), workers=GEVENT),
        "warning",
        "broker_transport_options.max_connections",
        "the 512 concurrent tasks of gevent wait for each other",
    ),
    (
        "a number of the project for another pool",
        broker.replaced,
        context(own(worker_concurrency=8)),
        "info",
        "worker_concurrency",
        "gevent uses 512, chosen for its pool, gevent (the project's is for prefork)",
    ),
    (
        "a number of the project that the operator replaces",
        broker.replaced,
        context(
            own(worker_concurrency=8),
            workers={"prefork": {"concurrency": 3}},
            said=["workers.prefork.concurrency"],
        ),
        "info",
        "worker_concurrency",
        "does not apply: prefork uses 3, set by task-server.toml",
    ),
    (
        "the pool of the project",
        broker.replaced,
        context(own(worker_pool="gevent")),
        "info",
        "worker_pool",
        "has no effect: each worker has its own pool",
    ),
]


@pytest.mark.parametrize("row", TABLE, ids=[row[0] for row in TABLE])
def test_a_rule_says_one_line(row: Row) -> None:
    """
    A rule names the setting, what is wrong with it, and the repair; and no other line.
    """
    says_one_line(*row[1:])


@pytest.mark.parametrize(
    ("rule", "given"),
    [
        (
            timeouts.soft_limits,
            context(own((SOFT,)), workers={"prefork": {"queues": ("io_bound",)}}),
        ),
        (timeouts.soft_limits, context(own((replace(SOFT, queue="celery"),)))),
        (
            delivery.stalls,
            context(workers={"prefork": {"prefetch_multiplier": 1}}, transport="kombu"),
        ),
        (delivery.stalls, context(workers={"gevent": {"prefetch_multiplier": 1}})),
        (
            delivery.stalls,
            context(workers={"gevent": {"prefetch_multiplier": 2}}, transport="kombu"),
        ),
        (delivery.transports, context()),
        (
            delivery.stalls,
            context(
                own(task_acks_late=False),
                workers={"gevent": {"prefetch_multiplier": 1}},
                transport="kombu",
            ),
        ),
        (delivery.events, context(own(worker_send_task_events=False))),
        (routing.queues, context()),
        (broker.pickle, context(own(accept_content=["json"]))),
        (broker.results, context(own(result_backend="redis://db", result_expires=3600))),
        (broker.eager, context(own(task_always_eager=False))),
        (broker.results, context(own(result_backend="django-db", result_expires=None))),
        (broker.results, context(own(result_backend="db+postgresql://db", result_expires=None))),
        (broker.replaced, context(own(worker_concurrency=8), workers=PREFORK)),
        (broker.broker, context(own(broker_url="rediss://db"))),
        (broker.broker, context(own(broker_url=["redis://a", "redis://b"]))),
        (broker.broker, context(own(), config={"broker_url": "redis://db"})),
        (broker.connections, context(own(broker_transport_options__max_connections=10))),
        (
            broker.connections,
            context(own(broker_transport_options__max_connections=2), workers=PREFORK),
        ),
    ],
)
def test_a_rule_is_silent_where_nothing_is_wrong(rule: Rule, given: Context) -> None:
    """
    What is right and needs no explanation has no line.
    """
    assert [] == list(rule(given))


def test_tasks_that_acknowledge_early_are_listed() -> None:
    """
    Tasks with acks_late=False are named, with what a kill means for them.
    """
    tasks = (
        TaskFacts(name="mail.send", acks_late=False),
        TaskFacts(name="docket.read"),
        TaskFacts(name="pay.charge", acks_late=False),
    )

    found = [one for one in delivery.delivery(context(own(tasks))) if one.setting == "acks_late"]

    assert ["info"] == [one.level for one in found]
    assert "mail.send, pay.charge declare acks_late=False" in found[0].message


def test_a_task_of_a_lost_process_that_is_not_rejected_is_reported() -> None:
    """
    Late acknowledgement without reject_on_worker_lost loses what an out-of-memory kill ends.
    """
    facts = own(task_reject_on_worker_lost=False)

    found = {one.setting: one for one in delivery.delivery(context(facts))}

    assert "warning" == found["task_reject_on_worker_lost"].level


def test_queues_that_only_the_source_names_are_candidates() -> None:
    """
    Calls and settings name queues that Celery does not know of; each has its place, once.
    """
    found = {one.setting: one for one in routing.queues(context(replace(own(), seen=SEEN)))}

    assert {"queues": "ok", "queues of calls": "warning", "names of queues": "warning"} == {
        name: one.level for name, one in found.items()
    }
    assert "batch1 (cl/views.py:31), batch2 (cl/tasks.py:7); set" in found["queues of calls"].text
    assert 'set workers.prefork.queues = "all"' == found["queues of calls"].repair
    assert "etl (the setting ETL_QUEUE); if tasks are sent there" in found["names of queues"].text
    # Pasting the last of the lines is enough for all.
    assert 'set workers.prefork.queues = ["all", "etl"]' in found["names of queues"].repair


def test_the_word_for_all_takes_the_queues_of_calls_and_not_what_may_be_one() -> None:
    """
    As the worker has it, so that the check is silent about what is taken.
    """
    given = context(replace(own(), seen=SEEN), workers={"prefork": {"queues": ("all",)}})

    found = {one.setting: one for one in routing.queues(given)}

    assert {"queues", "names of queues"} == set(found)
    assert 'set workers.prefork.queues = ["all", "etl"]' in found["names of queues"].repair


def test_two_places_are_two_lines() -> None:
    """
    Each place that is too small is named, as each has to be repaired.
    """
    facts = own(
        (SLOW,),
        broker_transport_options__visibility_timeout=60,
        result_backend_transport_options__visibility_timeout=60,
    )

    given = context(facts, config={"visibility_timeout": 10000}, transport="kombu")
    found = list(timeouts.visibility(given))

    assert list(timeouts.PLACES[1:]) == [one.setting for one in found]


def test_without_a_project_all_rules_run() -> None:
    """
    What can be said without the project is said, and is right by default.
    """
    assert {"ok", "info"} == {one.level for one in offline(context())}


def test_what_rests_on_a_project_that_could_not_be_read_is_not_said() -> None:
    """
    Only what the configuration alone says has a line, and which checks were not made.
    """
    found = list(offline(context(import_failed=True)))

    assert {"info"} == {one.level for one in found}
    assert {
        "workers.prefork.drain_seconds",
        "workers.gevent.drain_seconds",
        "not checked",
    } == {one.setting for one in found}
    assert "queues, visibility timeout," in found[-1].message
