"""
Images for the node, which reaches no registry: built by Docker, as in tests/acceptance/docker.

Docket's is the worker's image, whose packages have docket; the shop's is that with the shop's
code on it, as docs/how-to/docker.md has it for a project that needs no more packages.
"""

import os
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

from tests.acceptance.docker import image
from tests.acceptance.docker.engine import docker
from tests.kubernetes.lab.node import PAUSE
from tests.kubernetes.lab.programs import folder_of

PROJECT = Path(__file__).parents[1] / "project"

SHOP = "task-server-test-shop:1"

#: The same shop by another name: what a rollout changes.
RELEASES = tuple(f"task-server-test-shop:{number}" for number in (1, 2, 3, 4))


#: A release with one more migration.
MIGRATED = "task-server-test-shop:migrated"


def save(archive: Path) -> dict[str, str]:
    """
    Build every image, and write them all to *archive*.

    Returns:
        Their names by kind, those of the description of the images.
    """
    names = image.build()
    for number, name in enumerate(RELEASES, 1):
        _build(names["worker"], name, f"ENV SHOP_RELEASE={number}")
    _build(names["worker"], MIGRATED, *_migration())
    _pause()
    docker("save", "--output", archive, names["worker"], *RELEASES, MIGRATED, PAUSE)
    return names


def _build(base: str, name: str, *lines: str) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        shutil.copytree(PROJECT, folder / "project", ignore=shutil.ignore_patterns("__pycache__"))
        text = "\n".join((f"FROM {base}", "COPY project /opt/celery", *lines))
        (folder / "Dockerfile").write_text(text)
        # The classic builder needs no plug-in.
        environ = {**os.environ, "DOCKER_BUILDKIT": "0"}
        docker("build", "--quiet", "--tag", name, folder, env=environ)


def _migration() -> list[str]:
    """Return what adds a migration to the shop."""
    return ["COPY project/migration.txt /opt/celery/shop/migrations/0002_run_note.py"]


def _pause() -> None:
    """Make the image of the sandboxes: one program."""
    with tempfile.TemporaryDirectory() as temporary:
        layer = Path(temporary) / "pause.tar"
        with tarfile.open(layer, "w") as tar:
            tar.add(folder_of("pause") / "pause", "pause")
        with layer.open("rb") as file:
            subprocess.run(
                [
                    *("docker", "import", "--change", 'ENTRYPOINT ["/pause"]'),
                    *("--change", "USER 65535:65535", "-", PAUSE),
                ],
                check=True,
                stdin=file,
                stdout=subprocess.DEVNULL,
            )
