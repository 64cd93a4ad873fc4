"""Progress bars on standard error: rate, time left, and what a stage is at."""

from __future__ import annotations

from types import TracebackType

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Task as RichTask
from rich.text import Text

from quotaloop.terminal.output import plain


class Bars:
    """A ``quotaloop.progress.Progress`` that draws; on a file or pipe it writes a line a stage."""

    def __init__(self) -> None:
        self._console = Console(stderr=True)
        self._bars = Progress(
            SpinnerColumn(),
            TextColumn("{task.description:<28}", markup=False),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            _Rate(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}", markup=False),
            console=self._console,
            transient=False,
        )
        self._task: TaskID | None = None
        self._stage = ""

    def __enter__(self) -> Bars:
        if self._console.is_terminal:
            self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._console.is_terminal:
            self._bars.stop()

    def begin(self, stage: str, total: int | None = None, unit: str = "") -> None:
        """A stage begins."""
        self._stage = stage = plain(stage).plain
        if self._console.is_terminal:
            self._task = self._bars.add_task(stage, total=total, note="", unit=unit)
        else:
            size = f": {total:,} {unit}" if total is not None else ""
            self._console.print(f"{stage}{size}", markup=False, highlight=False)

    def advance(self, done: int) -> None:
        """So many units more."""
        if self._task is not None:
            self._bars.advance(self._task, done)

    def note(self, text: str) -> None:
        """What the stage is at."""
        text = plain(text).plain
        if self._task is not None:
            self._bars.update(self._task, note=text)
        elif not self._console.is_terminal:
            self._console.print(f"  {self._stage}: {text}", markup=False, highlight=False)

    def end(self) -> None:
        """The stage is over."""
        if self._task is not None:
            task = self._bars.tasks[self._task]
            self._bars.update(self._task, total=task.total or 1, completed=task.total or 1, note="")
            self._task = None


class _Rate(TextColumn):
    """Units a second, where a total is known."""

    def __init__(self) -> None:
        super().__init__("")

    def render(self, task: RichTask) -> Text:
        """For example ``12,345 lines/s``."""
        unit = task.fields.get("unit")
        return Text(f"{task.speed:,.0f} {unit}/s" if unit and task.speed else "")
