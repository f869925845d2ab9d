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
from typing import Any

ROOT = Path(__file__).parents[3]

#: The base stays in Docker from run to run; it has nothing of the project's.
BASE = "task-server-test-base:trixie"

PACKAGES = ("python3", "ca-certificates", "tzdata", "catatonit")

#: A machine that trusts an authority of its own has it in this file.
AUTHORITIES = Path("/etc/ssl/certs/ca-certificates.crt")

#: Beside the sources, what `uv sync` reads.
FILES = ("pyproject.toml", "uv.lock", "README.md", "LICENSE")

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
        The names of the images by their kind: worker, prefork, gevent, flower.

    Raises:
        RuntimeError: When debootstrap or Docker fails, with what they said.
    """
    description = described()
    inspect = ["docker", "image", "inspect", BASE]
    if subprocess.run(inspect, check=False, capture_output=True).returncode:
        _import_base()
    images = {kind: f"{NAME}-{kind}:{TAG}" for kind in description["images"]}
    with tempfile.TemporaryDirectory() as temporary:
        context = Path(temporary)
        _fill(context)
        for kind, name in images.items():
            _build(context, name, dockerfile(description, kind))
    return images


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
    image, config = description["images"][kind], description["config"]
    environment, user = description["environment"], description["user"]
    yield f"FROM {BASE} AS environment"
    yield f"COPY {AUTHORITIES.name} {AUTHORITIES}"
    yield f"ENV SSL_CERT_FILE={AUTHORITIES}"
    yield "COPY uv /usr/local/bin/uv"
    yield "COPY project /project"
    yield (
        f"RUN cd /project && UV_PROJECT_ENVIRONMENT={environment} uv sync --no-dev --frozen"
        " --all-packages --extra flower"
        " --quiet --no-editable --no-cache --compile-bytecode --python /usr/bin/python3"
    )
    yield f"FROM {BASE}"
    yield f"COPY --from=environment {environment} {environment}"
    owners = {"user": user["uid"], "root": 0}
    yield "RUN " + " && ".join(
        "install -d -m {mode} -o {owner} -g {owner} {path}".format(
            mode=folder["mode"], owner=owners[folder["owner"]], path=path
        )
        for path, folder in description["folders"].items()
    )
    for name, value in {**config["Env"], **image.get("Env", {})}.items():
        yield f"ENV {name}={json.dumps(value)}"
    for name, value in {
        **config["Labels"],
        "org.opencontainers.image.title": image["title"],
    }.items():
        yield f"LABEL {name}={json.dumps(value)}"
    for port in image.get("ExposedPorts", ()):
        yield f"EXPOSE {port}"
    check = image["Healthcheck"]
    yield (
        f"HEALTHCHECK --interval={check['Interval']}ns --timeout={check['Timeout']}ns"
        f" --start-period={check['StartPeriod']}ns --retries={check['Retries']}"
        f" CMD {json.dumps(check['Test'][1:])}"
    )
    yield f"USER {config['User']}"
    yield f"WORKDIR {config['WorkingDir']}"
    yield f"STOPSIGNAL {config['StopSignal']}"
    yield f"ENTRYPOINT {json.dumps(config['Entrypoint'])}"
    yield f"CMD {json.dumps(image['Cmd'])}"


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


def _fill(context: Path) -> None:
    """Put what the build reads into the folder *context*."""
    project = context / "project"
    project.mkdir()
    for name in FILES:
        shutil.copy(ROOT / name, project)
    shutil.copytree(
        ROOT / "src", project / "src", ignore=shutil.ignore_patterns("__pycache__", "*.pyc")
    )
    # `uv run` names itself there; what is on PATH may be a script that finds it.
    uv = os.environ.get("UV") or shutil.which("uv")
    if uv is None:
        raise RuntimeError("there is no uv; run the tests by `uv run pytest`")
    shutil.copy(uv, context / "uv")
    shutil.copy(AUTHORITIES, context)
