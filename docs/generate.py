"""
Write the pages of the reference that say what the program says of itself.

    uv run python docs/generate.py
"""

import inspect
import json
import tomllib
from collections.abc import Iterator
from dataclasses import MISSING, Field, fields
from pathlib import Path
from typing import Any

import click
from packaging.requirements import Requirement

from task_server.checks import catalogue
from task_server.cli import cli
from task_server.config.kubernetes import PodsConfig
from task_server.config.model import PODS_TABLE, SECTIONS, Config, WorkerConfig
from task_server.config.variables import variable
from task_server.metrics.catalogue import METRICS, NOT_SERVED

ROOT = Path(__file__).parents[1]
REFERENCE = Path(__file__).parent / "reference"
WRITTEN = "<!-- Written by `uv run python docs/generate.py`. -->"

SETTINGS = """\
# Settings

{written}

They stand in `task-server.toml`, or in `[tool.task-server]` of the project's pyproject.toml;
the variable beside each wins over the file. A secret may also stand in a file, which the
variable with `_FILE` at its end names, or in a credential of systemd. `task-server config show`
prints each with its value here and where that comes from; `task-server config show NAME` prints
what follows from them for one worker, and what of the project's own settings is in force.

Sizes are bytes (`"256M"` and `"2G"` are understood), times are seconds.
"""

VERSIONS = """\
# Versions

{written}

Packages, as pyproject.toml has them. Whatever lies in a range is supported; the tests run with
the lowest of each at once, with those of uv.lock, and with the newest of each at once:

| package | supported | the lock has |
| --- | --- | --- |
{packages}

Pythons and servers, as `tests/versions.toml` has them:

| what | supported |
| --- | --- |
{servers}

Each change is tested with the lowest and the newest of each before it lands, in these runs of
`.ci/run`:

| run | with | packages | tests |
| --- | --- | --- | --- |
{runs}

A worker whose packages are outside of these ranges does not start: it says which, and exits with
78. `task-server check --live` says what the servers are. Django and the packages of an extra are
asked for only where a project has them.
"""

#: Which packages a run has, by how they are resolved.
RESOLUTIONS = {
    "uv.lock": "those of uv.lock",
    "lowest-direct": "the lowest of each range",
    "highest": "the newest of each range",
}

#: Packages whose versions a worker or its project depends on, as people write them.
TITLES = {
    "celery": "Celery",
    "kombu": "Kombu",
    "redis": "redis-py",
    "django": "Django",
    "gevent": "gevent",
    "flower": "Flower",
    "prometheus-client": "prometheus-client",
    "psycopg2-binary": "psycopg2",
    "psycopg": "psycopg 3",
}

COMMANDS = """\
# Commands

{written}

`task-server --help` and `task-server COMMAND --help` say the same. An option with a variable
takes its value from there if it is not given. Exit codes are in the [reference](README.md).
"""


METRICS_PAGE = """\
# Metrics

{written}

What `task-server metrics` shows to Prometheus; [how to use it](../how-to/metrics.md). What begins
with `celery_` has celery-exporter's name and meaning.

| metric | kind | labels | what it is |
| --- | --- | --- | --- |
{rows}

Of a histogram there are `_bucket` (with the label `le`), `_sum` and `_count`.

celery-exporter's dashboards and rules find all that they ask for, but for:

| not there | why |
| --- | --- |
{absent}
"""


RULES = """\
# Rules of check

{written}

`task-server check --explain RULE` prints the page of a rule. How to leave one out is in
[Check a project before it runs](../../how-to/check.md).
"""


def pages() -> dict[Path, str]:
    """Return the text of each page that is written here, by its path."""
    return {
        REFERENCE / "settings.md": settings(),
        REFERENCE / "commands.md": commands(),
        REFERENCE / "versions.md": versions(),
        REFERENCE / "metrics.md": metrics(),
        REFERENCE / "rules" / "README.md": rules(),
        **{REFERENCE / "rules" / f"{one}.md": catalogue.page(one) for one in catalogue.NAMES},
    }


def rules() -> str:
    """Return the page that lists the rules of `check`, a section for each check."""
    lines = [RULES.format(written=WRITTEN)]
    for title, names in catalogue.GROUPS.items():
        lines.append(f"## {title}\n\n| rule | finds |\n| --- | --- |")
        lines += [f"| [{one}]({one}.md) | {catalogue.summary(one)} |" for one in sorted(names)]
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def settings() -> str:
    """Return the page of all settings, a section for each table of the TOML file."""
    tables = {"": (Config, ""), "workers.NAME": (WorkerConfig, "workers.NAME.")}
    for name, model in SECTIONS.items():
        tables[name] = (model, f"{name}.")
    pods = PODS_TABLE.format("NAME")
    tables[pods] = (PodsConfig, f"{pods}.")
    sections = [SETTINGS.format(written=WRITTEN)]
    for table, (model, prefix) in tables.items():
        title = f"`[{table}]`" if table else "At the top of the file"
        rows = [_setting(one, prefix) for one in fields(model) if "parser" in one.metadata]
        head = "| setting | default | what it is |\n| --- | --- | --- |\n"
        sections.append(f"## {title}\n\n{head}{''.join(rows)}")
    return "\n".join(sections)


def _setting(one: "Field[Any]", prefix: str) -> str:
    name = variable(f"{prefix}{one.name}")
    secret = " A secret." if one.metadata["secret"] else ""
    said = f"{one.metadata['doc']}{secret}<br>`{name}`".replace("|", "\\|")
    return f"| `{one.name}` | {_default(one)} | {said} |\n"


def _default(one: "Field[Any]") -> str:
    if one.default is MISSING:
        return "must be set"
    if one.default is None or one.default == "":
        return ""
    return f"`{json.dumps(one.default)}`"


def commands() -> str:
    """Return the page of all commands, a section for each."""
    sections = [COMMANDS.format(written=WRITTEN)]
    sections += [_command(path, command) for path, command in _walk("task-server", cli)]
    return "\n".join(sections)


def _walk(path: str, group: click.Group) -> Iterator[tuple[str, click.Command]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None  # noqa: S101 - the group has named it
        if isinstance(command, click.Group):
            yield from _walk(f"{path} {name}", command)
        else:
            yield f"{path} {name}", command


def _command(path: str, command: click.Command) -> str:
    context = click.Context(command, info_name=path)
    usage = " ".join([path, *command.collect_usage_pieces(context)])
    parts = [f"## {path}", f"```\n{usage}\n```", _prose(command.help or "")]
    options = [one for one in command.params if isinstance(one, click.Option)]
    rows = [_option(one, context) for one in options if not one.hidden]
    if rows:
        parts.append("| option | what it does |\n| --- | --- |\n" + "\n".join(rows))
    examples = inspect.cleandoc((command.epilog or "").replace("\b\n", "")).removeprefix(
        "Examples:"
    )
    if examples.strip():
        parts.append(f"```\n{inspect.cleandoc(examples)}\n```")
    return "\n\n".join(parts) + "\n"


def _option(option: click.Option, context: click.Context) -> str:
    record = option.get_help_record(context)
    assert record is not None  # noqa: S101 - it is not hidden
    names, text = record
    return f"| `{names.replace('|', chr(92) + '|')}` | {' '.join(text.split())} |"


def metrics() -> str:
    """Return the page of all metrics, a row each."""
    rows = [
        f"| `{one.name}` | {one.kind} | {_labels(one.labels)} | {one.doc} |"
        for one in METRICS.values()
    ]
    absent = [f"| `{name}` | {reason} |" for name, reason in NOT_SERVED.items()]
    return METRICS_PAGE.format(written=WRITTEN, rows="\n".join(rows), absent="\n".join(absent))


def _labels(labels: tuple[str, ...]) -> str:
    return ", ".join(f"`{label}`" for label in labels)


def versions() -> str:
    """Return the page of versions, from pyproject.toml, uv.lock and tests/versions.toml."""
    project = _toml("pyproject.toml")
    texts = [*project["project"]["dependencies"], *project["dependency-groups"]["test"]]
    texts += [
        one for extra in project["project"]["optional-dependencies"].values() for one in extra
    ]
    wanted = {one.name: _range(one) for one in map(Requirement, texts)}
    locked = {one["name"]: one.get("version", "") for one in _toml("uv.lock")["package"]}
    rows = [f"| {title} | {wanted[one]} | {locked[one]} |" for one, title in TITLES.items()]
    table = _toml("tests/versions.toml")
    servers = {"Python": table["python"], **table["servers"]}
    runs = (table["locked"], *table["runs"])
    return VERSIONS.format(
        written=WRITTEN,
        packages="\n".join(rows),
        servers="\n".join(f"| {name} | {', '.join(has)} |" for name, has in servers.items()),
        runs="\n".join(map(_run, runs)),
    )


def _run(run: dict[str, Any]) -> str:
    packages = RESOLUTIONS[run["resolution"]]
    return f"| {run['name']} | {', '.join(run['versions'])} | {packages} | {run['what']} |"


def _range(requirement: Requirement) -> str:
    parts = str(requirement.specifier).split(",")
    return ", ".join(sorted(parts, key=lambda part: part.startswith("<")))


def _toml(path: str) -> dict[str, Any]:
    return tomllib.loads((ROOT / path).read_text(encoding="utf-8"))


def _prose(text: str) -> str:
    """Return *text* without click's marks, with the words in capitals as they are."""
    return inspect.cleandoc(text.replace("\b\n", "")).strip()


if __name__ == "__main__":
    for page, text in pages().items():
        page.parent.mkdir(exist_ok=True)
        page.write_text(text)
