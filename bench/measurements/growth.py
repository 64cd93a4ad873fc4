"""The whole loop at a quarter of the lines, at all, and at four times as many: CPU on a straight line, memory level."""

from __future__ import annotations

from functools import partial
from statistics import median

from bench.commands import Usages, ours, whole_of
from bench.data import Data, copied, generated
from bench.meter import WHOLE, Usage
from bench.pairs import in_turn, ratio, typical
from bench.results import Row, Stage

AT_MOST_CPU = 1.15
AT_MOST_MEMORY = 1.20
_WORK = "the whole loop"


def measure(data: Data) -> tuple[list[Row], list[Stage]]:
    """Two rows, and what each stage used at each size; each size is run once."""
    sizes = [data.lines // 4, data.lines, data.lines * 4]
    sets = [generated(lines, dirt=data.dirt, folder=data.folder.parent) for lines in sizes]
    seen: list[list[Usages]] = [[] for _ in sets]

    def run(place: int) -> Usage:
        with sets[place].scratch() as folder:
            usages = ours("run", copied(sets[place].store, folder / "store"))
        seen[place].append(usages)
        return whole_of(usages)

    small, middle, large = in_turn([partial(run, place) for place in range(len(sets))], 1)
    expected = [on_the_line(*pair) for pair in zip(small, middle, strict=True)]
    rows = [
        Row(
            name="growth-cpu",
            work=f"{_WORK}, 16 x the lines",
            yardstick_work=f"a straight line through {sizes[0]:,} and {sizes[1]:,} lines",
            lines=sizes[2],
            ours=typical(large),
            yardstick=typical(expected),
            value=ratio([usage.cpu_s for usage in large], [usage.cpu_s for usage in expected]),
            unit="x",
            wall_ratio=ratio([usage.wall_s for usage in large], [usage.wall_s for usage in expected]),
            target=AT_MOST_CPU,
        ),
        Row(
            name="growth-memory",
            work=f"{_WORK}, 16 x the lines: peak memory",
            yardstick_work=f"the peak at {sizes[0]:,} lines",
            lines=sizes[2],
            ours=typical(large),
            yardstick=typical(small),
            value=ratio([usage.peak_bytes for usage in large], [usage.peak_bytes for usage in small]),
            unit="x",
            wall_ratio=None,
            target=AT_MOST_MEMORY,
        ),
    ]
    return rows, [stage for lines, usages in zip(sizes, seen, strict=True) for stage in _stages(lines, usages)]


def on_the_line(small: Usage, middle: Usage) -> Usage:
    """At 16 x the lines of ``small``, by the slope from there to ``middle``, which has 4 x; memory does not grow."""
    steps = (16 - 1) / (4 - 1)
    return Usage(
        small.cpu_s + steps * (middle.cpu_s - small.cpu_s),
        small.wall_s + steps * (middle.wall_s - small.wall_s),
        small.peak_bytes,
    )


def _stages(lines: int, runs: list[Usages]) -> list[Stage]:
    names = [name for name in runs[0] if name != WHOLE]
    stages = [Stage(name, lines, typical([run[name] for run in runs])) for name in names]
    other = [run[WHOLE].cpu_s - sum(run[name].cpu_s for name in names) for run in runs]
    wall = [run[WHOLE].wall_s - sum(run[name].wall_s for name in names) for run in runs]
    rest = Usage(median(other), median(wall), max(run[WHOLE].peak_bytes for run in runs))
    return [*stages, Stage("start, release, quotas", lines, rest)]
