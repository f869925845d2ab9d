"""
Runs what must hold on every supported version, on systems of Debian that have them, as root.

    uv run python .ci/versions.py build FOLDER [NAME…]    a tree for each run of tests/versions.toml
    uv run python .ci/versions.py test FOLDER [NAME…]     the tests in each, then a line for each
    uv run python .ci/versions.py test FOLDER NAME -- PYTEST'S WORDS
    uv run python .ci/versions.py here CODE                the line of this run, with uv.lock

A tree is a mount namespace's root for as long as its tests run, not a chroot: in one, no
process may have a user namespace, by which PostgreSQL starts for root.
"""

import json
import os
import shutil
import subprocess
import sys
import time
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]

#: What tests call, beside Python and the servers.
PACKAGES = ("python3-venv", "ca-certificates", "iproute2", "procps", "openssl", "git")

#: A machine that trusts an authority of its own has it in this file.
AUTHORITIES = Path("/etc/ssl/certs/ca-certificates.crt")

#: Nobody reads them.
LEFT_OUT = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*")

#: Whatever ends, nothing stays mounted where a clean-up could reach it.
OWN_MOUNTS = ("unshare", "--mount", "--propagation", "private")

ENTER = """
set -e; tree=$1; shift
mount --bind "$tree" "$tree"
for folder in /proc /dev /sys; do mount --rbind "$folder" "$tree$folder"; done
mount -t tmpfs -o mode=1777 tmpfs "$tree/tmp"
for folder in $BOUND; do mkdir -p "$tree$folder"; mount --rbind "$folder" "$tree$folder"; done
cd "$tree"
mkdir -p mnt/before
pivot_root . mnt/before
umount --lazy /mnt/before
cd /
exec "$@"
"""

#: Of pytest, in a tree; not in /tmp, which each command has anew.
CACHE = "var/cache/pytest"

#: As many tests run once more, alone.
MOST = 3

#: What the tests need of ours; `embedded` has servers, and a run has those of its system.
EXTRAS = "gevent,psycopg2,flower,metrics"

#: Prints which versions are really there.
FOUND = """
import json, os, platform
from importlib.metadata import version
from task_server.local.servers import binaries
servers = [binaries.redis(os.environ), *binaries.postgres(os.environ)[:1]]
print(json.dumps([
    f"Python {platform.python_version()}",
    *(f"{one.product} {one.version}" for one in servers),
    *(f"{name} {version(name)}" for name in ("celery", "kombu", "redis", "django")),
]))
"""


def table() -> dict[str, Any]:
    """Return tests/versions.toml."""
    return tomllib.loads((ROOT / "tests" / "versions.toml").read_text())


def build(row: dict[str, Any], folder: Path) -> int:
    """Make the tree of *row* in *folder*, with its servers and packages; return an exit code."""
    tree = folder / row["name"]
    packages = ",".join((*PACKAGES, *row["packages"]))
    made = subprocess.run(
        [
            *OWN_MOUNTS,
            *("mmdebstrap", "--quiet", "--variant=minbase", f"--include={packages}"),
            *(f"--dpkgopt=path-exclude={path}" for path in LEFT_OUT),
            "--dpkgopt=force-unsafe-io",
            '--aptopt=Acquire::Retries "5"',
            # A mirror may be some weeks old.
            '--aptopt=Acquire::Check-Valid-Until "false"',
            *(row["debian"], str(tree)),
        ],
        check=False,
    ).returncode
    if made or install(row, tree):
        print(f"{row['name']}: its tree cannot be made", flush=True)
        # What is half made is no tree.
        shutil.rmtree(tree, ignore_errors=True)
        return 1
    return 0


def install(row: dict[str, Any], tree: Path) -> int:
    """Make the environment of *row* in its tree, with its packages; return an exit code."""
    shutil.copy(uv(), tree / "usr/local/bin/uv")
    for path in (AUTHORITIES, Path("/etc/resolv.conf"), Path("/etc/hosts")):
        shutil.copy(path, tree / path.relative_to("/"))
    others = " ".join(f"'{one}'" for one in row.get("also", ()))
    # Not from the repository's folder, whose constraints uv would apply.
    script = (
        "cd / && uv venv --quiet --clear --python /usr/bin/python3 /venv && VIRTUAL_ENV=/venv "
        f"uv pip install --quiet --resolution {row['resolution']} --editable '{ROOT}[{EXTRAS}]'"
        f" --editable {ROOT}/src/docket --group {ROOT}/pyproject.toml:test {others}"
    )
    return enter(tree, "sh", "-c", script).returncode


def enter(tree: Path, *command: str, **options: Any) -> "subprocess.CompletedProcess[str]":
    """Run *command* with *tree* as its root."""
    cache = subprocess.run(
        [uv(), "cache", "dir"], check=True, capture_output=True, text=True
    ).stdout.strip()
    Path(cache).mkdir(parents=True, exist_ok=True)
    bound = [ROOT, cache]
    documents = ROOT.parent / "shared" / "documents"
    if documents.is_dir():
        bound.append(documents)
    environ = {
        **{name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"},
        "BOUND": " ".join(map(str, bound)),
        "PATH": "/venv/bin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "UV_CACHE_DIR": cache,
        "UV_LINK_MODE": "copy",
        "UV_PYTHON_DOWNLOADS": "never",
        "SSL_CERT_FILE": str(AUTHORITIES),
    }
    return subprocess.run(
        [*OWN_MOUNTS, "bash", "-c", ENTER, "enter", str(tree), *command],
        check=False,
        env=environ,
        text=True,
        **options,
    )


def uv() -> str:
    """Return the program; what is on PATH may be a script that finds it."""
    found = os.environ.get("UV") or shutil.which("uv")
    if found is None:
        raise SystemExit("there is no uv; run this by `uv run`")
    return found


def test(row: dict[str, Any], folder: Path, words: list[str]) -> tuple[str, int]:
    """Run the tests of *row* in its tree; return the line that says it, and an exit code."""
    tree = folder / row["name"]
    if not tree.is_dir():
        return f"{row['name']}: FAILED, it has no tree", 1
    found = enter(tree, "/venv/bin/python", "-c", FOUND, stdout=subprocess.PIPE).stdout
    line, code = said(row, found)
    if code:
        return line, code
    print(line, flush=True)
    begin = time.monotonic()
    code = pytest(row, tree, *(words or row["tests"]))
    if code == 1 and len(failed(tree)) <= MOST:
        # As .ci/run does: decided by a busy machine if it passes now, and a fault to mend.
        code = pytest(row, tree, "--last-failed", "--numprocesses=0", *(words or row["tests"]))
    return f"{line}: {verdict(code)} after {time.monotonic() - begin:.0f} s", code


def said(row: dict[str, Any], output: str) -> tuple[str, int]:
    """Return the line of the versions that *output* has, and whether they are not the row's."""
    found = json.loads(output or "[]")
    line = f"{row['name']}: {', '.join(found)}"
    for one in row["versions"]:
        if not any(f"{each}.".startswith(f"{one}.") for each in found):
            return f"{line}: FAILED, {one} is not there", 1
    return line, 0


def verdict(code: int) -> str:
    """Return what an exit code of pytest says."""
    return f"FAILED, exit code {code}" if code else "passed"


def pytest(row: dict[str, Any], tree: Path, *words: str) -> int:
    """Run pytest in the tree; return its exit code."""
    peers = [f"python{one.split()[1]}" for one in row["versions"] if one.startswith("Python ")]
    required = ",".join([*peers, *row["requires"]])
    return enter(
        tree,
        *("env", f"--chdir={ROOT}", f"TASK_SERVER_REQUIRE={required}"),
        *("/venv/bin/python", "-m", "pytest", "--override-ini", f"cache_dir=/{CACHE}"),
        *("-m", "not nightly", *words),
    ).returncode


def failed(tree: Path) -> dict[str, bool]:
    """Return the tests that failed in the last run."""
    file = tree / CACHE / "v" / "cache" / "lastfailed"
    return dict(json.loads(file.read_text())) if file.exists() else {}


def here(code: int) -> int:
    """Print the line of this environment, whose tests have ended with *code*."""
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    found = subprocess.run(
        [sys.executable, "-c", FOUND], check=True, env=environ, stdout=subprocess.PIPE, text=True
    ).stdout
    line, other = said(table()["locked"], found)
    print(line if other else f"{line}: {verdict(code)}", flush=True)
    return other


def main() -> int:
    """Build or test, for all runs or for those that are named."""
    arguments, _, rest = " ".join(sys.argv[1:]).partition(" -- ")
    verb, *names = arguments.split()
    if verb == "here":
        return here(int(names[0]))
    folder = Path(names.pop(0)).resolve()
    chosen = [row for row in table()["runs"] if not names or row["name"] in names]
    # All of them, so that one run tells everything.
    if verb == "build":
        codes = [build(row, folder) for row in chosen]
        return int(any(codes))
    results = [test(row, folder, rest.split()) for row in chosen]
    for line, _ in results:
        print(line, flush=True)
    return int(not results or any(code for _, code in results))


if __name__ == "__main__":
    sys.exit(main())
