"""`check --static`: files -> modules -> findings, in a process of its own."""

import ast
import json
import os
import re
import sys
import time
import warnings
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from task_server.checks.facts import listed
from task_server.checks.static import guard
from task_server.checks.static.comments import Suppression, suppressions
from task_server.checks.static.extract import module_of
from task_server.checks.static.files import Tree, source_of, tree_of
from task_server.checks.static.findings import At, not_read
from task_server.checks.static.judge import judged
from task_server.checks.static.mentions import mentioned
from task_server.checks.static.module import Module
from task_server.config.model import Config
from task_server.errors import Finding
from task_server.project.queues.source import SKIPPED

#: Frames that the walk over a tree may take; the parser itself bounds its depth.
DEPTH = 12_000

#: Matches the text of a file whose tree is needed; of others, the imports are enough.
_WORTH = re.compile(
    rb"celery|CELERY|Celery|BEAT_SCHEDULE|beat_schedule|task_routes|\.delay\b|apply_async|send_task|shared_task|\.task\b"
    rb"|_task\b|INSTALLED_APPS|ATOMIC_REQUESTS|_QUEUE\b|queue|QUEUE"
)


def scan(paths: Sequence[str], config: Config) -> list[Finding]:
    """
    Return what the rules find in the Python files of *paths*, without running any of them.

    Of a file that is given alone, the folder around it is read too, and not reported on.
    """
    tree, only = _chosen(paths)
    result, died = guard.apart(lambda left_out, at: _work(tree, config, left_out, at), tree.files)
    found = [Finding(**one) for one in json.loads(result)] if result else []
    for number, reason in died.items():
        where = tree.files[number] if number < len(tree.files) else tree.roots[0]
        found.append(not_read(where, reason))
    if not result:
        found.append(not_read(tree.roots[0], "has too many files that cannot be read; none was"))
    if only:
        found = [one for one in found if one.path in only]
    return sorted(found, key=lambda one: (one.path, one.line, one.column, one.rule))


def _chosen(paths: Sequence[str]) -> tuple[Tree, frozenset[str]]:
    """Return the files to read, and those to report on; all if there are none."""
    files = [os.path.normpath(one) for one in paths if not os.path.isdir(one)]  # noqa: PTH112
    folders = [one for one in paths if os.path.isdir(one)]  # noqa: PTH112
    if not files:
        return tree_of(folders), frozenset()
    tree = tree_of([*folders, "."])
    tree.files.extend(one for one in files if one not in set(tree.files))
    inside = [os.path.normpath(one) for one in folders]
    also = [one for one in tree.files if any(_is_in(one, folder) for folder in inside)]
    return tree, frozenset([*files, *also])


def _is_in(path: str, folder: str) -> bool:
    return folder in ("", ".") or path == folder or path.startswith(f"{folder}/")


def _work(
    tree: Tree, config: Config, left_out: Collection[int], at: Callable[[int], None]
) -> bytes:
    found: list[At] = [(not_read(path, reason), 0) for path, reason in tree.skipped]
    modules: list[Module] = []
    comments: list[Suppression] = []
    for number, path in enumerate(tree.files):
        if _is_test(path, tree):
            continue
        if number in left_out:
            modules.append(Module(path, *name_of(path, tree), opaque=True))
            continue
        if time.process_time() > guard.ALL_SECONDS:
            rest = len(tree.files) - number
            found.append((not_read(path, f"and {rest - 1} more would take too long"), 0))
            break
        at(number)
        source = b""
        try:
            source = source_of(path)
            modules.append(_module(path, source, tree))
        except ValueError as error:
            found.append((not_read(path, str(error)), 0))
            modules.append(Module(path, *name_of(path, tree), opaque=True))
            mentioned(source, modules[-1])
            continue
        comments.extend(suppressions(path, source, modules[-1].first_line))
    at(len(tree.files))
    numbers = {path: number for number, path in enumerate(tree.files)}
    found.extend(judged(modules, config, comments, tree, lambda path: at(numbers[path])))
    return json.dumps([asdict(one) for one in _few(found)]).encode()


def _module(path: str, source: bytes, tree: Tree) -> Module:
    """
    Return what is known of one file.

    Raises:
        ValueError: When it is no Python that this Python reads; says why.
    """
    module = Module(path, *name_of(path, tree))
    if not _WORTH.search(source) and not module.package:
        mentioned(source, module)
        return module
    before = sys.getrecursionlimit()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            parsed = ast.parse(source)
        sys.setrecursionlimit(DEPTH)
        return module_of(parsed, module)
    # The first releases of Python 3.11 raise a plain ValueError for a NUL.
    except (SyntaxError, ValueError) as error:
        line, said = getattr(error, "lineno", None), getattr(error, "msg", error)
        where = f" (line {line}: {said})" if line else f" ({said})"
        version = ".".join(map(str, sys.version_info[:2]))
        raise ValueError(f"is not Python {version}{where}") from None
    except RecursionError:
        raise ValueError("is nested too deep") from None
    except MemoryError:
        raise ValueError("is nested too deep, or needs too much memory") from None
    finally:
        sys.setrecursionlimit(before)


def name_of(path: str, tree: Tree) -> tuple[str, bool]:
    """Return the dotted name by which Python imports *path*, and whether it is a package."""
    folder, file = os.path.split(path)
    package = file == "__init__.py"
    parts = [] if package else [file.removesuffix(".py")]
    while folder in tree.packages:
        folder, last = os.path.split(folder)
        parts.insert(0, last or os.path.basename(os.getcwd()))  # noqa: PTH109, PTH119
        if not last:
            break
    return ".".join(parts), package


def _is_test(path: str, tree: Tree) -> bool:
    """Whether *path* is of tests or migrations, which no worker runs."""
    root = max((one for one in tree.roots if _is_in(path, one)), key=len, default="")
    *folders, name = Path(os.path.relpath(path, root or ".")).parts
    return not SKIPPED.isdisjoint(folders) or name.startswith(("test_", "conftest", "tests."))


#: Findings of one kind that are told one by one.
MOST = 200


def _few(found: list[At]) -> Iterator[Finding]:
    """Return the findings, and of a rule with very many their number alone."""
    counts: dict[str, list[Finding]] = {}
    for finding, _ in found:
        counts.setdefault(finding.rule, []).append(finding)
    for rule, group in counts.items():
        yield from group[:MOST]
        if len(group) > MOST:
            rest = [one.path for one in group[MOST:]]
            yield Finding(
                group[-1].level,
                rule,
                f"{len(rest)} more, in {listed(sorted(set(rest)), 3)}",
                rule=rule,
                path=rest[0],
            )
