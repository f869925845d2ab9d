"""A module imports only from a lower layer, and the launcher imports nothing heavy."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import task_server

SOURCE = Path(task_server.__file__).parent

#: Each module or package, from the bottom up. A module may import what stands
#: in a lower row, and a package's own modules.
LAYERS = (
    {"early_stop", "urls", "handover"},
    {"again"},
    {"errors", "values", "transport", "private_folder", "files", "variables"},
    {"config", "settings", "findings"},
    {"loader", "decision", "cgroup", "folders", "reach", "imports", "discovery"},
    {"profiles"},
    {"machine", "requirements", "argv", "defaults", "runtime", "probe", "precedence", "queues"},
    {"project"},
    {"worker", "local", "process", "flower_probe"},
    {"app"},
    {"manage", "health", "celeryd", "checks"},
    {"named"},
    {"cli"},
    {"__main__"},
)

HEAVY = ("celery", "kombu", "billiard", "django", "redis", "psycopg2", "psycopg", "gevent", "rich")


def layer_of(module: str) -> int:
    for number, names in enumerate(LAYERS):
        if module in names:
            return number
    pytest.fail(f"{module} has no layer; add it to LAYERS where its imports allow")


def imports_of(path: Path) -> set[str]:
    """Return the modules and packages of task_server that the file at *path* imports."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        found |= {name.split(".")[1] for name in names if name.startswith("task_server.")}
    return found


def modules() -> list[Path]:
    return sorted(path for path in SOURCE.rglob("*.py") if path != SOURCE / "__init__.py")


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(SOURCE)))
def test_a_module_imports_only_from_lower_layers(path: Path) -> None:
    """
    What a module of task_server imports stands in a lower layer than it.
    """
    own = path.relative_to(SOURCE).parts[0].removesuffix(".py")

    above = {name for name in imports_of(path) - {own} if layer_of(name) >= layer_of(own)}

    assert set() == above


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
    program = "import sys, task_server.__main__, task_server.health; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    ).stdout.split()

    assert set() == {name for name in loaded if name.split(".")[0] in {*HEAVY, "click"}}


@pytest.mark.parametrize(
    "module", ["task_server.cli.worker", "task_server.cli.flower", "task_server.process"]
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
