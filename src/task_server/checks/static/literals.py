"""What an expression certainly is, without running it: text, numbers, times, tables."""

import ast
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

#: Bounds on the numbers that are computed, and on lists and tables that are joined.
LARGEST, LONGEST = 10**15, 100_000


class Unknown:
    """What cannot be known without running the code."""

    def __repr__(self) -> str:
        return "UNKNOWN"


UNKNOWN: Final = Unknown()


@dataclass(frozen=True, slots=True)
class Items:
    """A list, tuple or set; not *complete* if some of it is not known."""

    values: tuple[Any, ...]
    complete: bool = True


@dataclass(frozen=True, slots=True)
class Row:
    """One entry of a table, and where it stands."""

    key: Any
    value: Any
    node: ast.expr


@dataclass(frozen=True, slots=True)
class Table:
    """A dictionary; not *complete* if it has entries that are not known."""

    rows: tuple[Row, ...]
    complete: bool = True

    def get(self, key: str) -> Any:
        """Return the value of *key*, UNKNOWN if that may be anything, None if it is absent."""
        for row in reversed(self.rows):
            if row.key == key:
                return row.value
        return None if self.complete else UNKNOWN


@dataclass(frozen=True, slots=True)
class Period:
    """A time in seconds, or the shortest time between two runs of a crontab."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Pattern:
    """A regular expression, not compiled."""

    text: str


@dataclass(frozen=True, slots=True)
class Reference:
    """Something of the project by its dotted name, such as `shop.tasks.charge.name`."""

    dotted: str


#: Returns the value or the Reference of a dotted name, or UNKNOWN.
Lookup = Callable[[str], Any]

UNITS = {
    "days": 86400.0,
    "seconds": 1.0,
    "microseconds": 1e-6,
    "milliseconds": 1e-3,
    "minutes": 60.0,
    "hours": 3600.0,
    "weeks": 604800.0,
}
ORDER = tuple(UNITS)


def dotted(node: ast.expr) -> str:
    """Return `a.b.c` of a name or an attribute of one; empty for anything else."""
    parts = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name):
        return ""
    return ".".join([node.id, *reversed(parts)])


def evaluate(node: ast.expr | None, lookup: Lookup) -> Any:  # noqa: PLR0911 - a kind a case
    """Return the value of *node*, or UNKNOWN; of a table or a list as much as is known."""
    match node:
        case None:
            return None
        case ast.Constant():
            return node.value
        case ast.List() | ast.Tuple() | ast.Set():
            return _items(node.elts, lookup)
        case ast.Dict():
            return _table(node, lookup)
        case ast.Name() | ast.Attribute():
            name = dotted(node)
            return lookup(name) if name else UNKNOWN
        case ast.UnaryOp(op=ast.USub()):
            value = evaluate(node.operand, lookup)
            return -value if _is_number(value) else UNKNOWN
        case ast.BinOp():
            return _binary(node, lookup)
        case ast.Call():
            return _call(node, lookup)
    return UNKNOWN


def _items(nodes: list[ast.expr], lookup: Lookup) -> Items:
    values: list[Any] = []
    complete = True
    for one in nodes:
        value = evaluate(one.value if isinstance(one, ast.Starred) else one, lookup)
        if isinstance(one, ast.Starred):
            room = LONGEST - len(values)
            values.extend(value.values[:room] if isinstance(value, Items) else ())
            complete &= isinstance(value, Items) and value.complete and len(value.values) <= room
        else:
            values.append(value)
    return Items(tuple(values), complete)


def _table(node: ast.Dict, lookup: Lookup) -> Table:
    rows: list[Row] = []
    complete = True
    for key, value in zip(node.keys, node.values, strict=True):
        found = evaluate(value, lookup)
        if key is None:
            rows.extend(found.rows[:LONGEST] if isinstance(found, Table) else ())
            complete &= isinstance(found, Table) and found.complete
            continue
        name = evaluate(key, lookup)
        complete &= not isinstance(name, Unknown)
        rows.append(Row(name, found, key))
    return Table(tuple(rows), complete)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _binary(node: ast.BinOp, lookup: Lookup) -> Any:  # noqa: C901, PLR0911 - an operator a case
    left, right = evaluate(node.left, lookup), evaluate(node.right, lookup)
    match node.op, left, right:
        case ast.Add(), Items(), Items():
            both = left.values + right.values
            whole = left.complete and right.complete and len(both) <= LONGEST
            return Items(both[:LONGEST], whole)
        case ast.Add(), Items(), _:
            return Items(left.values, complete=False)
        case ast.Add(), _, Items():
            return Items(right.values, complete=False)
        case ast.Add(), str(), str() if len(left) + len(right) < 1000:  # noqa: PLR2004
            return left + right
        case ast.BitOr(), Table(), Table():
            rows = left.rows + right.rows
            whole = left.complete and right.complete and len(rows) <= LONGEST
            return Table(rows[:LONGEST], whole)
    if _is_number(left) and _is_number(right) and abs(left) < LARGEST and abs(right) < LARGEST:
        match node.op:
            case ast.Add():
                return left + right
            case ast.Sub():
                return left - right
            case ast.Mult():
                return left * right
            case ast.Div() if right:
                return left / right
    return UNKNOWN


def _call(node: ast.Call, lookup: Lookup) -> Any:  # noqa: PLR0911 - a function a case
    name = dotted(node.func).rpartition(".")[2]
    arguments = [evaluate(one, lookup) for one in node.args]
    named = {one.arg: evaluate(one.value, lookup) for one in node.keywords}
    if None in named or any(isinstance(one, ast.Starred) for one in node.args):
        return UNKNOWN
    match name:
        case "timedelta":
            both: dict[Any, Any] = dict(zip(ORDER, arguments, strict=False)) | named
            if all(unit in UNITS and _is_number(value) for unit, value in both.items()):
                return Period(sum(UNITS[str(unit)] * value for unit, value in both.items()))
        case "crontab":
            fields: dict[Any, Any] = dict(zip(("minute", "hour"), arguments, strict=False))
            return _crontab(fields | named)
        case "schedule" if arguments[:1] or "run_every" in named:
            return arguments[0] if arguments else named["run_every"]
        case "compile" if arguments and isinstance(arguments[0], str):
            return Pattern(arguments[0])
        case "Queue" if arguments or "name" in named:
            return arguments[0] if arguments else named["name"]
        case "dict" if not arguments:
            rows = [Row(one.arg, named[one.arg], one.value) for one in node.keywords]
            return Table(tuple(rows))
        case "list" | "tuple" | "set" if len(arguments) == 1:
            return arguments[0] if isinstance(arguments[0], Items) else UNKNOWN
    return UNKNOWN


def _crontab(fields: dict[Any, Any]) -> Any:
    """Return the shortest period of a crontab, at least as long as it says."""
    minutes = _times(fields.get("minute", "*"), 60)
    hours = _times(fields.get("hour", "*"), 24)
    if minutes is None or hours is None:
        return UNKNOWN
    if len(minutes) > 1:
        return Period(60.0 * _gap(minutes, 60))
    if len(hours) > 1:
        return Period(3600.0 * _gap(hours, 24))
    return Period(86400.0)


def _gap(times: list[int], around: int) -> int:
    return min(
        (later - one) % around
        for one, later in zip(times, [*times[1:], times[0]], strict=True)
        if later != one
    )


def _times(value: Any, most: int) -> list[int] | None:
    """Return the numbers that one field of a crontab names; None if that is not plain."""
    if isinstance(value, Items):
        found = [_times(one, most) for one in value.values]
        if not value.complete or None in found:
            return None
        return sorted({number for one in found for number in one or ()})
    if _is_number(value):
        value = str(int(value))
    if not isinstance(value, str) or len(value) > 200:  # noqa: PLR2004
        return None
    numbers: set[int] = set()
    for part in value.replace(" ", "").split(","):
        numbers.update(_part(part, most))
    if not numbers or any(not 0 <= one < most for one in numbers):
        return None
    return sorted(numbers)


def _part(part: str, most: int) -> Iterator[int]:
    span, _, step = part.partition("/")
    low, dash, high = span.partition("-")
    try:
        every = int(step or 1)
        if span == "*":
            first, last = 0, most - 1
        else:
            first, last = int(low), int(high if dash else low)
    except ValueError:
        yield -1
        return
    yield from range(first, min(last, most) + 1, every) if every > 0 else (-1,)
