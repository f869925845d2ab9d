"""A module imports only from a lower layer, and the launcher imports nothing heavy."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import task_server

SOURCE = Path(task_server.__file__).parent

#: Packages and modules from the bottom up, the innermost name counts. A module may
#: import what stands in a lower row, and what has its own name in its row.
LAYERS = (
    {"errors", "revision"},
    {"transport.versions", "transport.timing", "transport.failover", "transport.large"},
    {"transport.notifications", "transport.kombu_redis", "transport.started.crashes"},
    {"transport.store"},
    {"transport.started", "transport.hooks"},
    {"transport.unacked"},
    {"transport.wire", "transport.link"},
    {"transport.idle", "transport.due"},
    {"transport.fetcher", "transport.queues"},
    {"transport.channel"},
    {"transport.poller"},
    {"transport.transport"},
    {"results.scripts", "results.parents", "results.unsubscribing"},
    {"results.claims"},
    {"results.storing", "results.groups"},
    {"results.backends"},
    {
        *("config.files", "config.urls", "config.variables", "config.pools", "config.services"),
        *("config.listening", "config.toml"),
    },
    {"config.values"},
    {"config.setting", "config.cluster_values"},
    {"config.tables", "config.kubernetes"},
    {"config.model"},
    {"config.contradictions", "config.deployment", "config.unknown_variables"},
    {"transport", "results", "config", "settings", "health.private_folder", "health.published"},
    {"peers.deadline", "peers.redis", "peers.postgres"},
    {"peers"},
    {"health.limits"},
    {"launch.timing"},
    {"health", "launch.early_stop", "launch.handover", "launch.profiles"},
    {
        "launch.spec",
        "launch.beat_spec",
        "launch.metrics_spec",
        "launch.machine",
        "launch.restart",
        "launch.requirements",
        "launch.folders",
    },
    {"launch.precedence", "launch.command", "launch.engine"},
    {"launch", "project.import_errors"},
    {"project.import_watch", "project.defaults", "project.discovery", "project.queues"},
    {"project.celery_app"},
    {"project"},
    {"worker.patches"},
    {"worker.patching"},
    {"producer.stamp", "producer.reprs", "producer.switch", "producer.channel"},
    {"producer.kombu_producer", "producer.results"},
    {"producer.amqp", "producer.batch", "producer.template", "producer.usual"},
    {"producer.canvas", "producer.push"},
    {"producer.plain"},
    {"producer.adopt"},
    {"producer"},
    {"monitor.counts"},
    {"monitor.model", "monitor.failure"},
    {
        "monitor.broker",
        "monitor.queues",
        "monitor.workers",
        "monitor.statistics",
        "monitor.rates",
        "monitor.undelivered",
    },
    {"monitor.failures"},
    {"monitor.usual", "monitor.stopped"},
    {"monitor.snapshot"},
    {"monitor"},
    {"actions.audit", "actions.bindings", "actions.names"},
    {"actions"},
    {
        *("worker.requests", "worker.worker_lost", "worker.secrets"),
        *("worker.database.aliases", "worker.database.connection", "worker.database.cooperation"),
        *("worker.database.deadlocks", "worker.database.requester", "worker.database.slots"),
        *("worker.database.loop_thread", "worker.database.answers", "worker.database.engine"),
    },
    {
        *("worker.database.checks", "worker.database.closing", "worker.database.idle"),
        *("worker.database.idle_threads", "worker.database.stalls", "worker.database.reset"),
        *("worker.database.psycopg2", "worker.database.psycopg3"),
    },
    {"worker.database.limiter", "worker.database.persistent"},
    {"worker.database.pool"},
    {"worker.database.install", "worker.database.prefork", "worker.database"},
    {"worker.foreign_requests"},
    {"worker.status.tally", "worker.status.queue_names", "worker.status.stuck"},
    {"worker.status.finished"},
    {"worker.status.statistics", "worker.status.ended_outside"},
    {
        *("worker.status.databases", "worker.status.registration", "worker.status.slots"),
        *("worker.status.running", "worker.status.stall", "worker.status.systemd"),
    },
    {"worker.status.activity", "worker.status.queues"},
    {"worker.status.stops"},
    {"worker.status.heartbeat", "worker.status"},
    {
        *("worker.shutdown.requeue", "worker.shutdown.signals", "worker.broker.connections"),
        *("worker.broker.dead_letters", "worker.broker.leases", "worker.broker.outage"),
        *("worker.broker.chord_claims", "worker.broker.failed_record"),
        *("worker.broker.processor", "worker.broker.quarantine", "worker.broker.reconnect"),
        *("worker.broker.unreadable", "worker.broker.run_file", "worker.broker.unregistered"),
        "worker.broker.hand_back",
    },
    {
        *("worker.shutdown.drain", "worker.broker.cancelled", "worker.broker.started"),
        "worker.broker.failed_tasks",
    },
    {"worker.shutdown", "worker.broker"},
    {"worker.direct"},
    {
        *("worker.pools.base", "worker.pools.children", "worker.pools.memory"),
        *("worker.pools.gevent_limits", "worker.pools.gevent_asgiref"),
        "worker.pools.gevent_waiting",
    },
    {
        *("worker.pools.gevent_asyncio", "worker.pools.gevent_loop", "worker.pools.gevent_run"),
    },
    # A pool needs no line of its own.
    {"worker.pools"},
    {"worker.steps", "worker.logs", "worker.tracing"},
    {"worker.install", "worker"},
    {"beat.faults", "beat.lock", "beat.missed", "beat.runs", "beat.schedule", "beat.schedulers"},
    {"beat.clock", "beat.guard", "beat.signals", "beat.status"},
    {"beat"},
    {"metrics.catalogue", "metrics.demand", "metrics.looks"},
    {"metrics.values"},
    {"metrics.exposition", "metrics.starts"},
    {"metrics.pages"},
    {"metrics.server"},
    {"metrics"},
    {"local.supervisor"},
    {"local.servers"},
    {"local.control.peer", "local.control.protocol"},
    {"local.control"},
    {"local.discovery"},
    {"local.variables", "local.log_file", "local.reload.watch"},
    {"local.requests", "local.reload", "local.system"},
    {"local.survey.facts", "local.survey.variables"},
    {
        "local.survey.workers",
        "local.survey.chosen_settings",
        "local.survey.ask",
        "local.survey.imported",
        "local.survey.folder",
    },
    {"local.survey.recipes"},
    {"local.survey.document", "local.survey.difference"},
    {"local.survey.report", "local.survey.look"},
    {"local"},
    {"checks.facts", "checks.catalogue"},
    {"checks.inspect", "checks.connections", "checks.workers"},
    {"checks.rules"},
    {"checks.live", "checks.static"},
    {"checks"},
    {"manifests.names"},
    {"manifests.plan"},
    {"manifests.probes", "manifests.description", "manifests.text", "manifests.alerts"},
    {"manifests.pods", "manifests.availability", "manifests.monitoring"},
    {"manifests.migrations", "manifests.folder"},
    {"manifests.deployments", "manifests.sums"},
    {"manifests.networking"},
    {"manifests.scaling"},
    {"manifests"},
    {
        *("contrib.admin.text", "contrib.admin.broker", "contrib.admin.models"),
        *("contrib.admin.graphs", "contrib.admin.apps"),
    },
    {
        "contrib.admin.server",
        "contrib.admin.listing",
        "contrib.admin.failed",
        "contrib.admin.lastday",
    },
    {"contrib.admin.held"},
    {"contrib.admin.page"},
    {"contrib.admin.queues", "contrib.admin.workers", "contrib.admin.failures"},
    {"contrib.admin.registry"},
    {"contrib"},
    {"app"},
    {"cli", "celeryd", "beat.__main__", "metrics.__main__", "contrib.flower", "manage"},
    {"__main__"},
)

HEAVY = ("celery", "kombu", "billiard", "django", "redis", "psycopg2", "psycopg", "gevent", "rich")


def name_of(path: Path) -> str:
    """Return the name of the module at *path* below task_server."""
    return ".".join(path.relative_to(SOURCE).with_suffix("").parts).removesuffix(".__init__")


MODULES = {name_of(path): path for path in SOURCE.rglob("*.py") if path != SOURCE / "__init__.py"}


def layer_of(module: str) -> tuple[int, str]:
    """Return the number of the row in which *module* stands, and by which name."""
    name = module
    while name:
        for number, names in enumerate(LAYERS):
            if name in names:
                return number, name
        name = name.rpartition(".")[0]
    pytest.fail(f"{module} has no layer; add it to LAYERS where its imports allow")


def imports_of(path: Path) -> set[str]:
    """Return the modules of task_server that the file at *path* imports, late or for a type too."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [(alias.name, "") for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names = [(node.module, alias.name) for alias in node.names]
        else:
            continue
        for module, name in names:
            base = module.removeprefix("task_server").removeprefix(".")
            inner = f"{base}.{name}".removeprefix(".")
            if module.split(".")[0] == "task_server":
                found.add(inner if inner in MODULES else base)
    return found & set(MODULES)


def modules() -> list[Path]:
    return sorted(MODULES.values())


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(SOURCE)))
def test_a_module_imports_only_from_lower_layers(path: Path) -> None:
    """
    What a module of task_server imports stands in a lower layer than it.
    """
    number, own = layer_of(name_of(path))

    above = {
        name
        for name in imports_of(path)
        if layer_of(name)[1] != own and layer_of(name)[0] >= number
    }

    assert set() == above


def test_no_files_import_each_other_in_a_circle() -> None:
    """
    A file can be read once all that it imports is known, late imports and types included.
    """
    imports = {name: imports_of(path) - {name} for name, path in MODULES.items()}

    with_circle = set(imports)
    while leaves := {name for name in with_circle if not imports[name] & with_circle}:
        with_circle -= leaves

    assert set() == with_circle


def test_task_server_knows_nothing_of_the_reference_project() -> None:
    """
    No module of task_server imports docket: any project can stand in its place.
    """
    importing = [
        path
        for path in modules()
        if any(
            isinstance(node, ast.Import | ast.ImportFrom)
            and "docket" in ast.unparse(node).replace(",", " ").split()
            for node in ast.walk(ast.parse(path.read_text()))
        )
    ]

    assert [] == importing


def test_a_health_check_does_not_even_import_click() -> None:
    """
    The health check, which runs every few seconds everywhere, needs the standard library alone.
    """
    program = "import sys, task_server.__main__, task_server.health.command; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    ).stdout.split()

    assert set() == {name for name in loaded if name.split(".")[0] in {*HEAVY, "click"}}


@pytest.mark.parametrize(
    "module",
    [
        *("task_server.cli.worker", "task_server.cli.flower", "task_server.cli.beat"),
        "task_server.cli.metrics",
        "task_server.cli.status",
        "task_server.launch.process",
    ],
)
def test_the_launcher_imports_nothing_heavy(module: str) -> None:
    """
    The process that becomes a worker has imported neither Celery nor Django nor a client.
    """
    program = f"import sys, task_server.__main__, {module}; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    ).stdout.split()

    assert set() == {name for name in loaded if name.split(".")[0] in HEAVY}
