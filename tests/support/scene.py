"""One incident, as somebody on call sees it: by `status`, in the admin, by the alerts."""

import html
import json
import re
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import yaml
from celery import Celery
from prometheus_client.parser import text_string_to_metric_families

from task_server.monitor import Snapshot, snapshot
from task_server.monitor.troubles import Limits, Trouble, troubles
from task_server.transport.store.keys import Keys
from tests.support.admin_site import USERS, Site, write_admin
from tests.support.metrics import Metrics
from tests.support.program import Ended, program_in
from tests.support.redis import Redis
from tests.support.wait import until
from tests.support.worker import Worker

RULES = Path(__file__).parents[2] / "deploy" / "prometheus" / "task-server.rules.yml"

#: What the tasks of the incidents are, beside those of the project.
TASKS = '''
import ctypes
import os
import signal


@shared_task
def hold(number, seconds):
    time.sleep(seconds)


@shared_task(soft_time_limit=5)
def hang(how):
    """Wait for a lock in C, where no exception comes and no signal; with Python's, or without."""
    library = {"with": ctypes.PyDLL, "without": ctypes.CDLL}.get(how)
    if library:
        mutex = ctypes.create_string_buffer(128)
        for _ in range(2):
            library(None).pthread_mutex_lock(mutex)


@shared_task
def die():
    os.kill(os.getpid(), signal.SIGKILL)
'''

#: Somewhat sooner than for users, and with room: a worker that is late is not silent.
TIMING = {"registration": 3.0, "heartbeat": 0.2, "queue_scan": 0.5, "restore_interval": 0.5}

#: Of a worker that shall be silent soon.
SOON = {**TIMING, "registration": 1.0}

ADMIN = "/admin/task_server_admin"

#: Minutes after which somebody looks at the alerts, which all have fired by then.
LATER = 30


@dataclass(frozen=True)
class Said:
    """
    What `task-server status` said, in a terminal of 80 columns and as JSON.

    Attributes:
        wrong: What is wrong, by what it is: message and repair of each, in one text.
    """

    code: int
    text: str
    values: Mapping[str, Any]

    @property
    def wrong(self) -> dict[str, str]:
        every = [Trouble(**one) for one in self.values["troubles"]]
        return {one.what: _text(every, one.what) for one in every}

    def worker(self, node: str) -> dict[str, Any]:
        """Return what is said of the worker *node*."""
        found: dict[str, Any] = next(one for one in self.values["workers"] if one["node"] == node)
        return found

    def queue(self, name: str) -> dict[str, Any]:
        """Return what is said of the queue *name*."""
        found: dict[str, Any] = next(one for one in self.values["queues"] if one["name"] == name)
        return found


class Theatre:
    """
    A broker, a project with an admin, its web process and its metrics, which see all incidents.

    Args:
        folder: With a path short enough for a socket.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.broker = Redis(folder, "--maxmemory-policy", "noeviction", patience=None)
        self.project = folder / "project"
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        self.broker.start()
        self._stack.callback(self.broker.stop)
        self.project.mkdir()
        package = write_admin(self.project)
        with (package / "tasks.py").open("a") as file:
            file.write(TASKS)
        self.environ = {"BROKER_URL": self.broker.url}
        self.site = self._stack.enter_context(Site(self.project, self.environ))
        self.site.run("None", first=USERS)
        served = Metrics(
            self.folder, self.broker.url, app="site1", code=self.project, environ=self.environ
        )
        self.metrics = self._stack.enter_context(served).ready()
        self.program = self._stack.enter_context(program_in(self.folder))
        self.sender = self._stack.enter_context(Celery("sender", broker=self.broker.url))
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()


class Scene:
    """
    One incident in the *theatre*, whose broker is empty.

    Args:
        folder: Of its workers and their logs.

        promtool: Runs promtool in a folder; gets it when it is needed.
    """

    def __init__(self, theatre: Theatre, folder: Path, promtool: Callable[[], Any]) -> None:
        self.theatre = theatre
        self.broker = theatre.broker
        self.folder = folder
        self._promtool = promtool
        self._workers: list[Worker] = []
        self.broker.client.flushall()

    def worker(self, pool: str, name: str = "w", **settings: Any) -> Worker:
        """Start a worker of the project, and wait until it is ready."""
        one = Worker(
            self.folder,
            self.broker,
            pool,
            name=name,
            app="site1",
            code=self.theatre.project,
            environ=self.theatre.environ,
            **{"timing": TIMING, "prefetch_multiplier": 1, **settings},
        )
        self._workers.append(one)
        return one.ready()

    def send(self, task: str, *args: Any, **options: Any) -> str:
        """Send a *task* of the project; return its id."""
        return str(self.theatre.sender.send_task(f"site1.tasks.{task}", args, **options).id)

    def run(self, *words: str) -> Ended:
        """Run the program for the project, in a terminal of 80 columns."""
        file = self.folder / "operator.toml"
        file.write_text(
            f'app = "site1"\ncode = "{self.theatre.project}"\nbroker_url = "{self.broker.url}"\n'
        )
        environ = {**self.theatre.environ, "COLUMNS": "80"}
        return self.theatre.program(*words, "--config", str(file), **environ)

    def status(self, *words: str) -> Said:
        """Ask `task-server status` twice: for people and for programs."""
        shown, machine = self.run("status", *words), self.run("status", "--json", *words)
        assert machine.stdout, machine.stderr
        assert [] == [line for line in shown.stdout.splitlines() if len(line) > 80]
        return Said(shown.returncode, shown.stdout, machine.result)

    def wrong(self, what: str, text: str) -> Said:
        """Wait until *text* is to be said of *what*; return all that `status` says then."""
        until(lambda: text in _text(self.troubles(), what), f"{text} of {what}")
        return self.status()

    def is_well(self) -> bool:
        """Wait until nothing is wrong, and `status` says so too."""
        # A worker may be late, for once, when the status is asked.
        until(lambda: not self.troubles() and self.run("status").returncode == 0)
        return True

    def troubles(self) -> list[Trouble]:
        """Return what is wrong, without the cost of a process."""
        return troubles(self.look(), Limits())

    def look(self) -> Snapshot:
        """Return what is in the broker."""
        return snapshot(self.broker.client, Keys())

    def page(self, path: str) -> str:
        """Return a page of the admin, as its reader has it: words alone."""
        answer = self.theatre.site.get(f"{ADMIN}/{path}")
        assert 200 == answer.status
        body = re.sub(r"<(style|script).*?</\1>", " ", answer.text, flags=re.DOTALL)
        return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", body)).split())

    def page_of(self, worker: str) -> str:
        """Return the admin's page of a *worker*."""
        return self.page(f"worker/{quoted(worker)}/change/")

    def scraped(self, name: str, /, **labels: str) -> float | None:
        """Return the sum of a metric over the series with these *labels*; None without one."""
        found = [
            one.value
            for one in self._samples()
            if one.name == name and labels.items() <= one.labels.items()
        ]
        return sum(found) if found else None

    def alert(self, *names: str, a_minute: Mapping[str, float] | None = None) -> None:
        """
        Check with promtool that these alerts, and no others, fire if all stays as it is.

        Args:
            a_minute: By how much counters grow, by name.
        """
        rules = yaml.safe_load(RULES.read_text())["groups"][0]["rules"]
        asked = " ".join(rule["expr"] for rule in rules)
        series = [
            {
                "series": _series(one.name, {**one.labels, "job": "task-server", "instance": "a"}),
                "values": f"{one.value:f}+{(a_minute or {}).get(one.name, 0):f}x{LATER}",
            }
            for one in self._samples()
            if one.name in asked
        ]
        fire = [{"labels": f'{{alertname="{name}"}}', "value": 1} for name in names]
        asks = {
            "expr": 'group by (alertname) (ALERTS{alertstate="firing"})',
            "eval_time": f"{LATER}m",
            "exp_samples": fire,
        }
        test = {"interval": "1m", "input_series": series, "promql_expr_test": [asks]}
        document = {"rule_files": [str(RULES)], "evaluation_interval": "1m", "tests": [test]}
        (self.folder / "alerts.yml").write_text(yaml.safe_dump(document))
        self._promtool()(self.folder, "test", "rules", "alerts.yml")

    def _samples(self) -> list[Any]:
        status, body = self.theatre.metrics.get("/metrics")
        assert 200 == status
        families = text_string_to_metric_families(body.decode())
        return [one for family in families for one in family.samples]

    def close(self) -> None:
        """End the workers."""
        for one in self._workers:
            one.close()


def quoted(name: str) -> str:
    """Return a *name* as Django's admin has it in addresses."""
    return "".join(f"_{ord(one):02X}" if one in '":/_#?;@&=+$,"[]<>%\n\\' else one for one in name)


def _text(wrong: Iterable[Trouble], what: str) -> str:
    """Return what is *wrong* with *what*, in one text."""
    return "\n".join(
        f"{one.level}: {one.message} -> {one.repair}" for one in wrong if one.what == what
    )


def _series(name: str, labels: Mapping[str, str]) -> str:
    return (
        name + "{" + ", ".join(f"{key}={json.dumps(value)}" for key, value in labels.items()) + "}"
    )
