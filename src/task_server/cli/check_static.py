"""`task-server check --static`, `--rules` and `--explain`: no project, no server."""

import os
from collections.abc import Iterable
from pathlib import Path

import click

from task_server.checks import catalogue
from task_server.config.loader import find, resolve
from task_server.errors import Finding


def names_of(
    context: click.Context,  # noqa: ARG001 - click's interface
    parameter: click.Parameter,  # noqa: ARG001
    given: tuple[str, ...],
) -> tuple[str, ...]:
    """Return the names in *given*, each of which may be several with commas, as in a variable."""
    return tuple(name.strip() for one in given for name in one.split(",") if name.strip())


select_option = click.option(
    "--select",
    multiple=True,
    metavar="RULE",
    callback=names_of,
    envvar="TASK_SERVER_CHECK_SELECT",
    show_envvar=True,
    help="Report this rule alone; repeatable.",
)

ignore_option = click.option(
    "--ignore",
    multiple=True,
    metavar="RULE",
    callback=names_of,
    envvar="TASK_SERVER_CHECK_IGNORE",
    show_envvar=True,
    help="Leave this rule out; repeatable.  [default: check.ignore of task-server.toml]",
)

rules_option = click.option(
    "--rules",
    "list_rules",
    is_flag=True,
    envvar="TASK_SERVER_CHECK_RULES",
    show_envvar=True,
    help="List the rules, and end.",
)

explain_option = click.option(
    "--explain",
    metavar="RULE",
    envvar="TASK_SERVER_CHECK_EXPLAIN",
    show_envvar=True,
    help="Print the page of a rule, and end.",
)


def chosen(found: Iterable[Finding], select: Iterable[str], ignore: Iterable[str]) -> list[Finding]:
    """Return those of *found* that are of the rules *select* (of all, if none), not *ignore*."""
    only, without = set(select), set(ignore)
    return [one for one in found if (not only or one.rule in only) and one.rule not in without]


def print_rules(name: str | None) -> None:
    """Print the page of the rule *name*, or the list of all."""
    if name is not None:
        catalogue.verify([name], "--explain")
        click.echo(catalogue.page(name), nl=False)
        return
    width = max(map(len, catalogue.NAMES))
    for title, names in catalogue.GROUPS.items():
        click.echo(f"{title}:")
        for one in sorted(names):
            click.echo(f"  {one:{width}}  {catalogue.summary(one)}")


def refuse_with_static(*, live: bool, workers: Iterable[str]) -> None:
    if live or workers:
        what = "--live" if live else "--worker"
        raise click.UsageError(f"--static asks no server and runs no worker; leave out {what}.")


def read_source(
    path: Path | None, paths: tuple[str, ...], select: Iterable[str], ignore: Iterable[str]
) -> list[Finding]:
    """Return what the source alone says."""
    missing = [one for one in paths if not os.path.lexists(one)]
    if missing:
        raise click.UsageError(f"{missing[0]!r} does not exist.")
    config = resolve(path or find(_folder_of(paths)), os.environ).config
    catalogue.verify(config.check.ignore, "check.ignore")
    from task_server.checks.static import scan  # noqa: PLC0415 - only here

    return chosen(scan(paths, config), select, tuple(ignore) or config.check.ignore)


def _folder_of(paths: tuple[str, ...]) -> Path:
    """Return the folder whose task-server.toml counts: this one, or else the only one given."""
    here = Path.cwd()
    if len(paths) == 1 and Path(paths[0]).is_dir() and find(here) is None:
        return Path(paths[0])
    return here
