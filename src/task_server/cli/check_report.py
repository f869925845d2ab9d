"""What `check` found, as lines, JSON, or annotations of a workflow on GitHub."""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, replace
from types import MappingProxyType
from typing import TextIO

import click

from task_server.errors import Finding

FORMATS = ("text", "json", "github")

#: The colour of each level.
COLOURS = {"ok": "green", "info": "cyan", "warning": "yellow", "error": "red"}

#: The command of a workflow for each level; what is right is no annotation.
ANNOTATIONS: Mapping[str, str] = MappingProxyType(
    {"error": "error", "warning": "warning", "info": "notice"}
)

#: A setting of one worker.
_OF_WORKER = re.compile(r"workers\.(?P<name>[^.]+)\.\w+")


def report(found: list[Finding], form: str, out: TextIO) -> None:
    """Print *found* to *out*, in one of FORMATS."""
    if form == "json":
        click.echo(json.dumps([asdict(finding) for finding in found]), file=out)
    elif form == "github":
        for finding in found:
            if finding.level in ANNOTATIONS:
                click.echo(annotation(finding), file=out)
    else:
        _print(found, out)
    out.flush()


def annotation(finding: Finding) -> str:
    """
    Return *finding* as GitHub's workflows read it: `::error file=…,line=…,title=…::message`.

    The escapes are those of GitHub's own toolkit (`actions/toolkit`, command.ts).
    """
    place = {"file": finding.path, "line": finding.line, "col": finding.column}
    words = {name: str(value) for name, value in place.items() if value}
    words["title"] = finding.rule or finding.setting
    properties = ",".join(f"{name}={_property(value)}" for name, value in words.items())
    text = finding.text if finding.path else f"{finding.setting}: {finding.text}"
    return f"::{ANNOTATIONS[finding.level]} {properties}::{_data(text)}"


def _data(text: str) -> str:
    escaped = text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
    return plain(escaped)


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def plain(text: str) -> str:
    """Return *text* without what steers a terminal, or is no text: a checkout may hold any."""
    return "".join(
        one if one.isprintable() else one.encode("unicode_escape").decode() for one in text
    )


def _print(found: list[Finding], out: TextIO) -> None:
    for finding in grouped(found):
        level = click.style(f"{finding.level:7}", fg=COLOURS[finding.level])
        # Of a rule that is about the source: what --explain and a comment take.
        name = f" [{finding.rule}]" if finding.path else ""
        click.echo(f"{level}  {plain(f'{finding.setting}: {finding.text}{name}')}", file=out)
    errors = sum(finding.level == "error" for finding in found)
    warnings = sum(finding.level == "warning" for finding in found)
    click.echo(f"{_number(errors, 'error')}, {_number(warnings, 'warning')}", file=out)


def grouped(found: Iterable[Finding]) -> list[Finding]:
    """Return *found*, with findings that differ only in the worker merged into one, of NAME."""
    groups: dict[tuple[str, str, str], list[tuple[str, Finding]]] = {}
    for finding in found:
        match = _OF_WORKER.fullmatch(finding.setting)
        name = match["name"] if match else ""
        setting, text = (
            words.replace(f"workers.{name}.", "workers.NAME.") if match else words
            for words in (finding.setting, finding.text)
        )
        groups.setdefault((finding.level, setting, text), []).append((name, finding))
    lines = []
    for (_, setting, text), members in groups.items():
        finding = members[0][1]
        if len(members) > 1 and members[0][0]:
            names = ", ".join(name for name, _ in members)
            finding = replace(finding, setting=f"{setting} ({names})", message=text, repair="")
        lines.append(finding)
    return lines


def _number(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
