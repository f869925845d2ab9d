"""What `docket ingest` is given: PDF files, folders of them, and URLs."""

import os
import stat
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from docket.fetching import SCHEMES
from docket.models import SOURCE_LENGTH

_NAME_LENGTH = 255


@dataclass(frozen=True, slots=True)
class Source:
    """
    Where one document is from.

    *uri* names it permanently: the URL, or the absolute file URI. *path* is None
    unless it is a local file.
    """

    uri: str
    name: str
    path: Path | None = None


class SourceError(Exception):
    """Raised when arguments are wrong; *problems* has a line for each."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__(self.problems)

    def __str__(self) -> str:
        return "\n".join(self.problems)


def find_sources(arguments: Iterable[str]) -> tuple[Source, ...]:
    """
    Return the sources that *arguments* name, in their order, each once.

    Raises:
        SourceError: With every argument that is wrong.
    """
    sources: dict[str, Source] = {}
    problems: list[str] = []
    for argument in arguments:
        try:
            found = [_from_url(argument)] if "://" in argument else _from_path(argument)
        except ValueError as error:
            problems.append(f"{argument}: {error}")
        else:
            sources.update({source.uri: source for source in found})
    if problems:
        raise SourceError(problems)
    return tuple(sources.values())


def _from_url(url: str) -> Source:
    parts = urlsplit(url)
    if parts.scheme.lower() not in SCHEMES:
        raise ValueError(f"{parts.scheme or 'no'} scheme; use http, https, or the path of a file")
    if not parts.hostname:
        raise ValueError("the URL names no host")
    _ = parts.port  # raises ValueError itself
    if len(url) > SOURCE_LENGTH:
        raise ValueError(f"the URL is longer than {SOURCE_LENGTH} characters")
    name = unquote(parts.path.rstrip("/").rpartition("/")[2]) or parts.hostname
    return Source(uri=url, name=name[:_NAME_LENGTH])


def _from_path(argument: str) -> list[Source]:
    path = Path(os.path.abspath(argument))  # noqa: PTH100 - resolve() would follow links
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            paths = sorted(item for item in path.iterdir() if _is_pdf(item))
            if not paths:
                raise ValueError("the folder holds no *.pdf file")
        elif stat.S_ISREG(mode):
            paths = [path]
        else:
            raise ValueError("neither a file nor a folder")
        sources = [_from_file(item) for item in paths]
    except FileNotFoundError:
        raise ValueError("no such file or folder") from None
    except OSError as error:
        name = f"{error.filename}: " if error.filename != str(path) else ""
        raise ValueError(f"{name}cannot be read ({error.strerror})") from None
    return sources


def _is_pdf(path: Path) -> bool:
    return path.suffix.lower() == ".pdf" and path.is_file()


def _from_file(path: Path) -> Source:
    with path.open("rb"):
        uri = path.as_uri()
    if len(uri) > SOURCE_LENGTH:
        raise ValueError(f"the path is longer than {SOURCE_LENGTH} characters as a URI")
    # A name on disk need not be UTF-8; the URI keeps its bytes, the name shows it.
    name = os.fsencode(path.name).decode(errors="replace")
    return Source(uri=uri, name=name, path=path)
