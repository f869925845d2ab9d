"""With an untested Kombu the worker uses Kombu's own transport, and says so."""

import subprocess
import sys

import pytest
from kombu.transport import TRANSPORT_ALIASES

from task_server import transport
from task_server.transport import versions


@pytest.mark.parametrize("version", ["5.6.2", "5.6.9", "5.7.0", "5.7.12"])
def test_the_supported_versions(version: str) -> None:
    """
    From 5.6.2 to the last 5.7 the transport works.
    """
    assert versions.problem_of(version) is None


@pytest.mark.parametrize(
    ("version", "problem"),
    [
        ("5.6.1", "kombu 5.6.1 is outside 5.6.2 <= version < 5.8"),
        ("5.8.0", "kombu 5.8.0 is outside 5.6.2 <= version < 5.8"),
        ("5.7.0rc1", "kombu 5.7.0rc1 is not a release"),
    ],
)
def test_any_other_version_is_named(version: str, problem: str) -> None:
    """
    The reason names the version and the range.
    """
    assert problem == versions.problem_of(version)


def test_install_and_uninstall() -> None:
    """
    `install` replaces the classes of Redis URLs only, and `uninstall` puts them back.
    """
    before = dict(TRANSPORT_ALIASES)
    try:
        used = transport.install()
        changed = {name for name in before if TRANSPORT_ALIASES[name] != before[name]}
    finally:
        transport.uninstall()

    assert used
    assert {"redis", "rediss", "sentinel"} == changed
    assert before == TRANSPORT_ALIASES


def test_outside_the_range_nothing_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    With an unknown Kombu `install` warns, and leaves Kombu as it is.
    """
    before = dict(TRANSPORT_ALIASES)
    monkeypatch.setattr(versions, "version", lambda _: "6.0.0")

    with pytest.warns(transport.TransportWarning, match="6.0.0 is outside"):
        used = transport.install()

    assert not used
    assert not transport.installed()
    assert before == TRANSPORT_ALIASES


def test_the_package_can_be_asked_without_kombu() -> None:
    """
    Importing the package loads neither Kombu nor a client; `install` does.
    """
    program = "import sys, task_server.transport; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )

    assert set() == {"kombu", "redis", "celery"} & set(done.stdout.split())
