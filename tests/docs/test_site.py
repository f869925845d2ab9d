"""The pages of docs/ as a site: built as its readers build it, without a warning."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.require import Require

# Packages are downloaded and installed.
pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
PAGES = ROOT / "docs"
BUILD = "run --frozen --only-group docs sphinx-build -nW --keep-going --quiet --doctree-dir"


def test_the_site_is_built_without_a_warning(tmp_path: Path, require: Require) -> None:
    """
    Each link leads somewhere, and each page is named by another.
    """
    uv = shutil.which("uv")
    if uv is None:
        require("uv", "uv is not on PATH; pip install uv")
    environ = {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}
    environ["UV_PROJECT_ENVIRONMENT"] = str(tmp_path / "venv")
    site = tmp_path / "site"

    done = subprocess.run(
        [uv, *BUILD.split(), tmp_path / "doctrees", "docs", site],
        cwd=ROOT,
        env=environ,
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )

    assert 0 == done.returncode, done.stderr
    pages = {page.relative_to(PAGES).with_suffix("") for page in PAGES.rglob("*.md")}
    built = {page.relative_to(site).with_suffix("") for page in site.rglob("*.html")}
    assert set() == pages - built
