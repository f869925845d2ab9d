"""Names of queues that only the source of a project, or its settings, have."""

import ast
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
from kombu import Queue

from task_server.project.queues.source import Seen, of_modules, seen

SURE = [
    'task.apply_async(args=(1,), queue="x")',
    'task.s(1).set(queue="x").delay()',
    'app.send_task("a.b", queue="x")',
    'signature("a.b", queue="x")',
    'self.retry(queue="x")',
    '@app.task(queue="x")\ndef f(): pass',
    '@shared_task(bind=True, queue="x")\ndef f(self): pass',
    'NAME = "x"\ntask.apply_async(queue=NAME)',
    "task.apply_async(queue=settings.BULK_QUEUE)",
    'task.apply_async(queue="x" if fast else slow)',
    'task.apply_async(queue=given or "x")',
    "async def f():\n    task.apply_async(queue='x')",
    'class Queues(StrEnum):\n    BULK = "x"\ntask.apply_async(queue=Queues.BULK)',
    'class Queues(Enum):\n    BULK = "x"\ntask.apply_async(queue=Queues.BULK.value)',
]

PERHAPS = [
    'throttle = Throttle(queue_name="x")',
    'parser.add_argument("--queue", default="x")',
    'def f(a, queue="x"): pass',
    'def f(*, queue: str = "x"): pass',
    'options = {"queue": "x"}',
    'mine.send(queue="x")',
    'BULK_QUEUE = "x"',
    'QUEUES: list[str] = ["x"]',
    'QUEUE: Final = "x"',
]

NONE = [
    "task.apply_async(queue=given)",
    "task.apply_async(queue=None)",
    "task.apply_async(queue=f'{a}')",
    "task.apply_async(queue=7)",
    "Process(target=f, args=(queue,))",
    "task.apply_async(**options)",
    'parser.add_argument("--court", default="x")',
    "def f(queue, a='b'): pass",
    "# queue='x'",
    "{**queue}",
    'QUEUE = make("x")',
    "QUEUE = 7",
    "QUEUE: str",
    'NAME = "x"',
]


def names(source: str) -> list[tuple[str, bool]]:
    settings = {"BULK_QUEUE": "x", "OTHER_QUEUE": ("y",)}
    found = of_modules({"cl/tasks.py": ast.parse(source)}, settings)
    return [(one.queue, one.certain) for one in found]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        *((source, [("x", True)]) for source in SURE),
        *((source, [("x", False)]) for source in PERHAPS),
        *((source, []) for source in NONE),
    ],
)
def test_a_name_in_the_source(source: str, expected: list[tuple[str, bool]]) -> None:
    """
    What a task is sent to is sure; another argument of that name may be something else.
    """
    assert expected == names(source)


def test_a_name_has_its_file_and_line() -> None:
    """
    The place of a reported name is exact.
    """
    tree = ast.parse('\n\ntask.apply_async(\n    queue="x",\n)\n')

    assert [Seen("x", "cl/tasks.py:4", certain=True)] == list(of_modules({"cl/tasks.py": tree}, {}))


def test_a_constant_is_found_in_another_module() -> None:
    """
    Where its name is that of one only; of two it is unknown which was imported.
    """
    sources = {
        "names.py": 'BULK_QUEUE = "x"\nODD_QUEUE = "y"',
        "other.py": 'ODD_QUEUE = "z"',
        "calls.py": (
            "from names import BULK_QUEUE, ODD_QUEUE\n"
            "task.apply_async(queue=BULK_QUEUE)\n"
            "task.apply_async(queue=ODD_QUEUE)\n"
        ),
    }
    trees = {name: ast.parse(source) for name, source in sources.items()}

    assert [("x", "calls.py:2")] == [
        (one.queue, one.where) for one in of_modules(trees, {}) if one.certain
    ]


SETTINGS = SimpleNamespace(
    ETL_QUEUE="batch1",
    BULK_QUEUES=("batch2", "batch3"),
    CELERY_TASK_QUEUES=[Queue("declared")],
    RQ_QUEUES={"default": {"HOST": "x"}},
    NAMED_QUEUES={"fast": "q1", "slow": "q2"},
    QUEUE_LENGTH="7",
    EMPTY_QUEUE="",
    ANY_QUEUE="*",
    NUMBER_QUEUE=4,
    NONE_QUEUE=None,
    lower_queue="no",
)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make a package that is imported, with folders that are not looked at, and broken files."""
    package = tmp_path / "cl"
    module = ModuleType("cl")
    module.__path__ = [str(package)]
    monkeypatch.setattr("sys.modules", {"cl": module})
    for folder in ("", "jobs", "tests", "migrations", "node_modules", ".venv"):
        (package / folder).mkdir(exist_ok=True)
        name = folder or "top"
        (package / folder / "views.py").write_text(f'task.apply_async(queue="{name}")')
    (package / "test_views.py").write_text('task.apply_async(queue="of-a-test")')
    (package / "broken.py").write_text('task.apply_async(queue="x"')
    (package / "latin.py").write_bytes(b"# \xff queue\n")
    (package / "nul.py").write_bytes(b"queue\0")
    (package / "deep.py").write_text("queue = " + "(" * 5000)
    return package


def test_the_projects_own_files_and_settings_are_searched(project: Path) -> None:
    """
    Tests, migrations and foreign folders are not, and a file that is no Python is no error.
    """
    found = seen("cl", SETTINGS)

    assert {
        *("top", "jobs", "batch1", "batch2", "batch3"),
        *("declared", "default", "q1", "q2"),
    } == {one.queue for one in found}
    assert [("jobs", f"{project}/jobs/views.py:1"), ("top", f"{project}/views.py:1")] == sorted(
        (one.queue, one.where) for one in found if one.certain
    )
    assert {"batch1": "the setting ETL_QUEUE"}.items() <= {
        one.queue: one.where for one in found
    }.items()


def test_a_call_makes_sure_what_a_setting_only_suggests(project: Path) -> None:
    """
    A name that is in both places is a queue.
    """
    (project / "calls.py").write_text("task.apply_async(queue=settings.ETL_QUEUE)")

    found = {one.queue: one for one in seen("cl", SETTINGS)}

    assert Seen("batch1", f"{project}/calls.py:1", certain=True) == found["batch1"]
