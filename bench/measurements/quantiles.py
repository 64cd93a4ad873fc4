"""Quantiles of merged histograms against exact ones, whatever the order of the merge."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq

from bench.agreement import Disagreement
from bench.data import Data
from bench.pairs import Spread
from bench.results import Row
from bench.yardsticks.duckdb_parse import parse
from quotaloop.latency import MAX_MICROS, buckets, quantile_ms, rank

AT_MOST = 0.01
WANTED = ((50, 100), (90, 100), (95, 100), (99, 100), (999, 1000))
_PIECES = 64
_SEED = 7

Longs = npt.NDArray[np.int64]


def measure(data: Data, rounds: int) -> list[Row]:
    """One row: the greatest error in each order of merging."""
    columns = dict(_durations(data)) | dict(_hard(np.random.default_rng(_SEED)))
    errors = [max(greatest_error(micros, order) for micros in columns.values()) for order in range(rounds)]
    return [
        Row(
            name="quantiles",
            work=f"p50, p90, p95, p99, p99.9 from {_PIECES} histograms merged in any order",
            yardstick_work="exact quantiles: the greatest relative error",
            lines=data.lines,
            ours=None,
            yardstick=None,
            value=Spread.of(errors),
            unit="relative error",
            wall_ratio=None,
            target=AT_MOST,
        )
    ]


def greatest_error(micros: Longs, order: int) -> float:
    """Over all quantiles wanted; ``order`` is the seed of an order of pieces."""
    pieces = np.array_split(micros, _PIECES)
    histogram: Counter[int] = Counter()
    for place in np.random.default_rng(order).permutation(len(pieces)):
        numbers, counts = np.unique(buckets(pieces[place]), return_counts=True)
        histogram.update(dict(zip(numbers.tolist(), counts.tolist(), strict=True)))
    if histogram.total() != len(micros):
        raise Disagreement(f"histograms hold {histogram.total()} of {len(micros)} durations")
    ordered = np.sort(micros)
    least, most = int(ordered[0]), int(ordered[-1])
    found = [quantile_ms(histogram, *q, min_us=least, max_us=most) * 1000 for q in WANTED]
    exact = [int(ordered[rank(len(micros), *q) - 1]) for q in WANTED]
    return max(abs(mine - true) / true for mine, true in zip(found, exact, strict=True))


def _durations(data: Data) -> Iterator[tuple[str, Longs]]:
    """What the requests of the data took."""
    with data.scratch() as folder:
        parse(str(folder / "events.parquet"), [str(path) for path in data.files])
        for name in ("duration_ms", "ttft_ms"):
            values = pq.read_table(folder / "events.parquet", columns=[name])[name].drop_null().to_numpy()
            micros = np.rint(values * 1000)
            yield name, micros[(micros >= 1) & (micros <= MAX_MICROS)].astype(np.int64)


def _hard(dice: np.random.Generator) -> Iterator[tuple[str, Longs]]:
    """Heavy tails, two peaks, few values, all sizes alike."""
    count = 100_000
    shapes = {
        "heavy": 1000 * (1 + dice.pareto(0.8, count)),
        "two peaks": np.where(dice.random(count) < 0.9, dice.normal(5_000, 200, count), dice.normal(9e6, 1e5, count)),
        "few": dice.integers(1, 40, count),
        "all sizes": 10 ** (dice.random(count) * np.log10(MAX_MICROS)),
    }
    for name, values in shapes.items():
        yield name, np.clip(values, 1, MAX_MICROS).astype(np.int64)
