"""One more hour on a finished day against the day from nothing, each with the whole loop.

The hour is the one whose share of the day is nearest to a 24th; it lands last, so that its neighbours, whose requests
reach into it, have to be looked at again. What any run costs, however little has landed, is that of a run after one
more line of the same hour, and is taken off.
"""

from __future__ import annotations

import gzip
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from bench.agreement import Disagreement, differing, of_release
from bench.commands import ours, prepared, whole_of
from bench.data import Data, copied, land
from bench.meter import Usage
from bench.pairs import in_turn, ratio, typical
from bench.results import Row

AT_MOST = 1 / 15
_HOUR = re.compile(rb'"ts":"[0-9-]{10}T([0-9]{2})')


def measure(data: Data, rounds: int) -> list[Row]:
    """One row."""
    with data.scratch() as folder:
        rest, hour, line = split(data, folder)
        land([rest], folder / "rest")
        finished = prepared("run", copied(folder / "rest", folder / "finished"))
        usages = in_turn(
            [
                lambda: _run(data, finished, hour, folder / "hour"),
                lambda: _run(data, finished, line, folder / "line"),
                lambda: _run(data, folder / "rest", hour, folder / "day"),
            ],
            rounds,
        )
        _check(folder / "hour", folder / "day")
    more = [_difference(mine, least) for mine, least in zip(usages[0], usages[1], strict=True)]
    return [
        Row(
            name="increment",
            work="one more hour on a finished day, less a run for one more line",
            yardstick_work="the day from nothing",
            lines=data.lines,
            ours=typical(more),
            yardstick=typical(usages[2]),
            value=ratio([usage.cpu_s for usage in more], [usage.cpu_s for usage in usages[2]]),
            unit="x",
            wall_ratio=ratio([usage.wall_s for usage in more], [usage.wall_s for usage in usages[2]]),
            target=AT_MOST,
        )
    ]


def _run(data: Data, store: Path, more: Path, keep: Path) -> Usage:
    """The whole loop after one more file; the store that it leaves is kept."""
    with data.scratch() as folder:
        here = copied(store, folder / "store")
        land([more], here)
        usage = whole_of(ours("run", here))
        if not keep.exists():
            here.rename(keep)
    return usage


def _difference(more: Usage, least: Usage) -> Usage:
    return Usage(more.cpu_s - least.cpu_s, more.wall_s - least.wall_s, more.peak_bytes)


def _check(incremental: Path, whole: Path) -> None:
    """Incremental equals from nothing."""
    mine, others = of_release(incremental), of_release(whole)
    wrong = [name for name in mine if differing(mine[name], others[name])]
    if wrong:
        raise Disagreement(f"{', '.join(wrong)}: incremental is not what is made from nothing")


def split(data: Data, folder: Path) -> tuple[Path, Path, Path]:
    """The day without the hour, the hour, and one line of it, as files in a folder."""
    counts = Counter(_hour(line) for line in _lines(data))
    counts.pop(b"", None)
    chosen = min(counts, key=lambda hour: (abs(counts[hour] - data.lines / 24), hour))
    rest, hour, line = (folder / f"{name}.jsonl.gz" for name in ("rest", "hour", "line"))
    with gzip.open(rest, "wb", 1) as out_rest, gzip.open(hour, "wb", 1) as out_hour:
        for text in _lines(data):
            (out_hour if _hour(text) == chosen else out_rest).write(text)
    with gzip.open(hour, "rb") as first, gzip.open(line, "wb", 1) as out:
        out.write(first.readline())
    return rest, hour, line


def _lines(data: Data) -> Iterator[bytes]:
    for path in data.files:
        with gzip.open(path, "rb") as lines:
            yield from lines


def _hour(line: bytes) -> bytes:
    found = _HOUR.search(line)
    return found[1] if found else b""
