"""What the benchmark makes of its measurements, and that the README shows what was measured."""

import json
import re
import struct
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from tests.benchmarks import run
from tests.benchmarks.options import options
from tests.benchmarks.project.ledger import Ledger
from tests.benchmarks.report import document, picture, reach, readme, table
from tests.benchmarks.rows import METRICS, ROWS
from tests.benchmarks.serving.dns_server import answer_to
from tests.benchmarks.sides import Place, Setup, Side
from tests.benchmarks.sides.celery import old


def row(main: str = "rate", name: str = "noop-2", **sides: list[float]) -> dict[str, Any]:
    """Return a row as JSON has it, with the values of the main metric of each side."""
    values = {side: {main: found} for side, found in sides.items()}
    return {"name": name, "title": name, "main": main, "count": 1, "sides": values, "skipped": {}}


def report(*rows: dict[str, Any]) -> dict[str, Any]:
    """Return a report of *rows*."""
    machine = {"cores": 2, "processor": "a processor", "memory_gib": 8, "kernel": "6.1"}
    machine |= {"load": 0.1, "python": "3.11", "redis": "Redis 7", "postgres": "18"}
    machine |= {"revision": "x", "versions": {"celery": "5.7.0"}}
    return {"machine": machine, "rows": list(rows), "sides": {}, "skipped": {}, "quick": False}


def test_the_readme_shows_what_was_measured():
    """The README's block and the picture are what the JSON beside them gives."""
    published = json.loads(readme.JSON.read_text())

    text = readme.README.read_text()

    assert readme.put(text, published) == text
    assert picture.svg(published) == readme.SVG.read_text()


def test_a_block_takes_the_place_of_another():
    """Only what stands between the marks of the README is replaced."""
    text = f"before\n{readme.BEGIN}\nold\n{readme.END}\nafter\n"

    made = readme.put(text, report(row(old=[1], stock=[2], ours=[4])))

    assert made.startswith(f"before\n{readme.BEGIN}\n")
    assert made.endswith(f"{readme.END}\nafter\n")
    assert "| noop-2 | tasks/s | 1 | 2 | 4 | 4.0 | 2.0 |" in made
    assert "\nold\n" not in made
    with pytest.raises(ValueError, match="no block"):
        readme.put("nothing", report())


def test_a_ratio_is_of_rounds():
    """Each round is compared with the same round of the other side: both met the same machine."""
    measured = row(stock=[100, 10, 50], ours=[200, 20, 200])

    assert document.ratio(measured, "ours", "stock") == 2


def test_less_time_is_better():
    """Half the time is twice as good."""
    assert document.ratio(row("seconds", stock=[4], ours=[2]), "ours", "stock") == 2
    assert document.ratio(row("rate", stock=[4], ours=[2]), "ours", "stock") == 0.5


def test_a_side_that_was_not_measured_has_no_ratio():
    """A skipped side is no error."""
    assert document.ratio(row(ours=[2]), "ours", "stock") is None


def test_slower_than_stock_is_a_regression():
    """A ratio below 0.97 is marked, in the table and in the list."""
    slow, as_fast = row(stock=[100], ours=[96]), row(stock=[100], ours=[98])

    assert [slow] == document.regressions([slow, as_fast])
    assert "0.96 REGRESSION" in "\n".join(table.lines(slow))
    assert "REGRESSION" not in "\n".join(table.lines(as_fast))


def test_the_reach_says_what_falls_short():
    """A goal is compared with what the run found; one that was not measured is left out."""
    rows = [
        row(name="select", old=[1], ours=[6]),
        row(name="select-kept", old=[1], ours=[2]),
    ]

    first, second = list(reach.lines({each["name"]: each for each in rows}))[2:]

    assert ("6.00 x old" in first, "SHORT" in first) == (True, False)
    assert ("2.00 x old" in second, "SHORT" in second) == (True, True)


def test_goals_are_of_rows_that_exist():
    """The table of the reach names rows and metrics of the benchmark, all in one group."""
    assert all(set(goal.rows) <= set(ROWS) for goal in reach.GOALS)
    assert all("reach" in ROWS[name].groups for goal in reach.GOALS for name in goal.rows)
    assert all(each.main in METRICS for each in ROWS.values())
    assert set(picture.PICTURED) <= set(ROWS)


def test_rows_are_chosen_by_name_and_by_group():
    """`--only` takes both; without it, all rows are measured."""
    chosen = options(["--only", "reach", "noop-2"]).rows

    assert {"noop-2", "select", "delayed-100k-gevent"} <= {each.name for each in chosen}
    assert "noop-8" not in {each.name for each in chosen}
    assert list(ROWS.values()) == options([]).rows


def test_the_ledger_knows_what_ran(tmp_path: Path):
    """Who maps the file sees what others record: which tasks ran, how often, and when."""
    kept = Ledger.create(tmp_path / "ledger")
    other = Ledger(tmp_path / "ledger")

    for number in (0, 1, 1):
        other.record(number)

    assert kept.is_complete(2)
    assert not kept.is_complete(3)
    assert [1] == kept.more_than_once(2)
    assert 2 == kept.done(3)
    assert kept.ended(2) > 0
    kept.forget(2)
    assert 0 == other.done(3)


def test_the_old_side_is_the_old_command_line():
    """It is started as docs/ says that the old task server was, each argument of it."""
    text = (readme.ROOT / "docs" / "how-to" / "from-the-old-task-server.md").read_text()
    (line,) = re.findall(r"`celery --app=cl (worker .*? --prefetch-multiplier=1)`", text)

    command = old(Setup(concurrency=7), Place(Path(), "", 0))

    said = set(line.replace("=N", "=7").replace("prefork@", "prefork0@").split())
    assert said <= set(command)
    assert {"--app=plain"} == {each for each in command[3:] if each not in said}


def test_the_picture_has_a_bar_for_each_side():
    """It is XML, whatever a title holds; a bar that is too long is cut, its number is not."""
    measured = row(old=[1], stock=[2], ours=[40])
    measured["title"] = "<no-op> & more"

    drawn = ET.fromstring(picture.svg(report(measured)))  # noqa: S314 - it is our own

    bars = {each.get("class"): each for each in drawn.iter() if each.get("height") == "9"}
    assert {"ours", "stock"} == set(bars)
    assert float(bars["ours"].get("width", 0)) == picture.BARS
    texts = [each.text for each in drawn.iter() if each.text]
    assert {"<no-op> & more", "40.0", "2.0"} <= set(texts)


@pytest.mark.parametrize(("kind", "answers"), [(1, 1), (28, 0)])
def test_every_name_has_an_address_of_one_kind(kind: int, answers: int):
    """The DNS server knows 127.0.0.1 for each name, and says that there is none of IPv6."""
    question = b"\x12\x34" + struct.pack("!HHHHH", 0x0100, 1, 0, 0, 0)
    question += b"\x05court\x04test\x00" + struct.pack("!HH", kind, 1)

    answer = answer_to(question)

    identity, _flags, asked, answered, *_ = struct.unpack("!HHHHHH", answer[:12])
    assert (0x1234, 1, answers) == (identity, asked, answered)
    assert answer.endswith(b"\x7f\x00\x00\x01") is bool(answers)


def test_a_side_that_fails_does_not_end_the_run():
    """It has no figure in that row, the reason is reported, and the others are measured."""

    class Crew:
        """Does nothing; *broken* fails in its second round."""

        log = Path(__file__)

        def __init__(self, name: str) -> None:
            self.side = Side(name=name, words=name, command=lambda *_: [])
            self.broker = SimpleNamespace(client=SimpleNamespace(flushdb=lambda: None))
            self.rounds = 0

    def measure(crew: Any, _count: int) -> dict[str, float]:
        crew.rounds += 1
        if crew.side.name == "broken" and crew.rounds == 2:
            raise AssertionError("no longer")
        return {"rate": 1.0}

    tried = replace(ROWS["noop-2"], measure=measure, warm=False)
    good, broken = Crew("good"), Crew("broken")

    found = run._measure(tried, [broken, good], 3, quick=False)  # type: ignore[list-item]

    assert {"good": {"rate": [1.0, 1.0, 1.0]}} == found.values
    assert {"broken": "it failed: no longer"} == found.skipped
    assert 2 == broken.rounds
