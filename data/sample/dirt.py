"""Dirt in known amounts: lines that come twice, lines that contradict an earlier one, lines that are damaged."""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Iterator
from heapq import heappop, heappush
from typing import NamedTuple

from sample.defects import DEFECTS, OVERSIZED, Defect, fits
from sample.oddities import odd, retold

Labelled = tuple[bytes, str]  # a line without its line end, and its outcome or reason

ACCEPTED = "accepted"
DUPLICATE = "duplicate"
CONFLICT = "conflicting_duplicate"
# Of 20 lines that come again: the same bytes, the same content in other words, the same id with other content.
AGAIN = ("same",) * 13 + ("retold",) * 5 + ("conflict",) * 2
REPEATED_SHARE = 0.45  # of the dirt; the rest is damaged
ODD_SHARE = 0.5  # odd but accepted lines, for each dirty one
NEVER = 1 << 62


class Amounts(NamedTuple):
    """Lines in all, rows of traffic among them (the rest comes again), and of those rows: damaged and odd ones."""

    lines: int
    rows: int
    damaged: int
    odd: int

    @classmethod
    def of(cls, lines: int, dirt: float) -> Amounts:
        """Amounts for a share of dirty lines from 0 to 0.5."""
        if not 0 <= dirt <= 0.5:
            raise ValueError(f"the share of dirt is {dirt}, not from 0 to 0.5")
        repeated = int(lines * dirt * REPEATED_SHARE)
        return cls(lines, lines - repeated, int(lines * dirt) - repeated, int(lines * dirt * ODD_SHARE))


class Soiler:
    """Turns clean rows into labelled lines; dirt is spread evenly, each piece in a random place of its stretch."""

    def __init__(self, amounts: Amounts, seed: int, *, oversized: bool = False) -> None:
        self._dice = random.Random(seed + 1)
        self._damages = self._places(amounts.damaged, amounts.rows)
        self._odds = self._places(amounts.odd, amounts.rows)
        self._repeats = self._places(amounts.lines - amounts.rows, amounts.rows)
        self._defects = _in_turn(DEFECTS | (OVERSIZED if oversized else {}))
        self._again: list[tuple[int, int, Labelled]] = []  # (row it comes after, number, line)
        self._repeated = 0
        self._odd = 0

    def lines(self, rows: Iterable[tuple[str, bool]]) -> Iterator[Labelled]:
        """Every row as a line, damaged or not, and some of them again a little later."""
        damage, oddity, repeat = (next(places, NEVER) for places in (self._damages, self._odds, self._repeats))
        due, last = NEVER, ""
        for index, (text, stamped) in enumerate(rows):
            if index >= due:
                yield from self._redelivered(index)
            if index >= damage and not stamped and fits(text):
                yield self._damaged(text)
                damage = next(self._damages, NEVER)
                continue
            if index >= oddity:
                yield odd(text, self._odd), ACCEPTED
                self._odd += 1
                oddity = next(self._odds, NEVER)
                continue
            yield text.encode(), ACCEPTED
            last = text
            if index >= repeat:
                self._repeat(text, index)
                repeat = next(self._repeats, NEVER)
            due = self._again[0][0] if self._again else NEVER
        while repeat < NEVER:
            self._repeat(last, repeat)
            repeat = next(self._repeats, NEVER)
        yield from self._redelivered(NEVER)

    def _places(self, count: int, rows: int) -> Iterator[int]:
        dice = random.Random(self._dice.random())
        return (int((number + dice.random()) * rows / count) for number in range(count))

    def _damaged(self, text: str) -> Labelled:
        reason, defect = next(self._defects)
        return defect(text), reason

    def _repeat(self, text: str, index: int) -> None:
        kind = AGAIN[self._repeated % len(AGAIN)]
        line = text.encode(), DUPLICATE
        if kind == "retold":
            line = retold(text, self._repeated), DUPLICATE
        elif kind == "conflict":
            line = re.sub(r'"bytes_in":', '"bytes_in":1', text).encode(), CONFLICT
        heappush(self._again, (index + 1 + int(400 * self._dice.random()), self._repeated, line))
        self._repeated += 1

    def _redelivered(self, index: int) -> Iterator[Labelled]:
        while self._again and self._again[0][0] <= index:
            yield heappop(self._again)[2]


def _in_turn(defects: dict[str, tuple[Defect, ...]]) -> Iterator[tuple[str, Defect]]:
    """Reason after reason, each time with its next defect, for ever."""
    turn = 0
    while True:
        for reason, ways in defects.items():
            yield reason, ways[turn % len(ways)]
        turn += 1
