"""Variables TASK_SERVER_… that belong to no setting: a mistyped one would be ignored in silence."""

from collections.abc import Iterable, Iterator
from dataclasses import fields

from task_server.config.kubernetes import PodsConfig
from task_server.config.model import PODS_TABLE, SECTIONS, TABLES, Config, WorkerConfig
from task_server.config.variables import OTHERS, misspelt, suggestion, variable
from task_server.errors import Problem


def unknown_variables(environ: Iterable[str], workers: Iterable[str]) -> Iterator[Problem]:
    """
    Yield a problem for each variable that is mistyped.

    One of a table can be nothing else; another one may be anybody's, unless it is nearly the
    variable of a setting.

    Args:
        environ: Names of variables, without those that a cluster adds (see `variables.given`).

        workers: Names of the workers.
    """
    tables = {variable(f"{table}.{one}") for table, one in _settings_of_tables(workers)}
    top = {variable(field.name) for field in fields(Config) if "parser" in field.metadata}
    prefixes = tuple(f"{variable(table)}_" for table in TABLES)
    rest = []
    for name in sorted(set(environ) - OTHERS):
        if not name.startswith(prefixes):
            rest.append(name)
        elif name.removesuffix("_FILE") not in tables:
            close = suggestion(name, tables) or "; see `task-server config show`"
            yield Problem(name, f"is the variable of no setting{close}")
    for name, right in misspelt(rest, top).items():
        yield Problem(name, f"is the variable of no setting; did you mean {right}?")


def _settings_of_tables(workers: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yield the table and the name of each setting that stands in a table."""
    kinds: list[tuple[str, type]] = list(SECTIONS.items())
    for name in workers:
        kinds += [(f"workers.{name}", WorkerConfig), (PODS_TABLE.format(name), PodsConfig)]
    for table, kind in kinds:
        for field in fields(kind):
            yield table, field.name
