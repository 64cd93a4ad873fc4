"""The rows of a bench and the file that keeps them, ``bench/results.json``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench.meter import Usage
from bench.pairs import Spread, ratio, typical

FORMAT = "quotaloop/bench@1"


@dataclass(frozen=True, slots=True)
class Row:
    """One measurement: what ``ours`` and the ``yardstick`` used, and ``value``, which is held against ``target``.

    ``value`` mostly is the ratio of CPU seconds, ours over the yardstick's. ``target`` is the greatest value allowed,
    or with ``at_least`` the least; None: only for information.
    """

    name: str
    work: str
    yardstick_work: str
    lines: int
    ours: Usage | None
    yardstick: Usage | None
    value: Spread
    unit: str
    wall_ratio: Spread | None
    target: float | None
    at_least: bool = False

    @property
    def reached(self) -> bool | None:
        """Is the target reached by the median?"""
        if self.target is None:
            return None
        return self.value.median >= self.target if self.at_least else self.value.median <= self.target


@dataclass(frozen=True, slots=True)
class Stage:
    """What one stage of the whole loop used."""

    stage: str
    lines: int
    used: Usage


@dataclass(frozen=True, slots=True)
class Results:
    """All rows, with the machine and the versions they were measured on."""

    command: str
    machine: dict[str, Any]
    versions: dict[str, str]
    rows: list[Row]
    stages: list[Stage]


def against(
    name: str,
    work: str,
    yardstick_work: str,
    lines: int,
    usages: tuple[Sequence[Usage], Sequence[Usage]],
    *,
    at_most: float | None = None,
    times_less: float | None = None,
) -> Row:
    """The row of pairs: CPU of ours over the yardstick's, or with ``times_less`` the yardstick's over ours."""
    ours, theirs = usages
    pair = [usage.cpu_s for usage in ours], [usage.cpu_s for usage in theirs]
    return Row(
        name=name,
        work=work,
        yardstick_work=yardstick_work,
        lines=lines,
        ours=typical(ours),
        yardstick=typical(theirs),
        value=ratio(*pair) if times_less is None else ratio(*reversed(pair)),
        unit="x" if times_less is None else "x less",
        wall_ratio=ratio([usage.wall_s for usage in ours], [usage.wall_s for usage in theirs]),
        target=at_most if times_less is None else times_less,
        at_least=times_less is not None,
    )


def write(results: Results, path: Path) -> None:
    """Keep the results as JSON."""
    document = {"format": FORMAT, **asdict(results)}
    for row, written in zip(results.rows, document["rows"], strict=True):
        written["reached"] = row.reached
    path.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", "utf-8")


def read(path: Path) -> Results:
    """The results as they were written."""
    document = json.loads(path.read_text("utf-8"))
    if document.pop("format") != FORMAT:
        raise ValueError(f"{path.name} is not of format {FORMAT}")
    return Results(
        document["command"],
        document["machine"],
        document["versions"],
        [_row(row) for row in document["rows"]],
        [Stage(row["stage"], row["lines"], Usage(**row["used"])) for row in document["stages"]],
    )


def merged(before: Results | None, now: Results) -> Results:
    """Rows of now in place of those of their name before; no others stay if command, machine or versions differ."""
    if before is None or (before.command, before.machine, before.versions) != (now.command, now.machine, now.versions):
        return now
    fresh = {row.name for row in now.rows}
    places = {row.name: place for place, row in enumerate(before.rows)}
    kept = [row for row in before.rows if row.name not in fresh]
    rows = sorted([*kept, *now.rows], key=lambda row: places.get(row.name, len(places)))
    return Results(now.command, now.machine, now.versions, rows, now.stages or before.stages)


def _row(written: dict[str, Any]) -> Row:
    kinds: dict[str, Any] = {"ours": Usage, "yardstick": Usage, "value": Spread, "wall_ratio": Spread}
    row = {name: value for name, value in written.items() if name != "reached"}
    made = {name: kind(**row[name]) for name, kind in kinds.items() if row[name] is not None}
    return Row(**row | made)
