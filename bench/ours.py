"""What is measured of this project, each as a process: ``python -m bench.ours WORK STORE``.

The phase ``work`` leaves out the start of the interpreter and of Spark; every stage is a phase of its own.
"""

from __future__ import annotations

import sys
from contextlib import ExitStack

from bench.meter import phase
from jobs import stages
from jobs.work import Work
from quotaloop.settings import Settings, load

WORK = "work"


class Marks:
    """A listener to progress that marks each stage as a phase."""

    def begin(self, stage: str, total: int | None = None, unit: str = "") -> None:  # noqa: ARG002
        """A phase begins."""
        self._open = ExitStack()
        self._open.enter_context(phase(stage))

    def advance(self, done: int) -> None:
        """Nothing."""

    def note(self, text: str) -> None:
        """Nothing."""

    def end(self) -> None:
        """The phase is over."""
        self._open.close()


def tables(settings: Settings) -> None:
    """Parse what has landed and build its tables, in a session that is up already."""
    work = Work(settings, Marks())
    with work.spark(), phase(WORK):
        stages.build(work)


def parse(settings: Settings) -> None:
    """Parse what has landed, in a session that is up already."""
    work = Work(settings, Marks())
    with work.spark(), phase(WORK):
        stages.parse(work)


def land(settings: Settings) -> None:
    """Land all that the topic of the bench has, in this process."""
    from bench.data import TOPIC
    from jobs.ingest.land import land_kafka

    with phase(WORK):
        land_kafka(Work(settings), TOPIC)


def recount(settings: Settings) -> None:
    """Count the build's hours again."""
    stages.recount(Work(settings))


def run(settings: Settings) -> None:
    """The whole loop, as ``quotaloop run`` does it."""
    from pipelines.in_process import run as run_loop

    run_loop(settings, Marks())


_WORKS = {"land": land, "parse": parse, "tables": tables, "recount": recount, "run": run}


if __name__ == "__main__":
    _WORKS[sys.argv[1]](load(flags={"store": f"file://{sys.argv[2]}"}))
