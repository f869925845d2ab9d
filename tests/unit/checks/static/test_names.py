"""Names of tasks across modules: what leads to a task, and what cannot be known."""

import pytest

from tests.unit.checks.static.conftest import Scan, places

TASKS = """
from celery import shared_task


@shared_task
def charge(order):
    ...


@shared_task(name="mail")
def send_mail():
    ...
"""

#: A call of a task in a transaction, by what is imported and called.
CALLS = {
    "alias": ("from shop.tasks import charge as c", "c.delay(1)"),
    "module": ("import shop.tasks", "shop.tasks.charge.delay(1)"),
    "module alias": ("from shop import tasks as t", "t.charge.apply_async((1,))"),
    "relative": ("from .tasks import charge", "charge.delay(1)"),
    "re-exported": ("from shop.api import charge", "charge.delay(1)"),
    "by a star": ("from shop.all import charge", "charge.delay(1)"),
    "signature": ("from shop.tasks import charge", "charge.s(1).delay()"),
    "with options": ("from shop.tasks import charge", "charge.si(1).set(queue='x').apply_async()"),
    "chain": (
        "from celery import chain\nfrom shop.tasks import charge",
        "chain(charge.s(1)).delay()",
    ),
    "by name": ("from shop.celery import app", "app.send_task('shop.tasks.charge')"),
    "in on_commit, but called": (
        "from shop.tasks import charge",
        "transaction.on_commit(charge.delay(1))",
    ),
}

#: What is none, or may be something else.
OTHERS = {
    "on commit": (
        "from shop.tasks import charge",
        "transaction.on_commit(lambda: charge.delay(1))",
    ),
    "partial": (
        "from functools import partial\nfrom shop.tasks import charge",
        "transaction.on_commit(partial(charge.delay, 1))",
    ),
    "delay_on_commit": ("from shop.tasks import charge", "charge.delay_on_commit(1)"),
    "countdown": ("from shop.tasks import charge", "charge.apply_async((1,), countdown=30)"),
    "a parameter": ("from shop.tasks import charge", "(lambda charge: charge.delay(1))(order)"),
    "another library's": ("from other import job", "job.delay(1)"),
    "a local name": ("from shop.tasks import charge", "charge = order; charge.delay(1)"),
    "an attribute": ("from shop.tasks import charge", "order.delay(1)"),
    "the function": ("from shop.tasks import charge", "charge(1)"),
}

PROJECT = {
    "shop/__init__.py": "",
    "shop/celery.py": "from celery import Celery\napp = Celery('shop')\n",
    "shop/tasks.py": TASKS,
    "shop/api.py": "from shop.tasks import charge  # celery\n",
    "shop/all.py": "from shop.tasks import *  # celery\n",
}


def view(imports: str, call: str) -> str:
    return (
        f"from django.db import transaction\n{imports}\n\n\n"
        f"def buy(order):\n    with transaction.atomic():\n        order.save()\n        {call}\n"
    )


@pytest.mark.parametrize("words", CALLS.values(), ids=CALLS)
def test_a_name_that_leads_to_a_task(words: tuple[str, str], found: Scan) -> None:
    """
    A task is known by whichever way the name was imported.
    """
    imports, call = words
    source = view(imports, call)
    line = source[: source.index(f"        {call}")].count("\n") + 1

    assert [("delay-inside-transaction", "shop/views.py", line)] == places(
        found({**PROJECT, "shop/views.py": source})
    )


@pytest.mark.parametrize("words", OTHERS.values(), ids=OTHERS)
def test_what_may_be_no_task_or_is_sent_later(words: tuple[str, str], found: Scan) -> None:
    """
    What is sent after the commit, or is not certainly a task, is no finding.
    """
    assert [] == found({**PROJECT, "shop/views.py": view(*words)})


@pytest.mark.parametrize(
    "base",
    [
        "class Late(app.Task):\n    def apply_async(self, *a, **k):\n        ...\n",
        "from other import Late\n",
        "class Early(app.Task):\n    def delay(self):\n        ...\nclass Late(Early):\n    pass\n",
    ],
    ids=["its own", "unknown", "inherited"],
)
def test_a_class_that_waits_for_the_commit_itself(base: str, found: Scan) -> None:
    """
    Tasks whose class sends in its own way, or may, are not reported; with app.Task they are.
    """
    head = f"from shop.celery import app\n{base}\n\n"
    task = "@app.task(base={})\ndef charge(order):\n    ...\n"
    views = view("from shop.tasks import charge", "charge.delay(1)")

    assert [] == found(
        {**PROJECT, "shop/tasks.py": head + task.format("Late"), "shop/views.py": views}
    )
    plain = found(
        {**PROJECT, "shop/tasks.py": head + task.format("app.Task"), "shop/views.py": views}
    )
    assert ["delay-inside-transaction"] == [one.rule for one in plain]


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ("CELERY_BEAT_SCHEDULE = {'x': {'task': 'shop.tasks.gone', 'schedule': 1}}", True),
        ("CELERY_BEAT_SCHEDULE = {'x': {'task': 'shop.gone.charge', 'schedule': 1}}", True),
        ("CELERYBEAT_SCHEDULE = {'x': {'task': 'shop.tasks.gone', 'schedule': 1}}", True),
        ("SHOP_CELERY_BEAT_SCHEDULE = {'x': {'task': 'shop.tasks.gone', 'schedule': 1}}", True),
        ("CELERY = {'beat_schedule': {'x': {'task': 'shop.tasks.gone'}}}", True),
        ("app.conf.beat_schedule = {'x': {'task': 'shop.tasks.gone'}}", True),
        ("app.conf.update(beat_schedule={'x': {'task': 'shop.tasks.gone'}})", True),
        ("class CeleryConfig:\n    beat_schedule = {'x': {'task': 'shop.tasks.gone'}}", True),
        ("CELERY_BEAT_SCHEDULE['x'] = {'task': 'shop.tasks.gone'}", True),
        ("NAME = 'shop.tasks.gone'\nCELERY_BEAT_SCHEDULE = {'x': {'task': NAME}}", True),
        ("CELERY_BEAT_SCHEDULE = {'x': dict(task='shop.tasks.gone')}", True),
        ("CELERY_BEAT_SCHEDULE = {'x': {'task': 'shop.tasks.send_mail'}}", True),
        ("CELERY_BEAT_SCHEDULE = {'x': {'task': 'shop.tasks.charge'}}", False),
        ("CELERY_BEAT_SCHEDULE = {'x': {'task': 'mail'}}", False),
        ("CELERY_BEAT_SCHEDULE = {'x': {'task': 'other.tasks.gone'}}", False),
        ("CELERY_BEAT_SCHEDULE = {'x': {'task': 'celery.backend_cleanup'}}", False),
        ("CELERY_BEAT_SCHEDULE = {'x': {'task': f'shop.tasks.{1}'}}", False),
        ("CELERY_BEAT_SCHEDULE = {'x': {'task': unknown('gone')}}", False),
        (
            "from shop.tasks import charge\nCELERY_BEAT_SCHEDULE = {'x': {'task': charge.name}}",
            False,
        ),
        ("OTHER_SCHEDULE = {'x': {'task': 'shop.tasks.gone'}}", False),
    ],
)
@pytest.mark.parametrize("file", ["shop/settings.py", "shop/settings/10-public.py"])
def test_entries_of_the_schedule(settings: str, name: bool, file: str, found: Scan) -> None:  # noqa: FBT001
    """
    A schedule is read wherever a project writes it, and a name is wrong or not to be told.
    """
    rules = [one.rule for one in found({**PROJECT, file: f"{settings}\n"})]

    assert (["beat-unknown-task"] if name else []) == rules


@pytest.mark.parametrize(
    "tasks",
    [
        "from shop.factory import task\n\n\n@make_task('gone')\ndef gone():\n    ...\n",
        "from celery import shared_task\ngone = shared_task(print)\n",
        "from shop.celery import app\n\n\n@app.task(name=NAMES[0])\ndef x():\n    ...\n",
        "from shop.celery import app\n\n\n@app.task(**OPTIONS)\ndef x():\n    ...\n",
        "from celery import Task\n\n\nclass gone(Task):\n    def run(self):\n        ...\n",
        "from elsewhere import *  # celery\n",
        "import celery; this is : no Python\n",
    ],
)
def test_a_module_whose_tasks_cannot_be_told(tasks: str, found: Scan) -> None:
    """
    Where names are computed, no name is wrong.
    """
    settings = "CELERY_BEAT_SCHEDULE = {'x': {'task': 'shop.tasks.gone'}}\n"
    rules = {one.rule for one in found({**PROJECT, "shop/tasks.py": tasks, "shop/s.py": settings})}

    assert rules <= {"file-not-read"}


@pytest.mark.parametrize(
    ("pattern", "wrong"),
    [
        ("'shop.tasks.charge'", False),
        ("'shop.tasks.*'", False),
        ("'mail'", False),
        ("'*'", False),
        ("'other.*'", False),
        ("re.compile(r'shop\\.(tasks|jobs)\\..*')", False),
        ("'shop.jobs.*'", True),
        ("'shop.tasks.gone'", True),
        ("re.compile(r'shop\\.jobs\\..*')", True),
    ],
)
def test_routes(pattern: str, wrong: bool, found: Scan) -> None:  # noqa: FBT001
    """
    Names, globs and regular expressions are matched as Celery matches them.
    """
    settings = f"import re\nCELERY_TASK_ROUTES = {{{pattern}: {{'queue': 'bulk'}}}}\n"
    rules = [one.rule for one in found({**PROJECT, "shop/settings.py": settings})]

    assert (["route-matches-nothing"] if wrong else []) == rules


def test_a_project_in_a_subfolder_or_below_src(found: Scan) -> None:
    """
    The name of a module begins where its outermost package does.
    """
    settings = "CELERY_BEAT_SCHEDULE = {'x': {'task': 'shop.tasks.charge', 'schedule': 1}}\n"
    files = {f"backend/src/{name}": text for name, text in PROJECT.items()}

    assert [] == found({**files, "backend/src/shop/settings.py": settings})


def test_a_part_of_a_package_is_not_judged_as_the_whole(found: Scan) -> None:
    """
    Of a folder within a package not all tasks are known, so none is called unknown.
    """
    settings = "CELERY_BEAT_SCHEDULE = {'x': {'task': 'shop.other.gone', 'schedule': 1}}\n"

    assert [] == found({**PROJECT, "shop/conf/__init__.py": settings}, "shop/conf")
    assert ["beat-unknown-task"] == [one.rule for one in found(PROJECT, "shop/conf/__init__.py")]
