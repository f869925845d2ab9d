"""Odd files and variables: one line for each mistake, never a traceback, never a wait."""

import ast
import os
import random
import socket
import string
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

import task_server
from task_server.config.files import MOST_BYTES
from task_server.config.kubernetes import KubernetesConfig, PodsConfig
from task_server.config.loader import find, load
from task_server.config.model import SECTIONS, Config, WorkerConfig
from task_server.config.tables import FlowerConfig
from task_server.config.variables import OTHERS, misspelt, variable
from task_server.errors import ConfigError

DIGITS = "9" * 5000


def problems(path: Path | None, environ: dict[str, str] | None = None) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(path, environ or {})
    return str(caught.value).splitlines()[1:]


def folder(path: Path) -> None:
    path.mkdir()


def pipe(path: Path) -> None:
    os.mkfifo(path)


def loop(path: Path) -> None:
    path.symlink_to(path)


def dangling(path: Path) -> None:
    path.symlink_to(path.with_name("absent"))


def listening(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))


def latin(path: Path) -> None:
    path.write_bytes(b'app = "caf\xe9"')


def utf16(path: Path) -> None:
    path.write_text('app = "cl"', encoding="utf-16")


def large(path: Path) -> None:
    path.write_bytes(b"#" * (MOST_BYTES + 1))


def nested(path: Path) -> None:
    path.write_text("app = " + "[" * 5000)


def digits(path: Path) -> None:
    path.write_text(f"[workers.x]\nconcurrency = {DIGITS}")


@pytest.mark.parametrize("name", ["task-server.toml", "pyproject.toml"])
@pytest.mark.parametrize(
    ("make", "words"),
    [
        (folder, "is a folder, not a file"),
        (pipe, "is a pipe, not a file"),
        (loop, "cannot be read (Too many levels of symbolic links)"),
        (dangling, "cannot be read (No such file or directory)"),
        (listening, "cannot be read (No such device or address)"),
        (latin, "is not text in UTF-8 (see its byte 11)"),
        (utf16, "is not text in UTF-8 (see its byte 1)"),
        (large, "is larger than 1024 KiB"),
    ],
)
def test_what_is_no_file_is_reported(make: Any, words: str, name: str, tmp_path: Path) -> None:
    """
    A configuration that is there and cannot be read is not ignored in silence, and not waited for.
    """
    make(tmp_path / name)
    found = find(tmp_path)

    assert tmp_path / name == found
    (line,) = problems(found)
    assert f"file: {words}; mend it, or name another with --config" in line


@pytest.mark.parametrize(
    ("make", "words"),
    [(nested, "is nested too deep"), (digits, "has a number of thousands of digits")],
)
def test_what_the_parser_of_toml_fails_on_is_one_line(
    make: Any, words: str, tmp_path: Path
) -> None:
    """
    Neither the depth of its recursion nor Python's limit of digits is the operator's affair.
    """
    make(tmp_path / "task-server.toml")

    (line,) = problems(tmp_path / "task-server.toml")

    assert words in line


def test_a_pyproject_that_is_not_about_workers_is_left_alone(tmp_path: Path) -> None:
    """
    Only one that cannot be read is reported, since its content is unknown.
    """
    (tmp_path / "pyproject.toml").write_text("[project\nname = ")

    assert find(tmp_path) is None


def test_a_byte_order_mark_is_no_part_of_the_text(tmp_path: Path) -> None:
    """
    Editors of Windows write one; secrets have none either.
    """
    path = tmp_path / "task-server.toml"
    path.write_text('app = "cl"', encoding="utf-8-sig")
    secret = tmp_path / "broker"
    secret.write_text("redis://db/0\r\n", encoding="utf-8-sig")

    config = load(path, {"TASK_SERVER_BROKER_URL_FILE": str(secret)})

    assert ("cl", "redis://db/0") == (config.app, config.broker_url)


def test_no_configuration_can_be_said() -> None:
    """
    /dev/null is an empty configuration.
    """
    assert load(Path(os.devnull), {}) == Config()


def test_a_secret_that_is_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    """
    It is reported, with the variable that names it.
    """
    os.mkfifo(tmp_path / "secret")

    (line,) = problems(None, {"TASK_SERVER_BROKER_URL_FILE": str(tmp_path / "secret")})

    assert f"broker_url: {tmp_path}/secret is a pipe, not a file" in line
    assert "TASK_SERVER_BROKER_URL_FILE names it" in line


def test_a_credential_that_cannot_be_read_is_reported(tmp_path: Path) -> None:
    """
    It is there, so the broker is not silently another one.
    """
    (tmp_path / "broker_url").symlink_to("broker_url")

    (line,) = problems(None, {"CREDENTIALS_DIRECTORY": str(tmp_path)})

    assert "broker_url cannot be read (Too many levels of symbolic links)" in line


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("drain_seconds = 1e20", "1e+20 is not in the range x<=604800"),
        ("drain_seconds = inf", "inf is not in the range"),
        ("drain_seconds = nan", "nan is not in the range"),
        (f"time_limit = '{DIGITS}'", "inf is not in the range x<=31622400"),
        (f"time_limit = 0x{DIGITS}", "inf is not in the range"),
        ("time_limit = 1e9", "1e+09 is not in the range x<=31622400"),
        (f"memory_limit = '{DIGITS}'", "is not a size"),
        (f"memory_limit = '{DIGITS}GB'", "is not a size"),
        ("memory_limit = '999999TB'", "bytes are too many"),
        (f"memory_limit = 0x{DIGITS}", "bytes are too many"),
        (f"concurrency = '{DIGITS}'", "is not a whole number"),
        (f"concurrency = 0x{DIGITS}", "a number of thousands of digits is not in the range"),
        ("concurrency = 1_000_001", "1000001 is not in the range x<=1000000"),
        ("concurrency = '\u0664'", "is not a whole number"),
        ("pool = []", "is not a pool"),
        ("queues = {}", "is not a list of names"),
        ('log_level = "\\u0000"', "is not one of its values"),
        ('extra_args = ["\\u0000"]', "an argument has a NUL"),
    ],
)
def test_a_value_out_of_reach_is_one_short_line(text: str, words: str, tmp_path: Path) -> None:
    """
    Each number has a bound beyond every sensible value, before a timer or a list breaks of it.
    """
    path = tmp_path / "task-server.toml"
    path.write_text(f"[workers.x]\n{text}\n")

    (line,) = problems(path)

    assert words in line
    assert len(line) < 300


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("TASK_SERVER_APP", "\udcff", "app: it is not text in UTF-8"),
        ("TASK_SERVER_APP", "a\nb", "app: 'a\\nb' has a control character"),
        ("TASK_SERVER_BROKER_URL", "redis://:hunter2/x@db/0", "broker_url: its port or its host"),
        ("TASK_SERVER_BROKER_URL", "redis://db:99999/0", "its port or its host is none"),
        ("TASK_SERVER_RESULT_BACKEND", "redis://[::1/0", "its port or its host is none"),
        ("TASK_SERVER_BROKR_URL", "redis://db", "did you mean TASK_SERVER_BROKER_URL?"),
        ("TASK_SERVER_VISIBILTY_TIMEOUT", "9", "did you mean TASK_SERVER_VISIBILITY_TIMEOUT?"),
        ("TASK_SERVER_CHEK_LIVE", "1", "did you mean TASK_SERVER_CHECK_LIVE?"),
        (
            "TASK_SERVER_WORKERS_GEVNT_CONCURRENCY",
            "4",
            "did you mean TASK_SERVER_WORKERS_GEVENT_CONCURRENCY?",
        ),
        ("TASK_SERVER_FLOWER_PROT", "4", "did you mean TASK_SERVER_FLOWER_PORT?"),
        ("TASK_SERVER_WORKERS__QUEUES", "a", "workers.: '' is not a worker's name"),
    ],
)
def test_a_variable_that_is_wrong_is_named(name: str, value: str, words: str) -> None:
    """
    One that is nearly right is named with the right one, since else it would not count.
    """
    line = problems(None, {name: value})[0]

    assert words in line
    assert "hunter2" not in line


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("brokr_url = 'redis://'", "brokr_url: is not a setting; did you mean broker_url?"),
        ("[worker.x]\nconcurrency = 1", "worker: is not a setting; did you mean workers?"),
        ("[workers.x]\nconcurency = 1", "did you mean concurrency?"),
        ("[flower]\nprot = 1", "flower.prot: is not a setting; did you mean port?"),
        ("[workers.x]\nqqq = 1", "workers.x.qqq: is not a setting; known are pool, queues"),
    ],
)
def test_a_misspelt_setting_is_named_with_the_right_one(
    text: str, words: str, tmp_path: Path
) -> None:
    """
    The one that is most alike, or all of them.
    """
    path = tmp_path / "task-server.toml"
    path.write_text(text)

    (line,) = problems(path)

    assert words in line


def test_a_clusters_own_variables_are_no_mistake() -> None:
    """
    A service called task-server-flower is described to every container beside it.
    """
    config = load(
        None,
        {
            "TASK_SERVER_FLOWER_SERVICE_HOST": "10.0.0.7",
            "TASK_SERVER_FLOWER_SERVICE_PORT": "5555",
            "TASK_SERVER_FLOWER_SERVICE_PORT_HTTP": "5555",
            "TASK_SERVER_FLOWER_PORT": "tcp://10.0.0.7:5555",
            "TASK_SERVER_FLOWER_PORT_5555_TCP": "tcp://10.0.0.7:5555",
            "TASK_SERVER_FLOWER_PORT_5555_TCP_PROTO": "tcp",
            "TASK_SERVER_FLOWER_PORT_5555_TCP_ADDR": "10.0.0.7",
            "TASK_SERVER_FLOWER_READ_ONLY": "no",
            "TASK_SERVER_PORT": "tcp://10.0.0.8:80",
        },
    )

    assert (5555, False) == (config.flower.port, config.flower.read_only)


def names_in_the_source() -> set[str]:
    """Return every variable TASK_SERVER_… that a module of ours names."""
    found = set()
    for path in Path(task_server.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                value = node.value
                if value.startswith("TASK_SERVER_") and value.isupper() and value.isidentifier():
                    found.add(value)
    return found


def test_no_variable_of_ours_is_taken_for_a_misspelt_one() -> None:
    """
    What a command, the stack or the launcher reads is known here.
    """
    settings = {variable(field.name) for field in fields(Config)}
    tables = {
        variable(f"{name}.{field.name}")
        for name, kind in SECTIONS.items()
        for field in fields(kind)
    }

    assert set() == names_in_the_source() - settings - tables - OTHERS - {"TASK_SERVER_"}
    assert {} == misspelt(OTHERS, settings)


# What a generator puts into documents and variables.

NUMBERS = ["0", "-1", "1e400", "nan", "inf", "-0.0", DIGITS, f"0x{'f' * 4000}", "1_0", "007"]
TEXTS = ["", "*", "all", "a,,b", "\\u0000", "\\uffff", "x" * 5000, "${HOME}", "../..", "-c4", "'"]
TABLES = [
    *("workers.x", "workers.gevent", "flower", "workers", '""'),
    *("kubernetes", "workers.x.kubernetes", "workers.gevent.kubernetes"),
]
OTHER = [
    *('{ a = "b" }', "{ a = 1, b.c = [] }", '["a=b:NoSchedule"]', '["x y"]'),
    "[]",
    "{}",
    "[[]]",
    "[{}]",
    "true",
    "1979-05-27T07:32:00Z",
    "07:32:00",
    '["a", "a"]',
]


def names() -> list[str]:
    own = [field.name for field in fields(Config)]
    rows = [field.name for field in fields(WorkerConfig)]
    others = (FlowerConfig, KubernetesConfig, PodsConfig)
    more = [field.name for kind in others for field in fields(kind)]
    return [*own, *rows, *more, "", "é", "a.b"]


def documents(random_: random.Random, count: int) -> Iterator[str]:
    """Yield odd documents: settings with odd values, and texts that were damaged."""
    for _ in range(count):
        lines = []
        for _ in range(random_.randint(0, 6)):
            kind = random_.random()
            if kind < 0.25:
                table = random_.choice(TABLES)
                lines.append(f"[{table}]")
                continue
            value = random_.choice(
                [
                    random_.choice(NUMBERS),
                    f'"{random_.choice(TEXTS)}"',
                    random_.choice(OTHER),
                    "[" * random_.choice([3, 200, 900]) + "]" * random_.choice([3, 200, 900]),
                ]
            )
            lines.append(f'"{random_.choice(names())}" = {value}')
        text = "\n".join(lines)
        for _ in range(random_.choice([0, 0, 0, 1, 3])):
            place = random_.randint(0, len(text))
            text = text[:place] + random_.choice(string.printable) + text[place:]
        yield text


def mistakes(path: Path, environ: dict[str, str]) -> list[str]:
    """Return the lines that report what is wrong; any other exception is the test's failure."""
    try:
        load(path, environ)
    except ConfigError as error:
        return str(error).splitlines()
    return []


@pytest.mark.parametrize("seed", range(4))
def test_whatever_is_written_is_a_configuration_or_its_mistakes(seed: int, tmp_path: Path) -> None:
    """
    Of odd documents and odd variables nothing but a ConfigError comes, short enough to read.
    """
    random_ = random.Random(seed)
    path = tmp_path / "task-server.toml"
    refused = 0
    for text in documents(random_, 250):
        path.write_bytes(text.encode("utf-8", "surrogatepass"))
        environ = {
            variable(
                random_.choice(["", "workers.x.", "workers.gevent.", "flower."])
                + random_.choice(names())
            )
            + random_.choice(["", "", "_FILE"]): random_.choice([*NUMBERS, *TEXTS, "\udcff", "/"])
            for _ in range(random_.randint(0, 3))
        }
        lines = mistakes(path, environ)
        refused += bool(lines)
        assert [] == [line for line in lines if len(line) > 6000]

    assert 100 < refused
