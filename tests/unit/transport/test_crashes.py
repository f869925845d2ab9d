"""
Which message crashed a worker: decided by its reports, and tried on workers that crash.
"""

import math
from dataclasses import dataclass, field
from random import Random
from typing import Any

import pytest

from task_server.transport.started import crashes as rules
from task_server.transport.started.crashes import (
    COMPLETE,
    ON_CPU,
    Blame,
    blame,
    is_enough,
    most_beside,
)


def shared(*suspects: int) -> list[dict[str, Any]]:
    return [{"suspects": number} for number in suspects]


CERTAIN = {"suspects": 1, "certain": True}


def test_the_one_that_had_the_processor_is_certain() -> None:
    """
    Of all that had started it alone is counted.
    """
    reported = {COMPLETE, "a", "b", "c", f"{ON_CPU}b"}

    assert [None, Blame(1, certain=True), None] == [
        blame(tag, reported, seen_before=True) for tag in "abc"
    ]


def test_without_it_all_that_had_started_share_the_crash() -> None:
    """
    What had not started, marked or not, is not counted where all starts were reported.
    """
    reported = {COMPLETE, "a", "b"}

    assert Blame(2) == blame("a", reported, seen_before=False)
    assert [None, None] == [blame("c", reported, seen_before=marked) for marked in (True, False)]


def test_an_unmarked_message_may_have_started_unreported() -> None:
    """
    How many suspects there are is not known then, even if only one was reported.
    """
    assert Blame(0) == blame("a", {"a"}, seen_before=True)
    assert Blame(0) == blame("b", {"a"}, seen_before=False)
    assert None is blame("b", {"a"}, seen_before=True)
    assert Blame(0) == blame("b", set(), seen_before=False)


@pytest.mark.parametrize(
    ("deaths", "limit", "expected"),
    [
        ([], 1, False),
        (shared(0), 1, False),
        (shared(1), 1, True),
        ([CERTAIN], 1, True),
        ([*shared(0), CERTAIN], 1, True),
        ([*shared(0), CERTAIN], 2, True),
        ([*shared(0), CERTAIN], 3, False),
        ([*shared(0), CERTAIN, CERTAIN], 3, True),
        ([*shared(0, 9, 9), CERTAIN], 3, False),
        ([*shared(0, 9, 9), CERTAIN, *shared(5), CERTAIN], 3, True),
        (shared(0, 1, 1), 3, True),
        (shared(0, 2, 1), 3, False),
        (shared(0, 2, 1, 1), 3, False),
        (shared(0, 2, 1, 1, 1), 3, True),
        (shared(1, 1, 2), 3, False),
        (shared(*[2] * 50), 3, False),
        ([CERTAIN] * 50, 0, False),
        ([{"reason": "no sign of life"}] * 50, 3, False),
        ([{"suspects": "1", "certain": 0}] * 50, 3, False),
    ],
)
def test_what_is_enough(deaths: list[dict[str, Any]], limit: int, *, expected: bool) -> None:
    """
    Certain deaths count, and those as the only suspect, one beside others does not.
    """
    assert expected == is_enough(deaths, limit)


def test_suspects_are_halved_from_their_second_death_on() -> None:
    """
    Not those whose killer is known, and never to none.
    """
    assert [None, None, 25, 12, 1, 1] == [
        most_beside(deaths)
        for deaths in (
            shared(50),
            [*shared(0), CERTAIN],
            shared(0, 50),
            shared(0, 50, 25),
            shared(0, 2),
            shared(0, 2, 1),
        )
    ]
    assert [20.0, 40.0, 80.0] == [rules.patience(shared(*[2] * n)) for n in (2, 3, 4)]


@dataclass(eq=False)
class Message:
    """
    One message of a trial.

    Attributes:
        kills: Whether its task kills its process: 'at once', 'later' (while it
            waits, from a thread of its own say) or never.

        long: Whether its task is still running when a 'later' one kills.
    """

    name: str
    kills: str = ""
    long: bool = False
    deaths: list[dict[str, Any]] | None = None
    state: str = "waits"
    died_of: int = 0


@dataclass
class Trial:
    """Workers that die, one after the other, with what they report; each has *places*."""

    messages: list[Message]
    places: int
    limit: int
    chance: Random
    reports_cpu: bool = True
    crashes: int = field(default=0)

    def run(self, outside_kills: int = 0) -> None:
        for _ in range(400):
            waiting = [one for one in self.messages if one.state == "waits"]
            if not waiting:
                return
            self.chance.shuffle(waiting)
            self._one_life(waiting, from_outside=outside_kills > 0)
            outside_kills -= 1
        pytest.fail(f"no end: {[one for one in self.messages if one.state == 'waits']}")

    def _one_life(self, waiting: list[Message], *, from_outside: bool) -> None:
        running: list[Message] = []
        queue = list(waiting)
        while queue or running:
            # As `apart` does: suspects first where there are some, with none beside.
            admitted = self._admit(running, queue)
            if admitted is not None:
                queue.remove(admitted)
                running.append(admitted)
                if admitted.kills == "at once":
                    self._die(waiting, running, cpu=admitted)
                    return
                if not (admitted.long or admitted.kills):
                    running.remove(admitted)
                    admitted.state = "done"
                continue
            if from_outside:
                self._die(waiting, running, cpu=None)
                return
            killers = [one for one in running if one.kills == "later"]
            if killers:
                killers[0].died_of += 1
                self._die(waiting, running, cpu=None)
                return
            ended = self.chance.choice(running)
            running.remove(ended)
            ended.state = "done"

    def _admit(self, running: list[Message], queue: list[Message]) -> Message | None:
        if len(running) >= self.places or not queue:
            return None
        apart = [one for one in queue if most_beside(one.deaths or []) is not None]
        inside = [one for one in running if most_beside(one.deaths or []) is not None]
        if not (apart or inside):
            return queue[0]
        if len(inside) != len(running) or not apart:
            return None
        most = min(most_beside(one.deaths or []) or 1 for one in [*inside, apart[0]])
        return apart[0] if len(inside) < most else None

    def _die(self, waiting: list[Message], running: list[Message], cpu: Message | None) -> None:
        self.crashes += 1
        if cpu is not None:
            cpu.died_of += 1
        reported = set()
        # It reports all from the first marked one on; then nothing is missing.
        if any(one.deaths is not None for one in running):
            reported = {COMPLETE, *(one.name for one in running)}
            if cpu is not None and self.reports_cpu:
                reported.add(ON_CPU + cpu.name)
        for one in waiting:
            if one.state != "waits":
                continue
            found = blame(one.name, reported, seen_before=one.deaths is not None)
            one.deaths = one.deaths or []
            if found is not None:
                one.deaths.append(found.described())
                if is_enough(one.deaths, self.limit):
                    one.state = "dead"


def outcome(trial: Trial) -> dict[str, str]:
    return {one.name: one.state for one in trial.messages}


def expected(trial: Trial) -> dict[str, str]:
    return {one.name: "dead" if one.kills else "done" for one in trial.messages}


@pytest.mark.parametrize("seed", range(100))
def test_poison_that_kills_at_once_becomes_a_dead_letter_at_the_limit(seed: int) -> None:
    """
    Exactly the poison is, whatever runs beside it, after as many crashes as the limit says.
    """
    chance = Random(seed)
    limit = chance.choice([2, 3, 4])
    messages = [Message(f"p{n}", kills="at once") for n in range(chance.choice([1, 1, 2, 3]))]
    messages += [Message(f"i{n}", long=chance.random() < 0.5) for n in range(chance.randrange(60))]
    trial = Trial(messages, places=chance.choice([1, 2, 50, 512]), limit=limit, chance=chance)
    trial.run()

    assert expected(trial) == outcome(trial)
    # One death of each may not have been reported, if it was not the first of all.
    assert all(one.died_of <= limit for one in messages if one.kills)


@pytest.mark.parametrize("reports_cpu", [True, False])
@pytest.mark.parametrize("seed", range(100))
def test_poison_among_long_tasks_is_found_by_halving(seed: int, *, reports_cpu: bool) -> None:
    """
    Where it is unknown which task had the processor it takes the logarithm of the suspects more.
    """
    chance = Random(seed)
    limit = chance.choice([1, 2, 3])
    places = chance.choice([2, 8, 50, 512])
    messages = [Message(f"p{n}", kills="later") for n in range(chance.choice([1, 1, 2]))]
    messages += [Message(f"i{n}", long=True) for n in range(chance.randrange(1, 80))]
    trial = Trial(messages, places, limit, chance, reports_cpu=reports_cpu)
    trial.run()
    halvings = math.ceil(math.log2(min(places, len(messages)))) + 1

    assert expected(trial) == outcome(trial)
    assert trial.crashes <= sum(bool(one.kills) for one in messages) * (2 + halvings + 2 * limit)


@pytest.mark.parametrize("seed", range(100))
def test_kills_from_outside_condemn_nothing_that_ran_beside_others(seed: int) -> None:
    """
    Five in a row, whatever the worker was doing.
    """
    chance = Random(seed)
    messages = [
        Message(f"i{n}", long=chance.random() < 0.9) for n in range(chance.randrange(5, 99))
    ]
    messages[0].long = messages[1].long = messages[2].long = messages[3].long = True
    trial = Trial(messages, places=chance.choice([4, 50, 512]), limit=3, chance=chance)
    trial.run(outside_kills=5)

    assert expected(trial) == outcome(trial)


@pytest.mark.parametrize(
    "forged", [None, 7, "deaths", {"a": 1}, [7, None, ["x"], {"suspects": -3}, {"certain": []}]]
)
def test_what_anybody_can_write_is_no_death_of_ours(forged: object) -> None:
    """
    A message may say what it likes; it condemns nothing, and ends nothing.
    """
    deaths = rules.history(forged)

    assert all(isinstance(death, dict) for death in deaths)
    assert (False, None) == (is_enough(deaths, 3), most_beside(deaths))
    assert 100 == len(rules.history([{}] * 5000))
