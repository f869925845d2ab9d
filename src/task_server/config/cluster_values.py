"""The kinds of value that the settings for a cluster have; `values` has all others."""

import math
import re
from collections.abc import Callable, Mapping
from typing import Any

from task_server.config.values import MOST, Parser, name_list, shown, text

#: RFC 1123, as the cluster asks for it: a label, and several with dots between.
_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_NAME = re.compile(r"[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?")
#: Of a key in a Secret or ConfigMap, and of a variable.
_KEY = re.compile(r"[A-Za-z0-9._-]{1,253}")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,252}")
#: A key of labels, perhaps with a domain before it; and a label's value.
_LABEL_KEY = re.compile(r"(?:[a-z0-9][a-z0-9.-]{0,252}/)?[A-Za-z0-9](?:[\w.-]{0,61}[A-Za-z0-9])?")
_LABEL_VALUE = re.compile(r"(?:[A-Za-z0-9](?:[\w.-]{0,61}[A-Za-z0-9])?)?")
#: A reference to an image: a name, and a tag or a digest (or both).
_IMAGE = re.compile(
    r"(?P<name>[a-z0-9][a-z0-9._:/-]*?[a-z0-9])"
    r"(?::(?P<tag>[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}))?(?:@(?P<digest>[a-z0-9]+:[0-9a-f]{32,}))?"
)
_PROCESSORS = re.compile(r"[0-9]{1,9}(?:\.[0-9]{1,9})?")

EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")

#: Programs that do not hand SIGTERM on to what they run.
SHELLS = frozenset({"sh", "bash", "dash", "ash", "zsh", "ksh", "busybox"})

#: Text that is checked, and the error for what it is not.
Check = Callable[[str], str]


def label(raw: Any) -> str:
    """Return *raw* if it can be the name of a namespace, or the beginning of an object's."""
    value = text(raw)
    if _LABEL.fullmatch(value) is None:
        raise ValueError(f"{shown(value)} is no name here; use up to 63 of a-z, 0-9 and -")
    return value


def object_name(raw: Any) -> str:
    """Return *raw* if an object of the cluster can have it for its name."""
    value = text(raw)
    if _NAME.fullmatch(value) is None:
        raise ValueError(f"{shown(value)} is no object's name; use a-z, 0-9, - and .")
    return value


def object_names(raw: Any) -> tuple[str, ...]:
    """Return names of objects: a list, or text with commas between them; it may be empty."""
    return tuple(object_name(name) for name in _names(raw))


def some_of(*choices: str) -> Parser:
    """Return the parser that takes names of *choices*, each once, or none."""

    def parse(raw: Any) -> tuple[str, ...]:
        found = _names(raw)
        for name in found:
            if name not in choices:
                raise ValueError(f"{shown(name)} is none of {', '.join(choices)}")
        return tuple(sorted(found))

    return parse


def _names(raw: Any) -> tuple[str, ...]:
    return () if raw in ([], (), "") else name_list(raw)


def folder(raw: Any) -> str:
    """Return *raw* if it is the absolute path of a folder below the root."""
    value = text(raw).rstrip("/")
    if not value.startswith("/") or ":" in value or ".." in value.split("/"):
        raise ValueError(f"{shown(raw)} is no path in a container; write it from / on")
    return value


def image(raw: Any) -> str:
    """
    Return *raw* if it names one image: with a tag that stays, or a digest.

    What `latest` is changes, so that neither a rollback nor the name of a Job would say
    what runs.
    """
    value = text(raw)
    found = _IMAGE.fullmatch(value)
    if found is None:
        raise ValueError(f"{shown(value)} names no image; write registry/name:tag")
    if not found["digest"] and found["tag"] in (None, "latest"):
        raise ValueError(
            f"{shown(value)} has no tag that stays, so a rollback would not bring back what ran; "
            "write registry/name:tag"
        )
    return value


def program(raw: Any) -> tuple[str, ...]:
    """Return the words that start task-server in the image; a shell is none of them."""
    if not isinstance(raw, str | list | tuple):
        raise ValueError(f"{shown(raw)} is not a list of arguments")
    items = tuple(raw.split() if isinstance(raw, str) else raw)
    if not items or not all(isinstance(item, str) and item.isprintable() for item in items):
        raise ValueError(f"{shown(raw)} is not a list of arguments, one at least")
    if items[0].rpartition("/")[2] in SHELLS:
        raise ValueError(
            f"{shown(items[0])} is a shell, which keeps SIGTERM from the worker; name the program "
            "itself, such as ['task-server']"
        )
    return items


def pairs(name: Check, value: Check, what: str) -> Parser:
    """
    Return the parser of a table of texts; of a variable, of NAME=VALUE with commas between.

    Args:
        name, value: Check one of each; return it, or raise ValueError.

        what: What the error says that it should be.

    Returns:
        (of the parser) Pairs of name and value, sorted.
    """

    def parse(raw: Any) -> tuple[tuple[str, str], ...]:
        if isinstance(raw, str):
            parts = [one.strip().partition("=") for one in raw.split(",") if one.strip()]
            if not all(equals for _, equals, _ in parts):
                raise ValueError(f"{shown(raw)} is not {what}")
            raw = {key.strip(): text_value.strip() for key, _, text_value in parts}
        elif isinstance(raw, list | tuple):
            # What this returns.
            if not all(isinstance(one, list | tuple) and len(one) == 2 for one in raw):  # noqa: PLR2004 - a pair
                raise ValueError(f"{shown(raw)} is not {what}")
            raw = {str(key): one for key, one in raw}
        if not isinstance(raw, Mapping):
            raise ValueError(f"{shown(raw)} is not {what}")
        raw = _flat(raw)
        for key, one in raw.items():
            if not isinstance(one, str):
                raise ValueError(f"{shown(one)}, of {shown(key)}, is not text; put it in quotes")
        return tuple(sorted((name(key), value(one)) for key, one in raw.items()))

    return parse


def _flat(table: Mapping[str, Any]) -> dict[str, Any]:
    """Return *table* without tables in it: TOML makes one of a dot in a name without quotes."""
    found: dict[str, Any] = {}
    for key, value in table.items():
        if isinstance(value, Mapping):
            found |= {f"{key}.{inner}": one for inner, one in value.items()}
        else:
            found[key] = value
    return found


def variable_name(raw: str) -> str:
    """Return *raw* if it can be the name of a variable."""
    if _VARIABLE.fullmatch(raw) is None:
        raise ValueError(f"{shown(raw)} is not the name of a variable")
    return raw


def printable(raw: str) -> str:
    """Return *raw* if it can be the value of a variable."""
    if "\0" in raw:
        raise ValueError(f"{shown(raw)} has a NUL in it; remove it")
    return raw


def secret_key(raw: str) -> str:
    """Return *raw* if it names one key of a Secret: NAME/KEY."""
    name, slash, key = raw.partition("/")
    if not slash or _NAME.fullmatch(name) is None or _KEY.fullmatch(key) is None:
        raise ValueError(
            f"{shown(raw)} names no key of a Secret; write NAME/KEY, as in redis/broker-url"
        )
    return raw


def label_key(raw: str) -> str:
    """Return *raw* if it can be the key of a node's label."""
    if _LABEL_KEY.fullmatch(raw) is None:
        raise ValueError(f"{shown(raw)} is not the key of a label")
    return raw


def label_value(raw: str) -> str:
    """Return *raw* if it can be the value of a node's label."""
    if _LABEL_VALUE.fullmatch(raw) is None:
        raise ValueError(f"{shown(raw)} is not the value of a label")
    return raw


def tolerations(raw: Any) -> tuple[str, ...]:
    """Return taints that are tolerated, as `kubectl taint` writes them: KEY=VALUE:EFFECT."""
    found = _names(raw)
    for one in found:
        key, value, effect = toleration(one)
        if effect not in ("", *EFFECTS):
            raise ValueError(f"{shown(effect)}, of {shown(one)}, is none of {', '.join(EFFECTS)}")
        try:
            label_key(key)
            label_value(value or "")
        except ValueError:
            raise ValueError(f"{shown(one)} is no taint; write KEY=VALUE:EFFECT") from None
    return found


def toleration(taint: str) -> tuple[str, str | None, str]:
    """Return the key of *taint*, its value (None: any) and its effect (empty: every one)."""
    rest, _, effect = taint.partition(":")
    key, equals, value = rest.partition("=")
    return key, value if equals else None, effect


def processors(raw: Any) -> float:
    """Return processors' worth of time: a number, or text such as 0.5 or 500m."""
    refusal = f"{shown(raw)} is no number of processors; write for example 2, 0.5 or '500m'"
    if isinstance(raw, bool) or not isinstance(raw, int | float | str):
        raise ValueError(refusal)
    if isinstance(raw, str):
        number, factor = raw.strip(), 1.0
        if number.endswith("m"):
            number, factor = number[:-1], 0.001
        if _PROCESSORS.fullmatch(number) is None:
            raise ValueError(refusal)
        found = float(number) * factor
    else:
        try:
            found = float(raw)
        except OverflowError:
            raise ValueError(refusal) from None
    # The cluster counts thousandths; a hundredth is the least that starts at all.
    if not math.isfinite(found) or not 0.01 <= found <= MOST:  # noqa: PLR2004
        raise ValueError(f"{refusal}, 0.01 at least")
    return round(found, 3)
