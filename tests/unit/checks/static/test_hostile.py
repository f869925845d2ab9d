"""A hostile checkout: everything in it is bounded and named, and nothing of it runs."""

import os
import signal
from pathlib import Path

import pytest

from task_server.checks.static import checkout, files, guard
from tests.unit.checks.static.conftest import Scan

GOOD = """from celery import shared_task


@shared_task(time_limit=1, soft_time_limit=2)
def a():
    ...
"""
CELERY = "import celery\n"

SOURCES: dict[str, tuple[str | bytes, str]] = {
    "no Python": (f"{CELERY}def (:\n", "is not Python"),
    "of a newer Python": (f"{CELERY}type X[T] = !!!\n", "is not Python"),
    "NUL": (CELERY.encode() + b"x = '\0'\n", "is not Python"),
    "not UTF-8": (CELERY.encode() + b"x = '\xff\xfe'\n", "is not Python"),
    "unknown coding": (f"# coding: rot-26\n{CELERY}", "is not Python"),
    "a coding that is no text": (f"# coding: hex\n{CELERY}", "is not Python"),
    "deep brackets": (f"{CELERY}x = {'(' * 5000}1{')' * 5000}\n", "is not Python"),
    "deep minus": (f"{CELERY}x = {'-' * 50_000}1\n", "nested too deep"),
    "deep attributes": (f"{CELERY}x = a{'.a' * 50_000}\n", "nested too deep"),
    "deep sum": (f"{CELERY}x = {'1 + ' * 50_000}1\n", "nested too deep"),
    "deep blocks": (
        CELERY + "".join(f"{' ' * n}if x:\n" for n in range(200)) + " " * 200 + "x\n",
        "is not Python",
    ),
    "huge": (CELERY + "#" * files.BYTES, "is larger than 1024 KiB"),
}


@pytest.mark.parametrize("name", SOURCES)
def test_a_file_that_cannot_be_read_is_named(name: str, found: Scan) -> None:
    """
    One finding says why, and the other files are read.
    """
    source, words = SOURCES[name]
    findings = found({"bad.py": source, "good.py": GOOD})

    assert [("bad.py", "file-not-read"), ("good.py", "soft-limit-above-time-limit")] == [
        (one.path, one.rule) for one in findings
    ]
    assert words in findings[0].message


@pytest.mark.parametrize(
    "source",
    [
        "x = 10 ** 10 ** 10\n",
        "x = 'a' * 10**12\n",
        f"x = {'9' * 4000}\n",
        "x = ''\n" + "".join(f"x{n} = [x{n - 1}] * 9\n" for n in range(1, 50)),
        "a0 = [1, 2]\n" + "".join(f"a{n} = a{n - 1} + a{n - 1}\n" for n in range(1, 60)),
        "a0 = 1\n" + "".join(f"a{n} = [a{n - 1}, a{n - 1}]\n" for n in range(1, 60)),
        "a = b\nb = a\n",
        "from bad import *\nfrom bad import x as x\n",
    ],
    ids=["power", "text", "digits", "product", "sum", "billion laughs", "circle", "own star"],
)
def test_values_that_nobody_can_compute(source: str, found: Scan) -> None:
    """
    They are unknown, after little time.
    """
    schedule = "CELERY_BEAT_SCHEDULE = {'x': {'task': x, 'y': a59}}\nCELERY_IMPORTS = x\n"
    settings = f"{CELERY}{source}{schedule}"

    assert [] == found({"bad.py": settings})


def test_links_pipes_and_folders_that_lead_out_or_in_circles(found: Scan, tmp_path: Path) -> None:
    """
    No link is followed, and no pipe is opened.
    """
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret.py").write_text(GOOD)
    inside = tmp_path / "inside"
    inside.mkdir()
    (inside / "link.py").symlink_to(outside / "secret.py")
    (inside / "folder").symlink_to(outside)
    (inside / "circle").symlink_to(inside)
    (inside / "gone.py").symlink_to("nowhere")
    os.mkfifo(inside / "pipe.py")
    (inside / "package.py").mkdir()

    findings = found({"inside/good.py": GOOD}, "inside")

    assert [
        ("inside/good.py", "soft-limit-above-time-limit"),
        ("inside/pipe.py", "file-not-read"),
    ] == [(one.path, one.rule) for one in findings]


def test_a_pipe_and_a_link_that_are_given(found: Scan, tmp_path: Path) -> None:
    """
    What is named on the command line is no reason to wait.
    """
    os.mkfifo(tmp_path / "pipe.py")
    (tmp_path / "link.py").symlink_to("/dev/zero")

    reasons = {one.path: one.message for one in found({}, "pipe.py", "link.py")}

    assert "is not a regular file" in reasons["pipe.py"]
    assert "is a link" in reasons["link.py"]


def test_many_files_and_deep_folders_are_bounded(
    found: Scan, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Beyond the bounds nothing is read, and that is said.
    """
    monkeypatch.setattr(files, "FILES", 5)
    monkeypatch.setattr(files, "LEVELS", 3)
    many = found({f"many/m{n}.py": "" for n in range(9)}, "many")
    deep = found({"deep/a/b/c/d/e.py": GOOD}, "deep")

    assert ["has more than 5 files; the rest is not read; nothing is known of it"] == [
        one.message for one in many
    ]
    assert ["deep/a/b/c"] == [one.path for one in deep]
    assert "is 3 folders deep" in deep[0].message


def test_names_that_are_no_text(found: Scan, tmp_path: Path) -> None:
    """
    A file's name may be any bytes.
    """
    path = os.path.join(os.fsencode(tmp_path), b"caf\xe9\n\x1b[2J.py")  # noqa: PTH118
    with open(path, "w") as file:  # noqa: PTH123
        file.write(GOOD)

    assert ["soft-limit-above-time-limit"] == [one.rule for one in found({})]


def dies(source: bytes) -> None:
    if b"crash" in source:
        os.kill(os.getpid(), signal.SIGKILL)
    while b"for ever" in source:
        pass


def test_a_file_that_ends_the_parser_is_named_and_left_out(
    found: Scan, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Whatever kills the child, or keeps it busy, is named; the rest is read in another one.
    """
    parse = checkout.ast.parse
    monkeypatch.setattr(checkout.ast, "parse", lambda source: (dies(source), parse(source))[1])
    monkeypatch.setattr(guard, "FILE_SECONDS", 1)

    findings = found(
        {"crash.py": f"{CELERY}# crash", "ever.py": f"{CELERY}# for ever", "good.py": GOOD}
    )

    assert {
        "crash.py": "ends the process that reads it (SIGKILL)",
        "ever.py": "takes more than 1 s to read",
        "good.py": "a has soft_time_limit=2",
    } == {one.path: one.message.partition(";")[0].partition(", not")[0] for one in findings}


def test_a_regular_expression_that_never_ends(found: Scan, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A route of the checkout is matched under the same bound, and its file is named.
    """
    monkeypatch.setattr(guard, "FILE_SECONDS", 1)
    name = "a" * 60
    tasks = f"from celery import shared_task\n\n\n@shared_task\ndef {name}():\n    ...\n"
    settings = "import re  # celery\nCELERY_TASK_ROUTES = {re.compile(r'shop\\.(a+)+b'): 'bulk'}\n"
    tasks = tasks.replace("shared_task\ndef", f"shared_task(name='shop.{name}')\ndef")

    findings = found({"shop/__init__.py": "", "shop/tasks.py": tasks, "shop/settings.py": settings})

    assert [("shop/settings.py", "file-not-read")] == [(one.path, one.rule) for one in findings]
