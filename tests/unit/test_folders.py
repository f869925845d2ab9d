"""The folders of a worker, and what is said of each that is wrong."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from task_server.config.model import Config
from task_server.errors import ConfigError
from task_server.launch import folders
from tests.support.folders import open_to_others


def problems(config: Config, here: Path, **environ: str) -> list[str]:
    try:
        folders.check(config, environ, here)
    except ConfigError as error:
        return [str(problem) for problem in error.problems]
    return []


@pytest.fixture
def code(tmp_path: Path) -> Path:
    """Return a folder with the module `parish`."""
    folder = tmp_path / "code"
    (folder / "parish").mkdir(parents=True)
    (folder / "parish" / "__init__.py").touch()
    return folder


@pytest.mark.parametrize("app", ["parish", "parish:app", "parish.celery:app"])
def test_code_is_found_wherever_it_is_named(code: Path, tmp_path: Path, app: str) -> None:
    """
    The setting, PYTHONPATH and the present folder lead to it, and none of it is imported.
    """
    assert [] == problems(Config(app=app, code=str(code)), tmp_path)
    assert [] == problems(Config(app=app), tmp_path, PYTHONPATH=f"/absent:{code}")
    assert [] == problems(Config(app=app), code)
    assert "parish" not in sys.modules


def test_code_in_the_environment_needs_no_folder(tmp_path: Path) -> None:
    """
    An image that holds the project has nothing mounted, and that is right.
    """
    assert [] == problems(Config(app="docket"), tmp_path, PYTHONPATH=str(tmp_path))


def test_a_forgotten_mount_is_named_with_the_option_that_mounts(tmp_path: Path) -> None:
    """
    Docker makes an empty folder of a forgotten one, and the line says what belongs there.
    """
    (empty,) = problems(Config(app="parish"), tmp_path, PYTHONPATH=str(tmp_path))
    (absent,) = problems(Config(app="parish", code="/absent"), tmp_path)

    assert f"PYTHONPATH: {tmp_path} is empty" in empty
    assert f"--volume /path/to/project:{tmp_path}:ro" in empty
    assert "code: /absent does not exist" in absent
    assert "--volume /path/to/project:/absent:ro" in absent


def test_another_project_is_recognized_by_what_lies_there(code: Path, tmp_path: Path) -> None:
    """
    A folder without the app's module is shown with what it has.
    """
    (found,) = problems(Config(app="diocese.celery", code=str(code)), tmp_path)

    assert f"app: there is no module 'diocese' in {code}" in found
    assert "there is parish" in found


def test_both_folders_are_reported_at_once(tmp_path: Path) -> None:
    """
    An absent code folder does not hide an absent media folder.
    """
    found = problems(
        Config(app="parish"), tmp_path, PYTHONPATH=str(tmp_path), DJANGO_MEDIA_ROOT="/absent"
    )

    assert 2 == len(found)
    assert "DJANGO_MEDIA_ROOT: /absent does not exist" in found[1]
    assert "--volume /path/to/media:/absent" in found[1]


def test_media_that_cannot_be_written_names_user_owner_and_mode(tmp_path: Path) -> None:
    """
    Who may write, and who this is, stand in one line. (Not even root writes in /proc.)
    """
    (found,) = problems(Config(), tmp_path, DJANGO_MEDIA_ROOT="/proc")

    assert f"/proc is not writable by {os.geteuid()}:{os.getegid()} " in found
    assert "it belongs to 0:0, mode 0555" in found
    assert f"chown {os.geteuid()}:{os.getegid()}" in found


def test_media_may_be_for_reading_alone(tmp_path: Path) -> None:
    """
    Where tasks only read, a folder that cannot be written is right, and an absent one is not.
    """
    reading = Config(media="read-only")

    assert [] == problems(reading, tmp_path, DJANGO_MEDIA_ROOT="/proc")
    assert 1 == len(problems(reading, tmp_path, DJANGO_MEDIA_ROOT="/absent"))


def test_without_a_media_folder_nothing_is_asked(tmp_path: Path) -> None:
    """
    A project on a laptop names none, and starts.
    """
    assert [] == problems(Config(), tmp_path)
    assert [] == problems(Config(), tmp_path, DJANGO_MEDIA_ROOT="")


AS_NOBODY = """
import os, sys
from pathlib import Path
from task_server.launch import folders
from task_server.config.model import Config
if os.getuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
folder = Path(sys.argv[1])
print(folders.check_code_readable(folder))
for finding in folders.check_code(Config(app="parish", code=str(folder / "closed")), {}, folder):
    print(finding)
for finding in folders.check_media(Config(), {"DJANGO_MEDIA_ROOT": str(folder / "closed")}):
    print(finding)
"""


def test_what_another_user_cannot_read_is_named(code: Path, tmp_path: Path) -> None:
    """
    As a user without rights: a closed file of the code, a closed folder, and closed media.
    """
    (code / "parish" / "private.py").touch(mode=0o000)
    (code / "closed").mkdir(mode=0o000)
    open_to_others(code)

    said = subprocess.run(
        [sys.executable, "-c", AS_NOBODY, code], capture_output=True, text=True, check=True
    ).stdout.splitlines()

    readable, closed, media = said
    who = "65534:65534" if os.getuid() == 0 else f"{os.geteuid()}:{os.getegid()}"
    assert f"{code}/parish/private.py" in readable or f"{code}/closed" in readable
    assert " and 1 more cannot be read by " + who in readable
    assert f"chmod -R o+rX {code}" in readable
    assert f"code: {code}/closed is not readable by {who} (Permission denied)" in closed
    assert "mode 0000" in closed
    assert f"{code}/closed is not writable by {who} (Permission denied)" in media


CLOSED_APP = """
import os, sys
from task_server.project import celery_app
from task_server.errors import ConfigError
if os.getuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
sys.path.insert(0, sys.argv[1])
try:
    celery_app.load_app("parish")
except ConfigError as error:
    print(error)
"""


def test_a_file_of_the_app_that_cannot_be_read_is_no_traceback(code: Path) -> None:
    """
    The worker says which file, whose it is and its mode.
    """
    (code / "parish" / "__init__.py").chmod(0o000)
    open_to_others(code)

    said = subprocess.run(
        [sys.executable, "-c", CLOSED_APP, code], capture_output=True, text=True, check=True
    ).stdout

    assert f"app: {code}/parish/__init__.py cannot be read by" in said
    assert "mode 0000; let that user read the code" in said
