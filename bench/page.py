"""The results as tables, between two markers of ``docs/performance.md``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from bench.meter import Usage
from bench.pairs import Spread
from bench.results import Results, Row

BEGIN, END = "<!-- bench:begin -->", "<!-- bench:end -->"
_WORDS = {True: "yes", False: "**no**", None: "-"}


def render(results: Results, page: Path) -> None:
    """The tables of the results between the markers of the page."""
    between(tables(results), page)


def between(shown: str, page: Path) -> None:
    """Replace what stands between the markers; raises ``ValueError`` for a page without them."""
    text = page.read_text("utf-8")
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{page.name} lacks the markers {BEGIN} and {END}")
    page.write_text(f"{before}{BEGIN}\n{shown}\n{END}{after}", "utf-8")


def tables(results: Results) -> str:
    """Where and how it was measured, then targets, memory, and stages."""
    machine = results.machine
    versions = ", ".join(f"{name} {number}" for name, number in results.versions.items())
    parts = [
        f"`{results.command}` on {machine['cores']} cores of {machine['cpu']}, {machine['memory_gib']} GiB,"
        f" {machine['system']}; {versions}.",
        _targets(results.rows),
        _used(results.rows),
    ]
    if results.stages:
        parts.append(_stages(results))
    return "\n\n".join(parts)


def _targets(rows: Sequence[Row]) -> str:
    head = ("name", "ours", "yardstick", "lines", "measured", "spread", "wall", "target", "reached")
    return table(head, [_target(row) for row in rows], right=(3, 4, 5, 6, 7))


def _target(row: Row) -> tuple[str, ...]:
    bound = "-" if row.target is None else f"{'≥' if row.at_least else '≤'} {_number(row.target, row.unit)}"
    return (
        row.name,
        row.work,
        row.yardstick_work,
        f"{row.lines:,}",
        _number(row.value.median, row.unit),
        _spread(row.value, row.unit),
        _number(row.wall_ratio.median, "x") if row.wall_ratio else "-",
        bound,
        _WORDS[row.reached],
    )


def _used(rows: Iterable[Row]) -> str:
    head = ("name", "CPU s", "yardstick", "wall s", "yardstick", "peak MB", "yardstick")
    cells = [(row.name, *_beside(row.ours, row.yardstick)) for row in rows if row.ours and row.yardstick]
    return table(head, cells, right=range(1, 7))


def _beside(ours: Usage, yardstick: Usage) -> Iterable[str]:
    for mine, other in zip(_figures(ours), _figures(yardstick), strict=True):
        yield mine
        yield other


def _figures(usage: Usage) -> tuple[str, str, str]:
    return f"{usage.cpu_s:.1f}", f"{usage.wall_s:.1f}", f"{usage.peak_bytes / 1e6:,.0f}"


def _stages(results: Results) -> str:
    head = ("stage", "lines", "CPU s", "CPU µs a line", "wall s", "peak MB")
    rows = []
    for item in results.stages:
        cpu, wall, peak = _figures(item.used)
        rows.append((item.stage, f"{item.lines:,}", cpu, f"{item.used.cpu_s / item.lines * 1e6:.1f}", wall, peak))
    return table(head, rows, right=range(1, 6))


def _number(number: float, unit: str) -> str:
    if unit == "relative error":
        return f"{number * 100:.2f} %"
    return f"{number:.3f} {unit}" if unit == "x" and number < 0.1 else f"{number:.2f} {unit}"


def _spread(spread: Spread, unit: str) -> str:
    return f"{_number(spread.least, unit)} to {_number(spread.greatest, unit)}"


def table(head: Sequence[str], rows: Iterable[Sequence[str]], *, right: Iterable[int] = ()) -> str:
    """A table of Markdown; ``right`` are the columns with numbers."""
    columns = set(right)
    rule = ["---:" if place in columns else "---" for place in range(len(head))]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, rule, *rows))
