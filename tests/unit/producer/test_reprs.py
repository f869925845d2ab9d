"""The short way to write arguments gives what Celery's own gives, or nothing."""

import random
from collections import OrderedDict
from decimal import Decimal
from typing import Any

import pytest
from celery.utils.saferepr import saferepr

from task_server.producer.reprs import short_repr

ATOMS: list[Any] = [
    *(0, 1, -7, 2**70, 10**4000, True, None, 0.1, 1e300, float("nan"), float("inf")),
    *("", "x", "it's", '"', "\\", "\n", "é", "x" * 65, "x" * 64, "%s {}", b"bytes", Decimal(1)),
    *((), [], {}, {1}, (1, 2), {"a": 1}, range(3), object, OrderedDict(a=1)),
]


def test_what_is_given_is_what_celery_gives() -> None:
    """
    Of ten thousand random containers; half of them are written in the short way.
    """
    chance = random.Random(12)
    written = 0
    for _ in range(10_000):
        atoms = ATOMS if chance.random() < 0.5 else ATOMS[:3] + ATOMS[5:8] + ATOMS[11:13]
        many = chance.choices(atoms, k=chance.randrange(10))
        value: Any = chance.choice(
            [tuple(many), list(many), {f"key{n}": each for n, each in enumerate(many)}]
        )
        found = short_repr(value)
        written += found is not None
        if found is not None:
            assert saferepr(value, 1024, maxlevels=3) == found

    assert written > 3000


@pytest.mark.parametrize("value", [None, "x", {1}, OrderedDict(), {1: 2}, {"'": 1}, range(2)])
def test_other_arguments_are_left_to_celery(value: Any) -> None:
    """
    Celery refuses some, and writes others in its own way.
    """
    assert None is short_repr(value)
