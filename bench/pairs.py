"""Two sides that run in turn, so that a machine that slows down slows both; and what is said of their ratio."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

from bench.meter import Usage

Run = Callable[[], Usage]


@dataclass(frozen=True, slots=True)
class Spread:
    """The median of several numbers, and the least and the greatest."""

    median: float
    least: float
    greatest: float

    @classmethod
    def of(cls, numbers: Sequence[float]) -> Spread:
        """Of at least one number."""
        return cls(median(numbers), min(numbers), max(numbers))


def in_turn(runs: Sequence[Run], rounds: int) -> list[list[Usage]]:
    """Every run once a round, forwards and backwards in turn (A B, B A, ...); usages by run, then by round."""
    usages: list[list[Usage]] = [[] for _ in runs]
    for number in range(rounds):
        order = range(len(runs)) if number % 2 == 0 else reversed(range(len(runs)))
        for place in order:
            usages[place].append(runs[place]())
    return usages


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> Spread:
    """Ours over theirs, pair by pair."""
    return Spread.of([mine / other for mine, other in zip(ours, theirs, strict=True)])


def typical(usages: Sequence[Usage]) -> Usage:
    """The median of each number; the peak is the greatest."""
    return Usage(
        median(usage.cpu_s for usage in usages),
        median(usage.wall_s for usage in usages),
        max(usage.peak_bytes for usage in usages),
    )
