"""
The pages as a site.

    uv run --only-group docs sphinx-build -nW --keep-going docs SITE

Sphinx reads the Markdown that is also read as it is, in the repository. A link that
leads nowhere, and a page that no other page names, are errors.
"""

import re
import tomllib
from pathlib import Path

from sphinx.application import Sphinx

ROOT = Path(__file__).parents[1]
PAGES = ROOT / "docs"
REPOSITORY = "https://github.com/freelawproject/task-server/blob/main"

project = "task-server"
release = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]

extensions = ["myst_parser"]
root_doc = "README"
source_suffix = {".md": "markdown"}
html_theme = "furo"
html_title = f"task-server {release}"
myst_heading_anchors = 4

#: A link to a file; not to an address or to a heading of the same page.
LINK = re.compile(r"\]\((?!\w+:)([\w./-]+)")


def _link(page: Path, target: str) -> str:
    """Return where *target* is, which *page* links to: in the repository if not in docs/."""
    path = (page.parent / target).resolve()
    if path.is_relative_to(PAGES):
        return target
    return f"{REPOSITORY}/{path.relative_to(ROOT)}"


def _complete(_app: Sphinx, name: str, source: list[str]) -> None:
    """Lead links out of docs/ to the repository; put what a README links to in the side bar."""
    page = PAGES / f"{name}.md"
    text = LINK.sub(lambda link: f"]({_link(page, link[1])}", source[0])
    if page.name == "README.md":
        pages = "\n".join(dict.fromkeys(re.sub(r"\.md$", "", link) for link in LINK.findall(text)))
        text += f"\n```{{toctree}}\n:hidden:\n\n{pages}\n```\n"
    source[0] = text


def setup(app: Sphinx) -> None:
    """Sphinx calls it."""
    app.connect("source-read", _complete)
