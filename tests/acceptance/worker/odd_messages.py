"""
Messages that are not what Celery's producers write: by hand, by name; and mutated.

Each is the text that lies in the queue. Those by hand are families: one good
message with a single thing changed. The mutated ones come from a fixed seed.
"""

import base64
import gzip
import json
import random
from collections.abc import Callable, Iterator
from copy import deepcopy
from typing import Any, Final
from uuid import UUID

#: Stands for a key that is not there.
MISSING: Final = object()

#: What a field may hold that ought to be something else.
VALUES: Final = {
    "missing": MISSING,
    "null": None,
    "true": True,
    "number": 7,
    "negative": -5,
    "fraction": 1.5,
    "text": "zzz",
    "empty": "",
    "list": [1],
    "object": {"a": 1},
}

PROPERTIES: Final = (
    *("correlation_id", "reply_to", "delivery_mode", "delivery_info", "priority"),
    *("body_encoding", "delivery_tag"),
)

HEADERS: Final = (
    *("task", "id", "eta", "expires", "retries", "timelimit", "root_id", "parent_id", "group"),
    *("group_index", "lang", "ignore_result", "stamps", "stamped_headers", "shadow"),
    *("argsrepr", "kwargsrepr", "replaced_task_nesting"),
)


def message(name: str, *args: Any, task: str = "odd.odd", random_: Any = random) -> dict[str, Any]:
    """Return the message of a task as Celery 5 writes it."""
    number = str(UUID(int=random_.getrandbits(128)))
    embed = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}
    return {
        "body": encoded([[name, *args], {}, embed]),
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": {
            "lang": "py",
            "task": task,
            "id": number,
            "shadow": None,
            "eta": None,
            "expires": None,
            "group": None,
            "group_index": None,
            "retries": 0,
            "timelimit": [None, None],
            "root_id": number,
            "parent_id": None,
            "argsrepr": repr((name,)),
            "kwargsrepr": "{}",
            "origin": "gen1@test",
            "ignore_result": True,
            "replaced_task_nesting": 0,
            "stamped_headers": None,
            "stamps": {},
        },
        "properties": {
            "correlation_id": number,
            "reply_to": str(UUID(int=random_.getrandbits(128))),
            "delivery_mode": 2,
            "delivery_info": {"exchange": "", "routing_key": "celery"},
            "priority": 0,
            "body_encoding": "base64",
            "delivery_tag": str(UUID(int=random_.getrandbits(128))),
        },
    }


def good(number: int) -> bytes:
    """Return a message of the task that must run."""
    one = message("", task="odd.good")
    one["body"] = encoded([[number], {}, {}])
    return text(one)


def encoded(body: Any) -> str:
    return base64.b64encode(body if isinstance(body, bytes) else json.dumps(body).encode()).decode()


def text(one: Any) -> bytes:
    return json.dumps(one).encode()


def with_(name: str, path: str, value: Any) -> bytes:
    """Return a message whose field at *path*, 'headers.task', is *value*."""
    one = message(name)
    *way, last = path.split(".")
    at: Any = one
    for key in way:
        at = at[key]
    if value is MISSING:
        at.pop(last, None)
    else:
        at[last] = value
    return text(one)


def spliced(name: str, old: str, new: str | bytes) -> bytes:
    """Return a message in whose text *old* is replaced."""
    whole = text(message(name))
    assert whole.count(old.encode()) == 1, old
    return whole.replace(old.encode(), new if isinstance(new, bytes) else new.encode())


def by_hand() -> dict[str, bytes]:
    """Return the messages by hand, by their names."""
    found: dict[str, bytes] = {}
    for family in (_no_message, _syntax, _fields, _routes, _bodies, _depths, _own, _old, _large):
        for name, one in family():
            assert name not in found, name
            found[name] = one
    return found


def _no_message() -> Iterator[tuple[str, bytes]]:
    yield from {
        "nothing": b"",
        "blank": b"   ",
        "not-json": b"{not json",
        "array": b"[1, 2, 3]",
        "a-number": b"17",
        "a-null": b"null",
        "a-text": b'"abc"',
        "empty-object": b"{}",
        "nuls": b"\0\0\0",
        "no-utf8": b"\xff\xfe\xfd",
        "a-brace": b"{",
        "a-pickle": b"\x80\x04N.",
        "utf16": json.dumps(message("utf16")).encode("utf-16"),
        "utf32": json.dumps(message("utf32")).encode("utf-32"),
        "half": text(message("half"))[:300],
        "bare-properties": b'{"properties": [1]}',
        "escapes": b"\x1b[2J\x1b]0;owned\x07\n[2026-01-01: INFO/MainProcess] forged",
    }.items()


def _syntax() -> Iterator[tuple[str, bytes]]:
    origin = '"gen1@test"'
    for name, new in {
        "raw-newline": b'"a\nb"',
        "raw-tab": b'"a\tb"',
        "raw-nul": b'"a\0b"',
        "raw-escape": b'"\x1b["',
        "bad-utf8": b'"a\xff\xfe"',
        "overlong-utf8": b'"\xc0\xaf"',
        "utf8-surrogate": b'"\xed\xa0\x80"',
        "escaped-nul": b'"a\\u0000b"',
        "half-pair": b'"\\ud83d"',
        "second-half": b'"\\udc80"',
        "bad-escape": b'"\\x41"',
        "short-escape": b'"\\u12"',
        "single-quotes": b"'a'",
        "open-text": b'"a',
        "hex": b"0x10",
        "octal": b"007",
        "plus": b"+1",
        "dot": b".5",
        "infinity": b"Infinity",
        "nan": b"NaN",
        "low-nan": b"nan",
        "low-inf": b"inf",
        "minus-inf": b"-Infinity",
        "huge": b"1e999",
        "digits": b"9" * 5000,
        "big": b"1152921504606846977",
        "comment": b"1 /* c */",
        "undefined": b"undefined",
        "comma": b"1,",
        "colon": b"1:2",
        "True": b"True",
    }.items():
        yield f"syntax-{name}", spliced(f"syntax-{name}", origin, new)
    for name, (before, after) in {
        "after": (b"", b"xyz"),
        "newline": (b"", b"\n"),
        "blanks": (b"", b" \t\r\n "),
        "before": (b"\n ", b""),
        "bom": (b"\xef\xbb\xbf", b""),
        "nul-after": (b"", b"\0"),
        "feed": (b"", b"\f"),
        "brace-after": (b"", b"}"),
        "nul-brace": (b"", b"\0}"),
        "no-break": (b"", b"\xc2\xa0"),
        "twice": (b"", text(message("twice"))),
    }.items():
        yield f"around-{name}", before + text(message(f"around-{name}")) + after
    for name, more in {
        "properties": b'{"delivery_tag": "second"}',
        "no-properties": b"null",
    }.items():
        yield f"two-{name}", text(message(f"two-{name}"))[:-1] + b', "properties": ' + more + b"}"
    yield "two-headers", text(message("two-headers"))[:-1] + b', "headers": 5}'
    tag = '"delivery_tag": '
    yield "two-tags", spliced("two-tags", tag, f"{tag}5, {tag}")
    for name, number in {"priority-hex": "0x10", "priority-octal": "007"}.items():
        yield name, spliced(name, '"priority": 0', f'"priority": {number}')


def _fields() -> Iterator[tuple[str, bytes]]:
    fields = [
        *("body", "headers", "properties", "content-type", "content-encoding"),
        *(f"properties.{name}" for name in PROPERTIES),
        *(f"headers.{name}" for name in HEADERS),
    ]
    for path in fields:
        for kind, value in VALUES.items():
            # One of each is enough where Celery checks nothing.
            if path.startswith("headers.") and kind in ("negative", "fraction", "empty"):
                continue
            name = f"{path}-{kind}"
            yield name, with_(name, path, value)
    for name, path, value in (
        ("tag-long", "properties.delivery_tag", "t" * 100_000),
        ("tag-odd", "properties.delivery_tag", "a b\r\n*3\r\n$\"'\\{}[]%s \u2603"),
        ("tag-nul", "properties.delivery_tag", "a\0b"),
        ("tag-half-pair", "properties.delivery_tag", "x\ud800"),
        ("tag-big", "properties.delivery_tag", 2**60 + 1),
        ("tag-nan", "properties.delivery_tag", float("nan")),
        ("task-escapes", "headers.task", "\x1b[2J\x1b]0;owned\x07[/bold]"),
        ("task-forged", "headers.task", "x\n[2026-01-01 00:00:00: INFO/MainProcess] forged"),
        ("task-half-pair", "headers.task", "x\ud800"),
        ("id-half-pair", "headers.id", "x\ud800"),
        ("id-long", "headers.id", "i" * 100_000),
        ("eta-past", "headers.eta", "2001-01-01T00:00:00+00:00"),
        ("eta-first", "headers.eta", "0001-01-01T00:00:00+00:00"),
        ("eta-no-zone", "headers.eta", "2001-01-01T00:00:00"),
        ("eta-huge", "headers.eta", 1e300),
        ("expires-past", "headers.expires", "2001-01-01T00:00:00+00:00"),
        ("expires-huge", "headers.expires", 1e300),
        ("retries-big", "headers.retries", 2**70),
        ("retries-nan", "headers.retries", float("nan")),
        ("timelimit-texts", "headers.timelimit", ["a", "b"]),
        ("timelimit-three", "headers.timelimit", [1, 2, 3]),
        ("timelimit-negative", "headers.timelimit", [-1, -1]),
        ("timelimit-nan", "headers.timelimit", [float("nan"), None]),
        ("timelimit-huge", "headers.timelimit", [1e300, 1e300]),
        ("priority-big", "properties.priority", 2**60 + 1),
        ("priority-nan", "properties.priority", float("nan")),
        ("header-many", "headers.origin", {str(number): number for number in range(20_000)}),
    ):
        yield name, with_(name, path, value)


def _routes() -> Iterator[tuple[str, bytes]]:
    for name, info in {
        "empty": {},
        "unknown": {"exchange": "nope", "routing_key": "nope"},
        "nan": {"exchange": float("nan"), "routing_key": "celery"},
        "infinity": {"exchange": "", "routing_key": float("inf")},
        "half-pair": {"exchange": "\ud800", "routing_key": "celery"},
        "objects": {"exchange": {"a": [1]}, "routing_key": ["x"]},
        "mark": {"exchange": ', "taken_from":"x", "holder":{"', "routing_key": "celery"},
        "other": {"exchange": "", "routing_key": "elsewhere"},
        "deep": {"exchange": "", "routing_key": "celery", "more": [[[[]]]]},
    }.items():
        yield f"route-{name}", with_(f"route-{name}", "properties.delivery_info", info)


def _bodies() -> Iterator[tuple[str, bytes]]:
    for name, body in {
        "no-base64": "!!!",
        "padding": "abc",
        "no-json": encoded(b"{no"),
        "no-utf8": encoded(b"\xff\xfe"),
        "one": encoded([1]),
        "two": encoded([[], {}]),
        "four": encoded([[], {}, {}, 1]),
        "object": encoded({}),
        "null": encoded(None),
        "embed-null": encoded([["x"], {}, None]),
        "args-null": encoded([None, {}, {}]),
        "args-object": encoded([{"a": 1}, {}, {}]),
        "kwargs-list": encoded([[], [1], {}]),
        "args-text": encoded(["abc", {}, {}]),
        "nan": encoded(b"[[NaN], {}, {}]"),
        "number": encoded(5),
        "embed-text": encoded([[], {}, "x"]),
        "kwargs-numbers": encoded([[], {"1": 2}, {}]),
        "links": encoded([[], {}, {"callbacks": [5], "errbacks": "x", "chain": 7, "chord": 3}]),
        "links-objects": encoded(
            [[], {}, {"callbacks": [{}], "errbacks": [{}], "chain": [{}], "chord": {}}]
        ),
        "deep": encoded(b"[" * 5000 + b"]" * 5000),
        "digits": encoded(b"[[" + b"9" * 5000 + b"], {}, {}]"),
    }.items():
        yield f"content-{name}", with_(f"content-{name}", "body", body)
    for name, path, value in (
        ("type-unknown", "content-type", "application/x-klingon"),
        ("type-pickle", "content-type", "application/x-python-serialize"),
        ("type-yaml", "content-type", "application/x-yaml"),
        ("encoding-unknown", "content-encoding", "klingon"),
        ("encoding-utf16", "content-encoding", "utf-16"),
        ("encoding-binary", "content-encoding", "binary"),
        ("compression-unknown", "headers.compression", "klingon"),
        ("compression-gzip", "headers.compression", "application/x-gzip"),
        ("compression-bzip2", "headers.compression", "application/x-bz2"),
        ("compression-number", "headers.compression", 5),
        ("compression-list", "headers.compression", ["zlib"]),
    ):
        yield f"content-{name}", with_(f"content-{name}", path, value)
    one = message("body-compressed")
    one["headers"]["compression"] = "application/x-gzip"
    one["body"] = base64.b64encode(gzip.compress(base64.b64decode(one["body"]))).decode()
    yield "body-compressed-not-zlib", text(one)


def _depths() -> Iterator[tuple[str, bytes]]:
    for depth in (100, 700, 900, 980, 999, 1001, 5000, 100_000):
        nest = "[" * depth + "]" * depth
        yield f"deep-list-{depth}", nest.encode()
        yield f"deep-header-{depth}", spliced(f"deep-header-{depth}", '"gen1@test"', nest)
        yield (
            f"deep-exchange-{depth}",
            spliced(f"deep-exchange-{depth}", '"exchange": ""', f'"exchange": {nest}'),
        )
        inner = '{"a":' * depth + "1" + "}" * depth
        yield f"deep-object-{depth}", spliced(f"deep-object-{depth}", '"gen1@test"', inner)


def _own() -> Iterator[tuple[str, bytes]]:
    for key, values in {
        "holder": ("x", {"node": 5}, [1], None, {}, {"run": 5}),
        "taken_from": ("elsewhere", 5, None, ["celery"]),
        "deaths": (5, "abc", ["a", "b", "c"], None, [{}], {"a": 1}, [{"at": "x"}] * 5),
    }.items():
        for number, value in enumerate(values):
            name = f"own-{key}-{number}"
            yield name, text({**message(name), key: value})
    one = text(message("own-mark"))
    yield "own-mark", one[:-1] + b', "taken_from":"x", "holder":{"node": "n", "run": "r"}}\n'


def _old() -> Iterator[tuple[str, bytes]]:
    now: dict[str, Any] = {"task": "odd.odd", "id": "old-id", "args": [], "kwargs": {}}
    for name, body in {
        "plain": now,
        "utc": {**now, "utc": True, "retries": 0, "eta": None, "expires": None},
        "id-number": {**now, "id": 5},
        "args-number": {**now, "args": 3},
        "kwargs-list": {**now, "kwargs": []},
        "nothing": {},
        "list": [1],
        "text": "x",
        "no-id": {"task": "odd.odd"},
        "task-list": {**now, "task": []},
        "eta": {**now, "eta": "x"},
        "taskset": {**now, "taskset": 5},
        "chord": {**now, "chord": 5},
        "timelimit": {**now, "timelimit": 5},
        "callbacks": {**now, "callbacks": 5},
        "unknown": {**now, "task": "nope"},
    }.items():
        content = body
        if isinstance(body, dict) and body.get("id") == now["id"]:
            content = {**body, "id": f"old-id-{name}"}
        one = {**message(f"old-{name}"), "headers": {}, "body": encoded(content)}
        yield f"old-{name}", text(one)


def _large() -> Iterator[tuple[str, bytes]]:
    for size in (1, 10):
        name = f"large-{size}"
        yield name, with_(name, "headers.origin", "x" * (size << 20))
    yield "large-rubbish", b"{" * (4 << 20)


#: What a mutation puts in the place of something.
_ODDITIES: Final = (
    *(None, True, False, 0, -1, 2**53 + 1, -(2**63), 1e308, float("nan"), float("-inf")),
    *("", "x", "\0", "\ud800", "\u2603", "a" * 5000, [], {}, [[]], {"": ""}, "celery", "0"),
)

_SHREDS: Final = (
    *(b"{", b"}", b"[", b'"', b"\\", b"\\u", b"\\ud800", b",", b":", b"\n", b"\0"),
    *(b"1e999", b"NaN", b"0x", b"\xff"),
)


def mutated(count: int, seed: int = 1) -> dict[str, bytes]:
    """Return *count* messages, each changed in some places; the same for the same *seed*."""
    chance = random.Random(seed)
    return {f"mutated-{number}": _mutated(f"mutated-{number}", chance) for number in range(count)}


def _mutated(name: str, chance: random.Random) -> bytes:
    one = message(name, random_=chance)
    for _ in range(chance.randint(0, 3)):
        _change_a_field(one, chance)
    data = bytearray(text(one))
    for _ in range(chance.choice((0, 0, 0, 1, 1, 2, 5))):
        if data:
            chance.choice(_EDITS)(data, chance.randrange(len(data)), chance)
    return bytes(data)


def _change_a_field(one: dict[str, Any], chance: random.Random) -> None:
    places = list(_places(one))
    if not places:
        return
    at, key = chance.choice(places)
    how = chance.random()
    if how < 0.25:
        del at[key]
    elif how < 0.35:
        more = ("holder", "taken_from", "deaths", "zzz", "", "delivery_tag", "properties")
        at[chance.choice(more)] = deepcopy(chance.choice(_ODDITIES))
    else:
        at[key] = deepcopy(chance.choice(_ODDITIES))


def _places(at: Any) -> Iterator[tuple[dict[str, Any], str]]:
    if isinstance(at, dict):
        for key, value in at.items():
            yield at, key
            yield from _places(value)


def _flip(data: bytearray, at: int, chance: random.Random) -> None:
    data[at] = chance.randrange(256)


def _cut(data: bytearray, at: int, chance: random.Random) -> None:
    del data[at : at + chance.randint(1, 20)]


def _insert(data: bytearray, at: int, chance: random.Random) -> None:
    data[at:at] = bytes(chance.randrange(256) for _ in range(chance.randint(1, 4)))


def _shred(data: bytearray, at: int, chance: random.Random) -> None:
    data[at:at] = chance.choice(_SHREDS)


def _end(data: bytearray, at: int, chance: random.Random) -> None:
    del data[at:]


_EDITS: Final[tuple[Callable[[bytearray, int, random.Random], None], ...]] = (
    *(_flip, _flip, _cut, _insert, _shred, _end),
)
