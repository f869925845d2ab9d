"""Every Nix file parses, is laid out, and leaves Celery and Python to the program."""

import re
import shutil
import subprocess
from dataclasses import asdict, fields
from pathlib import Path
from types import MappingProxyType

import pytest

from task_server.config.contradictions import OWN_ARGUMENTS
from task_server.config.model import BUILT_IN_WORKERS, WorkerConfig
from task_server.config.pools import POOLS
from task_server.config.services import SERVICES, WORKER
from tests.nix.conftest import ROOT, Evaluate, nix_files
from tests.support.require import Require

FILES = pytest.mark.parametrize("file", nix_files(), ids=lambda file: str(file.relative_to(ROOT)))

#: Options of `celery worker` and `celery flower` that a setting gives.
CELERY_FLAGS = {
    *(flag for flag in OWN_ARGUMENTS if flag.startswith("--") and flag != "--app"),
    "--without-gossip",
    "--without-mingle",
    "--without-heartbeat",
    "--autoscale",
    "--max-tasks-per-child",
    "--basic-auth",
    "--url-prefix",
}

PYTHON = MappingProxyType(
    {
        "an import": re.compile(r"^\s*(import [a-z_]+$|from [a-z_.]+ import )", re.MULTILINE),
        "a function": re.compile(r"^\s*def \w+\(", re.MULTILINE),
        "a program on the command line": re.compile(r'python3?["\s]+-c\b'),
        "a Python file": re.compile(r"\bwritePython3?|\bpythonVars\b|writeText \"[^\"]*\.py\""),
    }
)


@FILES
def test_it_parses(file: Path, nix_instantiate: tuple[list[str], dict[str, str]]) -> None:
    """
    Nix itself finds no mistake in the syntax, and no name that nothing binds.
    """
    command, environ = nix_instantiate
    done = subprocess.run(
        [*command, "--parse", str(file)],
        env=environ,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert done.returncode == 0, done.stderr


@FILES
def test_it_is_laid_out(file: Path) -> None:
    """
    Two spaces a level, no tab, nothing at the end of a line, one newline at the end.
    """
    text = file.read_text()
    lines = text.split("\n")
    wrong = [
        f"{number}: {line!r}"
        for number, line in enumerate(lines, 1)
        if "\t" in line or line != line.rstrip() or (len(line) - len(line.lstrip(" "))) % 2
    ]

    assert wrong == []
    assert text.endswith("\n")
    assert not text.endswith("\n\n")
    assert "\n\n\n" not in text


def test_no_flag_of_celery_is_in_nix(root: Path) -> None:
    """
    Celery's arguments are decided in Python: Nix starts `task-server worker NAME`.
    """
    found = [
        f"{file.relative_to(root)}: {flag}"
        for file in _of_nix(root)
        for flag in sorted(CELERY_FLAGS)
        if re.search(rf"{re.escape(flag)}\b", file.read_text())
    ]
    started = [
        str(file.relative_to(root))
        for file in _of_nix(root)
        if re.search(r"bin/celery|celery worker\b", file.read_text())
    ]

    assert found == []
    assert started == []


def test_no_python_is_in_nix(root: Path) -> None:
    """
    A program in a string has no formatter, no linter and no test.
    """
    found = [
        f"{file.relative_to(root)}: {what}"
        for file in _of_nix(root)
        for what, pattern in PYTHON.items()
        if pattern.search(file.read_text())
    ]

    assert found == []
    assert list((root / "nix").rglob("*.py")) == []


def test_the_built_in_workers_of_the_module_are_those_of_the_program(evaluate: Evaluate) -> None:
    """
    The module names pools and queues where it must know them, and they are the program's.
    """
    known = evaluate("builtins.fromJSON (builtins.readFile ./nix/modules/built-in-workers.json)")

    assert known == {
        name: {"pool": worker.pool, "queues": list(worker.queues)}
        for name, worker in BUILT_IN_WORKERS.items()
    }
    assert {worker["pool"] for worker in known.values()} == set(POOLS)


def test_nix_reads_the_programs_services(evaluate: Evaluate) -> None:
    """
    The module's units, files and assertions go through the table that `up` and `health` use.
    """
    known = evaluate("import ./nix/services.nix")

    assert {WORKER.name: known["worker"]} | known["others"] == {
        name: {
            field: list(value) if isinstance(value, tuple) else value
            for field, value in asdict(service).items()
            if field != "name" and value not in (None, (), False)
        }
        | {"writes_media": service.writes_media}
        for name, service in SERVICES.items()
    }


def test_a_service_has_options(evaluate: Evaluate) -> None:
    """
    One that listens can be moved to another port, and one with an extra has its own package.
    """
    names = {one["name"] for one in evaluate("import ./tests/nix/options.nix")}
    needed = {
        f"services.task-server.{service.name}.{option}"
        for service in SERVICES.values()
        if not service.per_worker
        for option, applies in {
            "enable": True,
            "package": service.extra is not None,
            **dict.fromkeys(("address", "port", "openFirewall"), service.port is not None),
        }.items()
        if applies
    }

    assert "services.task-server.flower.enable" in needed
    assert needed <= names


def test_no_service_is_named_in_what_goes_through_the_table(root: Path) -> None:
    """
    A row more is a unit more: only what Prometheus collects is the metrics' own.
    """
    modules = root / "nix" / "modules"
    code = {file.name: _code(file.read_text()) for file in sorted(modules.glob("*.nix"))}

    assert ["options.nix"] == [name for name, text in code.items() if "flower" in text]
    assert ["options.nix", "services.nix"] == [
        name for name, text in code.items() if "metrics" in text
    ]


def test_the_old_names_of_settings_are_settings(root: Path) -> None:
    """
    `workers.NAME.concurrency` leads to `workers.NAME.settings.concurrency`, which exists.
    """
    text = (root / "nix" / "modules" / "worker-renames.nix").read_text()
    old = set(re.findall(r'^    "(\w+)"$', text, re.MULTILINE))

    assert "concurrency" in old
    assert old <= {one.name for one in fields(WorkerConfig)} - {"name"}


def test_each_vm_test_has_its_script(root: Path) -> None:
    """
    A test on machines is NAME.nix with NAME.py, one behaviour each.
    """
    folder = root / "tests" / "nix" / "vm"
    machines = {file.stem for file in folder.glob("*.nix")}

    assert machines == {file.stem for file in folder.glob("*.py")}
    assert "drain" in machines
    for name in machines:
        assert f"./{name}.py" in (folder / f"{name}.nix").read_text()


def test_a_worker_of_the_module_is_hardened(
    evaluate: Evaluate, require: Require, tmp_path: Path
) -> None:
    """
    systemd gives a unit with our hardening an exposure of at most 1.5.
    """
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        require("systemd", "systemd-analyze is not on PATH")
    hardening = evaluate("import ./nix/modules/hardening.nix")
    unit = tmp_path / "worker.service"
    unit.write_text(
        "\n".join(
            [
                "[Service]",
                "ExecStart=/bin/true",
                "User=task-server",
                *_lines(hardening | {"UMask": "0077"}),
            ]
        )
    )
    done = subprocess.run(
        [analyze, "security", "--offline=true", "--no-pager", "--threshold=15", str(unit)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert done.returncode == 0, done.stdout + done.stderr


def _of_nix(root: Path) -> list[Path]:
    folders = [root / "nix", root / "templates"]
    return [file for file in nix_files() if any(file.is_relative_to(top) for top in folders)]


def _code(text: str) -> str:
    """Return the Nix *text* without its comments."""
    return re.sub(r"^\s*#.*$", "", text, flags=re.MULTILINE)


def _lines(settings: dict[str, object]) -> list[str]:
    return [
        f"{name}={str(one).lower() if isinstance(one, bool) else one}"
        for name, value in settings.items()
        for one in (value if isinstance(value, list) else [value])
    ]
