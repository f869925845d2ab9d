"""Modules -> findings: every rule, then the comments that suppress some."""

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from task_server.checks.catalogue import NAMES, unknown_rule
from task_server.checks.static.comments import Suppression
from task_server.checks.static.facts import stated
from task_server.checks.static.files import Tree
from task_server.checks.static.findings import At, found
from task_server.checks.static.module import Module, Place
from task_server.checks.static.names import Project
from task_server.checks.static.rules import RULES
from task_server.checks.static.rules.shared import shared
from task_server.config.model import Config


def judged(
    modules: Sequence[Module],
    config: Config,
    comments: Sequence[Suppression],
    tree: Tree,
    at: Callable[[str], None],
) -> Iterator[At]:
    """Return what the rules find and no comment suppresses, and what is wrong with comments."""
    project = Project(modules, lambda one: _whole(one, tree), at)
    used: set[int] = set()
    for one in _all(project, config):
        if not _suppressed(one, comments, used):
            yield one
    yield from _of_comments(comments, used)


def _all(project: Project, config: Config) -> Iterator[At]:
    for rule in RULES.values():
        yield from rule(project)
    yield from shared(stated(project), config)


def _whole(module: Module, tree: Tree) -> bool:
    """Whether the outermost package of *module* lies in a folder that was read."""
    levels = module.name.count(".") + (1 if module.package else 0)
    return any(
        len(Path(os.path.relpath(module.path, root)).parts) > levels
        for root in tree.roots
        if root == "." or module.path.startswith(f"{root}/")
    )


def _suppressed(one: At, comments: Sequence[Suppression], used: set[int]) -> bool:
    finding, last = one
    hidden = False
    for number, comment in enumerate(comments):
        here = comment.everywhere or finding.line <= comment.line <= last
        if comment.path == finding.path and here and finding.rule in comment.rules:
            used.add(number)
            hidden = True
    return hidden


def _of_comments(comments: Sequence[Suppression], used: set[int]) -> Iterator[At]:
    for number, one in enumerate(comments):
        place = Place(one.path, one.line, one.column)
        if not one.rules:
            yield found(
                "suppression-unknown-rule",
                "error",
                place,
                "the comment names no rule, so it suppresses nothing",
                "write # task-server: ignore[RULE] reason",
            )
        for name in one.rules:
            if name not in NAMES:
                message, repair = unknown_rule(name)
                yield found("suppression-unknown-rule", "error", place, message, repair)
        if number not in used and one.rules and all(name in NAMES for name in one.rules):
            yield found(
                "suppression-unused",
                "warning",
                place,
                f"the comment suppresses nothing: {', '.join(one.rules)} finds nothing here",
                "remove it",
            )
