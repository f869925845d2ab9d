"""
Runs what must hold on every supported version, on systems of Debian that have them, as root.

    uv run python .ci/versions.py build FOLDER      a tree for each run of tests/versions.toml
    uv run python .ci/versions.py test FOLDER       the tests in each
    uv run python .ci/versions.py test FOLDER NAME -- PYTEST'S WORDS

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

#: What the tests need of ours.
EXTRAS = "gevent,psycopg2,flower,metrics"


def rows() -> list[dict[str, Any]]:
    """Return the runs of the table."""
    table = tomllib.loads((ROOT / "tests" / "versions.toml").read_text())
    return list(table["runs"])


def build(row: dict[str, Any], folder: Path) -> None:
    """Make the tree of *row* in *folder*, with its servers."""
    tree = folder / row["name"]
    packages = ",".join((*PACKAGES, *row["packages"]))
    subprocess.run(
        [
            *("mmdebstrap", "--quiet", "--variant=minbase", f"--include={packages}"),
            *(f"--dpkgopt=path-exclude={path}" for path in LEFT_OUT),
            # A mirror may be some weeks old.
            '--aptopt=Acquire::Check-Valid-Until "false"',
            *(row["debian"], str(tree)),
        ],
        check=True,
    )


def enter(tree: Path, *command: str) -> int:
    """Run *command* with *tree* as its root; return its exit code."""
    cache = subprocess.run(
        [uv(), "cache", "dir"], check=True, capture_output=True, text=True
    ).stdout.strip()
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
        [
            *("unshare", "--mount", "--propagation", "private"),
            *("bash", "-c", ENTER, "enter", str(tree), *command),
        ],
        check=False,
        env=environ,
    ).returncode


def uv() -> str:
    """Return the program; what is on PATH may be a script that finds it."""
    found = os.environ.get("UV") or shutil.which("uv")
    if found is None:
        raise SystemExit("there is no uv; run this by `uv run`")
    return found


def install(row: dict[str, Any], tree: Path) -> None:
    """Make the environment of *row* in its tree, with its packages."""
    shutil.copy(uv(), tree / "usr/local/bin/uv")
    for path in (AUTHORITIES, Path("/etc/resolv.conf"), Path("/etc/hosts")):
        shutil.copy(path, tree / path.relative_to("/"))
    # Not from the repository's folder, whose constraints uv would apply.
    script = (
        "cd / && uv venv --quiet --clear --python /usr/bin/python3 /venv && VIRTUAL_ENV=/venv "
        f"uv pip install --quiet --resolution {row['resolution']} --editable '{ROOT}[{EXTRAS}]'"
        f" --editable {ROOT}/src/docket --group {ROOT}/pyproject.toml:test"
    )
    if enter(tree, "sh", "-c", script):
        raise SystemExit(f"{row['name']}: its packages cannot be installed")


#: Run in a tree: which versions are really there.
FOUND = """
import os, platform
from importlib.metadata import version
from task_server.local.servers import binaries
postgres = binaries.postgres(os.environ)
print(f"Python {platform.python_version()}")
print(binaries.redis(os.environ))
print(*postgres[:1])
print(*(f"{name} {version(name)}" for name in ("celery", "kombu", "redis", "django")))
"""


def test(row: dict[str, Any], folder: Path, words: list[str]) -> int:
    """Run the tests of *row* in its tree; return pytest's exit code."""
    tree = folder / row["name"]
    install(row, tree)
    expected = "".join(f"'{one}.'* " for one in row["versions"])
    check = (
        f'/venv/bin/python -c "$0" | tee /tmp/found; for one in {expected.replace("*", "")};'
        ' do grep -qF "$one" /tmp/found || { echo "$one is not there"; exit 1; }; done'
    )
    if enter(tree, "sh", "-c", check, FOUND):
        return 1
    begin = time.monotonic()
    code = pytest(row, tree, *(words or row["tests"]))
    if code == 1 and len(failed(tree)) <= MOST:
        # As .ci/run does: decided by a busy machine if it passes now, and a fault to mend.
        code = pytest(row, tree, "--last-failed", "--numprocesses=0", *(words or row["tests"]))
    print(f"{row['name']}: {time.monotonic() - begin:.0f} s, exit code {code}", flush=True)
    return code


def pytest(row: dict[str, Any], tree: Path, *words: str) -> int:
    """Run pytest in the tree; return its exit code."""
    peers = [f"python{one.split()[1]}" for one in row["versions"] if one.startswith("Python ")]
    return enter(
        tree,
        *("env", f"--chdir={ROOT}", f"TASK_SERVER_REQUIRE={','.join(('redis,postgres', *peers))}"),
        *("/venv/bin/python", "-m", "pytest", "--override-ini", f"cache_dir=/{CACHE}"),
        *("-m", "not nightly", *words),
    )


def failed(tree: Path) -> dict[str, bool]:
    """Return the tests that failed in the last run."""
    file = tree / CACHE / "v" / "cache" / "lastfailed"
    return dict(json.loads(file.read_text())) if file.exists() else {}


def main() -> int:
    """Build or test, for all runs or for those that are named."""
    arguments, _, rest = " ".join(sys.argv[1:]).partition(" -- ")
    verb, place, *names = arguments.split()
    folder = Path(place).resolve()
    chosen = [row for row in rows() if not names or row["name"] in names]
    if verb == "build":
        for row in chosen:
            build(row, folder)
        return 0
    # All of them, so that one run tells everything.
    return max([test(row, folder, rest.split()) for row in chosen], default=2)


if __name__ == "__main__":
    sys.exit(main())
