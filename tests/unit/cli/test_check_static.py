"""`task-server check --static` as a hook or a job of CI runs it, in a checkout of anybody."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from task_server.cli.check_report import annotation, plain
from task_server.errors import Finding

PROGRAM = Path(sys.executable).with_name("task-server")

#: A project with an error and a warning.
PROJECT = {
    "shop/__init__.py": "",
    "shop/tasks.py": """from celery import shared_task


@shared_task(time_limit=60, soft_time_limit=90)
def render():
    ...
""",
    "shop/settings.py": "CELERY_BEAT_SCHEDULE = {'x': {'task': 'shop.tasks.rendr'}}\n",
}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Return the folder of the project."""
    for name, text in PROJECT.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    return tmp_path


def check(
    folder: Path, *arguments: str, program: tuple[str, ...] = (str(PROGRAM),), **variables: str
) -> subprocess.CompletedProcess[str]:
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    return subprocess.run(
        [*program, "check", *arguments],
        cwd=folder,
        env={**kept, **variables},
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )


def rules(ended: subprocess.CompletedProcess[str]) -> list[str]:
    """Return the rules of the findings, in order."""
    return [one["rule"] for one in json.loads(ended.stdout)]


def test_lines_have_the_place_the_cure_and_the_rule(project: Path) -> None:
    """
    An error makes the exit code 78; a warning alone does not.
    """
    both = check(project, "--static")
    warning = check(project, "--static", "shop/tasks.py")

    assert 78 == both.returncode, both.stderr
    assert "1 error, 1 warning" == both.stdout.splitlines()[-1]
    assert "error    shop/settings.py:1: the entry 'x' sends 'shop.tasks.rendr'" in both.stdout
    assert "did you mean shop.tasks.render? [beat-unknown-task]" in both.stdout
    assert 0 == warning.returncode
    assert "0 errors, 1 warning" == warning.stdout.splitlines()[-1]


def test_json_has_the_same_keys_for_each_check(project: Path) -> None:
    """
    They are documented, and others may be added.
    """
    (project / "app.py").write_text("from celery import Celery\napp = Celery('app')\n")
    static = json.loads(check(project, "--static", "--format", "json").stdout)
    ordinary = json.loads(check(project, "--app", "app", "--format", "json").stdout)

    keys = {"rule", "level", "path", "line", "column", "message", "repair", "setting", "peer"}
    assert {frozenset(keys)} == {frozenset(one) for one in (*static, *ordinary)}
    assert ("shop/settings.py", 1, 25) == tuple(
        static[0][key] for key in ("path", "line", "column")
    )
    assert all(one["rule"] for one in ordinary), ordinary


def test_annotations_of_github(project: Path) -> None:
    """
    One a finding, with file, line and rule; of the ordinary check too.
    """
    (project / "app.py").write_text("from celery import Celery\napp = Celery('app')\n")
    static = check(project, "--static", "--format", "github").stdout.splitlines()
    ordinary = check(project, "--app", "app", "--format", "github").stdout.splitlines()

    assert static[0].startswith(
        "::error file=shop/settings.py,line=1,col=25,title=beat-unknown-task::the entry 'x' sends"
    )
    assert static[1].startswith("::warning file=shop/tasks.py,line=4,")
    assert any(one.startswith("::error title=broker-not-redis::broker_url: ") for one in ordinary)


def test_what_a_checkout_writes_gives_no_command_to_the_workflow_or_the_terminal() -> None:
    """
    Names and messages are escaped as GitHub's own toolkit does, and have no control characters.
    """
    finding = Finding(
        "error",
        "x",
        "100%\n::error::no\x1b[2J",
        path="a,b:c\n\x07.py",
        line=3,
        rule="file-not-read",
    )

    assert (
        "::error file=a%2Cb%3Ac%0A\\x07.py,line=3,title=file-not-read::100%25%0A::error::no\\x1b[2J"
        == annotation(finding)
    )
    assert "caf\\udce9 é\\u202e" == plain("caf\udce9 é\u202e")


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        (("--select", "beat-unknown-task"), ["beat-unknown-task"]),
        (("--ignore", "beat-unknown-task"), ["soft-limit-above-time-limit"]),
        (("--ignore", "beat-unknown-task", "--ignore", "soft-limit-above-time-limit"), []),
    ],
)
def test_rules_are_selected_and_ignored(
    arguments: tuple[str, ...], found: list[str], project: Path
) -> None:
    """
    By options, which may be repeated.
    """
    assert found == rules(check(project, "--static", "--json", *arguments))


def test_rules_are_ignored_by_the_configuration(project: Path) -> None:
    """
    Of a file or a variable; in the ordinary check too.
    """
    (project / "task-server.toml").write_text("[check]\nignore = ['beat-unknown-task']\n")
    (project / "app.py").write_text("from celery import Celery\napp = Celery('app')\n")
    variable = {"TASK_SERVER_CHECK_IGNORE": "broker-not-redis"}

    assert ["soft-limit-above-time-limit"] == rules(check(project, "--static", "--json"))
    assert "broker-not-redis" in rules(check(project, "--app", "app", "--json"))
    ordinary = check(project, "--app", "app", "--json", **variable)
    assert "broker-not-redis" not in rules(ordinary)
    assert 0 == ordinary.returncode


@pytest.mark.parametrize(
    "arguments",
    [
        ("--static", "--select", "beat-unknown-tsk"),
        ("--ignore", "beat-unknown-tsk", "--app", "shop"),
        ("--explain", "beat-unknown-tsk"),
    ],
)
def test_a_rule_that_does_not_exist_is_an_error_with_the_near_name(
    arguments: tuple[str, ...], project: Path
) -> None:
    """
    Wherever it is named.
    """
    ended = check(project, *arguments)

    assert 78 == ended.returncode
    assert "there is no rule 'beat-unknown-tsk'; did you mean beat-unknown-task?" in ended.stderr


def test_a_rule_of_the_configuration_that_does_not_exist(project: Path) -> None:
    """
    The setting is named.
    """
    (project / "task-server.toml").write_text("[check]\nignore = ['no-rule', 'eager-mod']\n")
    ended = check(project, "--static")

    assert 78 == ended.returncode
    assert "check.ignore: there is no rule 'no-rule'; " in ended.stderr
    assert "check.ignore: there is no rule 'eager-mod'; did you mean eager-mode?" in ended.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--static", "gone"), "'gone' does not exist"),
        (("--static", "--live"), "leave out --live"),
        (("--static", "--worker", "prefork"), "leave out --worker"),
        (("shop",), "PATHS are read with --static"),
    ],
)
def test_wrong_usage(arguments: tuple[str, ...], words: str, project: Path) -> None:
    """
    What contradicts itself is refused.
    """
    ended = check(project, *arguments)

    assert 2 == ended.returncode
    assert words in ended.stderr


def test_rules_and_their_pages_are_printed(project: Path) -> None:
    """
    Without a project.
    """
    listed = check(project, "--rules")
    page = check(project, "--explain", "eager-mode")

    assert 0 == listed.returncode == page.returncode
    assert (
        "  beat-unknown-task               An entry of the schedule names no task" in listed.stdout
    )
    assert page.stdout.startswith("# eager-mode\n")


#: Run by Python, or by tools, where they stand in the folder.
HOSTILE = (
    *("ast.py", "click.py", "json.py", "tomllib.py", "typing.py", "sitecustomize.py"),
    *("usercustomize.py", "conftest.py", "celery.py", "settings.py", "manage.py", "setup.py"),
    *("task_server/__init__.py", "task_server/cli/__init__.py", "encodings/__init__.py"),
    *("shop/__init__.py", "shop/celery.py", "importlib.py", "site.py", "tests/conftest.py"),
)


@pytest.mark.parametrize(
    "program", [(str(PROGRAM),), (sys.executable, "-P", "-m", "task_server")], ids=["program", "-P"]
)
def test_nothing_of_the_checkout_runs(program: tuple[str, ...], tmp_path: Path) -> None:
    """
    Not even files that have the names of our modules, in the folder in which the command runs.
    """
    ran = tmp_path / "ran"
    checkout = tmp_path / "checkout"
    for name in HOSTILE:
        path = checkout / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"import celery\nopen({str(ran)!r}, 'a').write({name!r})\n")
    (checkout / "evil.pth").write_text(f"import os; open({str(ran)!r}, 'a')\n")
    (checkout / "pyproject.toml").write_text(
        "[build-system]\nrequires = []\nbuild-backend = 'setup'\nbackend-path = ['.']\n"
        "[tool.task-server]\napp = 'shop'\ncode = '.'\nsettings_module = 'settings'\n"
    )

    ended = check(checkout, "--static", "--json", program=program)

    assert 0 == ended.returncode, ended.stderr
    assert [] == rules(ended)
    assert not ran.exists(), ran.read_text()
