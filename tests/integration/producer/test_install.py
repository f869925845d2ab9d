"""Three ways to install the producer in a Django project, with one result, and its switch."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from task_server.settings import load
from tests.support.redis import Redis
from tests.support.wait import PATIENCE

CELERY = """
    import os
    from celery import Celery
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "web.settings")
    app = Celery("web")
    app.config_from_object("django.conf:settings", namespace="CELERY")
    {line}

    @app.task
    def noop():
        pass
"""

SETTINGS = """
    SECRET_KEY = "x"
    INSTALLED_APPS = ["django.contrib.contenttypes"]
    CELERY_BROKER_URL = {url!r}
    CELERY_RESULT_BACKEND = {url!r}
"""

PROGRAM = """
    import json
    import sys
    import django
    import web.celery
    django.setup()
    from django.conf import settings
    from celery import Celery
    result = web.celery.noop.delay()
    other = Celery("other", broker=settings.CELERY_BROKER_URL)
    other.finalize()
    message = json.loads(result.backend.client.lrange("celery", 0, 0)[0])
    from task_server.producer import sent_at
    print(json.dumps({
        "stamped": sent_at(message) is not None,
        "amqp": [kind.__module__ for kind in type(web.celery.app.amqp).__mro__],
        "backend": [kind.__module__ for kind in type(result.backend).__mro__],
        "applications": list(settings.INSTALLED_APPS),
        "other": type(other.amqp).__module__,
    }))
"""

WAYS = ("loader", "application", "line")


def run(folder: Path, server: Redis, way: str, **environ: str) -> dict[str, object]:
    """Send a task in a project that installs the producer in one *way*; return what it says."""
    package = folder / "web"
    settings = package / "settings"
    settings.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    line = "import task_server.producer; task_server.producer.install(app)" if way == "line" else ""
    (package / "celery.py").write_text(dedented(CELERY.format(line=line)))
    text = dedented(SETTINGS.format(url=server.url))
    if way == "loader":
        (settings / "10-public.py").write_text(text)
        text = "from task_server.settings import load\nload(globals())\n"
    elif way == "application":
        text += 'INSTALLED_APPS += ["task_server.producer"]\n'
    (settings / "__init__.py").write_text(text)
    found = subprocess.run(
        [sys.executable, "-c", dedented(PROGRAM)],
        cwd=folder,
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert 0 == found.returncode, found.stderr
    return dict(json.loads(found.stdout))


def dedented(text: str) -> str:
    """Return a program without what indents it here."""
    return "\n".join(line.removeprefix("    ") for line in text.splitlines()) + "\n"


@pytest.mark.parametrize("way", WAYS)
def test_each_way_has_the_same_result(tmp_path: Path, server: Redis, way: str) -> None:
    """
    The messages have stamps, the results are on demand; no line of the tasks is another.
    """
    said = run(tmp_path, server, way)

    assert said["stamped"]
    assert "task_server.producer.amqp" in str(said["amqp"])
    assert "task_server.producer.results" in str(said["backend"])
    # By one line of celery.py it is that app's alone.
    assert (said["other"] == "celery.app.amqp") is (way == "line")


@pytest.mark.parametrize(
    "way", [WAYS[0], *(pytest.param(one, marks=pytest.mark.slow) for one in WAYS[1:])]
)
def test_the_switch_leaves_everything_to_celery(tmp_path: Path, server: Redis, way: str) -> None:
    """
    Of each way; the file counts as the variable does.
    """
    (tmp_path / "task-server.toml").write_text("producer = false\n")
    said = run(tmp_path, server, way)

    assert not said["stamped"]
    assert "task_server" not in f"{said['amqp']}{said['backend']}"

    other = tmp_path / "other"
    other.mkdir()
    assert not run(other, server, way, TASK_SERVER_PRODUCER="false")["stamped"]


def test_applications_that_are_a_tuple_stay_one(tmp_path: Path) -> None:
    """
    And one that is there already is not added again.
    """
    for text in ('("one",)', '("one", "task_server.producer")'):
        (tmp_path / "10-public.py").write_text(f"INSTALLED_APPS = {text}\n")
        namespace: dict[str, object] = {"__file__": str(tmp_path / "__init__.py")}
        load(namespace, {})
        assert ("one", "task_server.producer") == namespace["INSTALLED_APPS"]
