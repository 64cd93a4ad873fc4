"""Numbers for groups of rows, and sums by group that cannot overflow unseen."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from jobs.mapreduce.rows import Longs
from quotaloop.errors import QuotaloopError

MOST = 2**63 - 1


class Groups:
    """Rows by their keys: ``of`` is each row's group, ``first`` each group's first row."""

    def __init__(self, *keys: Longs) -> None:
        """Keys are from -1 on; rows have the same group where all keys are equal."""
        self.of = np.zeros(len(keys[0]), dtype=np.int64)
        for column in keys:
            far = column.max(initial=-1) >= 2**31  # too far apart to be multiplied
            numbers = _dense(column) if far else column
            self.of = _dense(self.of * (int(numbers.max(initial=-1)) + 2) + numbers + 1)
        self.size = int(self.of.max(initial=-1)) + 1
        self.first = np.zeros(self.size, dtype=np.int64)
        self.first[self.of[::-1]] = np.arange(len(self.of), dtype=np.int64)[::-1]

    def counts(self) -> Longs:
        """Rows of each group."""
        return np.bincount(self.of, minlength=self.size)

    def sums(self, values: Longs, name: Callable[[int], str]) -> Longs:
        """Sums by group of values, none negative; ``QuotaloopError`` names the group whose sum does not fit 64 bits."""
        if int(values.max(initial=0)) * len(values) <= MOST:
            return self._added(values)
        high, low = self._added(values >> 32).tolist(), self._added(values & 0xFFFFFFFF).tolist()
        totals = [(upper << 32) + lower for upper, lower in zip(high, low, strict=True)]
        for group, total in enumerate(totals):
            if total > MOST:
                raise QuotaloopError(f"{name(group)}: the sum {total} does not fit 64 bits; nothing was counted")
        return np.array(totals, dtype=np.int64)

    def least(self, values: Longs) -> Longs:
        """The least value of each group."""
        found = np.full(self.size, MOST, dtype=np.int64)
        np.minimum.at(found, self.of, values)
        return found

    def greatest(self, values: Longs) -> Longs:
        """The greatest value of each group; none is negative."""
        found = np.zeros(self.size, dtype=np.int64)
        np.maximum.at(found, self.of, values)
        return found

    def _added(self, values: Longs) -> Longs:
        found = np.zeros(self.size, dtype=np.int64)
        np.add.at(found, self.of, values)
        return found


def _dense(codes: Longs) -> Longs:
    """Codes as 0, 1, 2, ... in order of appearance."""
    dense: Longs = pc.dictionary_encode(pa.array(codes)).indices.to_numpy().astype(np.int64)
    return dense
