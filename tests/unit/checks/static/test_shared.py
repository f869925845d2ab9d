"""Rules of the ordinary check, on what the source states."""

import pytest

from tests.unit.checks.static.conftest import Scan, places

TASKS = """from celery import shared_task


@shared_task(time_limit=7200)
def read():
    ...
"""
WORKERS = "[workers.prefork]\nqueues = ['celery', 'bulk']\n"
PROJECT = {"shop/__init__.py": "", "shop/tasks.py": TASKS, "task-server.toml": WORKERS}

#: What names a queue, and the level of the finding.
NAMED = {
    "CELERY_TASK_ROUTES = {'shop.tasks.*': {'queue': 'lost'}}": "error",
    "CELERY_TASK_ROUTES = {'shop.tasks.*': 'lost'}": "error",
    "CELERY_TASK_ROUTES = [{'shop.tasks.read': {'queue': 'lost'}}]": "error",
    "CELERY_TASK_QUEUES = [Queue('lost')]": "error",
    "CELERY_TASK_DEFAULT_QUEUE = 'lost'": "error",
    "CELERY_BEAT_SCHEDULE = {'x': {'options': {'queue': 'lost'}}}": "error",
    "Q = 'lost'\nCELERY_TASK_ROUTES = {'shop.tasks.*': {'queue': Q}}": "error",
    "from celery import shared_task\n\n\n@shared_task(queue='lost')\ndef x():\n    ...": "error",
    "from shop.tasks import read\nread.apply_async(queue='lost')": "warning",
}


@pytest.mark.parametrize("source", NAMED)
def test_a_queue_that_no_worker_consumes(source: str, found: Scan) -> None:
    """
    It is found where it is named: certain for what Celery knows, a warning for calls.
    """
    (one,) = found({**PROJECT, "shop/settings/__init__.py": f"{source}\n"})

    assert ("queue-without-worker", NAMED[source]) == (one.rule, one.level)
    assert "set workers.prefork.queues = " in one.repair


@pytest.mark.parametrize(
    "source",
    [
        "CELERY_TASK_ROUTES = {'shop.tasks.*': {'queue': 'bulk'}}",
        "CELERY_TASK_ROUTES = {'shop.tasks.*': {'queue': unknown()}}",
        "from shop.tasks import read\nread.apply_async(queue=queue)",
        "log(queue='lost')",
    ],
)
def test_a_queue_that_is_consumed_or_not_known(source: str, found: Scan) -> None:
    """
    Neither is a finding.
    """
    assert [] == found({**PROJECT, "shop/settings.py": f"{source}  # celery\n"})


def test_without_a_worker_in_the_configuration_no_queue_is_judged(found: Scan) -> None:
    """
    Nobody knows then which workers run; `all` consumes what the source names.
    """
    source = {"shop/settings.py": "CELERY_TASK_ROUTES = {'shop.tasks.*': {'queue': 'lost'}}\n"}
    every = {"task-server.toml": "[workers.prefork]\nqueues = 'all'\n"}

    assert [] == found({**PROJECT, **source, **every})
    assert [] == found({**PROJECT, **source, "task-server.toml": ""})


#: Files with settings, and the rule.
STATED: list[tuple[dict[str, str], list[str]]] = [
    ({"settings.py": "CELERY_TASK_ALWAYS_EAGER = True\n"}, ["eager-mode"]),
    ({"settings/10-public.py": "CELERY_ALWAYS_EAGER = True\n"}, ["eager-mode"]),
    ({"celery.py": "app = Celery()\napp.conf.task_always_eager = True\n"}, ["eager-mode"]),
    ({"settings.py": "if TESTING:\n    CELERY_TASK_ALWAYS_EAGER = True\n"}, []),
    ({"settings.py": "CELERY_TASK_ALWAYS_EAGER = env('EAGER')\n"}, []),
    ({"settings/test.py": "CELERY_TASK_ALWAYS_EAGER = True\n"}, []),
    ({"settings_dev.py": "CELERY_TASK_ALWAYS_EAGER = True\n"}, []),
    ({"settings/local.py": "CELERY_TASK_ALWAYS_EAGER = True\n"}, []),
    (
        {
            "settings/base.py": "CELERY_TASK_ALWAYS_EAGER = True\n",
            "settings/production.py": "CELERY_TASK_ALWAYS_EAGER = False\n",
        },
        [],
    ),
    ({"settings.py": "OTHER_ALWAYS_EAGER = True  # celery\n"}, []),
    ({"settings.py": "CELERY_ACCEPT_CONTENT = ['json', 'pickle']\n"}, ["pickle-accepted"]),
    ({"settings.py": "CELERY_ACCEPT_CONTENT = ['json'] + MORE\n"}, []),
    ({"settings.py": "CELERY_WORKER_SEND_TASK_EVENTS = True\n"}, ["events-always-on"]),
    ({"settings.py": "CELERY_WORKER_SEND_TASK_EVENTS = 'yes' * 3\n"}, []),
]


@pytest.mark.parametrize(("files", "rules"), STATED, ids=str)
def test_settings_that_the_source_states(
    files: dict[str, str], rules: list[str], found: Scan
) -> None:
    """
    What is certain of the settings that workers get, not those of tests and of development.
    """
    named = {f"shop/{name}": text for name, text in files.items()}

    assert rules == [one.rule for one in found({**PROJECT, **named})]


def test_a_time_limit_above_the_visibility_timeout(found: Scan) -> None:
    """
    With Kombu's transport, whose workers renew no lease.
    """
    settings = "CELERY_BROKER_TRANSPORT_OPTIONS = {'visibility_timeout': 3600}\n"
    kombu = {"task-server.toml": f"{WORKERS}transport = 'kombu'\n"}

    assert [] == found({**PROJECT, "shop/settings.py": settings})
    assert [("visibility-timeout-below-limit", "shop/settings.py", 1)] == places(
        found({**PROJECT, **kombu, "shop/settings.py": settings})
    )


def test_views_under_atomic_requests(found: Scan) -> None:
    """
    A view may send before the commit; one that is excepted, or another function, does not.
    """
    settings = "DATABASES = {'default': {'ENGINE': 'x', 'ATOMIC_REQUESTS': True}}\n"
    views = """from django.db import transaction
from django.views import View

from shop.tasks import read


def buy(request):
    read.delay()


@transaction.non_atomic_requests
def look(request):
    read.delay()


class Buy(View):
    def post(self, request):
        read.delay()

    def helper(self):
        read.delay()


def helper(order):
    read.delay()
"""
    files = {**PROJECT, "shop/views.py": views}

    assert [] == found(files)
    findings = found({**files, "shop/settings.py": settings})
    assert [("delay-inside-transaction", 8), ("delay-inside-transaction", 18)] == [
        (one.rule, one.line) for one in findings
    ]
    assert {"info"} == {one.level for one in findings}


@pytest.mark.parametrize(
    ("call", "rules"),
    [
        ("sender.add_periodic_task(60, read.s())", ["beat-period-below-time-limit"]),
        (
            "sender.add_periodic_task(timedelta(hours=1), read.s())",
            ["beat-period-below-time-limit"],
        ),
        (
            "sender.add_periodic_task(crontab(minute='*/30'), read.s())",
            ["beat-period-below-time-limit"],
        ),
        ("sender.add_periodic_task(crontab(minute=0, hour=0), read.s())", []),
        ("sender.add_periodic_task(crontab(hour='*/3', minute=5), read.s())", []),
        ("sender.add_periodic_task(60, read.s(), expires=60)", []),
        ("sender.add_periodic_task(when, read.s())", []),
        ("sender.add_periodic_task(60, signature('shop.tasks.gone'))", ["beat-unknown-task"]),
    ],
)
def test_entries_that_a_call_adds(call: str, rules: list[str], found: Scan) -> None:
    """
    `add_periodic_task` is judged as the table is.
    """
    source = f"from shop.tasks import read\n\n\ndef add(sender, **_):\n    {call}\n"

    assert rules == [one.rule for one in found({**PROJECT, "shop/celery.py": source})]


@pytest.mark.parametrize(
    ("body", "waits"),
    [
        ("read.delay().get()", True),
        ("result = read.delay()\n    result.get()", True),
        ("chain(read.s(), read.s()).apply_async().get()", True),
        ("read.delay().get(disable_sync_subtasks=False)", False),
        ("with allow_join_result():\n        read.delay().get()", False),
        ("{}.get('x')", False),
        ("result = cache\n    result.get('x')", False),
        ("result = read.delay()\n    result = {}\n    result.get('x')", False),
        ("def later():\n        read.delay().get()", False),
    ],
)
def test_a_task_that_waits(body: str, waits: bool, found: Scan) -> None:  # noqa: FBT001
    """
    For the result of another task, there or by a name.
    """
    source = (
        "from celery import chain, shared_task\nfrom celery.result import allow_join_result\n"
        f"from shop.tasks import read\n\n\n@shared_task\ndef both():\n    {body}\n"
    )
    rules = [one.rule for one in found({**PROJECT, "shop/both/tasks.py": source})]

    assert (["result-get-inside-task"] if waits else []) == rules
