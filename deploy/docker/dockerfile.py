"""
Writes the Dockerfile, from what the images say of themselves.

    uv run python deploy/docker/dockerfile.py

The Nix images read the same deploy/image.json. Tests hold that the Dockerfile is what this
writes, and that the images it builds are configured as that file says.
"""

import json
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
FILE = HERE / "Dockerfile"
TEMPLATE = HERE / "Dockerfile.in"

#: A worker for all queues; others of a project's image are started by their commands.
KIND = "worker"

#: Where media are mounted, only in images without a project: a project says itself what it has.
MEDIA = "DJANGO_MEDIA_ROOT"


def written() -> str:
    """Return the Dockerfile: its template, with the description's values."""
    description = json.loads((HERE.parent / "image.json").read_text())
    project = tomllib.loads((HERE.parents[1] / "pyproject.toml").read_text())["project"]
    values = {
        "environment": description["environment"],
        "init": description["init"],
        "code": description["config"]["WorkingDir"],
        "user": _entry(description["user"]),
        "uid": str(description["user"]["uid"]),
        "folders": " && ".join(folders(description)),
        "described": "\n".join(
            described(
                {**description, "config": _without_media(description["config"])},
                KIND,
                version=project["version"],
            )
        ),
        "media": f"ENV {MEDIA}={description['config']['Env'][MEDIA]}",
    }
    text = TEMPLATE.read_text()
    for name, value in values.items():
        text = text.replace(f"@{name}@", value)
    return text


def _entry(user: Mapping[str, Any]) -> str:
    """Return the user's line in /etc/passwd."""
    numbers = f"{user['uid']}:{user['gid']}"
    return f"{user['name']}:x:{numbers}:{user['description']}:{user['home']}:{user['shell']}"


def _without_media(config: Mapping[str, Any]) -> dict[str, Any]:
    environ = {name: value for name, value in config["Env"].items() if name != MEDIA}
    return {**config, "Env": environ}


def folders(description: Mapping[str, Any]) -> Iterator[str]:
    """Yield the commands that make the folders."""
    owners = {"user": "{uid}:{gid}".format(**description["user"]), "root": "0:0"}
    for path, folder in description["folders"].items():
        owner, _, group = owners[folder["owner"]].partition(":")
        yield f"install -d -m {folder['mode']} -o {owner} -g {group} {path}"


def described(
    description: Mapping[str, Any], kind: str, *, version: str | None = None
) -> Iterator[str]:
    """Yield the instructions that configure the image *kind*."""
    image, config = description["images"][kind], description["config"]
    for name, value in {**config["Env"], **image.get("Env", {})}.items():
        yield f"ENV {name}={json.dumps(value)}"
    labels = {**config["Labels"], "org.opencontainers.image.title": image["title"]}
    if version is not None:
        labels["org.opencontainers.image.version"] = version
    for name, value in labels.items():
        yield f"LABEL {name}={json.dumps(value)}"
    for port in image.get("ExposedPorts", ()):
        yield f"EXPOSE {port}"
    check = image["Healthcheck"]
    yield (
        f"HEALTHCHECK --interval={_seconds(check['Interval'])}"
        f" --timeout={_seconds(check['Timeout'])}"
        f" --start-period={_seconds(check['StartPeriod'])} --retries={check['Retries']}"
        f" CMD {json.dumps(check['Test'][1:])}"
    )
    yield f"USER {config['User']}"
    yield f"WORKDIR {config['WorkingDir']}"
    yield f"STOPSIGNAL {config['StopSignal']}"
    yield f"ENTRYPOINT {json.dumps(config['Entrypoint'])}"
    yield f"CMD {json.dumps(image['Cmd'])}"


def _seconds(nanoseconds: int) -> str:
    seconds, rest = divmod(nanoseconds, 1_000_000_000)
    return f"{nanoseconds}ns" if rest else f"{seconds}s"


if __name__ == "__main__":
    FILE.write_text(written())
