"""
The images, made without Nix: the description is that of the Nix images.

`deploy/image.json` says what a container is given. Here a base of Debian 13,
whose Python is the flake's 3.13, takes the place of the Nix store, and
`uv sync` that of uv2nix.
"""

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from runpy import run_path
from typing import Any

ROOT = Path(__file__).parents[3]

#: The base stays in Docker from run to run; it has nothing of the project's.
BASE = "task-server-test-base:trixie"

PACKAGES = ("python3", "ca-certificates", "tzdata", "catatonit")

#: A machine that trusts an authority of its own has it in this file.
AUTHORITIES = Path("/etc/ssl/certs/ca-certificates.crt")

#: Beside the sources, what `uv sync` reads.
FILES = ("pyproject.toml", "uv.lock", "hatch_build.py", "README.md", "LICENSE")

#: What the build puts into the package.
OTHER_FILES = ("deploy/prometheus/task-server.rules.yml",)

#: Writes the instructions that configure an image; the Dockerfile of users has the same.
WRITER = run_path(str(ROOT / "deploy" / "docker" / "dockerfile.py"))

#: What a user without Nix begins with.
PYTHON = "task-server-test-python:trixie"

#: A journal, for machines that have none.
JOURNAL = "task-server-test-journal:trixie"

NAME = "task-server"
TAG = "test"


def described() -> dict[str, Any]:
    """Return the description that Nix reads as well."""
    loaded: dict[str, Any] = json.loads((ROOT / "deploy" / "image.json").read_text())
    return loaded


def build() -> dict[str, str]:
    """
    Build every image.

    Returns:
        The names of the images by their kind: worker, prefork, gevent, flower, metrics.

    Raises:
        RuntimeError: When debootstrap or Docker fails, with what they said.
    """
    description = described()
    _have_base()
    images = {kind: f"{NAME}-{kind}:{TAG}" for kind in description["images"]}
    with tempfile.TemporaryDirectory() as temporary:
        context = Path(temporary)
        _fill(context)
        for kind, name in images.items():
            _build(context, name, dockerfile(description, kind))
    return images


def build_python() -> str:
    """Build a base such as Docker's own for Python, without what ours adds; return its name."""
    with tempfile.TemporaryDirectory() as temporary:
        context = Path(temporary)
        shutil.copy(AUTHORITIES, context)
        _have_base()
        _build(
            context,
            PYTHON,
            [
                f"FROM {BASE}",
                f"COPY {AUTHORITIES.name} {AUTHORITIES}",
                # pip has a list of its own.
                f"ENV PIP_CERT={AUTHORITIES}",
                "RUN apt-get update -qq",
                "RUN apt-get purge -qq --yes catatonit",
                "RUN apt-get install -qq --yes --no-install-recommends python3-venv",
            ],
        )
    return PYTHON


def build_journal() -> str:
    """Build the image of systemd's journal, and return its name."""
    with tempfile.TemporaryDirectory() as temporary:
        context = Path(temporary)
        shutil.copy(AUTHORITIES, context)
        _build(
            context,
            JOURNAL,
            [
                f"FROM {BASE}",
                f"COPY {AUTHORITIES.name} {AUTHORITIES}",
                "RUN apt-get update -qq",
                "RUN apt-get install -qq --yes --no-install-recommends systemd",
                "RUN systemd-machine-id-setup",
                'ENTRYPOINT ["/usr/lib/systemd/systemd-journald"]',
            ],
        )
    return JOURNAL


def _build(context: Path, name: str, lines: Iterable[str]) -> None:
    (context / "Dockerfile").write_text("\n".join(lines))
    command = ["docker", "build", "--quiet", "--network", "host", "--tag", name, context]
    done = subprocess.run(
        command,
        check=False,
        # The classic builder needs no plug-in.
        env={**os.environ, "DOCKER_BUILDKIT": "0"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if done.returncode:
        raise RuntimeError(f"{name} cannot be built:\n{done.stdout[-2000:]}")


def dockerfile(description: Mapping[str, Any], kind: str) -> Iterator[str]:
    """Yield the lines of the Dockerfile of the image *kind*."""
    environment = description["environment"]
    yield f"FROM {BASE} AS environment"
    yield f"COPY {AUTHORITIES.name} {AUTHORITIES}"
    yield f"ENV SSL_CERT_FILE={AUTHORITIES}"
    yield "COPY uv /usr/local/bin/uv"
    yield "COPY project /project"
    yield (
        f"RUN cd /project && UV_PROJECT_ENVIRONMENT={environment} uv sync --no-dev --frozen"
        " --all-packages --extra flower --extra metrics"
        " --quiet --no-editable --no-cache --compile-bytecode --python /usr/bin/python3"
    )
    yield f"FROM {BASE}"
    yield f"COPY --from=environment {environment} {environment}"
    yield "RUN " + " && ".join(WRITER["folders"](description))
    yield from WRITER["described"](description, kind)


def _have_base() -> None:
    inspect = ["docker", "image", "inspect", BASE]
    if subprocess.run(inspect, check=False, capture_output=True).returncode:
        _import_base()


def _import_base() -> None:
    """Make the base: what the images need of the system, from Debian's own packages."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary, "trixie")
        log = Path(temporary, "log")
        with log.open("wb") as output:
            code = subprocess.run(
                [
                    *("debootstrap", "--variant=minbase", f"--include={','.join(PACKAGES)}"),
                    *("trixie", folder),
                ],
                check=False,
                stdout=output,
                stderr=subprocess.STDOUT,
            ).returncode
        if code:
            raise RuntimeError(f"debootstrap exited with {code}:\n{log.read_text()[-2000:]}")
        shutil.rmtree(folder / "var/cache/apt")
        shutil.rmtree(folder / "var/lib/apt/lists")
        with subprocess.Popen(["tar", "-C", folder, "-c", "."], stdout=subprocess.PIPE) as tar:
            subprocess.run(
                ["docker", "import", "-", BASE],
                check=True,
                stdin=tar.stdout,
                stdout=subprocess.DEVNULL,
            )


def copy_sources(folder: Path) -> None:
    """Put what `uv sync` and `pip install` read into the new *folder*."""
    folder.mkdir()
    for name in FILES:
        shutil.copy(ROOT / name, folder)
    for name in OTHER_FILES:
        (folder / name).parent.mkdir(parents=True)
        shutil.copy(ROOT / name, folder / name)
    shutil.copytree(
        ROOT / "src", folder / "src", ignore=shutil.ignore_patterns("__pycache__", "*.pyc")
    )


def _fill(context: Path) -> None:
    """Put what the build reads into the folder *context*."""
    copy_sources(context / "project")
    # `uv run` names itself there; what is on PATH may be a script that finds it.
    uv = os.environ.get("UV") or shutil.which("uv")
    if uv is None:
        raise RuntimeError("there is no uv; run the tests by `uv run pytest`")
    shutil.copy(uv, context / "uv")
    shutil.copy(AUTHORITIES, context)
